"""One owner writes: leases, take-over, fences, recovery."""

import asyncio
from collections.abc import Sequence

from awaitly import Ok, sleep, workflow
from awaitly.errors import StoreError
from awaitly.execute.clock import pause
from awaitly.model.facts import StepStarted
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended
from tests.execute.scene import Scene, once, read, write


@workflow
async def two(x: int) -> str:
    await write("a")
    return await write("b")


@workflow
async def looks(x: int) -> str:
    await read("a")
    return await read("b")


@workflow
async def doomed(x: int) -> str:
    return await write("a")


@workflow
async def sleeping(x: int) -> str:
    await sleep("10m")
    return "slept"


def cut_off(scene: Scene) -> None:
    """Let the first store's renewals fail from now on: its process cannot reach the store."""

    async def away(owner: str) -> None:
        raise StoreError("the store is away", code="store-unavailable")

    scene.store.renew = away  # type: ignore[method-assign]


def test_the_run_of_a_silent_owner_is_taken_over(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(two, ttl=15) as here, scene.runtime(two, store=scene.view(), ttl=15) as there:
            await here.start(two.options(id="run"), 1)
            await scene.until("a")
            cut_off(scene)
            await scene.clock.advance("40s")
            scene.release("a")
            assert await (await there.handle("run")).result() == Ok("b")
            record = (await there.runs())[0]
            assert record.fence == 2
        assert scene.log.count("a") == 2
        assert scene.log.count("b") == 1

    scene.play(story())


def test_a_stale_owner_writes_nothing_and_stops(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(two) as here, scene.runtime(two, store=scene.view()) as there:
            handle = await here.start(two.options(id="run"), 1)
            await scene.until("a")
            cut_off(scene)
            await scene.clock.advance("40s")
            assert (await there.runs())[0].fence == 2
            scene.release("a")
            assert await handle.result() == Ok("b")
            assert await (await there.handle("run")).result() == Ok("b")
            fences = [fence for fence, _ in scene.memory._runs["run"].facts]
        assert fences[0] == 1
        assert set(fences[1:]) == {2}

    scene.play(story())


def test_losing_one_run_harms_no_other(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(two, doomed) as here:
            await here.start(two.options(id="lost"), 1)
            await here.start(doomed.options(id="kept"), 1)
            await scene.until("a")
            scene.memory._runs["lost"].fence += 1
            scene.memory._runs["lost"].owner = "another"
            scene.release("a")
            assert await (await here.handle("kept")).result() == Ok("a")

    scene.play(story())


def test_no_attempt_begins_while_the_lease_has_lapsed(scene: Scene) -> None:
    async def story() -> None:
        renew = scene.store.renew
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(two.options(id="run"), 1)
            await scene.until("a")
            cut_off(scene)
            await scene.clock.advance("40s")
            scene.release("a")
            await scene.clock.advance("5s")
            assert "b" not in scene.log
            scene.store.renew = renew  # type: ignore[method-assign]
            assert await handle.result() == Ok("b")

    scene.play(story())


def test_no_read_begins_either(scene: Scene) -> None:
    async def story() -> None:
        renew = scene.store.renew
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(looks.options(id="run"), 1)
            await scene.until("a")
            cut_off(scene)
            await scene.clock.advance("40s")
            scene.release("a")
            await scene.clock.advance("5s")
            assert "b" not in scene.log
            scene.store.renew = renew  # type: ignore[method-assign]
            assert await handle.result() == Ok("b")

    scene.play(story())


def test_unfinished_runs_are_taken_over_at_the_start(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            for number in range(20):
                await rt.start(sleeping.options(id=f"run{number}"), 1)
        async with scene.runtime(sleeping) as rt:
            await scene.clock.advance("11m")
            assert all(record.status is Status.SUCCEEDED for record in await rt.runs())

    scene.play(story())


def test_runs_of_workflows_that_join_later_are_taken_over_then(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(sleeping.options(id="old"), 1)
        async with scene.runtime() as rt:
            assert (await rt.runs())[0].status is Status.PENDING
            await rt.start(sleeping.options(id="new"), 2)
            await scene.turns()
            assert {record.status for record in await rt.runs()} == {Status.RUNNING}

    scene.play(story())


def test_a_run_that_kills_its_process_again_and_again_is_stuck_until_it_is_resumed(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        for _ in range(7):
            store = scene.view()
            async with scene.runtime(doomed, store=store) as rt:
                if not await rt.runs():
                    await rt.start(doomed.options(id="run"), 1)
                await scene.turns()
                for active in list(rt._engine.active.values()):  # type: ignore[union-attr]
                    active.run.stop(StoreError("dies", code="store-unavailable"))
        assert scene.log.count("a") <= 6
        scene.log.clear()
        scene.release("a")
        async with scene.runtime(doomed) as rt:
            await scene.clock.advance("1m")
            assert scene.log == [] or set(scene.log) == {"a done"}
            handle = await rt.resume("run")
            assert await handle.result() == Ok("a")

    scene.play(story())


def test_waiting_for_a_run_elsewhere_ends_when_its_owner_dies(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        there = scene.runtime(two, store=scene.view())
        async with scene.runtime(two) as here, there:
            await here.start(two.options(id="run"), 1)
            await scene.until("a")
            waiting = asyncio.create_task(there.run(two.options(id="run"), 1))
            cut_off(scene)
            await scene.clock.advance("40s")
            scene.release("a")
            assert await waiting == Ok("b")

    scene.play(story())


@workflow
async def precious(x: int) -> str:
    return await once("o")


def test_what_happens_once_does_not_begin_when_the_lease_lapsed_while_its_start_was_stored(scene: Scene) -> None:
    async def story() -> None:
        append, renew = scene.memory.append, scene.store.renew

        async def slowly(batch: Sequence[Append]) -> Sequence[Appended]:
            if any(isinstance(fact, StepStarted) for entry in batch for fact in entry.facts):
                cut_off(scene)
                await pause(scene.clock, 60)
            return await append(batch)

        scene.memory.append = slowly  # type: ignore[method-assign]
        async with scene.runtime() as rt:
            handle = await rt.start(precious.options(id="run"), 1)
            await scene.clock.advance("70s")
            assert scene.log == []
            assert scene.facts("run") == ["RunStarted", "StepStarted once#0"]
            scene.store.renew = renew  # type: ignore[method-assign]
            assert await handle.result() == Ok("o")

    scene.play(story())
