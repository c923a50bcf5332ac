"""Declarations bound to what execution needs: codecs, key functions, declared errors.

What cannot be bound is a :class:`Problem`, which the rules make diagnostics of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import Signature, iscoroutinefunction
from types import FunctionType
from typing import Any, TypeVar

from awaitly.compile import places
from awaitly.compile.escapes import substitute_errors
from awaitly.compile.fingerprints import step_fingerprint
from awaitly.compile.keys import KeyFunction, KeyProblem, KeyTemplate, check_key, key_function, read_key
from awaitly.compile.policies import guarded_policies, policy_problems, variant_problems
from awaitly.compile.problems import Problem
from awaitly.compile.reading import Reading
from awaitly.compile.signatures import TypedSignature, text_of, typed_signature
from awaitly.declare.step import Step
from awaitly.declare.variants import Variant
from awaitly.declare.workflow import Workflow
from awaitly.errors import CompileError, UnstorableType
from awaitly.model.graph import Position
from awaitly.model.names import nearest
from awaitly.model.program import InputCodec, StepBinding, ValueCodec, VariantBinding
from awaitly.persist.codec import ArgumentsCodec, ErrorCodec, codec_for
from awaitly.policies.cache import Cache

Made = TypeVar("Made")

_HELD = "__awaitly_bound__"


@dataclass(frozen=True, slots=True, eq=False)
class Refusing:
    """Stands for a codec that cannot be made, where nothing is stored; whoever does use it is told why."""

    error: UnstorableType

    def roundtrip(self, value: Any) -> tuple[bytes, Any]:
        """Refuse."""
        raise self._again()

    def fingerprint(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Refuse."""
        raise self._again()

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Refuse."""
        raise self._again()

    def own(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Refuse."""
        raise self._again()

    def decode(self, data: bytes) -> Any:
        """Refuse."""
        raise self._again()

    def _again(self) -> UnstorableType:
        return UnstorableType(self.error.message, hint=self.error.hint)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What steps and workflows have in common."""

    errors: tuple[type[BaseException], ...]
    returns_result: bool
    key: KeyFunction | None
    template: KeyTemplate | None
    arguments: InputCodec
    result: ValueCodec
    failure: ValueCodec


@dataclass(frozen=True, slots=True, eq=False)
class BoundStep:
    """A step's binding, and what is wrong with it."""

    binding: StepBinding | None  # None if it cannot even run where nothing is stored
    template: KeyTemplate | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A workflow's own parts and the bindings of its steps, or what is wrong with them."""

    parts: Parts | None  # None if there are problems with the workflow itself
    steps: Mapping[str, BoundStep]
    problems: tuple[Problem, ...]  # of the workflow and of all its steps

    @property
    def bindings(self) -> dict[str, StepBinding]:
        """The steps of the program, by name."""
        return {name: step.binding for name, step in self.steps.items() if step.binding}


def bind_workflow(reading: Reading) -> Bound:
    """Bind the workflow that was read, and each of its steps."""
    steps = {name: bound_step(declared[0]) for name, declared in reading.steps.items()}
    parts, own = _bound_workflow(reading.workflow)
    return Bound(parts, steps, (*own, *(problem for step in steps.values() for problem in step.problems)))


def bind_step(step: Step[..., Any, Any]) -> StepBinding:
    """Return the binding of a step for calls outside of workflows, where it makes no difference what can be stored.

    Raises:
        CompileError: With a diagnostic for each problem.
    """
    bound = bound_step(step)
    if bound.binding is None:
        problems = [problem for problem in bound.problems if not problem.when_stored]
        first = problems[0]
        diagnostics = tuple(problem.diagnostic() for problem in problems)
        raise CompileError(f"{first.position}: {first.message}", diagnostics=diagnostics, hint=first.hint)
    return bound.binding


