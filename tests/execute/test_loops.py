"""A runtime is asked from other threads and loops too; what is asked happens in its own."""

import asyncio

import pytest

from awaitly import Ok, gather, step, workflow
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
