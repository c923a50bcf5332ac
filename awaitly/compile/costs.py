"""What a call of a step may cost in time, from the policies around it.

Not counted is what is not the step's own: a longer delay that a server or limiter asks for, another call's work that a
cached step waits for, and a thread that goes on after its timeout.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from awaitly.compile.budget import NOTHING, Budget, Part, longest
from awaitly.declare.step import Step
from awaitly.model.durations import humanised, seconds
from awaitly.model.program import StepBinding
from awaitly.policies.breaker import Breaker
from awaitly.policies.fallback import Fallback
from awaitly.policies.pipeline import Policies
from awaitly.policies.retry import Retry
from awaitly.policies.turns import Costing

LISTED = 3  # delays that a sum shows one by one


class Costs:
    """The time that calls of steps take at most.

    Args:
        in_force: Gives the policies of a step that are in force, by its name and those declared.
    """

    def __init__(self, in_force: Callable[[str, Policies], Policies]) -> None:
        self._in_force = in_force
        self._known: dict[str, Budget] = {}

    def call(self, binding: StepBinding) -> Budget:
        """Return the longest that a call of a step takes, whichever of its variants is chosen."""
        known = self._known.get(binding.name)
        if known is None:
            ways = [self._one(one.name, one.policies) for one in _chosen(binding)]
            known = self._known[binding.name] = longest(ways) or NOTHING
        return known

    def lingering(self, binding: StepBinding) -> float:
        """Return how long an attempt goes on after its call was cancelled: an effect that is under way is finished."""
        if not binding.effect.guarded:
            return 0.0
        policies = (self._in_force(one.name, one.policies) for one in _chosen(binding))
        return max(_attempt_limit(each) for each in policies)

    def _one(self, name: str, declared: Policies, above: frozenset[str] = frozenset()) -> Budget:
        policies = self._in_force(name, declared)
        cost = _limited(name, policies, _retried(name, policies))
        fallback = policies.fallback
        return cost.then(self._answer(name, fallback, above | {name})) if isinstance(fallback, Fallback) else cost

    def _answer(self, name: str, fallback: Fallback, above: frozenset[str]) -> Budget:
        """Return what a fallback takes: nothing for a value, and its own policies' time for a step."""
        to: Any = fallback.to
        if isinstance(to, Step):
            return NOTHING if to.name in above else self._one(to.name, to.options.policies, above)
        if not callable(to):
            return NOTHING
        return Budget(unlimited=(f"the fallback of step {name} is a function, which has no timeout",))


def _chosen(binding: StepBinding) -> Iterator[StepBinding]:
    yield binding
    yield from (variant.binding for variant in binding.variants)


def _attempt_limit(policies: Policies) -> float:
    limits = [policies.attempt_timeout] if policies.attempt_timeout is not None else []
    if policies.deadline is not None:
        limits.append(seconds(policies.deadline))
    return min(limits, default=math.inf)


def _limited(name: str, policies: Policies, cost: Budget) -> Budget:
    """Return a cost cut by the call's deadline."""
    if policies.deadline is None:
        return cost
    limit = seconds(policies.deadline)
    if not cost.unlimited and cost.seconds <= limit:
        return cost
    return Budget((Part(name, limit, reason="its deadline"),))


def _retried(name: str, policies: Policies) -> Budget:
    """Return all attempts with their waits and the delays between them."""
    waits, text, unlimited = _attempt(name, policies)
    retry = policies.retry
    if not isinstance(retry, Retry) or retry.attempts == 1:
        return Budget((Part(name, waits, text),), unlimited)
    within = math.inf if retry.within is None else seconds(retry.within)
    delays = [] if retry.attempts is None else [retry.delays.ceiling(n) for n in range(1, retry.attempts)]
    total = math.inf if retry.attempts is None else retry.attempts * waits + sum(delays)
    if within + waits < total:
        terms = [f"{humanised(within)} until its last attempt", *([text] if text else [])]
        return Budget((Part(name, within + waits, " + ".join(terms)),), unlimited)
    each = f"({text})" if " + " in text else text
    attempts = [f"{retry.attempts} x {each}"] if text else []
    return Budget((Part(name, total, " + ".join([*attempts, *_listed(delays)])),), unlimited)


def _listed(delays: list[float]) -> list[str]:
    shown = [delay for delay in delays if delay]
    if len(shown) <= LISTED:
        return [humanised(delay) for delay in shown]
    return [f"{humanised(sum(shown))} between them"]


def _attempt(name: str, policies: Policies) -> tuple[float, str, tuple[str, ...]]:
    """Return the known time of one attempt, how it comes about, and what has no limit."""
    terms: list[tuple[float, str]] = []
    unlimited: list[str] = []
    given: Any = policies
    if policies.timeout is None:
        unlimited.append(f"step {name} has no timeout")
    else:
        terms.append((seconds(policies.timeout), humanised(seconds(policies.timeout))))
    if given.hedge is not None:
        later = seconds(given.hedge.after) * given.hedge.extra
        terms.append((later, f"{humanised(later)} until its last hedge"))
    for limiter in given.limiter:
        _wait_for_turn(name, limiter, terms, unlimited)
    if isinstance(given.breaker, Breaker) and given.breaker.when_open == "wait":
        _wait_for_circuit(name, given.breaker, terms, unlimited)
    return sum(time for time, _ in terms), " + ".join(text for _, text in terms), tuple(unlimited)


def _wait_for_turn(name: str, limiter: Any, terms: list[tuple[float, str]], unlimited: list[str]) -> None:
    declared: Any = limiter.limiter if isinstance(limiter, Costing) else limiter
    if isinstance(declared, str) or declared.mode != "wait":
        return
    called = f"limiter {declared.name}" if declared.name else "its limiter"
    if declared.max_wait is None:
        unlimited.append(f"step {name} waits for {called} without max_wait")
    elif seconds(declared.max_wait):
        terms.append((seconds(declared.max_wait), f"{humanised(seconds(declared.max_wait))} for {called}"))


def _wait_for_circuit(name: str, breaker: Breaker, terms: list[tuple[float, str]], unlimited: list[str]) -> None:
    called = f"breaker {breaker.name}" if breaker.name else "its breaker"
    rules = breaker.rules
    once = rules.reset_timeout if rules.reset_growth == 1 or math.isinf(rules.reset_max) else rules.reset_max
    terms.append((once, f"{humanised(once)} for {called}"))
    unlimited.append(f"step {name} waits for {called} as long as it is open")
