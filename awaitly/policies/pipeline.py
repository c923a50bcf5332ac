"""All the policies of a call, and the one order in which they lie around it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, TypeVar

from awaitly.errors import ConfigurationError
from awaitly.model.durations import Duration, seconds
from awaitly.model.names import nearest
from awaitly.policies.breaker import Breaker
from awaitly.policies.bulkhead import Concurrency, Places
from awaitly.policies.cache import Cache
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.fallback import Fallback
from awaitly.policies.hedge import Hedge
from awaitly.policies.options import check_duration, check_name, refuse
from awaitly.policies.retry import Retry
from awaitly.policies.sharing import Shared
from awaitly.policies.single import Single, called
from awaitly.policies.timeout import Deadline, Timeout
from awaitly.policies.turns import Costing, Limiter

T = TypeVar("T")


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class Policies(Single):
    """What is around a call; a bundle to reuse: ``STRIPE = Policies(retry=Retry(3), breaker=Breaker("stripe"))``.

    From the outside in: fallback, deadline, cache, retry, hedge, limiters, breaker, timeout.

    Args:
        fallback: What takes the call's place when it fails: a :class:`Fallback`, or a function or step.
        deadline: What the call may take with all its attempts and waits, a duration.
        cache: How long, and where, its outcome serves other calls; a duration keeps it in memory.
        retry: How often it is attempted again, and when; a number is that of the attempts.
        hedge: When a second attempt begins beside a slow one.
        limiter: One limiter or several, by declaration or by name. Whatever order they are given in, places
            (`Concurrency`) are taken first, in the order of their names, and then turns, the one of the longest
            period first.
        breaker: A circuit breaker, by declaration or by name.
        timeout: What one attempt may take, a duration.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    fallback: Fallback | Callable[..., Any] | None = None
    deadline: Duration | None = None
    cache: Cache | Duration | None = None
    retry: Retry | int | None = None
    hedge: Hedge | Duration | None = None
    limiter: Limiter | str | Sequence[Limiter | str] = ()
    breaker: Breaker | str | None = None
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        for name in ("deadline", "timeout"):
            if getattr(self, name) is not None:
                check_duration(getattr(self, name), f"{name}=")
        for name, normal in self._normal():
            object.__setattr__(self, name, normal)

    def _normal(self) -> Iterator[tuple[str, object]]:
        yield "fallback", _normal(self.fallback, Fallback, callable, Fallback, "give a Fallback, a function or a step")
        yield "cache", _normal(self.cache, Cache, _is_duration, Cache, 'give a Cache or a duration, such as "1h"')
        yield "retry", _normal(self.retry, Retry, _is_count, Retry, "give a Retry, or a number of attempts")
        yield "hedge", _normal(self.hedge, Hedge, _is_duration, Hedge, 'give a Hedge or a duration, such as "200ms"')
        yield "breaker", _normal(self.breaker, Breaker, _is_name, str, "give a Breaker, or the name of one")
        given = self.limiter if isinstance(self.limiter, Sequence) and not isinstance(self.limiter, str) else None
        yield "limiter", tuple(_limiter(entry) for entry in ((self.limiter,) if given is None else given))

    @property
    def empty(self) -> bool:
        """Whether nothing is around the call."""
        return all(not getattr(self, field.name) for field in fields(self))

    def given(self) -> dict[str, Any]:
        """Return the policies that there are, by name, from the outside in."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    @property
    def attempt_timeout(self) -> float | None:
        """The seconds that one attempt may take."""
        return None if self.timeout is None else seconds(self.timeout)

    def over(self, other: "Policies") -> "Policies":
        """Return these policies, and those of ``other`` where there are none here."""
        return replace(other, **self.given())

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        owner = states.owner(fn)
        return states.kept(self, owner, lambda: self._made(states, called(fn), owner))

    def _made(self, states: Shared, name: str, owner: str) -> Around:
        policies = states.in_force(name, self)
        limit = Timeout(policies.attempt_timeout)
        return compose([*layers(policies, states, owner), limit])


def bound_pipeline(policies: Policies, states: Shared, owner: str, *inner: Around) -> Around | None:
    """Return what lies around the attempts of a step, or None if nothing does; attempts end by themselves in time.

    Args:
        policies: What is in force.
        states: What the policies share.
        owner: The step's name.
        *inner: What lies between its deadline and its retries.
    """
    found = layers(policies, states, owner, *inner)
    return compose(found) if found else None


def layers(policies: Policies, states: Shared, owner: str, *inner: Around) -> list[Around]:
    """Return the policies bound to their states, from the outside in, down to the breaker.

    Raises:
        ConfigurationError: ``unknown-breaker`` or ``unknown-limiter``, for a name that nobody declared;
            ``policy-conflict``, for one that stands for another declaration.
    """
    found: list[Around] = []
    given: Any = resolved(policies, {}, {})  # normal: what was given in short is what it stands for
    if given.fallback is not None:
        found.append(given.fallback.bound(states, owner))
    if given.deadline is not None:
        found.append(Deadline(seconds(given.deadline)))
    found += inner
    if given.retry is not None:
        found.append(given.retry.bound(states, owner))
    if given.hedge is not None:
        found.append(given.hedge.bound(states, owner))
    circuit = None if given.breaker is None else given.breaker.bound(states, owner)
    if circuit is not None and given.limiter:
        found.append(circuit.gate)
    found += [limiter.bound(states, owner) for limiter in in_order(_apart(given.limiter, owner))]
    if circuit is not None:
        found.append(circuit)
    return found


def _apart(limiters: Sequence[Limiter], owner: str) -> list[Limiter]:
    """Return a step's limiters; of those of a kind that have no names, all but the first get one of their own."""
    known: Counter[type] = Counter()
    found: list[Limiter] = []
    for limiter in limiters:
        kind = type(limiter.limiter if isinstance(limiter, Costing) else limiter)
        known[kind] += limiter.name is None
        alone = limiter.name is not None or known[kind] == 1
        found.append(limiter if alone else limiter.named(f"{owner} {known[kind]}"))
    return found


