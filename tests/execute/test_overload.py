"""How many runs are executed here at once, and what becomes of the others."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from awaitly import Err, Ok, RunHandle, Runtime, sleep, workflow
from awaitly.errors import (
    CorruptCheckpoint,
    DeadlineExceeded,
    Overloaded,
    RunCancelled,
    RunRefused,
    ShuttingDown,
    StoreError,
)
from awaitly.model.facts import (
    Fact,
    RunAdmitted,
    RunFinished,
    RunQueued,
    RunReleased,
    RunResumed,
    RunStarted,
    StepFinished,
)
from awaitly.model.notice import Notice
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended, Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.testing.crash import CrashingStore, Life
from tests.execute.scene import Scene, write


@workflow(key="slow:{name}")
async def slow(name: str) -> str:
    await sleep("10s")
    return await write(name)


@workflow(key="job:{name}")
async def job(name: str) -> str:
    return await write(name)


@workflow(key="tidy:{name}")
async def tidy(name: str) -> str:
    beside = asyncio.create_task(write("beside"))
    try:
        return await write(name)
    except asyncio.CancelledError:
        return await write("tidied") + await beside


@workflow(key="parent:{name}")
async def parent(name: str) -> str:
    return await slow(name)


def limited(
    scene: Scene, most: int, overload: str = "queue", *, store: Store | None = None, recover: bool = True
) -> Runtime:
    settings, workflows = Settings(max_active_runs=most, overload=overload), [job, slow]
    return Runtime(settings, store=store or scene.store, clock=scene.clock, workflows=workflows, recover=recover)


def statuses(scene: Scene) -> dict[str, Status]:
    """Return the statuses of all runs, as any process sees them in the store."""
    return {name: run.status for name, run in scene.memory._runs.items()}


def error_of(result: object) -> object:
    assert isinstance(result, Err)
    return result.error


async def held(scene: Scene, rt: Runtime, name: str) -> RunHandle[str, Any]:
    """Start a run that takes a place until its name is released."""
    scene.hold(name)
    handle = await rt.start(job, name)
    await scene.until(name)
    return handle


# Waiting.


async def test_runs_beyond_the_limit_wait_in_the_order_in_which_they_came(scene: Scene) -> None:
    begun, ends = scene.clock.now, list[float]()

    async def one(name: str) -> None:
        assert await rt.run(slow, name) == Ok(name)
        ends.append(scene.clock.now - begun)

    async with limited(scene, 2) as rt:
        await asyncio.gather(*(one(name) for name in "abcdef"))

    assert ends == pytest.approx([10, 10, 20, 20, 30, 30], abs=0.01)
    assert [entry for entry in scene.log if "done" not in entry] == list("abcdef")


async def test_whoever_looks_into_the_store_sees_that_a_run_is_queued(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        first = await held(scene, rt, "a")
        second = await rt.start(job, "b")
        assert statuses(scene) == {"job:a": Status.RUNNING, "job:b": Status.QUEUED}
        assert [record.id for record in await rt.runs(status=Status.QUEUED)] == ["job:b"]

        scene.hold("b")
        scene.release("a")
        await first.result()
        await scene.until("b")
        await scene.turns()
        assert (await second.status(), statuses(scene)["job:b"]) == (Status.RUNNING, Status.RUNNING)
        scene.release("b")
        assert await second.result() == Ok("b")


async def test_so_is_each_of_many_that_are_started_at_once(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        scene.hold("a")
        await asyncio.gather(*(rt.start(job, name) for name in "abc"))
        assert list(statuses(scene).values()) == [Status.RUNNING, Status.QUEUED, Status.QUEUED]
        scene.release("a")


async def test_a_run_that_had_room_is_stored_with_no_more_commits_than_without_a_limit(scene: Scene) -> None:
    appends: list[Append] = []

    async def noted(batch: Any) -> Any:
        appends.extend(batch)
        return await scene.memory.append(batch)

    scene.store.append = noted  # type: ignore[method-assign]  # the edge of the world is looked at
    async with limited(scene, 1) as rt:
        assert await rt.run(job, "a") == Ok("a")
    assert [(len(append.facts), append.waits) for append in appends] == [(1, None), (2, None)]


async def test_children_are_executed_beyond_the_limit_as_their_parents_wait_for_them(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        assert await asyncio.gather(*(rt.run(parent, name) for name in "abc")) == [Ok("a"), Ok("b"), Ok("c")]


async def test_who_starts_a_run_that_waits_joins_it(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        await rt.start(job, "b")
        again = await rt.start(job, "b")
        with pytest.raises(RunRefused):
            await rt.start(job.options(attach=False), "b")
        assert rt.state().queued == 1
        scene.release("a")
        assert await again.result() == Ok("b")
    assert scene.log.count("b") == 1


async def test_a_run_whose_arguments_do_not_fit_takes_no_place(scene: Scene) -> None:
    @workflow(name="job", key="job:{name}")
    async def narrower(name: int) -> str:
        return await write(str(name))

    async with scene.runtime() as rt:
        await held(scene, rt, "a")
        await rt.shutdown(0)
    async with Runtime(Settings(max_active_runs=1), store=scene.view(), clock=scene.clock, recover=False) as rt:
        rt.library.add([narrower, slow])
        with pytest.raises(CorruptCheckpoint):
            await rt.resume("job:a")
        assert await rt.run(slow, "b") == Ok("b")


# Asked to end while it waits.


async def test_a_run_that_waits_is_cancelled_at_once_and_nothing_of_it_happens(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        queued = [await rt.start(job, name) for name in "bc"]
        await queued[0].cancel("no longer wanted")

        error = error_of(await queued[0].result())
        assert isinstance(error, RunCancelled)
        assert error.message == "no longer wanted"
        assert (rt.state().active, rt.state().queued) == ({"job": 1}, 1)
        scene.release("a")
        assert await queued[1].result() == Ok("c")
    assert [entry for entry in scene.log if "done" not in entry] == ["a", "c"]


async def test_what_its_body_does_about_that_is_done(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        queued = await rt.start(tidy, "b")
        await queued.cancel()

        assert await queued.result() == Ok("tidiedbeside")
        scene.release("a")
    assert "b" not in scene.log
    assert "StepCancelled write#1" in scene.facts("tidy:b")


async def test_so_is_one_whose_cancellation_another_process_asks_for(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        queued = await rt.start(job, "b")
        await scene.memory.request_cancel("job:b", "no longer wanted")

        assert isinstance(error_of(await queued.result()), RunCancelled)
        scene.release("a")
    assert "b" not in scene.log


async def test_a_deadline_does_not_wait_for_room_and_nothing_of_its_run_happens(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        begun = scene.clock.now
        queued = await rt.start(job.options(deadline="3s"), "b")

        assert isinstance(error_of(await queued.result()), DeadlineExceeded)
        assert scene.clock.now - begun == pytest.approx(3, abs=0.1)
        scene.release("a")
    assert "b" not in scene.log


async def test_a_run_that_waited_keeps_its_deadline(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        first = await rt.start(slow, "a")
        queued = await rt.start(slow.options(deadline="15s"), "b")

        assert await first.result() == Ok("a")
        begun = scene.clock.now
        assert isinstance(error_of(await queued.result()), DeadlineExceeded)
        assert scene.clock.now - begun == pytest.approx(5, abs=0.1)


# Refusing.


async def test_a_run_is_refused_where_others_do_not_wait_and_nothing_of_it_is_stored(scene: Scene) -> None:
    async with limited(scene, 1, "reject") as rt:
        first = await held(scene, rt, "a")
        with pytest.raises(Overloaded) as refused:
            await rt.start(job, "b")
        assert refused.value.retryable
        assert list(statuses(scene)) == ["job:a"]
        scene.release("a")
        assert await first.result() == Ok("a")
        assert await rt.run(job, "b") == Ok("b")


async def test_so_are_those_of_many_at_once_that_come_too_late(scene: Scene) -> None:
    async with limited(scene, 2, "reject") as rt:
        found = await asyncio.gather(*(rt.run(slow, name) for name in "abcde"), return_exceptions=True)
        assert found[:2] == [Ok("a"), Ok("b")]
        assert [type(each) for each in found[2:]] == [Overloaded] * 3
        assert list(statuses(scene)) == ["slow:a", "slow:b"]


async def test_who_asks_for_a_run_that_exists_is_not_refused(scene: Scene) -> None:
    async with limited(scene, 1, "reject") as rt:
        assert await rt.run(job, "a") == Ok("a")
        second = await held(scene, rt, "b")
        assert await rt.run(job, "a") == Ok("a")
        again = await rt.start(job, "b")
        scene.release("b")
        assert (await again.result(), await second.result()) == (Ok("b"), Ok("b"))


async def test_a_start_that_finds_its_run_leaves_its_place_to_others(scene: Scene) -> None:
    async with limited(scene, 1, "reject") as rt:
        for _ in range(3):
            assert await rt.run(job, "a") == Ok("a")
        assert await rt.run(job, "b") == Ok("b")


# The end of the process.


async def test_what_waits_when_the_runtime_is_shut_down_is_continued_by_the_next_one(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        for name in "abc":
            await rt.start(slow, name)
    assert set(statuses(scene).values()) == {Status.PENDING}

    async with scene.runtime(slow, store=scene.view()) as rt:
        assert [await (await rt.handle(f"slow:{name}")).result() for name in "abc"] == [Ok("a"), Ok("b"), Ok("c")]
    assert [entry for entry in scene.log if "done" not in entry] == ["a", "b", "c"]


async def test_a_run_that_ends_while_those_that_wait_are_given_back_lets_none_of_them_begin(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        first = await held(scene, rt, "a")
        for name in "bcd":
            await rt.start(job, name)
        release = scene.store.release

        async def slowly(*given: Any, **options: Any) -> None:
            if "a" in scene._gates:
                scene.release("a")
                await first.result()
            await release(*given, **options)

        scene.store.release = slowly  # type: ignore[method-assign]  # the edge of the world is slow
        closed = await rt.shutdown()

    assert (closed.ended, sorted(closed.left)) == (1, ["job:b", "job:c", "job:d"])
    assert scene.log == ["a", "a done"]
    assert statuses(scene)["job:b"] is Status.PENDING


async def test_who_waits_for_a_run_that_was_queued_is_told_of_the_shutdown(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        waiting = asyncio.ensure_future(rt.run(job, "b"))
        await scene.turns()
        scene.release("a")
        await rt.shutdown()
        with pytest.raises(ShuttingDown):
            await waiting


async def test_a_run_that_is_started_during_a_shutdown_is_told_so(scene: Scene) -> None:
    async with limited(scene, 9) as rt:
        await rt.start(slow, "a")
        stopping = asyncio.create_task(rt.shutdown("5s"))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown) as refused:
            await rt.start(slow, "b")
        assert refused.value.retryable
        await stopping


def test_queued_runs_of_a_process_that_was_killed_go_on_in_the_order_in_which_they_came(scene: Scene) -> None:
    life = Life()

    async def until_killed() -> None:
        async with limited(scene, 1, store=CrashingStore(scene.memory, life)) as rt:
            await held(scene, rt, "a")
            for name in "bcd":
                await rt.start(job, name)
            life.die()
            await scene.turns()

    async def afterwards() -> None:
        assert list(statuses(scene).values()) == [Status.RUNNING, *[Status.QUEUED] * 3]
        async with limited(scene, 1, store=scene.view()) as rt:
            handles = [await rt.handle(f"job:{name}") for name in "abcd"]
            assert [await handle.result() for handle in handles] == [Ok("a"), Ok("b"), Ok("c"), Ok("d")]

    life.run(until_killed(), clock=scene.clock)
    scene.release("a")
    scene.log.clear()
    scene.play(afterwards())
    assert [entry for entry in scene.log if "done" not in entry] == ["a", "b", "c", "d"]


async def test_a_queued_run_that_another_process_took_over_does_not_begin_here(scene: Scene) -> None:
    async with limited(scene, 1) as rt:
        await held(scene, rt, "a")
        await rt.start(job, "b")
        scene.cut_off()
        async with scene.runtime(job, store=scene.view()) as other:
            await scene.clock.advance("40s")
            assert await (await other.handle("job:b")).result() == Ok("b")
            scene.reconnect()
            await scene.clock.advance("10s")
            assert rt.state().queued == 0
            scene.release("a")
    assert scene.log.count("b") == 1


class Moody(MemoryStore):
    """Does something when it is told that a run waits, before that is stored."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(monotonic=scene.clock.monotonic)
        self.waits: Callable[[str], None] = lambda run: None

    async def append(self, batch: Sequence[Append]) -> Sequence[Appended]:
        for append in batch:
            if append.waits and not append.facts:
                self.waits(append.run)
        return await super().append(batch)


