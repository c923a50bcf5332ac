"""Bulkheads: how many at once, who is next, and what a place needs to come back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from awaitly.errors import ConfigurationError, LimitReached
from awaitly.model.facts import Fact, LimiterRejected, LimiterWaited
from awaitly.policies.bulkhead import Bulkhead, Concurrency, Places
from awaitly.policies.course import Course
from awaitly.policies.sharing import SHARED, Shared
from awaitly.policies.turns import LimiterSnapshot
from awaitly.testing.clock import VirtualClock


class Guests:
    """Calls that stay until they are told to go."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.facts: list[Fact] = []
        self.shared = Shared(self.clock)
        self.inside: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}

    def course(self) -> Course:
        return Course(self.clock, "query", observe=self.facts.append, call="query#1")

    async def come(self, state: Bulkhead, name: str, cost: int = 1) -> asyncio.Task[str]:
        door = self._doors[name] = asyncio.Event()

        async def call() -> str:
            self.inside.append(name)
            try:
                await door.wait()
            finally:
                self.inside.remove(name)
            return name

        async def ask() -> str:
            return await state(call, self.course(), cost)

        task = asyncio.create_task(ask())
        await self.clock.settle()
        return task

    async def go(self, name: str) -> None:
        self._doors[name].set()
        await self.clock.settle()

    def play(self, story: Coroutine[Any, Any, object]) -> None:
        token = SHARED.set(self.shared)
        try:
            self.clock.run(story)
        finally:
            SHARED.reset(token)


@pytest.fixture
def guests() -> Guests:
    return Guests()


async def test_no_more_than_the_limit_are_inside_and_the_next_comes_when_one_goes(guests: Guests) -> None:
    state = Concurrency(limit=2).state(guests.shared)

    tasks = [await guests.come(state, name) for name in "abcd"]
    assert guests.inside == ["a", "b"]
    await guests.go("b")
    assert guests.inside == ["a", "c"]
    for name in "acd":
        await guests.go(name)

    assert await asyncio.gather(*tasks) == ["a", "b", "c", "d"]
    assert state.snapshot().available == 2


async def test_a_small_call_does_not_overtake_one_that_needs_several_places(guests: Guests) -> None:
    state = Concurrency(limit=2).state(guests.shared)

    for name, cost in (("a", 1), ("large", 2), ("small", 1)):
        await guests.come(state, name, cost)
    assert guests.inside == ["a"]
    await guests.go("a")
    assert guests.inside == ["large"]
    await guests.go("large")
    assert guests.inside == ["small"]
    await guests.go("small")


@pytest.mark.parametrize("error", [KeyError("gone"), asyncio.CancelledError()])
async def test_a_place_comes_back_however_the_call_ends(guests: Guests, error: BaseException) -> None:
    state = Concurrency(limit=1).state(guests.shared)

    async def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await state(fail, guests.course())

    assert state.try_acquire()


async def test_a_cancelled_waiter_gives_its_place_in_the_line_to_the_next(guests: Guests) -> None:
    state = Concurrency(limit=2).state(guests.shared)

    await guests.come(state, "a")
    large = await guests.come(state, "large", 2)
    await guests.come(state, "small")
    large.cancel()
    await guests.clock.settle()
    assert guests.inside == ["a", "small"]
    await guests.go("a")
    await guests.go("small")


async def test_a_place_granted_in_the_instant_of_the_cancellation_is_the_next_ones(guests: Guests) -> None:
    limiter = Concurrency(limit=1)
    state = limiter.state(guests.shared)

    await limiter.acquire()
    b = await guests.come(state, "b")
    await guests.come(state, "c")
    limiter.release()
    b.cancel()
    await guests.clock.settle()
    assert b.cancelled()
    assert guests.inside == ["c"]
    await guests.go("c")

    assert state.snapshot().available == 1


async def test_more_than_the_queue_allows_are_turned_away(guests: Guests) -> None:
    state = Concurrency("database", limit=1, queue=1).state(guests.shared)

    await guests.come(state, "a")
    await guests.come(state, "b")
    with pytest.raises(LimitReached, match="queue is 1") as caught:
        await (await guests.come(state, "c"))
    assert (caught.value.limiter, caught.value.retry_after) == ("database", None)
    await guests.go("a")
    await guests.go("b")


async def test_rejecting_does_not_wait(guests: Guests) -> None:
    state = Concurrency("database", limit=1, mode="reject").state(guests.shared)

    await guests.come(state, "a")
    with pytest.raises(LimitReached, match="1 at once") as caught:
        await (await guests.come(state, "b"))
    assert caught.value.retry_after is None
    await guests.go("a")
    await guests.come(state, "c")
    await guests.go("c")

    assert [type(fact) for fact in guests.facts] == [LimiterRejected]


