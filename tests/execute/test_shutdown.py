"""A runtime that shuts down finishes what it can and leaves the rest resumable."""

import asyncio
import gc
from pathlib import Path

import pytest

from awaitly import Cache, Ok, Runtime, gather, race, settle, sleep, step, workflow
from awaitly.errors import RunStopped, ShuttingDown
from tests.execute.scene import Scene, current_scene, none, read, write


@workflow
async def two(x: int) -> str:
    await write("a")
    return await write("b")


@workflow
async def leaf(x: int) -> str:
    return await write("leaf")


@workflow
async def parent(x: int) -> str:
    found = await leaf(x)
    return await write(found + "-parent")


@workflow
async def awaiting_late(x: int) -> str:
    later = sleep("1s")
    try:
        return await write("a")
    finally:
        await later


@workflow
async def racing(x: int) -> str:
    winner = await race(sleep_then("slow", "1h"), sleep_then("slower", "2h"))
    return await write(winner)


async def sleep_then(name: str, duration: str) -> str:
    await sleep(duration)
    return name


@workflow
async def tidy(x: int) -> str:
    try:
        await sleep("1h")
    finally:
        await write("cleaned up")
    return "x"


def test_an_effect_under_way_finishes_and_is_recorded(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 5
        async with scene.runtime(two) as rt:
            await rt.start(two.options(id="run"), 1)
            await scene.until("a")
            await rt.shutdown(go_on=0)
        assert scene.facts("run") == ["RunStarted", "StepFinished write#0 value"]
        async with scene.runtime(two) as rt:
            assert await (await rt.handle("run")).result() == Ok("b")
        assert scene.log == ["a", "a done", "b", "b done"]

    scene.play(story())


def test_a_parent_whose_child_is_interrupted_does_not_fail(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("leaf")
        async with scene.runtime(parent, leaf) as rt:
            await rt.start(parent.options(id="run"), 1)
            await scene.until("leaf")
            await rt.shutdown(0)
        scene.release("leaf")
        assert scene.facts("run") == ["RunStarted"]
        async with scene.runtime(parent, leaf) as rt:
            assert await (await rt.handle("run")).result() == Ok("leaf-parent")

    scene.play(story())


def test_who_waits_for_a_run_learns_that_it_stopped_here(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(racing) as rt:
            waiting = asyncio.create_task(rt.run(racing.options(id="run"), 1))
            await scene.turns()
            await rt.shutdown()
            with pytest.raises(RunStopped):
                await waiting

    scene.play(story())


def test_who_waits_learns_it_too_when_the_time_to_finish_is_over(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(two) as rt:
            waiting = asyncio.create_task(rt.run(two.options(id="run"), 1))
            await scene.until("a")
            await rt.shutdown(0)
            with pytest.raises(RunStopped):
                await waiting

    scene.play(story())


def test_the_time_to_finish_is_the_clocks(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(two) as rt:
            await rt.start(two.options(id="run"), 1)
            await scene.until("a")
            before = scene.clock.time()
            await rt.shutdown("20s")
            assert scene.clock.time() - before == pytest.approx(20, abs=1)

    scene.play(story())


def test_a_wait_that_begins_after_the_stop_is_refused_and_writes_nothing(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(awaiting_late) as rt:
            await rt.start(awaiting_late.options(id="run"), 1)
            await scene.until("a")
            await rt.shutdown(0)
        assert scene.facts("run") == ["RunStarted"]

    scene.play(story())


def test_a_race_that_is_interrupted_has_no_winner(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(racing) as rt:
            await rt.start(racing.options(id="run"), 1)
            await scene.turns()
            await rt.shutdown()
            await scene.clock.advance("1s")
        assert [fact.partition(" ")[0] for fact in scene.facts("run")] == ["RunStarted", "TimerSet", "TimerSet"]
        async with scene.runtime(racing) as rt:
            assert await (await rt.handle("run")).result() == Ok("slow")

    scene.play(story())


def test_finally_blocks_of_an_interrupted_run_have_no_effects(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(tidy) as rt:
            await rt.start(tidy.options(id="run"), 1)
            await scene.turns()
        assert scene.log == []
        async with scene.runtime(tidy) as rt:
            assert await (await rt.handle("run")).result() == Ok("x")
        assert scene.log == ["cleaned up", "cleaned up done"]

    scene.play(story())


def test_the_run_can_be_claimed_at_once_by_others(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(racing) as rt:
            await rt.start(racing.options(id="run"), 1)
        before = scene.clock.time()
        async with scene.runtime(racing) as rt:
            record = (await rt.runs())[0]
            assert record.owner is not None
        assert scene.clock.time() - before == pytest.approx(0, abs=0.1)

    scene.play(story())


def test_starting_is_refused_afterwards(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(two) as rt:
            await rt.shutdown()
            with pytest.raises(RunStopped):
                await rt.start(two, 1)

    scene.play(story())


async def tidying(name: str) -> str:
    return await write(name)


@workflow
async def gathering(x: int) -> str:
    try:
        await sleep("1h")
    finally:
        await settle(tidying("a"), tidying("b"))
        await gather(tidying("c"), tidying("d"))
        await race(tidying("e"), tidying("f"))
    return "x"


@workflow
async def racing_effects(x: int) -> str:
    return await race(write("fast"), write("slow"), read("look"))


@workflow
async def lazily(x: int) -> str:
    await gather(read("r"), none("n"))
    await sleep("1h")
    return "x"


def test_outcomes_that_nobody_waited_for_are_stored(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(lazily) as rt:
            await rt.start(lazily.options(id="run"), 1)
            await scene.until("n done")
            await scene.turns()
        assert len(scene.facts("run")) == 4

    scene.play(story())


def test_what_a_refused_call_was_given_is_not_reported_as_forgotten(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(gathering) as rt:
            await rt.start(gathering.options(id="run"), 1)
            await scene.turns()
        gc.collect()
        assert scene.log == []

    scene.play(story())


def test_a_handle_says_that_its_runtime_has_been_shut_down(scene: Scene, tmp_path: Path) -> None:
    async def story() -> None:
        async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as rt:
            handle = await rt.start(two.options(id="run"), 1)
        for asked in (handle.result, handle.status, handle.cancel):
            with pytest.raises(ShuttingDown, match="run 'run' was asked for after its runtime had been shut down"):
                await asked()

    asyncio.run(story())


def test_effects_that_end_in_the_instant_of_a_shutdown_are_recorded(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("fast")
        scene.hold("slow")
        scene.hold("look")
        async with scene.runtime() as rt:
            await rt.start(racing_effects.options(id="run"), 1)
            await scene.until("look")
            before = scene.clock.time()
            shutdown = asyncio.create_task(rt.shutdown())
            scene.release("fast")
            scene.release("slow")
            await shutdown
            assert scene.clock.time() == before
        ended = [fact for fact in scene.facts("run") if fact.startswith("StepFinished")]
        assert ended == ["StepFinished write#0 value", "StepFinished write#1 value"]

    scene.play(story())


@step(effect="read", cache=Cache("1h", where="store"))
async def unhurried(name: str) -> str:
    """Look something up to the end, whoever cancels it."""
    try:
        return await current_scene().act(name)
    except asyncio.CancelledError:
        await current_scene().act("the rest")
        return name


@workflow
async def looking_up(x: int) -> str:
    return await unhurried("pen")


def test_a_call_that_outlives_its_runtime_is_not_kept_and_nobody_complains(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        scene.hold("pen")
        scene.hold("the rest")
        async with scene.runtime() as rt:
            await rt.start(looking_up.options(id="run"), 1)
            await scene.until("pen")
            await rt.shutdown(0)
        scene.release("the rest")
        await scene.until("the rest done")
        await scene.turns()

    with caplog.at_level("WARNING", "awaitly"):
        scene.play(story())

    assert not caplog.records