def bound_step(step: Step[..., Any, Any]) -> BoundStep:
    """Return a step bound; done once for each step, and again when it was given a verifier or a variant."""
    # Kept with the step: its function may hold the step, so that no weak table would ever let go of it.
    known: BoundStep | None = vars(step).get(_HELD)
    if known is None or (known.binding and _outdated(known.binding, step)):
        known = vars(step)[_HELD] = _bind(step)
    return known


def _outdated(binding: StepBinding, step: Step[..., Any, Any]) -> bool:
    return binding.verify is not step.verifier or len(binding.variants) != len(step.variants)


def _bind(step: Step[..., Any, Any]) -> BoundStep:
    options = step.options
    fn: Any = step.fn
    binder = _Binder(f"step {step.name}", fn)
    errors = (*options.errors, *substitute_errors(step))
    parts = binder.parts(options.key, errors, options.unfingerprinted)
    if parts is None:
        return BoundStep(None, binder.template, tuple(binder.problems))
    binding = StepBinding(
        name=step.name,
        fn=fn,
        blocking=not iscoroutinefunction(fn),
        effect=options.effect,
        timeout=None,
        errors=parts.errors,
        returns_result=parts.returns_result,
        key=parts.key,
        arguments=parts.arguments,
        result=parts.result,
        failure=parts.failure,
        fingerprint=step_fingerprint(step),
        on_ambiguous=options.on_ambiguous.value,
        verify=step.verifier,
    )
    binding = _around(binding, step, binder)
    varied = [_variant(binding, variant) for variant in step.variants]
    of_variants = (problem for _, found in varied for problem in found)
    problems = (*binder.problems, *policy_problems(step), *variant_problems(step), *of_variants)
    return BoundStep(replace(binding, variants=tuple(one for one, _ in varied)), parts.template, problems)


def _around(binding: StepBinding, step: Step[..., Any, Any], binder: "_Binder") -> StepBinding:
    """Return a binding with the policies of a step."""
    policies = guarded_policies(step.options.policies, binding)
    return replace(binding, policies=policies, timeout=policies.attempt_timeout, cache_key=binder.cache_key(step))


def _variant(base: StepBinding, variant: Variant) -> tuple[VariantBinding, list[Problem]]:
    """Return what takes a step's place: its own function and policies, and everything else of the step."""
    step: Any = variant.step
    binder = _Binder(f"variant {step.name} of step {base.name}", step.fn)
    binding = replace(base, name=step.name, fn=step.fn, blocking=not iscoroutinefunction(step.fn))
    return (
        VariantBinding(variant.flag.name, variant.flag.default, variant.when, _around(binding, step, binder)),
        binder.problems,
    )


def _bound_workflow(workflow: Workflow[..., Any, Any]) -> tuple[Parts | None, tuple[Problem, ...]]:
    declared = workflow.declared
    fn: Any = workflow.fn
    binder = _Binder(f"workflow {workflow.name}", fn)
    parts = binder.parts(declared.key, declared.errors, undeclared=(Exception,))
    return parts, tuple(binder.problems)


