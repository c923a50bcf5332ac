"""Every policy serves by itself: it calls or decorates any async function, with whatever arguments that takes."""

import asyncio
from typing import Any

import pytest

from awaitly import Breaker, Cache, Concurrency, Fallback, Hedge, Policies, RateLimit, Retry, SlidingWindow

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