def in_order(limiters: Sequence[Limiter]) -> list[Limiter]:
    """Return limiters in the order in which a call asks them.

    Bulkheads come in an order that all steps keep: else two could wait for each other. Rates come after them: calls
    that wait for places would save turns up, and begin all at once. Likewise the finest rate comes last.
    """
    bulkheads = sorted(filter(_holds, limiters), key=lambda bulkhead: bulkhead.name or "")
    rates = [limiter for limiter in limiters if not _holds(limiter)]
    return bulkheads + sorted(rates, key=_period, reverse=True)


def _holds(limiter: Limiter) -> bool:
    return isinstance(limiter, Concurrency | Places)


def _period(limiter: Limiter) -> float:
    declared = limiter.limiter if isinstance(limiter, Costing) else limiter
    return seconds(getattr(declared, "per", 0))


def resolved(policies: Policies, breakers: Mapping[str, Breaker], limiters: Mapping[str, Limiter]) -> Policies:
    """Return the policies with the declarations that their names stand for.

    Raises:
        ConfigurationError: ``unknown-breaker`` or ``unknown-limiter``.
    """
    given: Any = policies
    breaker = given.breaker
    if isinstance(breaker, str):
        breaker = _declared("breaker", breaker, breakers)
    limiter = tuple(_declared("limiter", one, limiters) if isinstance(one, str) else one for one in given.limiter)
    return replace(policies, breaker=breaker, limiter=limiter)


def _declared(kind: Literal["breaker", "limiter"], name: str, known: Mapping[str, T]) -> T:
    found = known.get(name)
    if found is None:
        close = nearest(name, known)
        raise ConfigurationError(
            f"{kind} {name!r} is named, and nobody declares one of that name",
            hint=f"did you mean {close!r}?" if close else f"give the {kind} itself, or import the module that has it",
            code="unknown-breaker" if kind == "breaker" else "unknown-limiter",
        )
    return found


def compose(around: Sequence[Around]) -> Around:
    """Return several layers, from the outside in, as one."""
    inwards = tuple(reversed(around))

    async def composed(call: Call[T], course: Course) -> T:
        for layer in inwards:
            call = partial(layer, call, course)
        return await call()

    return composed


def _normal(value: Any, kind: type, fits: Callable[[Any], bool], make: Callable[[Any], Any], allowed: str) -> Any:
    """Return a policy from what was given for it: itself, or something shorter that stands for it."""
    if value is None or isinstance(value, kind):
        return value
    if not fits(value):
        raise refuse(f"{kind.__name__.lower()}=", value, allowed)
    return make(value)


def _limiter(value: Any) -> Any:
    if isinstance(value, str):
        check_name(value, "limiter=")
    elif not isinstance(value, Limiter):
        raise refuse("limiter=", value, "give a RateLimit, a SlidingWindow, a Concurrency, or the name of one")
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    return not callable(value) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    check_name(value, "breaker=")
    return isinstance(value, str)
