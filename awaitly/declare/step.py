"""Steps: what ``@step`` records and returns."""

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import update_wrapper
from typing import Any, Generic, Literal, Never, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, get_args, overload

from awaitly.declare.checks import (
    checked_choice,
    checked_errors,
    checked_function,
    checked_options,
    checked_tags,
    checked_text,
    refuse_method,
    refuse_nameless,
)
from awaitly.declare.host import host
from awaitly.declare.variants import Variant, checked_variant
from awaitly.errors import ConfigurationError, NotSupported, UnexpectedError
from awaitly.flags.provider import Flag, FlagValue
from awaitly.model.durations import Duration
from awaitly.model.effects import Effect
from awaitly.policies.breaker import Breaker
from awaitly.policies.cache import Cache
from awaitly.policies.fallback import Fallback
from awaitly.policies.hedge import Hedge
from awaitly.policies.pipeline import Policies
from awaitly.policies.retry import Retry
from awaitly.policies.turns import Limiter
from awaitly.result import Err, Ok

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
F_co = TypeVar("F_co", covariant=True)
X = TypeVar("X", bound=BaseException)
X2 = TypeVar("X2", bound=BaseException)
X3 = TypeVar("X3", bound=BaseException)
X4 = TypeVar("X4", bound=BaseException)

# Not offered before they are built: effect="transaction" and on_ambiguous="ask".
EffectName = Literal["none", "read", "write", "once"]
AmbiguityName = Literal["fail", "retry", "verify"]


class PolicyKeywords(TypedDict, total=False):
    """What may be around a call: the fields of :class:`Policies`, or a bundle of them."""

    policies: Policies
    fallback: Fallback | Callable[..., Any]
    deadline: Duration
    cache: Cache | Duration
    retry: Retry | int
    hedge: Hedge | Duration
    limiter: Limiter | str | Sequence[Limiter | str]
    breaker: Breaker | str
    timeout: Duration


class StepKeywords(PolicyKeywords, total=False):
    """The options of ``@step`` apart from ``errors``, once for all its overloads."""

    name: str
    key: str
    effect: Effect | EffectName
    on_ambiguous: AmbiguityName
    unfingerprinted: tuple[str, ...]
    owner: str
    tags: tuple[str, ...]


class Ambiguity(StrEnum):
    """What to do with an ``effect="once"`` step of which nobody knows whether it happened."""

    FAIL = "fail"
    ASK = "ask"
    RETRY = "retry"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What the author of a step says about it; operators may override the policies by settings."""

    name: str
    key: str | None = None
    errors: tuple[type[BaseException], ...] = ()
    effect: Effect = Effect.WRITE
    policies: Policies = field(default_factory=Policies)
    on_ambiguous: Ambiguity = Ambiguity.FAIL
    unfingerprinted: frozenset[str] = frozenset()
    owner: str | None = None
    tags: tuple[str, ...] = ()


class Step(Generic[P, T_co, E_co]):
    """A function that is one step of workflows.

    Called inside a workflow it is a step: stored, replayed, identified. Called outside it runs the function with its
    policies and raises what the function raises.
    """

    __name__: str
    __qualname__: str

    def __init__(self, fn: Callable[..., Any], options: StepOptions) -> None:
        self.fn: Callable[P, Any] = fn
        self.options = options
        self.verifier: Callable[..., Awaitable[bool]] | None = None
        self.variants: tuple[Variant, ...] = ()
        update_wrapper(self, fn)
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    @property
    def name(self) -> str:
        """The step's name: of its function unless ``name=`` was given."""
        return self.options.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, T_co]:
        """Call the step; the coroutine gives its value or raises its failure."""
        return host().step(self, args, kwargs, sys._getframe(1), attempt=False)

    def attempt(
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, None, Ok[T_co] | Err[E_co] | Err[UnexpectedError]]:
        """Call the step; the coroutine gives ``Ok`` or ``Err`` and raises neither failures nor bugs."""
        return host().step(self, args, kwargs, sys._getframe(1), attempt=True)

    def verify(self, fn: Callable[P, Awaitable[bool]]) -> Callable[P, Awaitable[bool]]:
        """Register the function that finds out whether an ``effect="once"`` step whose outcome is unknown happened."""
        self.verifier = fn
        return fn

    def variant(
        self, *, flag: str | Flag, when: FlagValue = True, **policies: Unpack[PolicyKeywords]
    ) -> "VariantDecorator[P, T_co, E_co]":
        """Register a function that takes this one's place in runs for which a feature flag has a value.

        It has the step's name, key, effect, errors and types; the flag is decided once a run, and recorded. Called by
        itself it is a step of its own.

        Args:
            flag: The flag: its name, or a :class:`Flag` with a default other than ``False``.
            when: The value of the flag for which the variant is taken; the default is ``True``.
            **policies: What is around the variant's calls instead of what is around the step's.

        Raises:
            ConfigurationError: ``unknown-option`` or ``invalid-option``.
        """

        def register(fn: Callable[..., Any]) -> Any:
            declared = _varied(self, fn, dict(policies))
            self.variants = (*self.variants, checked_variant(self, declared, flag, when))
            return declared

        return register

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __get__(self, instance: object, owner: type | None = None) -> "Step[P, T_co, E_co]":
        """Refuse to become a method (a step assigned to a class after its definition)."""
        if instance is None:
            return self
        raise refuse_method(f"{type(instance).__qualname__}.{self.name}")


