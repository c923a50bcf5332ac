"""The workflows of one runtime, compiled, with the policies that are in force for their steps."""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

from awaitly.compile.allowance import Allowance
from awaitly.compile.bindings import bind_step
from awaitly.compile.inforce import InForce
from awaitly.compile.parsing import family_of, parsed, readable, steps_of
from awaitly.compile.program import compile_workflow, graph_of
from awaitly.compile.rules.budgets import RULE as BUDGET
from awaitly.compile.rules.budgets import beyond_deadline
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Flag, FlagProvider, misfit, scalar
from awaitly.flags.settings import SettingsFlags
from awaitly.model.graph import Diagnostic, Graph, OpaqueNode, Severity
from awaitly.model.names import nearest, spelt
from awaitly.model.program import Program, StepBinding
from awaitly.settings import Settings
from awaitly.settings.known import check_names, unknown_names

AnyWorkflow: TypeAlias = Workflow[..., Any, Any]

_log = logging.getLogger("awaitly")


@cache  # so that a process says it once, however many runtimes it makes
def logged(diagnostic: Diagnostic) -> None:
    """Log what the compiler warns of; without any set-up of logs, Python prints it to standard error."""
    _log.warning("%s. %s", diagnostic, diagnostic.hint, extra={"code": diagnostic.code})


