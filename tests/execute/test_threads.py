"""Plain steps that find every thread taken wait, and while they wait they have not begun."""

import asyncio
import threading

import pytest

from awaitly import Concurrency, Ok, Retry, Runtime, gather, step, workflow
from awaitly.errors import StoreError
from awaitly.execute import threads
from awaitly.model.facts import StepCancelled
from awaitly.policies.bulkhead import Bulkhead
from tests.execute.scene import Scene


class Desk:
    """One thread, what was begun in it, and whether it may go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.lease_held: list[bool] = []
        self.runtime: Runtime | None = None

    def work(self, name: str) -> str:
        self.begun.append(name)
        if self.runtime is not None and self.runtime._control is not None:
            self.lease_held.append(self.runtime._control.engine.lease.valid)
        self.entered.set()
        self.leave.wait(20)
        return name


_desks: list[Desk] = []


@pytest.fixture
def desk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(threads, "THREADS", 1)
    scene.clock.auto = False
    _desks[:] = [Desk()]
    return _desks[0]


@step
def at_desk(name: str) -> str:
    return _desks[0].work(name)


@step(timeout="5s")
def hurried(name: str) -> str:
    return _desks[0].work(name)


@workflow
async def both() -> tuple[str, str]:
    return await gather(at_desk("a"), at_desk("b"))


@workflow
async def mixed() -> tuple[str, str]:
    return await gather(at_desk("a"), hurried("b"))


def test_one_that_gets_its_thread_after_the_lease_has_lapsed_waits_for_the_lease(scene: Scene, desk: Desk) -> None:
    async def away(owner: str) -> bool:
        raise StoreError("the store is away", code="store-unavailable")

    async def story() -> None:
        async with scene.runtime() as desk.runtime:
            handle = await both.start()
            await asyncio.to_thread(desk.entered.wait)
            renew, scene.store.renew = scene.store.renew, away  # type: ignore[method-assign]  # cut off
            await scene.clock.advance("40s")
            desk.leave.set()
            await scene.turns()
            assert desk.begun == ["a"]
            scene.store.renew = renew  # type: ignore[method-assign]  # back again
            scene.clock.auto = True
            assert await handle.result() == Ok(("a", "b"))
        assert desk.lease_held == [True, True]

    scene.play(story())


def test_its_timeout_begins_with_its_thread(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime():
            handle = await mixed.start()
            await asyncio.to_thread(desk.entered.wait)
            await scene.clock.advance("60s")
            desk.leave.set()
            assert await handle.result() == Ok(("a", "b"))

    scene.play(story())


def test_one_that_has_no_thread_yet_does_not_begin_during_a_shutdown(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime(both) as rt:
            await both.options(id="run").start()
            await asyncio.to_thread(desk.entered.wait)
            shutdown = asyncio.create_task(rt.shutdown(go_on=0))
            await scene.turns()
            desk.leave.set()
            await shutdown
        assert desk.begun == ["a"]
        async with scene.runtime(both, store=scene.view()):
            assert await both.options(id="run").run() == Ok(("a", "b"))
        assert desk.begun == ["a", "b"]

    scene.play(story())


def test_one_that_has_no_thread_yet_is_cancelled_at_once(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await both.options(id="run").start()
            await asyncio.to_thread(desk.entered.wait)
            await handle.cancel()
            await scene.turns()
            desk.leave.set()
            assert (await handle.result()).is_err()
            assert [fact.call for fact in await rt.facts("run") if isinstance(fact, StepCancelled)] == ["at_desk#1"]
        assert desk.begun == ["a"]

    scene.play(story())


@step(effect="read", timeout="5s", limiter=Concurrency("table", limit=1), retry=Retry(2, initial="1s", jitter="none"))
def seated(name: str) -> str:
    return _desks[0].work(name)


@workflow
async def sitting() -> str:
    return await seated("a")


def test_a_thread_that_was_left_keeps_its_place_until_it_ends(
    scene: Scene, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "THREADS", 2)

    async def story() -> None:
        async with scene.runtime(sitting) as rt:
            run = await sitting.start()
            await asyncio.to_thread(desk.entered.wait)
            await scene.clock.advance("10s")  # the timeout, and the delay before the next attempt
            await scene.turns()
            (table,) = rt.states.states(Bulkhead).values()
            assert (desk.begun, table.snapshot().available, table.waiting) == (["a"], 0, 1)
            desk.leave.set()
            assert await run.result() == Ok("a")
            assert (desk.begun, table.snapshot().available) == (["a", "a"], 1)

    scene.play(story())


def test_a_call_that_is_cancelled_keeps_its_thread_until_that_ends(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime():
            leaving = asyncio.create_task(at_desk("a"))
            await asyncio.to_thread(desk.entered.wait)
            leaving.cancel()
            await asyncio.wait([leaving])
            waiting = asyncio.create_task(at_desk("b"))
            await scene.turns()
            assert (leaving.cancelled(), desk.begun) == (True, ["a"])
            desk.leave.set()
            assert await waiting == "b"

    scene.play(story())


@step(effect="read")
def here() -> bool:
    return threading.current_thread().daemon


@step(effect="read")
def exhausted() -> str:
    return next(iter([]))


def test_the_end_of_the_process_does_not_wait_for_the_threads_of_steps(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            assert await here()

    scene.play(story())


def test_a_plain_step_that_raises_stop_iteration_has_failed(scene: Scene) -> None:
    """No future takes it, so whoever awaited the thread would wait for ever."""

    async def story() -> None:
        async with scene.runtime():
            with pytest.raises(RuntimeError, match="raised StopIteration"):
                await exhausted()

    scene.play(story())