class VariantDecorator(Protocol[P, T, E]):
    """What ``@charge.variant(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Step[P, T, E]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T, E]: ...
    @overload
    def __call__(self, fn: Callable[P, Ok[T] | Err[E]], /) -> Step[P, T, E]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T, E]: ...


class StepDecorator(Protocol[F_co]):
    """What ``@step(errors=...)`` returns: the errors of the option join those of the annotation."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Step[P, T, E | F_co]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T, F_co]: ...
    @overload
    def __call__(self, fn: Callable[P, Ok[T] | Err[E]], /) -> Step[P, T, E | F_co]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T, F_co]: ...


class PlainStepDecorator(Protocol):
    """What ``@step(...)`` without ``errors=`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Step[P, T, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T, Never]: ...
    @overload
    def __call__(self, fn: Callable[P, Ok[T] | Err[E]], /) -> Step[P, T, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T, Never]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Step[P, T, E]: ...  # type: ignore[overload-overlap]
@overload
def step(fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T, Never]: ...
@overload
def step(fn: Callable[P, Ok[T] | Err[E]], /) -> Step[P, T, E]: ...  # type: ignore[overload-overlap]
@overload
def step(fn: Callable[P, T], /) -> Step[P, T, Never]: ...
@overload
def step(*, errors: tuple[type[X], type[X2]], **options: Unpack[StepKeywords]) -> StepDecorator[X | X2]: ...
@overload
def step(
    *, errors: tuple[type[X], type[X2], type[X3]], **options: Unpack[StepKeywords]
) -> StepDecorator[X | X2 | X3]: ...
@overload
def step(
    *, errors: tuple[type[X], type[X2], type[X3], type[X4]], **options: Unpack[StepKeywords]
) -> StepDecorator[X | X2 | X3 | X4]: ...
@overload
def step(*, errors: type[X] | tuple[type[X], ...], **options: Unpack[StepKeywords]) -> StepDecorator[X]: ...
@overload
def step(**options: Unpack[StepKeywords]) -> PlainStepDecorator: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step.

    Args:
        fn: The function, an ``async def`` or a plain ``def`` (which runs in a worker thread).
        **options: ``name``: of the step, default the function's. ``key``: a template over the arguments such as
            ``"charge:{order.id}"``, naming one piece of work in its run. ``errors``: the class, or tuple of classes,
            of expected failures that it raises. ``effect``: what it does to the world, ``"none"``, ``"read"``,
            ``"write"`` (default) or ``"once"``. ``fallback``, ``deadline``, ``cache``, ``retry``,
            ``hedge``, ``limiter``, ``breaker``, ``timeout``: what is around its calls, see :class:`Policies`, of which
            ``policies`` takes a bundle that single options change.
            ``on_ambiguous``: for ``"once"``, what to do when a crash leaves its outcome unknown: ``"fail"``
            (default), ``"retry"`` or ``"verify"``. ``unfingerprinted``: names of parameters that cannot
            be stored, such as a client. ``owner`` and ``tags``: for people and reports.

    Returns:
        A :class:`Step`, or with options a decorator that makes one.

    Raises:
        ConfigurationError: ``unknown-option``, ``invalid-option`` or ``invalid-duration``.
        UsageError: ``step-on-method``, for a function of a class body.
    """
    if fn is not None:
        return _declared(fn, options)
    return lambda function: _declared(function, options)


