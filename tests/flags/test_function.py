"""Flags that a function decides."""

import asyncio
from functools import partial

import pytest

from awaitly.flags.function import Decider, FunctionFlags
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue

CONTEXT = FlagContext("order:7", "checkout", {"tier": "gold"})


def by_tier(flag: str, context: FlagContext) -> bool | None:
    return context.metadata["tier"] == "gold" if flag == "new-flow" else None


async def later(flag: str, context: FlagContext) -> FlagValue | None:
    await asyncio.sleep(0)
    return by_tier(flag, context)


class Tiers:
    def __call__(self, flag: str, context: FlagContext) -> FlagValue | None:
        return by_tier(flag, context)


def decision(function: Decider, name: str = "new-flow") -> Decision | None:
    return asyncio.run(FunctionFlags(function).decide(Flag(name), CONTEXT))


@pytest.mark.parametrize(
    ("function", "called"),
    [(by_tier, "by_tier"), (later, "later"), (Tiers(), "Tiers"), (partial(later), "partial")],
)
def test_the_functions_value_is_the_decision(function: Decider, called: str) -> None:
    assert decision(function) == Decision(True, "function", reason=f"returned by {called}")


@pytest.mark.parametrize("function", [by_tier, later, Tiers()])
def test_none_means_that_the_function_does_not_know_the_flag(function: Decider) -> None:
    assert decision(function, "other") is None


def test_it_cannot_be_said_which_flags_a_function_knows() -> None:
    assert FunctionFlags(by_tier).knows("new-flow") is None


def test_what_the_function_raises_passes_through() -> None:
    def broken(flag: str, context: FlagContext) -> bool:
        raise LookupError(flag)

    with pytest.raises(LookupError, match="new-flow"):
        decision(broken)