async def taken_over(scene: Scene, store: Moody, waits: Callable[[str], None]) -> None:
    """Have a run taken over into a full process, whose store has this mood, and let it have room later."""
    async with limited(scene, 1, store=store, recover=False) as rt:
        await rt.start(slow, "a")
        await rt.start(job, "b")
    store.waits = waits
    async with limited(scene, 1, store=store, recover=False) as rt:
        first = await rt.resume("slow:a")
        await rt.resume("job:b")
        await scene.clock.advance("1s")
        assert (rt.state().active, rt.state().queued) == ({"slow": 1}, 0)
        assert await first.result() == Ok("a")
        await scene.clock.advance("5s")
        assert rt.state().active in ({}, {"slow": 0})


async def test_a_run_that_turns_out_to_be_somebody_else_s_when_it_begins_to_wait_never_begins(scene: Scene) -> None:
    store = Moody(scene)

    def lose(run: str) -> None:
        store._runs[run].fence += 1
        store._runs[run].owner = "other"

    await taken_over(scene, store, lose)

    assert "b" not in scene.log


async def test_a_run_of_which_nobody_could_store_that_it_waits_is_given_back(scene: Scene) -> None:
    store = Moody(scene)

    def fail(run: str) -> None:
        store.waits = lambda run: None
        raise StoreError("away for a moment", code="store-unavailable")

    await taken_over(scene, store, fail)

    record = await store.find("job:b")
    assert record is not None
    assert (record.status, record.owner, "b" in scene.log) == (Status.PENDING, None, False)
    async with limited(scene, 1, store=store, recover=False) as rt:
        assert await (await rt.resume("job:b")).result() == Ok("b")