async def test_a_call_that_has_waited_for_max_wait_is_turned_away(guests: Guests) -> None:
    state = Concurrency("database", limit=2, max_wait="2s").state(guests.shared)

    await guests.come(state, "a")
    large = await guests.come(state, "large", 2)
    await guests.clock.advance("1s")
    small = await guests.come(state, "small")
    assert guests.inside == ["a"]
    await guests.clock.advance("1s")
    with pytest.raises(LimitReached, match="max_wait=2s"):
        await large
    await guests.clock.settle()
    assert guests.inside == ["a", "small"]
    for name in ("a", "small"):
        await guests.go(name)

    assert await small == "small"


async def test_one_timer_serves_all_who_wait_for_so_long(guests: Guests) -> None:
    state = Concurrency(limit=1, max_wait="2s").state(guests.shared)

    def timers() -> int:
        return sum(not timer.cancelled for _, _, timer in guests.clock._timers)

    tasks = [await guests.come(state, name) for name in "abcd"]
    assert timers() == 1
    await guests.go("a")
    assert timers() == 1
    await guests.clock.advance("2s")
    assert timers() == 0
    await guests.go("b")
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [str, str, LimitReached, LimitReached]


async def test_waiting_is_told_with_its_seconds(guests: Guests) -> None:
    state = Concurrency("database", limit=1).state(guests.shared)

    await guests.come(state, "a")
    await guests.come(state, "b")
    await guests.clock.advance("3s")
    await guests.go("a")
    await guests.go("b")
    (fact,) = guests.facts

    assert isinstance(fact, LimiterWaited)
    assert (fact.limiter, fact.seconds) == ("database", pytest.approx(3))


async def test_steps_share_places_at_their_own_costs(guests: Guests) -> None:
    database = Concurrency("database", limit=3)
    report = database.costing(2).bound(guests.shared, "report")

    async def call() -> float:
        return database.snapshot().available

    assert await report(call, guests.course()) == 1
    assert await database.bound(guests.shared, "query")(call, guests.course()) == 2
    assert database.state(guests.shared).snapshot().available == 3


async def test_by_hand_it_serves_as_call_context_and_decorator(guests: Guests) -> None:
    database = Concurrency("database", limit=3)

    @database.costing(3)
    async def report() -> float:
        return database.snapshot().available

    async with database:
        assert database.snapshot().available == 2
    assert await report() == 0
    assert await database.call(report.__wrapped__) == 2  # type: ignore[attr-defined]
    await database.acquire(2)
    assert database.snapshot().available == 1
    database.release(2)
    places = database.costing(2)
    await places.acquire()
    places.release()

    assert database.snapshot() == LimiterSnapshot("database", 3, None, 3, 0)


async def test_giving_back_more_than_was_taken_is_refused(guests: Guests) -> None:
    database = Concurrency("database", limit=3)

    await database.acquire()
    with pytest.raises(ValueError, match="got 2 places back and 1 were taken"):
        database.release(2)
    database.release()


def test_costing_keeps_its_kind() -> None:
    places = Concurrency("database", limit=3).costing(2)

    assert places.costing(3) == Places(Concurrency("database", limit=3), 3)
    assert places.name == "database"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Concurrency(limit=0), r"Concurrency\(limit=\) is 0"),
        (lambda: Concurrency(limit=1.5), "whole number"),  # type: ignore[arg-type]
        (lambda: Concurrency(limit=1, queue=-1), "queue"),
        (lambda: Concurrency(limit=1, mode="queue"), "'wait', 'reject'"),  # type: ignore[arg-type]
        (lambda: Concurrency(limit=1, max_wait="soon"), "max_wait"),
        (lambda: Concurrency(limit=1).costing(2), "at most 1"),
        (lambda: Concurrency(limit=2).costing(0.5), "whole number"),  # type: ignore[arg-type]
    ],
)
def test_impossible_options_are_refused_where_they_are_written(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_places_outlive_the_loop_in_which_they_were_waited_for() -> None:
    clock = VirtualClock()
    state = Bulkhead(Concurrency(limit=1, max_wait="1m"), clock)

    async def wait() -> None:
        await state.acquire()

    loop = clock.new_loop()
    coroutines = [wait(), wait()]
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    loop.close()

    async def story() -> None:
        second = asyncio.create_task(state.acquire())
        await clock.settle()
        state.release()
        await second

    clock.run(story())
    tasks[1]._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutines[1].close()
