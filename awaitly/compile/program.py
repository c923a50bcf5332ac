"""From a workflow to its graph and its program: the stages of compiling in their order."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from awaitly.compile.allowance import Allowance
from awaitly.compile.bindings import Bound
from awaitly.compile.diagnosis import diagnose, error_name, leaving_errors
from awaitly.compile.escapes import failing_with
from awaitly.compile.fingerprints import annotation_text, graph_fingerprint, step_aspects, step_fingerprint
from awaitly.compile.parsing import Parsed, parsed
from awaitly.compile.policies import policy_specs, variant_specs
from awaitly.compile.reading import FunctionReading
from awaitly.compile.sites import code_table, labels_of
from awaitly.compile.targets import StepTarget
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import CompileError
from awaitly.model.counts import counted
from awaitly.model.graph import Diagnostic, Graph, PolicySpec, Severity, StepSpec
from awaitly.model.program import Program, StepBinding
from awaitly.policies.pipeline import Policies

Override: TypeAlias = Callable[[StepBinding], StepBinding]
Shown: TypeAlias = Callable[[str, Policies], Policies]

_HELD = "__awaitly_compiled__"


@dataclass(frozen=True, eq=False)
class Compiled:
    """A workflow before any settings."""

    parsed: Parsed
    graph: Graph

    @cached_property
    def program(self) -> Program:
        """The program; made when first run."""
        reading, bound = self.parsed.reading, self.parsed.bound
        parts = bound.parts
        errors = tuple(found for found in self.graph.diagnostics if found.severity is Severity.ERROR)
        if errors or parts is None:
            raise refusal(reading.workflow, errors)
        return Program(
            graph=self.graph,
            fn=reading.main.fn,
            errors=parts.errors,
            returns_result=parts.returns_result,
            key=parts.key,
            arguments=parts.arguments,
            result=parts.result,
            failure=parts.failure,
            steps=bound.bindings,
            code=dict(entry for function in reading.functions for entry in code_table(function)),
        )


def graph_of(workflow: Workflow[..., Any, Any]) -> Graph:
    """Return the graph of a workflow; what is wrong with it is in its diagnostics.

    Raises:
        CompileError: ``no-source`` or ``source-changed``: there is nothing to make a graph of.
    """
    return _compiled(workflow).graph


def compile_workflow(
    workflow: Workflow[..., Any, Any], *, override: Override | None = None, shown: Shown | None = None
) -> Program:
    """Return what execution needs to run a workflow.

    Args:
        workflow: The workflow.
        override: Gives each step's binding as the settings want it.
        shown: Gives the policies of a step, by its name, as the graph is to show them; default: those of its binding.

    Raises:
        CompileError: With every diagnostic that is an error, if there is any.
    """
    program = _compiled(workflow).program
    if override is None:
        return program
    steps = {name: override(binding) for name, binding in program.steps.items()}
    show: Shown = shown or (lambda name, policies: policies)
    specs = {name: _with_policies(spec, steps[name], show) for name, spec in program.graph.steps.items()}
    return replace(program, graph=program.graph.model_copy(update={"steps": specs}), steps=steps)


def refusal(workflow: Workflow[..., Any, Any], errors: tuple[Diagnostic, ...]) -> CompileError:
    """Return the error that says everything that is wrong with a workflow."""
    listed = "\n".join(f"  {error}\n    {error.hint}" for error in errors)
    message = f"workflow {workflow.name} does not compile, {counted(len(errors), 'error')}:\n{listed}"
    return CompileError(message, diagnostics=errors, hint=None)


def _compiled(workflow: Workflow[..., Any, Any]) -> Compiled:
    found = parsed(workflow)
    held = vars(workflow.fn)
    known: Compiled | None = held.get(_HELD)
    if known is None or known.parsed is not found:
        known = held[_HELD] = Compiled(found, _graph(found))
    return known


def _graph(found: Parsed) -> Graph:
    reading, bound, body = found.reading, found.bound, found.body
    declared = reading.workflow.declared
    main = reading.main
    steps = {name: _spec(found[0], bound) for name, found in sorted(reading.steps.items())}
    functions = [(function.prefix, function.node) for function in reading.functions]
    budget = Allowance().run(reading.workflow)
    return Graph(
        workflow=declared.name,
        function=main.name,
        version=declared.version,
        key=declared.key,
        deadline=declared.deadline,
        retention=declared.retention,
        durable=declared.durable,
        parameters=_parameters(main),
        result=_result(main),
        errors=leaving_errors(reading),
        steps=steps,
        children=tuple(sorted(reading.children)),
        body=body,
        budget=budget.spec(),
        sites={label: callee for function in reading.functions for label, callee in labels_of(function).items()},
        diagnostics=diagnose(reading, bound, body, budget),
        fingerprint=graph_fingerprint(functions, (f"{name}:{spec.fingerprint}" for name, spec in steps.items())),
    )


def _parameters(function: FunctionReading) -> tuple[tuple[str, str], ...]:
    arguments = function.node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return tuple((argument.arg, annotation_text(argument.annotation)) for argument in every)


def _result(function: FunctionReading) -> str:
    returns = None if isinstance(function.node, ast.Lambda) else function.node.returns
    return annotation_text(returns) or "Any"


def _spec(step: Step[..., Any, Any], bound: Bound) -> StepSpec:
    options = step.options
    binding = bound.steps[step.name].binding
    fn: Any = step.fn
    aspects = step_aspects(step)
    return StepSpec(
        name=step.name,
        function=f"{fn.__module__}:{fn.__qualname__}",
        effect=options.effect,
        key=options.key,
        timeout=options.policies.attempt_timeout,
        policies=policy_specs(options.policies),
        variants=variant_specs(step),
        errors=tuple(error_name(error) for error in failing_with(StepTarget(step))),
        parameters=aspects["parameters"],
        result=aspects["result"] or "Any",
        blocking=binding.blocking if binding else not iscoroutinefunction(fn),
        owner=options.owner,
        tags=options.tags,
        fingerprint=step_fingerprint(step),
    )


def _with_policies(spec: StepSpec, binding: StepBinding, shown: Shown) -> StepSpec:
    by_flag = {(variant.flag, variant.when): variant.binding for variant in binding.variants}
    variants = tuple(
        variant.model_copy(update={"policies": _shown(by_flag[variant.flag, variant.when], shown)})
        for variant in spec.variants
    )
    policies = _shown(binding, shown)
    return spec.model_copy(update={"timeout": binding.timeout, "policies": policies, "variants": variants})


def _shown(binding: StepBinding, shown: Shown) -> tuple[PolicySpec, ...]:
    return policy_specs(shown(binding.name, binding.policies))
