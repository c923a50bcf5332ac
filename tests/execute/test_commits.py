"""Durable before effect, and no more commits than that needs."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context

import pytest

from awaitly import Ok, gather, sleep, workflow
from awaitly.errors import RunStopped, StoreError
from awaitly.execute.journal import Committer, Log
from awaitly.model.facts import Fact, RunFinished, RunReleased, RunResumed, TimeRead
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended
from tests.execute.scene import Scene, none, read, write


@workflow
async def effects(count: int) -> int:
    for index in range(count):
        await write(f"w{index}")
    return count


@workflow
async def reads(count: int) -> int:
    for index in range(count):
        await read(f"r{index}")
        await none(f"n{index}")
    return count


@workflow
async def read_then_write(x: int) -> str:
    found = await read("r")
    return await write(found + "w")


@workflow
async def read_then_wait(x: int) -> str:
    await read("r")
    await sleep("1h")
    return "x"


@workflow
async def read_then_look(x: int) -> str:
    await read("r")
    return await read("slow")


@workflow
async def both(x: int) -> str:
    a, b = await gather(write("a"), write("b"))
    return a + b


def test_n_effects_in_sequence_cost_n_plus_one_commits(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            for count in (0, 1, 2, 10):
                scene.store.appends = 0
                assert await rt.run(effects, count) == Ok(count)
                assert scene.store.appends == max(2, count + 1)

    scene.play(story())


def test_reads_ride_along(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(reads, 20) == Ok(20)
        assert scene.store.appends == 2

    scene.play(story())


def test_what_a_read_found_is_stored_before_an_effect_begins(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("rw")
        async with scene.runtime() as rt:
            await rt.start(read_then_write.options(id="run"), 1)
            await scene.until("rw")
            assert scene.facts("run") == ["RunStarted", "StepFinished read#0 value"]
            scene.release("rw")

    scene.play(story())


def test_a_read_that_no_effect_follows_is_stored_after_a_while(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["slow"] = 5
        async with scene.runtime() as rt:
            await rt.start(read_then_look.options(id="run"), 1)
            await scene.until("slow")
            assert scene.facts("run") == ["RunStarted"]
            await scene.clock.advance("200ms")
            assert scene.facts("run") == ["RunStarted", "StepFinished read#0 value"]

    scene.play(story())


def test_concurrent_runs_share_commits(scene: Scene) -> None:
    async def story() -> None:
        scene.store.turns = 5
        async with scene.runtime() as rt:
            await asyncio.gather(*[rt.run(effects.options(id=f"run{n}"), 3) for n in range(20)])
        assert scene.store.appends <= 10

    scene.play(story())


def test_a_journal_is_read_once_when_a_run_is_claimed(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(read_then_wait.options(id="run"), 1)
            await scene.turns()
        store = scene.view()
        async with scene.runtime(read_then_wait, store=store) as rt:
            await scene.turns()
            assert store.reads == 1
            assert store.appends == 0

    scene.play(story())


def test_effects_of_branches_wait_for_what_was_delivered_before_they_were_called(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(both.options(id="run"), 1) == Ok("ab")
        assert len(scene.facts("run")) == 4

    scene.play(story())


def test_a_run_goes_on_when_the_store_was_away_for_a_moment(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(effects) as rt:
            handle = await rt.start(effects.options(id="run"), 3)
            fail_once(scene, after=False)
            await scene.clock.advance("30s")
            assert await handle.status() is Status.SUCCEEDED

    scene.play(story())


def test_a_run_goes_on_when_a_commit_was_uncertain(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(effects) as rt:
            handle = await rt.start(effects.options(id="run"), 3)
            fail_once(scene, after=True)
            await scene.clock.advance("30s")
            assert await handle.status() is Status.SUCCEEDED
        assert all(scene.log.count(f"w{n}") <= 2 for n in range(3))

    scene.play(story())


def test_an_end_is_observed_once_it_is_stored(scene: Scene) -> None:
    observed: list[type[Fact]] = []
    stored = scene.memory.append
    away = [StoreError("the store is away", code="store-unavailable")]

    async def failing(batch: Sequence[Append]) -> Sequence[Appended]:
        if away and any(isinstance(fact, RunFinished) for append in batch for fact in append.facts):
            raise away.pop()
        return await stored(batch)

    async def story() -> None:
        runtime = scene.runtime(effects)
        runtime.watch(lambda notice: observed.append(type(notice.fact)))
        async with runtime as rt:
            handle = await rt.start(effects.options(id="run"), 1)
            await scene.clock.advance("30s")
            assert await handle.status() is Status.SUCCEEDED

    scene.memory.append = failing  # type: ignore[method-assign]  # a store that is away for a moment
    scene.play(story())

    ends = [kind for kind in observed if kind in (RunReleased, RunResumed, RunFinished)]
    assert ends == [RunReleased, RunResumed, RunFinished]


def test_a_run_whose_start_was_uncertain_is_executed(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(effects) as rt:
            fail_once(scene, after=True)
            with suppress(StoreError):
                await rt.start(effects.options(id="run"), 3)
            await scene.clock.advance("30s")
            assert await (await rt.handle("run")).result() == Ok(3)

    scene.play(story())


def test_a_store_that_raises_what_it_should_not_leaves_no_run_hanging(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(effects) as rt:
            handle = await rt.start(effects.options(id="run"), 3)
            fail_once(scene, after=False, error=OSError("disk"))
            await scene.clock.advance("30s")
            assert await handle.status() is Status.SUCCEEDED

    scene.play(story())


def fail_once(scene: Scene, *, after: bool, error: Exception | None = None) -> None:
    """Let the next append fail, before or after it has stored."""
    append = scene.memory.append

    async def failing(batch):  # type: ignore[no-untyped-def]  # whatever a store is given
        scene.memory.append = append  # type: ignore[method-assign]  # only once
        if after:
            await append(batch)
        raise error or StoreError("the store is away", code="store-unavailable")

    scene.memory.append = failing  # type: ignore[method-assign]  # the store blips


def test_a_committer_whose_loop_ends_before_it_could_begin_says_so_and_is_done(scene: Scene) -> None:
    """As the end of ``asyncio.run`` cancels every task, also one that has had no turn yet."""

    async def story() -> None:
        committer = Committer(scene.store, scene.clock, copy_context())
        log = Log(committer, "r", "owner", 1, 0)
        log.append(TimeRead(at=1.0, call="now#0"))
        log.flush()
        assert committer._worker is not None
        committer._worker.cancel()

        await committer.drain()

        with pytest.raises(RunStopped):
            await log.barrier()

    scene.play(story())


def test_what_a_failed_log_lost_is_not_stored_by_what_is_said_of_the_run_later(scene: Scene) -> None:
    async def story() -> None:
        log = Log(Committer(scene.store, scene.clock, copy_context()), "r", "owner", 1, 0)
        log.append(TimeRead(at=1.0, call="now#0"))
        log.fail(StoreError("the store is away", code="store-unavailable"))

        log.settle(log.take(), Appended.STORED)

        assert log.unstored

    scene.play(story())
