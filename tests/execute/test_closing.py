"""In a shutdown runs go on for two thirds of its time; those that would only wait are given back at once."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from awaitly import Concurrency, Ok, Runtime, gather, race, sleep, step, workflow
from awaitly.errors import RunStopped, ShuttingDown, StoreError
from awaitly.execute.closing import Closed, close_store
from awaitly.execute.vitals import Phase
from awaitly.model.facts import Fact
from awaitly.model.notice import Notice
from awaitly.model.state import Status
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock
from tests.execute.scene import Scene, current_scene, once, read, write


@step(limiter=Concurrency("desk", limit=1))
async def at_desk(name: str) -> str:
    return await current_scene().act(name)


@workflow
async def two(x: int) -> str:
    await write("a")
    return await write("b")


@workflow
async def sleeping(duration: str) -> str:
    await sleep(duration)
    return await write("awake")


@workflow
async def napping(naps: int) -> str:
    for _ in range(naps):
        await sleep("900ms")
        await write("nap")
    return "rested"


@workflow
async def queueing(name: str) -> str:
    return await at_desk(name)


@workflow
async def nightly(x: int) -> str:
    return await sleeping("1h")


@workflow
async def mixed(x: int) -> list[str]:
    return list(await gather(sleeping("1h"), write("beside")))


@workflow
async def beside(x: int) -> str:
    """One branch sleeps for long, which another ends in time."""

    async def ended() -> str:
        found, _ = await gather(write("beside"), write("a"))
        return found

    found = await race(sleeping_for("1h"), ended())
    return await write(found)


async def sleeping_for(duration: str) -> str:
    await sleep(duration)
    return duration


@workflow
async def leading(x: int) -> str:
    await write("a")
    return await two(1)


@workflow
async def looking(x: int) -> str:
    return await read("r")


@workflow
async def risking(x: int) -> str:
    return await once("o")


async def begun(rt: Any, scene: Scene, flow: Any, argument: Any = 1, *, until: str = "a", id: str = "run") -> Any:
    handle = await rt.start(flow.options(id=id), argument)
    await scene.until(until)
    return handle


# Time to end in.


async def test_a_run_goes_on_to_its_end(scene: Scene) -> None:
    scene.delays.update(a=5, b=5)
    async with scene.runtime(two) as rt:
        handle = await begun(rt, scene, two)
        waiting = asyncio.create_task(handle.result())

    assert await waiting == Ok("b")
    assert scene.log == ["a", "a done", "b", "b done"]


async def test_in_the_last_third_no_step_begins_and_what_is_under_way_finishes(scene: Scene) -> None:
    scene.delays["a"] = 25
    before = scene.clock.time()
    async with scene.runtime(two) as rt:
        await begun(rt, scene, two)
        await rt.shutdown("30s")

    assert scene.clock.time() - before == pytest.approx(25, abs=0.1)
    assert scene.facts("run") == ["RunStarted", "StepFinished write#0 value"]
    assert scene.log == ["a", "a done"]


async def test_how_long_runs_go_on_can_be_said(scene: Scene) -> None:
    scene.delays["a"] = 5
    async with scene.runtime(two) as rt:
        await begun(rt, scene, two)
        await rt.shutdown("30s", go_on="4s")

    assert scene.log == ["a", "a done"]


async def test_who_leaves_the_runtime_by_an_exception_lets_no_step_begin(scene: Scene) -> None:
    scene.delays["a"] = 5

    async def left() -> None:
        async with scene.runtime(two) as rt:
            await begun(rt, scene, two)
            raise KeyError

    with pytest.raises(KeyError):
        await left()

    assert scene.log == ["a", "a done"]


async def test_a_runtime_that_executes_nothing_is_shut_down_at_once(scene: Scene) -> None:
    before = scene.clock.time()
    async with scene.runtime(two):
        pass

    assert scene.clock.time() == before


# What only waits.


async def test_a_run_that_sleeps_for_long_is_given_back_at_once_and_goes_on_elsewhere_meanwhile(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, sleeping) as rt:
        await begun(rt, scene, two, id="busy")
        await rt.start(sleeping.options(id="asleep"), "5s")
        ending = asyncio.create_task(rt.shutdown("300s"))
        await scene.turns()
        async with scene.runtime(sleeping, store=scene.view()) as other:
            assert await (await other.handle("asleep")).result() == Ok("awake")
        assert not ending.done()
        scene.release("a")
        assert await ending == Closed(ended=1, left=("asleep",))


async def test_a_run_that_sleeps_for_a_moment_is_waited_for(scene: Scene) -> None:
    async with scene.runtime(napping) as rt:
        await rt.start(napping.options(id="run"), 3)
        await scene.turns()
        assert await rt.shutdown() == Closed(ended=1)


async def test_but_not_for_ever(scene: Scene) -> None:
    before = scene.clock.time()
    async with scene.runtime(napping) as rt:
        await rt.start(napping.options(id="run"), 1000)
        await scene.turns()
        assert await rt.shutdown("30s") == Closed(left=("run",))

    assert scene.clock.time() - before == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("turns", range(30))
async def test_a_run_that_is_about_to_go_on_does_not_count_as_waiting(scene: Scene, turns: int) -> None:
    """Whatever the turn of the event loop in which it begins: the outcome of a step may be on its way to the body."""

    scene.hold("beside")
    async with scene.runtime(beside) as rt:
        await begun(rt, scene, beside, until="beside")
        scene.release("beside")
        await scene.turns(turns)
        assert (await rt.shutdown()).left == ()


@pytest.mark.parametrize("turns", range(10))
def test_a_clock_that_stands_still_does_not_keep_a_run_that_just_begins_to_sleep(turns: int) -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with Runtime(store="memory://", clock=clock) as rt:
            await rt.start(sleeping.options(id="run"), "1h")
            for _ in range(turns):
                await asyncio.sleep(0)
            assert await rt.shutdown() == Closed(left=("run",))

    clock.run(story(), longest=20)


async def test_a_run_that_begins_to_sleep_for_long_meanwhile_is_given_back_then(scene: Scene) -> None:
    @workflow
    async def drowsy(x: int) -> str:
        await write("a")
        await sleep("1h")
        return "x"

    scene.delays["a"] = 5
    before = scene.clock.time()
    async with scene.runtime(drowsy) as rt:
        await begun(rt, scene, drowsy)
        assert await rt.shutdown() == Closed(left=("run",))

    assert scene.clock.time() - before == pytest.approx(5, abs=0.1)


async def test_a_run_that_waits_for_its_turn_is_given_back_after_a_second(scene: Scene) -> None:
    scene.hold("first")
    async with scene.runtime(queueing) as rt:
        await begun(rt, scene, queueing, "first", until="first", id="first")
        other = await rt.start(queueing.options(id="second"), "second")
        await scene.turns()
        before = scene.clock.time()
        ending = asyncio.create_task(rt.shutdown())
        with pytest.raises(ShuttingDown):
            await other.result()
        assert scene.clock.time() - before == pytest.approx(1, abs=0.1)
        scene.release("first")
        assert await ending == Closed(ended=1, left=("second",))


async def test_one_whose_turn_comes_sooner_goes_on(scene: Scene) -> None:
    scene.delays["first"] = 0.5
    async with scene.runtime(queueing) as rt:
        await begun(rt, scene, queueing, "first", until="first", id="first")
        await rt.start(queueing.options(id="second"), "second")
        await scene.turns()
        assert await rt.shutdown() == Closed(ended=2)


async def test_a_run_that_waits_for_room_is_given_back_at_once(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, max_active_runs=1) as rt:
        await begun(rt, scene, two)
        other = await rt.start(two.options(id="other"), 2)
        waiting = asyncio.create_task(other.result())
        await scene.turns()
        ending = asyncio.create_task(rt.shutdown())
        with pytest.raises(ShuttingDown):
            await waiting
        assert (await rt.record("other")).owner is None
        scene.release("a")
        assert await ending == Closed(ended=1, left=("other",))


# Children.


async def test_a_run_that_goes_on_begins_its_children(scene: Scene) -> None:
    scene.delays["a"] = 1
    async with scene.runtime(leading, two) as rt:
        handle = await begun(rt, scene, leading)
        waiting = asyncio.create_task(handle.result())
        assert await rt.shutdown() == Closed(ended=1)

    assert await waiting == Ok("b")


async def test_a_parent_whose_child_sleeps_is_given_back_with_it(scene: Scene) -> None:
    before = scene.clock.time()
    async with scene.runtime(nightly, sleeping) as rt:
        await rt.start(nightly.options(id="run"), 1)
        await scene.turns()
        assert await rt.shutdown() == Closed(left=("run",))
    assert scene.clock.time() - before == pytest.approx(0, abs=0.1)
    async with scene.runtime(nightly, sleeping, store=scene.view()) as rt:
        assert await (await rt.handle("run")).result() == Ok("awake")


async def test_what_the_parent_does_beside_it_is_recorded(scene: Scene) -> None:
    scene.delays["beside"] = 5
    async with scene.runtime(mixed, sleeping) as rt:
        await begun(rt, scene, mixed, until="beside")
        assert await rt.shutdown() == Closed(left=("run",))
    assert scene.facts("run") == ["RunStarted", "StepFinished write#0 value"]
    async with scene.runtime(mixed, sleeping, store=scene.view()) as rt:
        assert await (await rt.handle("run")).result() == Ok(["awake", "beside"])

    assert scene.log.count("beside") == 1


# Meanwhile.


async def test_no_run_is_begun_or_continued_but_all_can_be_looked_at(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two) as rt:
        handle = await begun(rt, scene, two)
        ending = asyncio.create_task(rt.shutdown())
        await scene.turns()
        for refused in (rt.start(two, 2), rt.run(two, 2), rt.resume("run"), rt.retry("run"), rt.fork("run")):
            with pytest.raises(ShuttingDown):
                await refused
        assert (await rt.record("run")).status is Status.RUNNING
        assert [record.id for record in await rt.runs()] == ["run"]
        assert await handle.status() is Status.RUNNING
        scene.release("a")
        await ending
        with pytest.raises(ShuttingDown):
            await rt.record("run")


async def test_a_run_that_is_being_stored_when_it_begins_is_executed(scene: Scene) -> None:
    async with scene.runtime(two) as rt:
        starting = asyncio.create_task(rt.run(two.options(id="run"), 1))
        await scene.turns(2)
        assert scene.log == []
        await rt.shutdown()
        assert await starting == Ok("b")


async def test_its_events_end_when_a_run_is_given_back(scene: Scene) -> None:
    seen: list[Fact] = []
    async with scene.runtime(sleeping) as rt:
        handle = await rt.start(sleeping.options(id="run"), "1h")

        async def follow() -> None:
            async for fact in handle.events():
                seen.append(fact)  # noqa: PERF401 - what came before the error counts

        following = asyncio.create_task(follow())
        await scene.turns()
        scene.hold("a")
        await begun(rt, scene, two, id="other")
        ending = asyncio.create_task(rt.shutdown())
        with pytest.raises(ShuttingDown):
            await following
        scene.release("a")
        await ending

    assert [type(fact).__name__ for fact in seen] == ["RunStarted", "TimerSet"]


async def test_all_who_ask_for_it_wait_for_the_same_shutdown_and_none_of_them_can_stop_it(scene: Scene) -> None:
    scene.delays["a"] = 5
    async with scene.runtime(two) as rt:
        await begun(rt, scene, two)
        first, second = asyncio.create_task(rt.shutdown()), asyncio.create_task(rt.shutdown(0))
        await scene.turns()
        first.cancel()
        assert await second == Closed(ended=1)
        assert await rt.shutdown() == Closed(ended=1)


async def test_a_runtime_that_is_opened_again_has_forgotten_its_shutdown(scene: Scene) -> None:
    rt = scene.runtime(two)
    for _ in range(2):
        async with rt:
            assert await rt.run(two, 1) == Ok("b")
        with pytest.raises(RunStopped):
            await rt.run(two, 1)


# What it came to.


async def test_effects_that_did_not_finish_in_time_are_abandoned_and_the_exit_status_says_so(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two) as rt:
        await begun(rt, scene, two)
        closed = await rt.shutdown("5s")
    assert closed == Closed(left=("run",), abandoned=("run",))
    assert closed.exit_status == 75
    scene.release("a")


async def test_so_are_those_that_happen_at_most_once(scene: Scene) -> None:
    scene.hold("o")
    async with scene.runtime(risking) as rt:
        await begun(rt, scene, risking, until="o")
        assert (await rt.shutdown(0)).abandoned == ("run",)
    scene.release("o")


async def test_an_abandoned_effect_of_a_child_is_the_childs(scene: Scene) -> None:
    scene.hold("b")
    async with scene.runtime(leading, two) as rt:
        await begun(rt, scene, leading, until="b")
        closed = await rt.shutdown("5s")
    assert (closed.left, closed.abandoned) == (("run",), ("run/two#0",))
    scene.release("b")


async def test_reads_and_runs_that_are_given_back_are_nothing_to_worry_about(scene: Scene) -> None:
    scene.hold("r")
    async with scene.runtime(looking, sleeping) as rt:
        await begun(rt, scene, looking, until="r")
        await rt.start(sleeping.options(id="asleep"), "1h")
        closed = await rt.shutdown("5s")

    assert (sorted(closed.left), closed.abandoned, closed.exit_status) == (["asleep", "run"], (), 0)


class Away(MemoryStore):
    """A store that cannot be asked any more when the owner leaves, nor be closed in order."""

    closed = False

    async def retire(self, owner: str) -> None:
        raise StoreError("the disk is gone", code="store-unavailable")

    async def close(self) -> None:
        self.closed = True
        raise StoreError("the disk is gone", code="store-unavailable")


class Sink:
    """Somebody who is told."""

    closed = False

    def __call__(self, notice: Notice) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_sinks_and_the_store_are_closed_even_if_the_lease_cannot_be_given_back() -> None:
    clock, store, sink = VirtualClock(auto=True), Away(), Sink()

    async def story() -> None:
        runtime = Runtime(Settings(store="memory://"), store=store, sinks=[sink], clock=clock)
        await runtime.open()
        assert (await runtime.shutdown()).exit_status == 0
        assert (sink.closed, store.closed, runtime.state().phase) == (True, True, Phase.CLOSED)

    clock.run(story())


class Hanging(MemoryStore):
    """A store that does not answer some calls, by name, until it is well again."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(monotonic=clock.monotonic)
        self.well = asyncio.Event()
        self.asked: list[str] = []

    def hang(self, *calls: str) -> None:
        for name in calls:
            setattr(self, name, partial(self._late, name, getattr(self, name)))

    async def _late(
        self, name: str, call: Callable[..., Awaitable[object]], *arguments: object, **named: object
    ) -> object:
        self.asked.append(name)
        await self.well.wait()
        return await call(*arguments, **named)