# What observers are told.


@pytest.fixture
def told() -> list[Notice]:
    return []


@pytest.fixture
def of(told: list[Notice]) -> Callable[[str], list[Fact]]:
    """Return the facts that observers were told of a run."""
    return lambda run: [notice.fact for notice in told if notice.run == run]


def watched(scene: Scene, told: list[Notice], **given: Any) -> Runtime:
    rt = limited(scene, 1, **given)
    rt.watch(told.append)
    return rt


async def test_observers_are_told_when_a_run_is_queued_and_when_it_has_room(
    scene: Scene, told: list[Notice], of: Callable[[str], list[Fact]]
) -> None:
    async with watched(scene, told) as rt:
        first = await rt.start(slow, "a")
        for name in "bc":
            await rt.start(slow, name)
        assert [type(fact) for fact in of("slow:c")] == [RunStarted, RunQueued]
        await first.result()
        assert await (await rt.handle("slow:b")).result() == Ok("b")

    started, queued, admitted = of("slow:b")[:3]
    assert isinstance(started, RunStarted)
    assert isinstance(queued, RunQueued)
    assert isinstance(admitted, RunAdmitted)
    assert (queued.ahead, queued.at) == (0, pytest.approx(started.at, abs=0.01))
    assert admitted.seconds == admitted.at - queued.at == pytest.approx(10, abs=0.01)
    assert [fact.ahead for fact in of("slow:c") if isinstance(fact, RunQueued)] == [1]
    assert not any(isinstance(fact, (RunQueued, RunAdmitted)) for fact in of("slow:a"))


