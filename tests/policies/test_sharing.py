"""Whose states are: they live as long as what they belong to, and serve the loop that they belong to."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from awaitly import Breaker, Concurrency, Policies, RateLimit, Retry
from awaitly.errors import CircuitOpen
from awaitly.policies.belongings import Belongings
from awaitly.policies.breaker import Circuit
from awaitly.policies.rate import Bucket
from awaitly.policies.sharing import SHARED, Shared, shared
from awaitly.testing.clock import VirtualClock

Job = Callable[[], Awaitable[int]]


def job(*, fails: bool) -> Job:
    async def work() -> int:
        if fails:
            raise OSError("down")
        return 1

    return work


@pytest.fixture
def states() -> Shared:
    return Shared(VirtualClock())


def play(states: Shared, policies: Policies, *functions: Job) -> list[type]:
    async def story() -> list[type]:
        answers = [await asyncio.gather(policies.call(one), return_exceptions=True) for one in functions]
        return [type(answer) for (answer,) in answers]

    token = SHARED.set(states)
    try:
        return asyncio.run(story())
    finally:
        SHARED.reset(token)


def test_two_functions_of_one_name_do_not_share_a_breaker_without_a_name(states: Shared) -> None:
    bad = job(fails=True)
    found = play(states, Policies(breaker=Breaker(failure_threshold=1)), bad, job(fails=False), bad)
    assert found == [OSError, int, CircuitOpen]


def test_a_function_shares_its_breaker_without_a_name_with_equal_policies(states: Shared) -> None:
    bad = job(fails=True)
    assert play(states, Policies(breaker=Breaker(failure_threshold=1)), bad) == [OSError]
    assert play(states, Policies(breaker=Breaker(failure_threshold=1)), bad) == [CircuitOpen]


def test_a_method_owns_one_breaker_for_all_its_calls(states: Shared) -> None:
    class Client:
        async def ask(self) -> int:
            raise OSError("down")

    client = Client()
    found = play(states, Policies(breaker=Breaker(failure_threshold=1)), client.ask, client.ask)
    assert found == [OSError, CircuitOpen]


def test_nothing_is_kept_of_policies_that_nobody_has_any_more(states: Shared) -> None:
    kept = job(fails=False)
    for _ in range(3):
        play(states, Policies(retry=Retry(2), limiter=RateLimit("known", limit=9)), kept)
    gc.collect()
    assert len(states._kept) == 0


def test_nothing_is_kept_of_functions_that_nobody_has_any_more(states: Shared) -> None:
    policies = Policies(breaker=Breaker(), limiter=RateLimit(limit=9))
    for _ in range(3):
        play(states, policies, job(fails=False))
    gc.collect()
    assert not states.states(Circuit)
    assert not states._kept
    assert not states._owners


def test_nothing_is_kept_of_limiters_without_names_that_nobody_has_any_more(states: Shared) -> None:
    limiter = RateLimit(limit=1)
    bucket = limiter.state(states)
    assert limiter.state(states) is bucket
    assert len(states.states(Bucket)) == 1
    del limiter
    gc.collect()
    assert not states.states(Bucket)


def test_what_a_loop_has_does_not_keep_the_loop() -> None:
    places = Concurrency(limit=1)

    async def story() -> "weakref.ref[asyncio.AbstractEventLoop]":
        async def use() -> None:
            async with places:
                await asyncio.sleep(0)

        await asyncio.gather(use(), use())  # one waits, in this loop
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(story())
    gc.collect()
    assert loop() is None


def test_belongings_of_one_loop_are_apart() -> None:
    one: Belongings[str] = Belongings()
    other: Belongings[str] = Belongings()
    loop = asyncio.new_event_loop()
    one.put(loop, "one")
    assert (one.get(loop), other.get(loop)) == ("one", None)
    one.drop(loop)
    assert one.get(loop) is None
    loop.close()


def test_states_of_another_loop_are_not_used_here(states: Shared) -> None:
    states.loop = asyncio.new_event_loop()

    async def story() -> Shared:
        return shared()

    token = SHARED.set(states)
    try:
        assert asyncio.run(story()) is not states
        assert shared() is states  # where no loop runs, nobody waits
    finally:
        SHARED.reset(token)
        states.loop.close()