def _declared(fn: Callable[..., Any], options: dict[str, Any]) -> Step[..., Any, Any]:
    where = checked_function(fn, "step")
    if "name" not in options:
        refuse_nameless(fn, where)
    checked_options(options, STEP_OPTIONS, where)
    _refuse_unbuilt(options, where)
    return Step(
        fn,
        StepOptions(
            name=checked_text(options.get("name", fn.__name__), f"name= of {where}"),
            key=None if options.get("key") is None else checked_text(options["key"], f"key= of {where}"),
            errors=checked_errors(options.get("errors", ()), where),
            effect=checked_choice(
                Effect, options.get("effect", Effect.WRITE), f"effect= of {where}", offered=get_args(EffectName)
            ),
            policies=_policies(options, Policies(), where),
            on_ambiguous=checked_choice(
                Ambiguity,
                options.get("on_ambiguous", "fail"),
                f"on_ambiguous= of {where}",
                offered=get_args(AmbiguityName),
            ),
            unfingerprinted=frozenset(checked_tags(options.get("unfingerprinted", ()), f"unfingerprinted= of {where}")),
            owner=options.get("owner"),
            tags=checked_tags(options.get("tags", ()), f"tags= of {where}"),
        ),
    )


def _varied(base: Step[..., Any, Any], fn: Callable[..., Any], options: dict[str, Any]) -> Step[..., Any, Any]:
    where = checked_function(fn, "variant")
    refuse_nameless(fn, where)
    checked_options(options, POLICY_OPTIONS, where)
    policies = _policies(options, base.options.policies, where)
    return Step(fn, replace(base.options, name=fn.__name__, policies=policies))


def _policies(options: dict[str, Any], below: Policies, where: str) -> Policies:
    """Return the policies among some options, those of a bundle where there are none, and else those below."""
    bundle = options.get("policies", Policies())
    if not isinstance(bundle, Policies):
        raise ConfigurationError(
            f"policies= of {where} is {bundle!r}", hint="give awaitly.Policies(...)", code="invalid-option"
        )
    single = {name: options[name] for name in POLICY_OPTIONS if name in options and name != "policies"}
    try:
        return Policies(**single).over(bundle).over(below)
    except ConfigurationError as error:
        error.message = f"{where}: {error.message}"
        raise


def _refuse_unbuilt(options: dict[str, Any], where: str) -> None:
    if options.get("effect") == Effect.TRANSACTION:
        raise NotSupported(
            f'effect="transaction" of {where} is not built yet',
            hint='leave it out, and make the step harmless to repeat: effect="write" is executed at least once',
        )
    if options.get("on_ambiguous") == Ambiguity.ASK:
        raise NotSupported(
            f'on_ambiguous="ask" of {where} is not built yet',
            hint='"fail" ends the run with ambiguous-effect; a function registered with verify finds out by itself',
        )


POLICY_OPTIONS = frozenset(PolicyKeywords.__annotations__)
STEP_OPTIONS = frozenset(StepKeywords.__annotations__) | {"errors"}