class Library:
    """Compiles workflows when they are first needed.

    Args:
        settings: The operator's.
        finish: Makes a binding one that can be executed, once its policies are in force.
        providers: Who decides flags.
        warn: Told what is doubtful about a workflow here, that is with these settings and providers.
    """

    def __init__(
        self,
        settings: Settings,
        finish: Callable[[StepBinding], StepBinding],
        providers: Sequence[FlagProvider] = (),
        warn: Callable[[Diagnostic], None] = logged,
    ) -> None:
        self.in_force = InForce(settings)
        self._settings = settings
        self._finish = finish
        self._providers = providers
        self._warn = warn
        self._workflows: dict[str, AnyWorkflow] = {}
        self._programs: dict[int, Program] = {}
        self._families: dict[str, _Family] = {}
        self._warned: set[str] = set()

    def add(self, workflows: Sequence[AnyWorkflow]) -> None:
        """Compile workflows that belong together: their steps may name one another's breakers and limiters.

        Raises:
            ConfigurationError: For two workflows of one name, for policies that do not fit, and for settings that name
                what none of them has.
            CompileError: For workflows that do not compile.
        """
        for workflow in workflows:
            self._meet(workflow)
        for workflow in workflows:
            self._program(workflow)
        if workflows:
            check_names(self._settings, self.in_force.known)

    def program(self, workflow: AnyWorkflow) -> Program:
        """Return the program of a workflow.

        Raises:
            ConfigurationError: For another workflow of the same name, and for policies that do not fit.
            CompileError: If it does not compile.
        """
        known = len(self._programs)
        program = self._program(workflow)
        if len(self._programs) > known:
            self._warn_of_names(likely=True)
        return program

    def named(self, workflow: str) -> Program:
        """Return the program of a workflow that is known here.

        Raises:
            ConfigurationError: ``invalid-setting``, if it is not.
        """
        program = self.by_name.get(workflow)
        if program is None:
            raise ConfigurationError(
                f"workflow {workflow} is not known to this runtime",
                hint="give it to Runtime(workflows=[...]), or name its module on the command line",
                code="invalid-setting",
            )
        return program

    @property
    def by_name(self) -> dict[str, Program]:
        """The programs by the names of their workflows."""
        return {program.graph.workflow: program for program in self._programs.values()}

    def binding(self, step: Step[..., Any, Any]) -> StepBinding:
        """Return the binding of a step that no program has."""
        self.in_force.meet([step])
        return self._finish(self.in_force.binding(bind_step(step)))

    def check_flags(self, program: Program, flags: Mapping[str, object]) -> None:
        """Refuse what is given for the flags of a run.

        Raises:
            ConfigurationError: ``unknown-flag``, for one that no step has; ``invalid-option``, for a value that it
                cannot have.
        """
        if not isinstance(flags, Mapping):
            raise ConfigurationError(
                f"flags= of a run is {flags!r}",
                hint='give a mapping of names to values, such as {"new-payment-flow": True}',
                code="invalid-option",
            )
        family = self._family(program)
        for name, value in flags.items():
            flag = family.flags.get(spelt(name)) if isinstance(name, str) else None
            if flag is None and family.whole:
                raise _unknown_flag(name, program, [flag.name for flag in family.flags.values()])
            _check_value(name, value, flag)

    def close(self) -> None:
        """Warn of what settings name and nothing had; who used nothing here cannot know."""
        if self._workflows:
            self._warn_of_names(likely=False)

    def _family(self, program: Program) -> "_Family":
        name = program.graph.workflow
        family = self._families.get(name)
        if family is None or family.program is not program:
            family = self._families[name] = _family(program, self._workflows[name])
        return family

    def _program(self, workflow: AnyWorkflow) -> Program:
        program = self._programs.get(id(workflow.fn))
        if program is None:
            self._refuse_twin(workflow)
            self._meet(workflow)
            program = self._compiled(workflow)
            self._programs[id(workflow.fn)] = program
            self._workflows[workflow.name] = workflow
        return program

    def _meet(self, workflow: AnyWorkflow) -> None:
        for one in family_of(workflow):
            self.in_force.meet(steps_of(one), one)

    def _compiled(self, workflow: AnyWorkflow) -> Program:
        program = compile_workflow(
            workflow,
            override=lambda binding: self._finish(self.in_force.binding(binding)),
            shown=self.in_force.effective,
        )
        for provider in self._providers:
            if isinstance(provider, SettingsFlags):
                _check_rules(provider, program)
        return replace(program, graph=self._judged(self.in_force.graph(program.graph), workflow, program))

    def _judged(self, graph: Graph, workflow: AnyWorkflow, program: Program) -> Graph:
        """Return a graph with what is to be said about it with these settings and providers."""
        budget = Allowance(self.in_force.effective, self.in_force.deadline).run(workflow)
        late = beyond_deadline(workflow.name, workflow.fn, budget, graph.deadline)
        nobody = tuple(self._undefined(flag, program) for flag in _flags_of(program) if not self._defined(flag))
        kept = tuple(found for found in graph.diagnostics if found.code != BUDGET.code)
        for diagnostic in (*kept, *late, *filter(self._is_news, nobody)):
            self._warn(diagnostic)
        return graph.model_copy(update={"budget": budget.spec(), "diagnostics": (*kept, *late, *nobody)})

    def _is_news(self, undefined: Diagnostic) -> bool:
        """Whether nobody was told of a flag yet: several workflows may have it."""
        known = undefined.hint in self._warned
        self._warned.add(undefined.hint)
        return not known

    def _defined(self, flag: Flag) -> bool:
        return any(_may_know(provider, flag) for provider in self._providers)

    def _undefined(self, flag: Flag, program: Program) -> Diagnostic:
        return Diagnostic(
            code="unknown-flag",
            severity=Severity.WARNING,
            message=f"flag {flag.name!r} of workflow {program.graph.workflow} is defined nowhere:"
            f" its default {flag.default!r} holds for every run",
            hint=f"define it, for example with AWAITLY_FLAGS__{spelt(flag.name).upper()}={_written(flag.default)}",
        )

    def _warn_of_names(self, *, likely: bool) -> None:
        for unknown in unknown_names(self._settings, self.in_force.known):
            if str(unknown.name) not in self._warned and (unknown.likely or not likely):
                self._warned.add(str(unknown.name))
                _log.warning("settings name what no workflow here has: %s", unknown)

    def _refuse_twin(self, workflow: AnyWorkflow) -> None:
        known = self._workflows.get(workflow.name)
        if known is not None and not _stands_for(workflow.fn, known.fn):
            raise ConfigurationError(
                f"two workflows are named {workflow.name}: {_where(known.fn)} and {_where(workflow.fn)}",
                hint='runs are found by the name: give one of them another with @workflow(name="...")',
                code="duplicate-workflow-name",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Family:
    """A workflow with all that its runs begin: a child begins with the flags of its parent."""

    program: Program
    flags: dict[str, Flag]  # by their names as compared
    whole: bool  # nothing that could begin further children was left unread


def _family(program: Program, workflow: AnyWorkflow) -> _Family:
    members = family_of(workflow)
    flags = [variant.flag for member in members for step in steps_of(member) for variant in step.variants]
    return _Family(program, {spelt(flag.name): flag for flag in reversed(flags)}, all(map(_read_wholly, members)))


def _read_wholly(workflow: AnyWorkflow) -> bool:
    found = parsed(workflow)
    return all(map(readable, found.reading.children.values())) and not any(
        isinstance(node, OpaqueNode) for node in graph_of(workflow).walk()
    )


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flags_of(program: Program) -> tuple[Flag, ...]:
    """Return the flags of the steps of a program, each once."""
    found: dict[str, Flag] = {}
    for binding in program.steps.values():
        for variant in binding.variants:
            found.setdefault(spelt(variant.flag), Flag(variant.flag, variant.default))
    return tuple(found.values())


def _may_know(provider: FlagProvider, flag: Flag) -> bool:
    try:
        return provider.knows(flag.name) is not False
    except Exception:  # noqa: BLE001 - providers are foreign code; it may still decide the flag
        return True


def _check_rules(rules: SettingsFlags, program: Program) -> None:
    for flag in _flags_of(program):
        wrong = rules.misfit(flag)
        if wrong is not None:
            raise ConfigurationError(
                f"the rule of flag {flag.name!r} does not fit its steps: {wrong}",
                hint="it is in flags= of the runtime, or in a setting: awaitly config shows where that comes from",
                code="invalid-setting",
            )


def _unknown_flag(name: object, program: Program, known: Sequence[str]) -> ConfigurationError:
    close = nearest(str(name), known)
    family = " and its children" if program.graph.children else ""
    return ConfigurationError(
        f"flags= of a run names {name!r}, which no step of {program.graph.workflow}{family} has",
        hint=f"did you mean {close!r}?" if close else f"its flags are: {', '.join(sorted(known)) or 'none'}",
        code="unknown-flag",
    )


def _check_value(name: object, value: object, flag: Flag | None) -> None:
    wrong = misfit(flag, value) if flag is not None else None
    if wrong is None and not (isinstance(name, str) and scalar(value)):
        wrong = f"flag {name!r} is {value!r}"
    if wrong is not None:
        raise ConfigurationError(
            f"flags= of a run: {wrong}",
            hint="give a value of that kind" if flag is not None else "give a boolean, a finite number or a string",
            code="invalid-option",
        )


def _stands_for(fn: Any, known: Any) -> bool:
    """Whether a function is another's successor: its module was loaded twice, or it was defined again in a notebook."""
    if "<locals>" in known.__qualname__:
        return False
    found = getattr(sys.modules.get(known.__module__), known.__qualname__, None)
    return getattr(found, "fn", found) is not known or _where(fn) == _where(known)


def _where(fn: Any) -> str:
    code = inspect.unwrap(fn).__code__
    return f"{fn.__qualname__} in {code.co_filename}:{code.co_firstlineno}"
