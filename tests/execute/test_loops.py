"""A runtime is asked from other threads and loops too; what is asked happens in its own."""

import asyncio
import gc
import threading
import weakref

import pytest

from awaitly import Concurrency, Ok, gather, step, workflow
from awaitly.errors import RunStopped
from awaitly.execute.handles import Handle
from awaitly.model.facts import RunFinished, RunStarted
from awaitly.runtime import Runtime


@step
async def same(x: int) -> int:
    await asyncio.sleep(0)
    return x


@workflow
async def twice(x: int) -> int:
    return await same(x) + await same(x)


@step
def inside(x: int) -> int:
    return twice.run_sync(x).unwrap()


@workflow
async def nesting(count: int) -> int:
    return sum(await gather(*[inside(x) for x in range(count)]))


def test_a_thread_runs_workflows_on_the_runtime_that_it_comes_from(run) -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as rt:
            sync = [asyncio.to_thread(twice.run_sync, x) for x in range(20)]
            assert await asyncio.gather(*sync, twice.run(20)) == [Ok(2 * x) for x in range(21)]
            assert len(await rt.runs()) == 21

    run(story())


def test_a_plain_step_runs_workflows_on_its_own_runtime(run) -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as rt:
            results = await asyncio.gather(nesting.run(10), *[twice.run(x) for x in range(10)])
            assert results == [Ok(90), *[Ok(2 * x) for x in range(10)]]
            assert len(await rt.runs()) == 21

    run(story())


def test_a_handle_and_its_runtime_answer_in_any_loop(run) -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as rt:
            handle = await twice.options(id="r").start(1)

            async def elsewhere() -> list[type]:
                assert await handle.result() == Ok(2)
                assert (await rt.record("r")).status is await handle.status()
                other = await twice.options(id="other").start(3)
                assert isinstance(other, Handle)
                assert await other.result() == Ok(6)
                return [type(fact) async for fact in other.events()]

            facts = await asyncio.to_thread(asyncio.run, elsewhere())
            assert facts[0] is RunStarted
            assert facts[-1] is RunFinished

    run(story())


def test_a_runtime_whose_loop_has_ended_says_so() -> None:
    rt = Runtime(store="memory://")
    asyncio.run(rt.open())

    async def late() -> None:
        await rt.run(twice, 1)

    with pytest.raises(RunStopped, match="loop that does not run any more"):
        asyncio.run(late())


class Door:
    """A step's function waits at it in its own loop, while other threads go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = asyncio.Event()
        self.loops: list[asyncio.AbstractEventLoop] = []


_doors: list[Door] = []


@step(effect="read", limiter=Concurrency("one at a time", limit=1))
async def query(x: int) -> int:
    door = _doors[0]
    door.loops.append(asyncio.get_running_loop())
    if x == 0:
        door.entered.set()
        await door.open.wait()
    return x


@step(effect="read")
def legacy(x: int) -> int:
    assert _doors[0].entered.wait(20)
    return asyncio.run(query(x))


@workflow
async def querying() -> int:
    async def then_open() -> int:
        found = await legacy(2)
        _doors[0].open.set()
        return found

    return sum(await gather(query(0), then_open()))


@workflow(durable=False)
async def looking(x: int) -> int:
    return await query(x)


def test_a_plain_step_with_a_loop_of_its_own_has_limiters_of_its_own(run) -> None:
    async def story() -> None:
        _doors[:] = [Door()]
        async with Runtime(store="memory://"):
            assert await querying.run() == Ok(2)

    run(story())


def test_a_run_that_stores_nothing_runs_in_the_loop_of_its_runtime_too(run) -> None:
    async def story() -> None:
        door = Door()
        _doors[:] = [door]
        async with Runtime(store="memory://") as rt:
            first = asyncio.create_task(query(0))
            await asyncio.to_thread(door.entered.wait, 20)
            loop = asyncio.get_running_loop()

            async def elsewhere() -> object:
                second = asyncio.create_task(rt.run(looking, 1))
                await asyncio.sleep(0)
                loop.call_soon_threadsafe(door.open.set)
                return await second

            assert await asyncio.to_thread(asyncio.run, elsewhere()) == Ok(1)
            assert await first == 0
            assert door.loops == [loop, loop]

    run(story())


def test_a_loop_that_ran_workflows_is_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWAITLY_STORE", "memory://")

    async def story() -> "weakref.ref[asyncio.AbstractEventLoop]":
        assert await gather(twice.run(1), query(1)) == (Ok(2), 1)
        return weakref.ref(asyncio.get_running_loop())

    _doors[:] = [Door()]
    loop = asyncio.run(story())
    _doors.clear()
    gc.collect()
    assert loop() is None