async def test_what_a_store_that_hangs_did_not_take_is_named_and_nothing_is_given_back(scene: Scene) -> None:
    store = Hanging(scene.clock)
    runtime = scene.runtime(two, store=store)
    await runtime.open()
    scene.hold("a")
    await runtime.start(two.options(id="run"), 1)
    await scene.until("a")
    store.hang("append")
    scene.release("a")
    await scene.until("a done")
    store.hang("release", "retire", "renew")

    closed = await runtime.shutdown(0)

    assert (closed.left, closed.abandoned, closed.exit_status) == (("run",), ("run",), 75)
    assert set(store.asked) <= {"append", "renew"}
    record = await store.find("run")
    assert record is not None
    assert record.owner is not None


async def test_a_run_whose_facts_are_stored_is_not_abandoned_when_the_store_does_not_take_it_back(scene: Scene) -> None:
    store = Hanging(scene.clock)
    runtime = scene.runtime(sleeping, store=store)
    await runtime.open()
    await runtime.start(sleeping.options(id="run"), "1h")
    await scene.turns()
    store.hang("release", "retire")

    closed = await runtime.shutdown(0)

    assert (closed.left, closed.abandoned, closed.exit_status) == (("run",), (), 0)
    assert store.asked == ["release"]


async def test_a_farewell_that_hangs_is_left_behind(scene: Scene) -> None:
    runtime = scene.runtime()
    await runtime.open()

    async def farewell(left: float) -> None:
        await asyncio.Event().wait()

    with runtime.before_closing(farewell):
        assert await runtime.shutdown(0) == Closed()


async def test_a_store_that_does_not_close_in_time_is_closed_when_it_answers(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    store, closed = Hanging(scene.clock), asyncio.Event()

    async def close() -> None:
        closed.set()

    store.close = close  # type: ignore[method-assign]  # the edge of the world
    store.hang("close")
    await close_store(store, 0)
    assert "memory:// does not answer" in caplog.text

    store.well.set()
    await closed.wait()
