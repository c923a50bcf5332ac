"""How many runs are executed here at once, and what becomes of the others."""

import asyncio

import pytest

from awaitly import Err, Ok, Runtime, sleep, step, workflow
from awaitly.errors import Overloaded, RunCancelled, ShuttingDown, UnexpectedError
from awaitly.model.state import Status
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock


@step
async def note(number: int) -> int:
    return number


@workflow(key="slow:{number}")
async def slow(number: int) -> int:
    await sleep("10s")
    return await note(number)


@workflow(key="parent:{number}")
async def parent(number: int) -> int:
    return await slow(number)


def limited(clock: VirtualClock, most: int, overload: str = "queue", store: str = "memory://") -> Runtime:
    return Runtime(Settings(max_active_runs=most, overload=overload), store=store, clock=clock)


def test_runs_beyond_the_limit_wait_in_the_order_in_which_they_came() -> None:
    clock = VirtualClock()

    async def story() -> list[float]:
        ends: list[float] = []

        async def one(number: int) -> None:
            assert await rt.run(slow, number) == Ok(number)
            ends.append(clock.now)

        async with limited(clock, 2) as rt:
            begun = clock.now
            runs = [asyncio.create_task(one(number)) for number in range(6)]
            await clock.advance("31s")
            await asyncio.gather(*runs)
            return [end - begun for end in ends]

    assert clock.run(story()) == pytest.approx([10, 10, 20, 20, 30, 30], abs=0.01)


def test_a_run_that_waits_counts_as_running_and_can_be_cancelled() -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with limited(clock, 1) as rt:
            first = await rt.start(slow, 1)
            second = await rt.start(slow, 2)
            assert await second.status() is Status.RUNNING
            await second.cancel("no longer wanted")
            await clock.advance("11s")
            assert await first.result() == Ok(1)
            await clock.advance("1s")
            match await second.result():
                case Err(RunCancelled()):
                    pass
                case other:
                    raise AssertionError(other)

    clock.run(story())


def test_a_run_is_refused_where_others_do_not_wait_and_nothing_of_it_is_stored() -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with limited(clock, 1, "reject") as rt:
            first = await rt.start(slow, 1)
            with pytest.raises(Overloaded) as refused:
                await rt.start(slow, 2)
            assert refused.value.retryable
            assert [record.id for record in await rt.runs()] == ["slow:1"]
            await clock.advance("11s")
            assert await first.result() == Ok(1)
            second = await rt.start(slow, 2)
            await clock.advance("11s")
            assert await second.result() == Ok(2)

    clock.run(story())


def test_who_asks_for_a_run_that_exists_is_not_refused() -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with limited(clock, 1, "reject") as rt:
            done = await rt.start(slow, 1)
            await clock.advance("11s")
            await done.result()
            await rt.start(slow, 2)
            assert await rt.run(slow, 1) == Ok(1)

    clock.run(story())


def test_children_are_executed_beyond_the_limit_as_their_parents_wait_for_them() -> None:
    clock = VirtualClock(auto=True)

    async def story() -> list[Ok[int] | Err[Exception] | Err[UnexpectedError]]:
        async with limited(clock, 1) as rt:
            return list(await asyncio.gather(*(rt.run(parent, number) for number in range(3))))

    assert clock.run(story()) == [Ok(0), Ok(1), Ok(2)]


def test_what_waits_when_the_runtime_is_shut_down_is_continued_by_the_next_one(tmp_path: object) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"

    async def first(clock: VirtualClock) -> None:
        async with limited(clock, 1, store=store) as rt:
            for number in range(3):
                await rt.start(slow, number)

    async def second(clock: VirtualClock) -> list[Ok[int] | Err[Exception] | Err[UnexpectedError]]:
        async with Runtime(Settings(), store=store, clock=clock, workflows=[slow]) as rt:
            return [await (await rt.handle(f"slow:{number}")).result() for number in range(3)]

    once, again = VirtualClock(), VirtualClock(auto=True)
    once.run(first(once))
    assert again.run(second(again)) == [Ok(0), Ok(1), Ok(2)]


def test_a_run_that_is_started_during_a_shutdown_is_told_so() -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with limited(clock, 9) as rt:
            await rt.start(slow, 1)
            stopping = asyncio.create_task(rt.shutdown("5s"))
            await asyncio.sleep(0)
            with pytest.raises(ShuttingDown) as refused:
                await rt.start(slow, 2)
            assert refused.value.retryable
            await stopping

    clock.run(story())
