"""Time limits of attempts, calls and runs: each ends what lies below it, and no wait begins that would be too long."""

import asyncio
import threading
from typing import Any

import pytest

from awaitly import Breaker, Concurrency, Err, Failure, Ok, RateLimit, Retry, remaining, sleep, step, workflow
from awaitly.errors import LimitReached, StepDeadline, StepTimeout, UnexpectedError
from awaitly.model.facts import StepFinished
from tests.execute.scene import Scene, current_scene

BANK = Breaker("bank", failure_threshold=1)


class Busy(Failure, retryable=True):
    name: str


@step(deadline="10s", timeout="6s", retry=Retry(9, backoff="fixed", initial="1s", jitter=False), errors=Busy)
async def bounded(name: str) -> str:
    return await current_scene().attempt(name)


@step(deadline="10s", breaker=BANK)
async def through_the_bank(name: str) -> str:
    return await current_scene().attempt(name)


@step(timeout="10s", breaker=BANK)
async def hurried_through_the_bank(name: str) -> str:
    return await current_scene().attempt(name)


@step(deadline="10s", limiter=Concurrency("counter", limit=1))
async def counted(name: str) -> str:
    return await current_scene().attempt(name)


@step(limiter="counter")
async def served(name: str) -> str:
    return await current_scene().attempt(name)


@step(limiter=RateLimit("mint", limit=1, per="1m"))
async def minted(name: str) -> str:
    return await current_scene().attempt(name)


@step(retry=Retry(9, backoff="fixed", initial="10s", jitter=False), errors=Busy)
async def patient(name: str) -> str:
    return await current_scene().attempt(name)


async def later(name: str) -> str:
    current_scene().log.append(f"left: {remaining()}")
    return "later"


