"""Runs that were not started: who watches is told of each, and the log is not flooded."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from awaitly import Ok, Runtime, sleep, workflow
from awaitly.errors import Overloaded, RunConflict, ShuttingDown
from awaitly.model.facts import RunRejected
from awaitly.model.notice import Notice
from awaitly.settings import Settings
from tests.execute.scene import Scene


@workflow(key="slow:{number}")
async def slow(number: int) -> int:
    await sleep("1m")
    return number


@workflow(key="other")
async def other(number: int) -> int:
    return number


@workflow(durable=False)
async def fleeting(number: int) -> int:
    return number


class Told(list[Notice]):
    """What observers were told was refused."""

    facts = frozenset({RunRejected})

    def __call__(self, notice: Notice) -> None:
        self.append(notice)

    def refused(self) -> list[tuple[str, str]]:
        return [(notice.workflow, notice.fact.reason) for notice in self if isinstance(notice.fact, RunRejected)]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Return the warnings, as they come."""
    seen: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]  # as handlers are made
    logging.getLogger("awaitly").addHandler(handler)
    yield seen
    logging.getLogger("awaitly").removeHandler(handler)


def full(scene: Scene, told: Told, overload: str = "reject") -> Runtime:
    """Return a runtime that executes one run at once."""
    settings = Settings(max_active_runs=1, overload=overload)
    return Runtime(settings, store=scene.store, clock=scene.clock, watchers=[told])


async def refused(rt: Runtime, times: int, flow: object = slow, first: int = 100) -> None:
    for number in range(first, first + times):
        with pytest.raises(Overloaded):
            await rt.start(flow, number)  # type: ignore[arg-type]  # any of these


async def test_observers_are_told_of_each_run_that_is_refused_for_want_of_room(scene: Scene, told: Told) -> None:
    async with full(scene, told) as rt:
        await rt.start(slow, 1)
        await refused(rt, 2)
        await refused(rt, 1, other)
    assert told.refused() == [("slow", "runtime-overloaded")] * 2 + [("other", "runtime-overloaded")]
    assert {notice.run for notice in told} == {""}


async def test_so_they_are_of_those_that_come_while_the_process_shuts_down(scene: Scene, told: Told) -> None:
    async with full(scene, told, "queue") as rt:
        await rt.start(slow, 1)
        ending = asyncio.ensure_future(rt.shutdown("5s"))
        await asyncio.sleep(0)
        for flow in (slow, fleeting):
            with pytest.raises(ShuttingDown):
                await rt.start(flow, 2) if flow is slow else await rt.run(flow, 2)
        await ending
    assert told.refused() == [("slow", "shutting-down"), ("fleeting", "shutting-down")]


async def test_who_waits_for_a_run_that_goes_on_elsewhere_was_not_refused(scene: Scene, told: Told) -> None:
    async with full(scene, told, "queue") as rt:
        waiting = asyncio.ensure_future(rt.run(slow, 1))
        await scene.turns()
        await rt.shutdown("5s")
        with pytest.raises(ShuttingDown):
            await waiting
    assert told.refused() == []


async def test_other_mistakes_are_not_counted(scene: Scene, told: Told) -> None:
    async with full(scene, told) as rt:
        assert await rt.run(other, 1) == Ok(1)
        with pytest.raises(RunConflict):
            await rt.run(other, 2)
    assert told.refused() == []


async def test_the_first_is_logged_at_once_and_the_others_together_after_a_while(
    scene: Scene, told: Told, lines: list[str]
) -> None:
    async with full(scene, told) as rt:
        await rt.start(slow, 1)
        await refused(rt, 200)
        await refused(rt, 1, other)
        assert lines == ["a run of slow was not started: as many runs are executed here as max_active_runs allows: 1"]
        await scene.clock.advance("11s")
        assert lines[1:] == ["200 more runs were not started within 10s [runtime-overloaded]: 199 of slow, 1 of other"]
        await refused(rt, 3)
        await scene.clock.advance("11s")
        assert lines[2:] == ["3 more runs were not started within 10s [runtime-overloaded]: 3 of slow"]


async def test_after_a_quiet_while_the_next_is_a_first_one_again(scene: Scene, told: Told, lines: list[str]) -> None:
    async with full(scene, told) as rt:
        await rt.start(slow, 1)
        await refused(rt, 1)
        await scene.clock.advance("11s")
        await refused(rt, 1)
    assert [line.partition(":")[0] for line in lines] == ["a run of slow was not started"] * 2


async def test_a_runtime_that_is_shut_down_leaves_none_untold(scene: Scene, told: Told, lines: list[str]) -> None:
    async with full(scene, told) as rt:
        await rt.start(slow, 1)
        await refused(rt, 3)
    assert lines[1:] == ["2 more runs were not started within 10s [runtime-overloaded]: 2 of slow"]
