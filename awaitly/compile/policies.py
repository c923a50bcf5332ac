"""What policies and variants may be declared for a step, and how the graph shows them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from inspect import Signature
from typing import Any

from awaitly.compile import places
from awaitly.compile.problems import Problem
from awaitly.compile.signatures import text_of, typed_signature
from awaitly.declare.step import Step
from awaitly.model.durations import humanised, seconds
from awaitly.model.effects import Effect
from awaitly.model.graph import PolicySpec, VariantSpec
from awaitly.model.program import StepBinding
from awaitly.policies.breaker import Breaker
from awaitly.policies.fallback import Fallback
from awaitly.policies.pipeline import Policies, in_order
from awaitly.policies.rate import RateLimit
from awaitly.policies.retry import Retry

_ORDER = tuple(Effect)  # from the weakest to the strongest
_CHECKED = ("cache", "hedge", "fallback")
_DURATIONS = frozenset(
    ("initial", "max", "within", "window", "reset_timeout", "reset_max", "slow_call", "per", "max_wait", "ttl", "after")
)


def guarded_policies(policies: Policies, binding: StepBinding) -> Policies:
    """Return the policies of a step; what happens at most once is retried only after nothing has happened."""
    retry = policies.retry
    repeats = binding.on_ambiguous == "retry"
    if binding.effect is not Effect.ONCE or repeats or not isinstance(retry, Retry) or isinstance(retry.on, _Nothing):
        return policies
    return replace(policies, retry=replace(retry, on=_Nothing(binding.errors, retry)))


class _Nothing:
    """Whether an error says that nothing has happened, and the declared retry wants it."""

    name = "not_executed"

    def __init__(self, errors: tuple[type[BaseException], ...], retry: Retry) -> None:
        self._errors = errors
        self._retry = retry

    def __call__(self, error: Exception) -> bool:
        said = isinstance(error, self._errors) and bool(getattr(error, "not_executed", False))
        return said and (self._retry.on is None or self._retry.wants(error, ()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Nothing) and other._retry == self._retry

    def __hash__(self) -> int:
        return hash(self._errors)


def unsafe_options(policies: Policies, effect: Effect) -> Iterator[tuple[str, str]]:
    """Yield the options that no step of such an effect may have, and what would come of them."""
    if effect.guarded and policies.cache is not None:
        yield "cache", "its outcome would be taken from an earlier call"
    if effect.guarded and policies.hedge is not None:
        yield "hedge", "it could happen twice"


def policy_problems(step: Step[..., Any, Any], below: Policies | None = None) -> Iterator[Problem]:
    """Yield what is wrong with the policies of a step, given what it does to the world.

    Args:
        step: The step.
        below: The policies of the step that it is a variant of: what it has from there is a problem of that step.
    """
    fn: Any = step.fn
    effect, name = step.options.effect, step.name
    policies = _own(step.options.policies, below)
    for option, done in unsafe_options(policies, effect):
        yield Problem(
            "unsafe-policy",
            places.option(fn, option),
            f'step {name} has {option}= and effect="{effect.value}": {done}',
            f'say effect="read" if it changes nothing; else leave {option}= out',
        )
    if policies.cache is not None and step.options.unfingerprinted and getattr(policies.cache, "key", None) is None:
        yield Problem(
            "unsafe-policy",
            places.option(fn, "cache"),
            f"the cache of step {name} cannot tell calls apart that differ in {_listed(step.options.unfingerprinted)}",
            'say what tells them apart: cache=Cache("1h", key="{user_id}")',
        )
    yield from _fallback_problems(step, policies.fallback)


def _own(policies: Policies, below: Policies | None) -> Policies:
    if below is None:
        return policies
    nothing: Any = {name: None for name in _CHECKED if getattr(policies, name) is getattr(below, name)}
    return replace(policies, **nothing)


def _fallback_problems(step: Step[..., Any, Any], fallback: Any) -> Iterator[Problem]:
    to: Any = getattr(fallback, "to", None)
    fn: Any = step.fn
    if isinstance(to, Step) and _ORDER.index(to.options.effect) > _ORDER.index(step.options.effect):
        yield Problem(
            "unsafe-policy",
            places.option(fn, "fallback"),
            f'step {step.name} has effect="{step.options.effect.value}", and its fallback {to.name} has'
            f' effect="{to.options.effect.value}": it would begin before what led to it is stored',
            f'give {step.name} effect="{to.options.effect.value}" too, or call {to.name} in an except block',
        )
    if isinstance(fallback, Fallback) and callable(to):
        target = to.fn if isinstance(to, Step) else to
        wrong = _mismatch(step.fn, target, results=False)
        if wrong is not None:
            yield Problem(
                "bad-fallback",
                places.option(fn, "fallback"),
                f"the fallback of step {step.name} cannot be called like it: {wrong}",
                "give it the same parameters: it is called with the step's arguments",
            )


def variant_problems(step: Step[..., Any, Any]) -> Iterator[Problem]:
    """Yield what keeps the variants of a step from taking its place."""
    for variant in step.variants:
        fn: Any = variant.step.fn
        yield from policy_problems(variant.step, step.options.policies)
        wrong = _mismatch(step.fn, fn, results=True)
        if wrong is not None:
            yield Problem(
                "bad-variant",
                places.parameter(fn, "return"),
                f"variant {variant.step.name} of step {step.name} has another signature: {wrong}",
                "give it the parameters, annotations and result of the step that it stands in for",
            )


def _mismatch(fn: Callable[..., Any], other: Callable[..., Any], *, results: bool) -> str | None:
    """Return how the signature of ``other`` differs from that of ``fn``."""
    try:
        here, there = typed_signature(fn), typed_signature(other)
    except (TypeError, ValueError):
        return None  # a builtin: nothing is known of it
    ours, theirs = _parameters(here.signature), _parameters(there.signature)
    if ours != theirs:
        return f"({', '.join(theirs)}) instead of ({', '.join(ours)})"
    if not results:
        return None
    for name in ours:
        a, b = here.hints.get(name, Any), there.hints.get(name, Any)
        if a != b:
            return f"{name} is {text_of(b)} instead of {text_of(a)}"
    a, b = here.hints.get("return", Any), there.hints.get("return", Any)
    return None if a == b else f"it returns {text_of(b)} instead of {text_of(a)}"


def _parameters(signature: Signature) -> list[str]:
    return [parameter.name for parameter in signature.parameters.values()]


def policy_specs(policies: Policies, *, whole: bool = False) -> tuple[PolicySpec, ...]:
    """Return the policies as the graph shows them, from the outside in.

    Args:
        policies: The policies.
        whole: Show every option that has a value (an enum stands for "not given"), not only those that differ from
            their defaults.
    """
    return tuple(
        _spec(kind, one, whole)
        for kind, value in policies.given().items()
        for one in (_asked_in_order(value) if isinstance(value, tuple) else (value,))
    )


def _asked_in_order(limiters: tuple[Any, ...]) -> Sequence[Any]:
    return limiters if any(isinstance(one, str) for one in limiters) else in_order(limiters)


def variant_specs(step: Step[..., Any, Any]) -> tuple[VariantSpec, ...]:
    """Return the variants of a step as the graph shows them."""
    return tuple(
        VariantSpec(
            step=variant.step.name,
            function=f"{variant.step.fn.__module__}:{variant.step.fn.__qualname__}",
            flag=variant.flag.name,
            default=variant.flag.default,
            when=variant.when,
            policies=policy_specs(variant.step.options.policies),
        )
        for variant in step.variants
    )


def _spec(kind: str, value: Any, whole: bool = False) -> PolicySpec:
    if isinstance(value, str) and kind in ("breaker", "limiter"):
        return PolicySpec(kind=kind, name=value)
    if not is_dataclass(value):
        return PolicySpec(kind=kind, options={kind: humanised(seconds(value))})
    found = {field.name: getattr(value, field.name) for field in fields(value)} | (_implied(value) if whole else {})
    given = {field.name for field in fields(value) if field.default is MISSING or found[field.name] != field.default}
    given |= {"attempts"} & found.keys()  # what a retry is about, whoever says it
    if whole:
        given |= {name for name, value in found.items() if value not in (None, ()) and not isinstance(value, Enum)}
    options = {name: _shown(name, found[name]) for name in found if name in given and name not in ("name", "limiter")}
    if kind == "limiter":
        inner = found.get("limiter")
        if inner is not None:
            return (base := _spec(kind, inner, whole)).model_copy(update={"options": {**base.options, **options}})
        options = {"type": type(value).__name__, **options}
    return PolicySpec(kind=kind, name=found.get("name"), options=options)


def _implied(value: Any) -> dict[str, Any]:
    """Return the options of a policy that are what others make of them."""
    match value:
        case Breaker(rules=rules):
            of_shares = {"minimum_calls": rules.minimum_calls if rules.of_shares else None}
            return {"failure_threshold": rules.failure_threshold, **of_shares}
        case Retry(delays=delays):
            return {"initial": min(delays.initial, delays.most), "jitter": delays.jitter}
        case RateLimit(capacity=capacity):
            return {"burst": capacity}
        case _:
            return {}


def _shown(name: str, value: Any) -> Any:
    """Return an option as JSON can hold it."""
    if value is None or isinstance(value, bool):
        return value
    if name in _DURATIONS:
        return humanised(seconds(value))
    if isinstance(value, int | float | str):
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(value, tuple):
        return [_shown(name, one) for one in value]
    named = getattr(value, "name", None) or getattr(value, "__qualname__", None)
    return named if isinstance(named, str) else repr(value)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