async def test_observers_are_told_that_a_queued_run_goes_on_elsewhere(
    scene: Scene, told: list[Notice], of: Callable[[str], list[Fact]]
) -> None:
    async with watched(scene, told) as rt:
        await held(scene, rt, "a")
        await rt.start(job, "b")
        scene.release("a")
    assert [type(fact) for fact in of("job:b")] == [RunStarted, RunQueued, RunReleased]
    released = of("job:b")[-1]
    assert isinstance(released, RunReleased)
    assert released.code == "shutting-down"


async def test_a_run_that_is_taken_over_here_and_queued_is_told_as_resumed(
    scene: Scene, told: list[Notice], of: Callable[[str], list[Fact]]
) -> None:
    async with scene.runtime() as rt:
        await held(scene, rt, "b")
        await rt.shutdown(0)
    scene.release("b")
    async with watched(scene, told, store=scene.view(), recover=False) as rt:
        await held(scene, rt, "a")
        handle = await rt.resume("job:b")
        await scene.turns()
        assert statuses(scene)["job:b"] is Status.QUEUED
        scene.release("a")
        assert await handle.result() == Ok("b")
    kinds = [type(fact) for fact in of("job:b")]
    assert kinds[:3] == [RunResumed, RunQueued, RunAdmitted]
    assert kinds[-2:] == [StepFinished, RunFinished]
