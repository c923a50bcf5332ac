"""What watches the runs of a runtime: what it was given, and what its settings ask for."""

import asyncio
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from awaitly import Breaker, Ok, RateLimit, Runtime, current, each, race, sleep, step, workflow
from awaitly.model.facts import EachStarted, Ending, Fact, RaceWon, StepCancelled, StepFinished
from awaitly.model.notice import Notice
from awaitly.observe.metrics import Metrics
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock


@step(limiter=RateLimit("slow", limit=1, per="1s"))
async def paced(number: int) -> int:
    return number


@workflow
async def pair() -> int:
    return await paced(1) + await paced(2)


def test_a_watcher_that_raises_and_a_sink_that_raises_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(auto=True)
    seen: list[str] = []

    def failing(notice: Notice) -> None:
        raise RuntimeError("a defect")

    async def story() -> None:
        watchers = [failing, lambda notice: seen.append(type(notice.fact).__name__)]
        async with Runtime(Settings(), store="memory://", clock=clock, watchers=watchers, sinks=[failing]) as rt:
            assert await rt.run(pair) == Ok(3)

    clock.run(story())

    assert {"RunStarted", "StepFinished", "RunFinished", "Committed"} <= set(seen)
    assert len([record for record in caplog.records if "failed" in record.message]) == 2  # once each


def test_a_sink_that_blocks_keeps_no_run_and_what_does_not_fit_is_counted() -> None:
    clock = VirtualClock(auto=True)
    released = threading.Event()

    def blocked(notice: Notice) -> None:
        released.wait(30)

    async def story() -> None:
        async with Runtime(Settings(), store="memory://", clock=clock, sinks=[blocked]) as rt:
            for _ in range(50):
                assert await rt.run(pair) == Ok(3)
            assert rt.watching is not None
            assert sum(rt.watching.bus.dropped.values()) == 0
            released.set()

    clock.run(story())


def test_gauges_are_asked_of_the_runtime_that_is_open() -> None:
    clock = VirtualClock()
    reader = InMemoryMetricReader()

    @step
    async def held() -> str:
        await gate.wait()
        return current().step

    @workflow
    async def holding() -> str:
        return await held()

    def gauge(name: str) -> list[tuple[dict[str, object], float]]:
        data = reader.get_metrics_data()
        assert data is not None
        return [
            (dict(point.attributes or {}), point.value)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    async def story() -> None:
        global gate
        gate = asyncio.Event()
        metrics = Metrics(MeterProvider([reader]))
        settings = Settings(max_active_runs=1)
        async with Runtime(settings, store="memory://", clock=clock, watchers=[metrics]) as rt:
            first, second = await rt.start(holding), await rt.start(holding)
            await clock.advance("5s")
            assert [value for _, value in gauge("awaitly.runs.active")] == [1]
            assert [value for _, value in gauge("awaitly.runs.queued")] == [1]
            assert [value for _, value in gauge("awaitly.runs.queue.age")] == [pytest.approx(5)]
            gate.set()
            await asyncio.gather(first.result(), second.result())
            assert [value for _, value in gauge("awaitly.runs.active")] == [0]
        assert [value for _, value in gauge("awaitly.runs.queued")] in ([], [0])

    clock.run(story())


gate: asyncio.Event


@workflow
async def parent() -> int:
    return await sleeping()


@workflow
async def sleeping() -> int:
    await sleep("1h")
    return 1


def test_the_call_of_a_child_is_told_and_measured_as_cancelled_when_its_run_was() -> None:
    clock = VirtualClock()
    reader = InMemoryMetricReader()
    told: list[Notice] = []

    async def story() -> None:
        watchers = [Metrics(MeterProvider([reader])), told.append]
        async with Runtime(Settings(), store="memory://", clock=clock, watchers=watchers) as rt:
            handle = await rt.start(parent)
            await clock.advance("1s")
            await handle.cancel()
            await handle.result()

    clock.run(story())

    assert [notice.fact.ending for notice in told if isinstance(notice.fact, StepFinished)] == [Ending.CANCELLED]
    assert outcomes(reader) == ["cancelled"]


def outcomes(reader: InMemoryMetricReader) -> list[object]:
    """Return the outcomes of steps that a reader has."""
    data = reader.get_metrics_data()
    found = (
        [] if data is None else [metric for each in data.resource_metrics[0].scope_metrics for metric in each.metrics]
    )
    durations = next(metric for metric in found if metric.name == "awaitly.step.duration")
    return [(point.attributes or {})["outcome"] for point in durations.data.data_points]


@step(effect="none", breaker=Breaker("bank", failure_threshold=1))
async def paid() -> None:
    raise ConnectionError("away")


@workflow
async def paying() -> None:
    await paid()


def test_a_circuit_that_is_open_is_so_in_the_metrics_of_a_runtime_that_was_closed_and_opened_again() -> None:
    clock = VirtualClock(auto=True)
    settings = Settings(prometheus=True)

    async def story() -> None:
        runtime = Runtime(settings, store="memory://", clock=clock)
        for _ in range(2):
            async with runtime as rt:
                await rt.run(paying)
                assert rt.watching is not None
                assert rt.watching.exposition is not None
                shown, _ = rt.watching.exposition.render()
                assert b'awaitly_breaker_state{breaker="bank"} 2.0' in shown

    clock.run(story())


@step(effect="none")
async def quick() -> int:
    return 1


@step(effect="none")
async def slow() -> int:
    await asyncio.Event().wait()
    return 2


@workflow
async def racing() -> int:
    await each(double, [1], concurrency=1)
    return await race(quick(), slow())


@step(effect="none")
async def double(number: int) -> int:
    return 2 * number


def test_a_task_that_a_watcher_starts_where_a_body_decides_something_does_not_keep_the_run() -> None:
    clock = VirtualClock(auto=True)
    started: dict[type[Fact], asyncio.Task[bool]] = {}

    async def story() -> None:
        never = asyncio.Event()

        def starting(notice: Notice) -> None:
            if type(notice.fact) in (StepCancelled, RaceWon, EachStarted):
                started[type(notice.fact)] = asyncio.get_running_loop().create_task(never.wait())

        async with Runtime(Settings(), store="memory://", clock=clock, watchers=[starting]) as rt:
            assert await rt.run(racing) == Ok(1)
        assert not [task for task in started.values() if task.done()]
        never.set()
        await asyncio.gather(*started.values())

    clock.run(story())

    assert set(started) == {StepCancelled, RaceWon, EachStarted}
