"""Every policy serves by itself: it calls or decorates any async function, with whatever arguments that takes."""

import asyncio
from typing import Any

import pytest

from awaitly import Breaker, Cache, Concurrency, Fallback, Hedge, Policies, RateLimit, Retry, SlidingWindow
from awaitly.model.facts import Fact
from awaitly.policies.clock import pause
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock

EVERY = (
    Retry(), Breaker(), RateLimit(limit=5), SlidingWindow(limit=5), Concurrency(limit=5), Fallback(value=""),
    Hedge("1s"), Cache("1h"), Policies(retry=2, timeout="5s"),
)  # fmt: skip

POLICIES = pytest.mark.parametrize("policy", EVERY, ids=lambda policy: type(policy).__name__)


async def joined(fn: str, *more: str, function: str, name: str = "c") -> str:
    """Join texts."""
    return "".join((fn, *more, function, name))


@POLICIES
def test_a_policy_calls_a_function_whatever_its_parameters_are_named(policy: Any) -> None:
    assert asyncio.run(policy.call(joined, fn="a", function="b")) == "abc"
    assert asyncio.run(policy.call(joined, "a", "x", function="b", name="d")) == "axbd"


@POLICIES
def test_a_decorated_function_keeps_its_name_and_docstring(policy: Any) -> None:
    decorated = policy(joined)

    assert asyncio.run(decorated("a", function="b")) == "abc"
    assert (decorated.__name__, decorated.__doc__) == ("joined", "Join texts.")
    assert asyncio.iscoroutinefunction(decorated)


def facts_of(policy: Any, *, fails: int = 0, lasts: float = 0, calls: int = 1) -> list[tuple[str, str]]:
    """Return the kinds of facts that a policy by itself tells of calls of a function, and what they call it."""
    clock, facts, errors = VirtualClock(auto=True), list[Fact](), [OSError("down")] * fails

    async def work() -> str:
        if lasts and len(errors) == fails:
            errors.append(OSError("it was begun"))
            await pause(clock, lasts)
        elif errors and not lasts:
            raise errors.pop()
        return "done"

    async def story() -> None:
        for _ in range(calls):
            assert await policy.call(work) == "done"

    token = SHARED.set(Shared(clock, facts.append))
    try:
        clock.run(story())
    finally:
        SHARED.reset(token)
    return [(type(fact).__name__, fact.step.rpartition(".")[2]) for fact in facts]


def test_every_policy_tells_by_itself_what_it_tells_of_steps() -> None:
    assert facts_of(Retry(2), fails=1) == [("StepRetrying", "work")]
    assert facts_of(Policies(retry=2), fails=1) == [("StepRetrying", "work")]
    assert facts_of(Fallback(value="done"), fails=1) == [("FallbackTaken", "work")]
    assert facts_of(Hedge("1s"), lasts=5) == [("StepHedged", "work")]
    assert facts_of(Cache("1h"), calls=2) == [("CacheHit", "work")]
    assert facts_of(RateLimit(limit=1), calls=2) == [("LimiterWaited", "work")]


def test_a_limiter_tells_of_waiting_for_it_in_a_context_too() -> None:
    clock, facts = VirtualClock(auto=True), list[Fact]()

    async def story() -> None:
        limiter = RateLimit("mint", limit=1)
        for _ in range(2):
            async with limiter:
                pass

    token = SHARED.set(Shared(clock, facts.append))
    try:
        clock.run(story())
    finally:
        SHARED.reset(token)
    assert [type(fact).__name__ for fact in facts] == ["LimiterWaited"]
