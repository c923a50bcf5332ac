"""How a runtime is, as those see it who look after it."""

import asyncio
import time
from threading import Thread
from typing import Any

import pytest

from awaitly import Ok, Runtime, workflow
from awaitly.errors import StoreError, UsageError
from awaitly.execute.lag import Lag
from awaitly.execute.probe import Probe
from awaitly.execute.vitals import Phase, Readiness, State
from awaitly.model.notice import Notice
from awaitly.model.state import RunRecord
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.clock import VirtualClock
from tests.execute.scene import Scene, write


@workflow(key="one:{name}")
async def one(name: str) -> str:
    return await write(name)


class Store(MemoryStore):
    """A store whose reads can be made to fail and to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.fails: StoreError | None = None
        self.waits: asyncio.Event | None = None
        self.away = False

    async def renew(self, owner: str) -> bool:
        if self.away:
            raise StoreError("the store is away", code="store-unavailable")
        return await super().renew(owner)

    async def find(self, run: str) -> RunRecord | None:
        self.asked += 1
        if self.waits is not None:
            await self.waits.wait()
        if self.fails is not None:
            raise self.fails
        return await super().find(run)


async def until_ready(runtime: Runtime) -> None:
    for _ in range(1000):
        if runtime.ready.ready:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not become ready: {runtime.ready}")


PATIENT: dict[str, Any] = {"max_loop_lag": "1h"}  # with the machine that the tests run on


def codes(readiness: Readiness) -> list[str]:
    return [reason.code for reason in readiness.reasons]


# Readiness.


def test_a_runtime_is_ready_while_it_is_open_and_says_why_it_is_not(scene: Scene) -> None:
    async def story() -> None:
        runtime = scene.runtime(one, **PATIENT)
        assert codes(runtime.ready) == ["not-open"]
        async with runtime:
            assert await runtime.readiness() == Readiness(True)
        assert str(runtime.ready.reasons[0]) == "the runtime is not open"

    scene.play(story())


def test_it_is_not_ready_from_the_moment_on_that_it_shuts_down(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(one) as runtime:
            await runtime.start(one, "a")
            await scene.until("a")
            ending = asyncio.ensure_future(runtime.shutdown("10s"))
            await asyncio.sleep(0)
            assert codes(await runtime.readiness()) == ["shutting-down"]
            assert (runtime.state().phase, runtime.state().active) == (Phase.CLOSING, {"one": 1})
            scene.release("a")
            await ending
        assert runtime.state() == State(phase=Phase.CLOSED)

    scene.play(story())


def test_it_is_not_ready_while_further_runs_would_be_refused(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(one, max_active_runs=1, overload="reject", **PATIENT) as runtime:
            handle = await runtime.start(one, "a")
            assert codes(runtime.ready) == ["runtime-overloaded"]
            scene.release("a")
            assert await handle.result() == Ok("a")
            assert runtime.ready.ready

    scene.play(story())


def test_it_is_ready_while_further_runs_wait(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(one, max_active_runs=1, **PATIENT) as runtime:
            await runtime.start(one, "a")
            await runtime.start(one, "b")
            await scene.clock.advance("3s")
            assert runtime.ready.ready
            state = runtime.state()
            assert (state.active, state.queued, state.queue_age) == ({"one": 1}, 1, 3)
            scene.release("a")

    scene.play(story())


def test_it_is_not_ready_while_its_store_fails() -> None:
    clock = VirtualClock(auto=True)
    store = Store()

    async def story() -> None:
        async with Runtime(Settings(**PATIENT), store=store, clock=clock) as runtime:
            store.fails = StoreError("the disk is gone", code="store-unavailable")
            assert codes(await runtime.readiness()) == ["store-unavailable"]
            store.fails = None
            await pause(clock, 1)
            assert (await runtime.readiness()).ready

    clock.run(story())


def test_a_store_that_hangs_is_asked_once_and_holds_nobody_for_long() -> None:
    clock = VirtualClock(auto=True)
    store = Store()

    async def story() -> None:
        async with Runtime(Settings(**PATIENT), store=store, clock=clock) as runtime:
            store.waits = asyncio.Event()
            began = clock.now
            found = await asyncio.gather(*(runtime.readiness() for _ in range(50)))
            assert {reason.message for each in found for reason in each.reasons} == {
                "the store failed: TimeoutError: no answer within 750ms"
            }
            assert (clock.now - began, store.asked) == (0.75, 1)

    clock.run(story())


def test_a_store_that_answered_is_not_asked_again_for_a_second() -> None:
    clock = VirtualClock(auto=True)
    store = Store()

    async def story() -> None:
        async with Runtime(Settings(**PATIENT), store=store, clock=clock) as runtime:
            for _ in range(100):
                await runtime.readiness()
            assert store.asked == 1
            await pause(clock, 1)
            await runtime.readiness()
            assert store.asked == 2

    clock.run(story())


def test_it_is_not_ready_while_its_lease_cannot_be_renewed() -> None:
    clock = VirtualClock()
    store = Store()

    async def story() -> None:
        async with Runtime(Settings(lease=LeaseSettings(ttl=3), **PATIENT), store=store, clock=clock) as runtime:
            store.away = True
            await clock.advance("4s")
            assert codes(runtime.ready) == ["lease-lapsed"]
            assert runtime.ready.reasons[0].message.endswith("could not be renewed for 3s")
            store.away = False
            await clock.advance("1s")
            assert runtime.ready.ready

    clock.run(story())


def test_it_is_not_ready_when_its_loop_ended_under_it() -> None:
    runtime = Runtime(Settings(**PATIENT), store="memory://")

    asyncio.run(runtime.open())

    assert codes(asyncio.run(runtime.readiness())) == ["not-open"]
    assert "was not shut down" in str(runtime.ready.reasons[0])


# The loop.


def test_it_is_not_ready_after_something_blocked_its_loop_until_that_is_on_time_again() -> None:
    async def story() -> None:
        async with Runtime(Settings(max_loop_lag="50ms"), store="memory://") as runtime:
            await until_ready(runtime)
            time.sleep(0.2)  # noqa: ASYNC251 - it shall block
            assert codes(await runtime.readiness()) == ["loop-blocked"]
            await until_ready(runtime)

    asyncio.run(story())


def test_another_thread_sees_that_the_loop_is_blocked_while_it_is() -> None:
    seen: list[Readiness] = []

    async def story() -> None:
        async with Runtime(Settings(max_loop_lag="10ms"), store="memory://") as runtime:
            runtime.vitals.measure()

            def look() -> None:
                while not (found := runtime.ready).reasons:
                    pass
                seen.append(found)

            looking = Thread(target=look)
            looking.start()
            looking.join()  # in the loop, which is blocked by that

    asyncio.run(story())

    assert codes(seen[0]) == ["loop-blocked"]


def test_who_asks_for_readiness_from_another_loop_is_told_that_the_runtimes_own_is_blocked() -> None:
    seen: list[Readiness] = []

    async def story() -> None:
        async with Runtime(Settings(max_loop_lag="10ms"), store="memory://") as runtime:
            runtime.vitals.measure()
            asking = Thread(target=lambda: seen.append(asyncio.run(runtime.readiness())))
            asking.start()
            asking.join()  # in the loop, which is blocked by that

    asyncio.run(story())

    assert codes(seen[0]) == ["loop-blocked"]


def test_who_asks_from_another_thread_begins_to_measure() -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as runtime:
            await asyncio.to_thread(runtime.state)
            assert (await asyncio.to_thread(runtime.state)).loop_lag is not None
        assert (await asyncio.to_thread(runtime.state)).loop_lag is None

    asyncio.run(story())


def test_a_loop_that_is_not_measured_has_no_timers_for_it() -> None:
    async def story() -> None:
        lag = Lag()
        assert lag.seconds is None
        lag.begin(asyncio.get_running_loop())
        lag.begin(asyncio.get_running_loop())
        assert lag.seconds is not None
        lag.end()
        assert lag.seconds is None

    asyncio.run(story())


# Watchers.


def test_a_watcher_can_be_added_until_the_runtime_is_open(scene: Scene) -> None:
    seen: list[Notice] = []

    async def story() -> None:
        runtime = scene.runtime(one)
        runtime.watch(seen.append)
        async with runtime:
            assert await runtime.run(one, "a") == Ok("a")
            with pytest.raises(UsageError) as raised:
                runtime.watch(seen.append)
        assert raised.value.code == "runtime-open"

    scene.play(story())

    assert {"RunStarted", "RunFinished"} <= {type(notice.fact).__name__ for notice in seen}


# Probes.


def probed(ask: Any, *, waits: float = 0) -> list[tuple[bool, str, str]]:
    """Ask twice, one after the other, and return both answers."""
    clock = VirtualClock(auto=True)

    async def story() -> list[tuple[bool, str, str]]:
        probe = Probe(lambda: ask(clock), 2, clock)
        found = [await probe.answer()]
        await pause(clock, waits)
        found.append(await probe.answer())
        return [(answer.well, answer.error, answer.message) for answer in found]

    return clock.run(story())


def test_whatever_is_raised_is_an_answer() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def refuse(clock: VirtualClock) -> None:
        raise ConnectionError("refused")

    async def leave(clock: VirtualClock) -> None:
        raise SystemExit(3)

    async def give_up(clock: VirtualClock) -> None:
        raise asyncio.CancelledError

    def mistaken(clock: VirtualClock) -> None:
        raise Unspeakable

    assert probed(refuse)[0] == (False, "ConnectionError", "refused")
    assert probed(leave)[0] == (False, "SystemExit", "3")
    assert probed(give_up)[0] == (False, "CancelledError", "")
    assert probed(mistaken)[0] == (False, "Unspeakable", "")


def test_what_takes_too_long_is_cancelled_and_asked_again() -> None:
    asked: list[str] = []

    async def slow_once(clock: VirtualClock) -> None:
        asked.append("asked")
        try:
            await pause(clock, 3 if len(asked) == 1 else 1)
        except asyncio.CancelledError:
            asked.append("cancelled")
            raise

    assert probed(slow_once, waits=1) == [(False, "TimeoutError", "no answer within 2s"), (True, "", "")]
    assert asked == ["asked", "cancelled", "asked"]


def test_what_does_not_heed_its_cancellation_is_not_asked_again_before_it_ends() -> None:
    asked: list[str] = []

    async def deaf(clock: VirtualClock) -> None:
        asked.append("asked")
        until = clock.now + 10
        while clock.now < until:
            try:
                await pause(clock, until - clock.now)
            except asyncio.CancelledError:
                asked.append("cancelled")

    assert [well for well, _, _ in probed(deaf, waits=5)] == [False, False]
    assert asked.count("asked") == 1
    assert [well for well, _, _ in probed(deaf, waits=10)] == [False, False]
    assert asked.count("asked") == 3


def test_who_stops_waiting_for_an_answer_leaves_it_to_the_others() -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        probe = Probe(lambda: pause(clock, 1), 2, clock)
        impatient = asyncio.ensure_future(probe.answer())
        other = asyncio.ensure_future(probe.answer())
        await asyncio.sleep(0)
        impatient.cancel()
        answer = await other
        assert (answer.well, answer.seconds) == (True, 1)

    clock.run(story())