class _Binder:
    """Binds one function, noting every problem on the way."""

    def __init__(self, owner: str, fn: FunctionType) -> None:
        self.owner = owner
        self.fn = fn
        self.typed: TypedSignature = typed_signature(fn)
        self.template: KeyTemplate | None = None
        self.problems: list[Problem] = []

    def parts(
        self,
        key: str | None,
        errors: tuple[Any, ...],
        exclude: frozenset[str] = frozenset(),
        undeclared: tuple[Any, ...] = (),
    ) -> Parts | None:
        """Return everything that is bound, or None if there are problems.

        Args:
            key: The key template.
            errors: The errors of the option.
            exclude: The parameters that are not fingerprinted.
            undeclared: What may fail it where nothing is declared.
        """
        returns = self.typed.returns
        declared = tuple(dict.fromkeys((*errors, *returns.errors)))
        every = (*declared, *returns.plain_errors) or undeclared
        self._annotations(exclude)
        made = self._key(key) if key is not None else None
        arguments = self._arguments(exclude)
        result = self._stored("return", lambda: codec_for(returns.value, where=f"{self.owner} returns"))
        failure = self._stored("errors", lambda: ErrorCodec(every, where=f"errors= of {self.owner}"))
        if not all(problem.when_stored for problem in self.problems):
            return None
        return Parts(declared, returns.is_result, made, self.template, arguments, result, failure)

    def cache_key(self, step: Step[..., Any, Any]) -> KeyFunction | None:
        """Return what makes the key of a step's cached outcomes, if it has a template of its own."""
        cache = step.options.policies.cache
        key = cache.key if isinstance(cache, Cache) else None
        return None if key is None else self._key(key, option="cache")

    def _annotations(self, exclude: frozenset[str]) -> None:
        names = set(self.typed.signature.parameters)
        for name in sorted(exclude - names):
            close = nearest(name, names)
            self._problem(
                "unknown-parameter",
                places.option(self.fn, "unfingerprinted"),
                f"unfingerprinted= of {self.owner} names {name!r}, which is no parameter",
                f"did you mean {close!r}?" if close else f"the parameters are {', '.join(sorted(names))}",
            )
        for name, reason in self.typed.unresolved.items():
            if name not in exclude:
                what = "the result" if name == "return" else name
                self._problem(
                    "unresolved-annotation",
                    places.parameter(self.fn, name),
                    f"the annotation of {what} of {self.owner} cannot be resolved: {reason}",
                    "import what it names at the top of the module, outside of `if TYPE_CHECKING`",
                    when_stored=name != "return",
                )
        if self.typed.returns.mixed:
            self._problem(
                "mixed-result",
                places.parameter(self.fn, "return"),
                f"{self.owner} returns Ok or Err, or something else: {text_of(self.typed.hints['return'])}",
                "return Result[T, E] and nothing beside it; None and other values go into T",
            )

    def _key(self, key: str, option: str = "key") -> KeyFunction | None:
        template = read_key(key)
        if not isinstance(template, KeyProblem):
            if option == "key":
                self.template = template
            wrong = check_key(template, self.typed.signature, self.typed.hints)
            if wrong is None:
                return key_function(template, self.typed.signature, self.owner)
            template = wrong
        message = f"{template.message} ({self.owner})"
        self._problem("bad-key-template", places.option(self.fn, option), message, template.hint)
        return None

    def _arguments(self, exclude: frozenset[str]) -> InputCodec:
        signature, hints = self.typed.signature, self.typed.hints
        try:
            return ArgumentsCodec(signature, hints, exclude=exclude, where=self.owner, called=self.fn.__qualname__)
        except UnstorableType as error:
            for name, parameter in signature.parameters.items():
                alone = signature.replace(parameters=[parameter])
                self._stored(name, partial(self._argument, alone, name, exclude))
            return Refusing(error)

    def _argument(self, alone: Signature, name: str, exclude: frozenset[str]) -> object:
        if self.owner.startswith("step "):
            return ArgumentsCodec(alone, self.typed.hints, exclude=exclude, where=self.owner)
        # Arguments of workflows are stored: the codec's advice to leave one out is for steps.
        return codec_for(self.typed.hints.get(name, Any), where=f"{self.owner}, argument {name!r}")

    def _stored(self, place: str, make: Callable[[], Made]) -> Made | Refusing:
        try:
            return make()
        except UnstorableType as error:
            position = places.option(self.fn, place) if place == "errors" else places.parameter(self.fn, place)
            code = "unstorable-type" if place in ("errors", "return") else "unstorable-argument"
            self._problem(code, position, error.message, error.hint, when_stored=True)
            return Refusing(error)

    def _problem(self, code: str, position: Position, message: str, hint: str, *, when_stored: bool = False) -> None:
        self.problems.append(Problem(code, position, message, hint, when_stored))