@step(deadline="10s", timeout="1m", fallback=later)
async def replaced(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", timeout="30s")
async def inner(name: str) -> str:
    current_scene().log.append(f"inner: {remaining()}")
    return await current_scene().act(name)


@step(timeout="20s", deadline="1m")
async def telling(name: str) -> str:
    current_scene().log.append(f"left: {remaining()}")
    await inner(name)
    return name


@step
async def unbounded(name: str) -> str:
    current_scene().log.append(f"left: {remaining()}")
    return name


@workflow
async def bounding(name: str) -> str:
    return await bounded(name)


@workflow
async def banking(name: str, hurried: bool) -> str:
    return await hurried_through_the_bank(name) if hurried else await through_the_bank(name)


@workflow
async def counting(name: str) -> str:
    return await served(name) if name == "long" else await counted(name)


@workflow
async def replacing(name: str) -> str:
    return await replaced(name)


@workflow(deadline="15s")
async def until_then(name: str) -> str:
    return await patient(name)


@workflow(deadline="15s")
async def minting(name: str) -> str:
    await minted("first")
    return await minted(name)


@workflow
async def tells(name: str) -> str:
    return await telling(name)


@workflow
async def never_ends(name: str) -> str:
    return await unbounded(name)


@workflow(deadline="1m")
async def ends(name: str) -> str:
    await sleep("50s")
    return await telling(name)


@workflow
async def child(name: str) -> str:
    return await unbounded(name)


@workflow(deadline="1m")
async def parent(name: str) -> str:
    await sleep("40s")
    return await child(name)


def error_of(result: Any) -> str:
    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    return result.error.type_name.rpartition(".")[2].rpartition(":")[2]


# Of a call


def test_an_attempt_has_no_more_time_than_its_call_has_left(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 60
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            assert error_of(await rt.run(bounding.options(id="run"), "a")) == StepDeadline.__name__
        assert scene.clock.time() - begun == pytest.approx(10, abs=0.1)
        assert scene.attempts["a"] == [1, 2]  # from 0 to 6 s, and from 7 to 10 s
        assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [2]

    scene.play(story())


def test_no_delay_begins_that_would_end_after_the_calls_deadline(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a"] = Busy("a")
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            assert await rt.run(bounding, "a") == Err(Busy("a"))
        assert scene.attempts["a"] == list(range(1, 10))
        assert scene.clock.time() - begun == pytest.approx(8, abs=0.1)

    scene.play(story())


def test_a_wait_for_a_limiter_ends_with_the_calls_deadline_and_the_function_has_not_begun(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["long"] = 60
        async with scene.runtime() as rt:
            await rt.start(counting, "long")
            await scene.until("long")
            before = scene.clock.time()
            assert error_of(await rt.run(counting.options(id="run"), "a")) == StepDeadline.__name__
            assert scene.clock.time() - before == pytest.approx(10, abs=0.1)
        assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [0]

    scene.play(story())


@pytest.mark.parametrize(("hurried", "error", "counted"), [(True, StepTimeout, True), (False, StepDeadline, False)])
def test_a_breaker_counts_a_timeout_and_not_the_end_of_a_calls_time(
    scene: Scene, hurried: bool, error: type[Exception], counted: bool
) -> None:
    async def story() -> None:
        scene.delays["a"] = 60
        async with scene.runtime() as rt:
            assert error_of(await rt.run(banking, "a", hurried)) == error.__name__
            assert (await rt.run(banking, "b", hurried)).is_err() == counted

    scene.play(story())


def test_a_fallback_is_not_bound_by_the_time_that_is_over(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 60
        async with scene.runtime() as rt:
            assert await rt.run(replacing, "a") == Ok("later")
        assert scene.log[-1] == "left: None"

    scene.play(story())


# Of a run


def test_no_delay_begins_that_would_end_after_the_runs_deadline(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a"] = Busy("a")
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            assert await rt.run(until_then, "a") == Err(Busy("a"))
        assert scene.attempts["a"] == [1, 2]
        assert scene.clock.time() - begun == pytest.approx(10, abs=0.1)

    scene.play(story())


def test_the_runs_deadline_counts_for_delays_after_a_restart(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a"] = Busy("a")
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            await rt.start(until_then.options(id="run"), "a")
            await scene.clock.advance("8s")
        async with scene.runtime(until_then, store=scene.view()) as rt:
            assert await (await rt.handle("run")).result() == Err(Busy("a"))
        assert scene.attempts["a"] == [1, 2]
        assert scene.clock.time() - begun == pytest.approx(10, abs=0.1)

    scene.play(story())


def test_no_turn_is_waited_for_that_would_come_after_the_runs_deadline(scene: Scene) -> None:
    async def story() -> None:
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            assert error_of(await rt.run(minting, "a")) == LimitReached.__name__
        assert scene.clock.time() == begun
        assert "a" not in scene.log

    scene.play(story())


# What a step is told


def test_a_step_is_told_what_its_attempt_has_left_and_so_is_a_step_in_it(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(tells, "a") == Ok("a")
        assert scene.log[:2] == ["left: 20.0", "inner: 20.0"]

    scene.play(story())


def test_a_step_is_told_what_the_run_has_left_if_that_is_less(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(ends, "a") == Ok("a")
        assert scene.log[:2] == ["left: 10.0", "inner: 10.0"]

    scene.play(story())


def test_a_step_without_limits_is_told_that_it_has_none(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(never_ends, "a") == Ok("a")
        assert scene.log == ["left: None"]

    scene.play(story())


def test_a_child_gets_what_its_parent_has_left(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(parent, "a") == Ok("a")
        assert scene.log == ["left: 20.0"]

    scene.play(story())


# Plain functions


class Desk:
    """A thread that is held until the test lets it go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.entered = threading.Event()
        self.leave = threading.Event()

    def work(self, name: str) -> str:
        self.begun.append(name)
        if len(self.begun) == 1:
            self.entered.set()
            self.leave.wait(20)
        return name


_desks: list[Desk] = []


@pytest.fixture
def desk(scene: Scene) -> Desk:
    scene.clock.auto = False
    _desks[:] = [Desk()]
    return _desks[0]


@step(timeout="5s", retry=Retry(2, initial=0))
def at_desk(name: str) -> str:
    return _desks[0].work(name)


@step(effect="read", timeout="5s", retry=Retry(2, initial=0))
def look(name: str) -> str:
    return _desks[0].work(name)


@workflow
async def working(name: str) -> str:
    return await at_desk(name)


@workflow
async def looking(name: str) -> str:
    return await look(name)


def test_the_thread_of_an_effect_that_took_too_long_ends_before_another_attempt_begins(
    scene: Scene, desk: Desk
) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(working.options(id="run"), "a")
            await asyncio.to_thread(desk.entered.wait)
            await scene.clock.advance("10s")
            assert desk.begun == ["a"]
            desk.leave.set()
            while len(desk.begun) < 2:
                await scene.clock.advance(0)
            assert await handle.result() == Ok("a")
        assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [2]

    scene.play(story())


def test_an_effect_whose_thread_does_not_end_is_undetermined_and_not_attempted_again(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(working.options(id="run"), "a")
            await asyncio.to_thread(desk.entered.wait)
            await scene.clock.advance("35.5s")
            assert desk.begun == ["a"]
            assert scene.stored("run", StepFinished) == []
            desk.leave.set()
            await rt.shutdown(0)

    scene.play(story())


def test_a_read_does_not_wait_for_the_thread_of_an_attempt_that_took_too_long(scene: Scene, desk: Desk) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(looking, "a")
            await asyncio.to_thread(desk.entered.wait)
            await scene.clock.advance("5s")
            assert await handle.result() == Ok("a")
            assert desk.begun == ["a", "a"]
            desk.leave.set()

    scene.play(story())
