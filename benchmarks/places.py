"""The same policies around the same function, wherever a call can be: what it costs with them and without."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from awaitly import Runtime, step, workflow
from guards.ours import bundle

CALLS = 100  # in a run


@step
async def plain(value: int) -> int:
    return value + 1


@step(policies=bundle("step"))
async def guarded(value: int) -> int:
    return value + 1


@workflow(durable=False)
async def local_plain(calls: int) -> int:
    done = 0
    for _ in range(calls):
        done += await plain(0)
    return done


@workflow(durable=False)
async def local_guarded(calls: int) -> int:
    done = 0
    for _ in range(calls):
        done += await guarded(0)
    return done


@workflow
async def durable_plain(calls: int) -> int:
    done = 0
    for _ in range(calls):
        done += await plain(0)
    return done


@workflow
async def durable_guarded(calls: int) -> int:
    done = 0
    for _ in range(calls):
        done += await guarded(0)
    return done


async def _function(value: int) -> int:
    return value + 1


Runs = Callable[[int], Awaitable[int]]
"""Makes so many calls and returns how many were right."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere to call from: with the policies and without."""

    guarded: Runs
    plain: Runs


def calling(call: Callable[[int], Awaitable[int]]) -> Runs:
    """Call something as often as asked."""

    async def calls(number: int) -> int:
        done = 0
        for _ in range(number):
            done += await call(0)
        return done

    return calls


_hand, _decorator = bundle("by hand"), bundle("decorator")

PLACES = {
    "a function, by `Policies(...).call`": Place(
        calling(lambda value: _hand.call(_function, value)), calling(_function)
    ),
    "a function that `@Policies(...)` decorates": Place(calling(_decorator(_function)), calling(_function)),
    "a step outside of any run": Place(calling(guarded), calling(plain)),
    "a step in a run of `@workflow(durable=False)`": Place(local_guarded, local_plain),
    "a step in a durable run, on the memory store": Place(durable_guarded, durable_plain),
}


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Open what the runs need."""
    async with Runtime(store="memory://"):
        yield
