"""Runs as numbers: every instrument, driven by real runs in virtual time."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import metrics as api
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from awaitly import (
    Breaker,
    Concurrency,
    Failure,
    Fallback,
    Hedge,
    Ok,
    Retry,
    Runtime,
    Workflow,
    gather,
    race,
    sleep,
    step,
    workflow,
)
from awaitly.errors import ConfigurationError, StoreError
from awaitly.model.facts import (
    BreakerOpened,
    CacheHit,
    Ending,
    RunFinished,
    RunReleased,
    RunResumed,
    RunStarted,
    StepFinished,
)
from awaitly.model.notice import Notice
from awaitly.observe import recording, tally
from awaitly.observe.bus import Bus
from awaitly.observe.instruments import INSTRUMENTS, Instrument, Kind
from awaitly.observe.metrics import MOST_NAMES, Gauges, Metrics
from awaitly.observe.recording import BATCH
from awaitly.observe.tally import MANY, Book, Provider
from awaitly.observe.tracing import Tracing
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.bulkhead import Bulkhead
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life

T = TypeVar("T")

ROWS = {row.name: row for row in INSTRUMENTS}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


class Declined(Failure):
    pass


class Tallied(InMemoryMetricReader):
    """Completes what it reads, as the readers do that awaitly sets up."""

    def __init__(self, *, delta: bool = False) -> None:
        super().__init__()
        self.book = Book(delta=delta)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self.book.completed(metrics_data), timeout_millis, **kwargs)


class Measured:
    """One test's clock and store, what its steps do, and the numbers that came of it."""

    def __init__(self, *, tallied: bool = False) -> None:
        self.clock = VirtualClock(auto=True)
        self.store = MemoryStore(monotonic=self.clock.monotonic)
        self.provider: MeterProvider = Provider() if tallied else MeterProvider()
        self.reader = Tallied() if tallied else InMemoryMetricReader()
        self.provider.add_metric_reader(self.reader)
        self.watch = Metrics(self.provider)
        self.tracing: list[Tracing] = []
        self.doing: list[float | Exception] = []  # what the next attempts do: take seconds, or fail

    def runtime(self, *workflows: Workflow[..., Any, Any], store: Any = None, **given: Any) -> Runtime:
        """Return a runtime that these numbers are of, with further settings."""
        return Runtime(
            Settings(store="memory://", lease=LeaseSettings(ttl=15), **given),
            store=store or self.store, clock=self.clock, workflows=workflows,
            watchers=[*self.tracing, self.watch],
        )  # fmt: skip

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story in virtual time."""
        return self.clock.run(story, longest=20)

    def run(self, flow: Workflow[..., Any, Any], *doing: float | Exception) -> Any:
        """Run a workflow to its end, its steps' attempts doing this."""
        self.doing = list(doing)

        async def story() -> Any:
            async with self.runtime(flow) as rt:
                return await rt.run(flow)

        return self.play(story())

    async def act(self) -> str:
        """Do what the next attempt does."""
        what = self.doing.pop(0) if self.doing else 0.0
        if isinstance(what, Exception):
            raise what
        await pause(self.clock, what)
        return "done"

    def tell(self, *notices: Notice) -> None:
        """Let a bus deliver these."""
        bus = Bus(watchers=[self.watch])
        for notice in notices:
            bus.publish(*notice)

    def points(self, name: str) -> dict[str, Any]:
        """Return the data points of an instrument, by the values of their attributes."""
        data = self.reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        return {
            " ".join(str(point.attributes[key]) for key in ROWS[name].attributes if key in point.attributes): point
            for metric in metrics if metric.name == name
            for point in metric.data.data_points
        }  # fmt: skip

    def numbers(self, name: str) -> dict[str, float]:
        """Return the values of an instrument; of a histogram how many it has."""
        return {
            names: point.count if isinstance(point, HistogramDataPoint) else point.value
            for names, point in self.points(name).items()
        }

    def sums(self, name: str) -> dict[str, float]:
        """Return the sums of a histogram."""
        return {names: point.sum for names, point in self.points(name).items()}


_measured: list[Measured] = []


@pytest.fixture(params=["recorded", "tallied"])
def measured(request: pytest.FixtureRequest) -> Iterator[Measured]:
    """What steps of the test ask what to do, and what reads the numbers, with either way into histograms."""
    _measured[:] = [Measured(tallied=request.param == "tallied")]
    yield _measured[0]
    _measured[0].provider.shutdown()


@step(errors=Declined)
async def charge() -> str:
    return await _measured[0].act()


@workflow
async def checkout() -> str:
    return await charge()


@workflow(deadline="10s")
async def hurried() -> str:
    return await charge()


@step(effect="read")
async def look() -> str:
    return await _measured[0].act()


@workflow
async def racing() -> str:
    return await race(charge(), sleep("2s"), look())


@step(effect="read", retry=Retry(3, initial="1s", backoff="fixed", jitter="none"), timeout="5s")
async def ask() -> str:
    return await _measured[0].act()


@workflow
async def asking() -> str:
    return await ask()


@step(effect="read", timeout="5s", fallback=Fallback(value="nothing"))
async def guess() -> str:
    return await _measured[0].act()


@workflow
async def guessing() -> str:
    return await guess()


@step(effect="read", hedge=Hedge("1s"))
async def hurry() -> str:
    return await _measured[0].act()


@workflow
async def hurrying() -> str:
    return await hurry()


@workflow
async def resting() -> None:
    await sleep("1s")


@step(effect="read", cache="1h")
async def remember() -> str:
    return await _measured[0].act()


@workflow
async def remembering() -> str:
    return await remember() + await remember()


@step(breaker=Breaker("payments", failure_threshold=2, reset_timeout="30s"))
async def pay() -> str:
    return await _measured[0].act()


@workflow
async def paying() -> str:
    return await pay()


@step(effect="read", limiter=Concurrency("seats", limit=1, queue=1))
async def sit() -> str:
    return await _measured[0].act()


@workflow
async def sitting() -> int:
    return len(await gather(sit(), sit()))


@workflow
async def crowding() -> int:
    return len(await gather(sit(), sit(), sit()))


# Steps.


def test_a_step_is_one_record_with_its_outcome_and_its_time(measured: Measured) -> None:
    measured.run(checkout, 0.02)

    (point,) = measured.points("awaitly.step.duration").values()

    assert dict(point.attributes) == {"workflow": "checkout", "step": "charge", "outcome": "value"}
    assert (point.count, round(point.sum, 6)) == (1, 0.02)


def test_failures_that_are_declared_and_others_are_told_apart(measured: Measured) -> None:
    measured.run(checkout, Declined())
    measured.run(checkout, OSError("away"))

    assert measured.numbers("awaitly.step.duration") == {"checkout charge failure": 1, "checkout charge unexpected": 1}


def test_a_cancelled_step_counts_with_the_time_that_it_had_been_under_way(measured: Measured) -> None:
    measured.run(racing, 1, 60)

    assert measured.sums("awaitly.step.duration") == {"racing charge value": 1.0, "racing look cancelled": 1.0}


def test_steps_have_buckets_from_a_millisecond_to_ten_minutes(measured: Measured) -> None:
    measured.run(checkout)

    (point,) = measured.points("awaitly.step.duration").values()

    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (0.001, 600)


def test_a_clock_that_is_set_back_makes_no_negative_time(measured: Measured) -> None:
    measured.tell(Notice("run", "checkout", finished("charge", seconds=-3.0)))

    assert measured.sums("awaitly.step.duration") == {"checkout charge value": 0.0}


def test_what_steps_took_is_recorded_though_whoever_watched_them_is_gone(measured: Measured) -> None:
    Metrics(measured.provider)(Notice("run", "checkout", finished("charge")))

    assert measured.numbers("awaitly.step.duration") == {"checkout charge value": 1}


def test_many_steps_are_recorded_without_waiting_for_somebody_to_collect(measured: Measured) -> None:
    many = max(BATCH, MANY)

    measured.tell(*(Notice("run", "checkout", finished("charge")) for _ in range(5 * many + 3)))

    assert len(measured.watch._report.pending) < many
    assert all(len(getattr(line, "values", ())) < many for line in measured.watch._outcomes.values())
    assert measured.numbers("awaitly.step.duration") == {"checkout charge value": 5 * many + 3}


def test_retries_are_counted_and_their_delays_are_part_of_the_step(measured: Measured) -> None:
    measured.run(asking, OSError("away"), OSError("away"), 0.5)

    assert measured.numbers("awaitly.step.retries") == {"asking ask": 2}
    assert measured.sums("awaitly.step.duration") == {"asking ask value": 2.5}


def test_every_attempt_that_took_too_long_is_a_timeout_the_last_one_too(measured: Measured) -> None:
    measured.run(asking, 60, 60, 60)

    assert measured.numbers("awaitly.step.timeouts") == {"asking ask": 3}
    assert measured.numbers("awaitly.step.retries") == {"asking ask": 2}
    assert measured.numbers("awaitly.step.duration") == {"asking ask unexpected": 1}


def test_other_errors_are_no_timeouts(measured: Measured) -> None:
    measured.run(asking, OSError("away"), OSError("away"), OSError("away"))

    assert measured.numbers("awaitly.step.timeouts") == {}


def test_a_fallback_is_counted_and_hides_no_timeout(measured: Measured) -> None:
    assert measured.run(guessing, 60) == Ok("nothing")

    assert measured.numbers("awaitly.fallbacks") == {"guessing guess": 1}
    assert measured.numbers("awaitly.step.timeouts") == {"guessing guess": 1}
    assert measured.numbers("awaitly.step.duration") == {"guessing guess value fallback": 1}


def test_hedges_are_counted(measured: Measured) -> None:
    measured.run(hurrying, 60, 1)

    assert measured.numbers("awaitly.step.hedges") == {"hurrying hurry": 1}


def test_answers_of_a_cache_are_counted_and_told_apart_from_the_function_s(measured: Measured) -> None:
    measured.run(remembering)

    assert measured.numbers("awaitly.cache.hits") == {"remembering remember": 1}
    assert measured.numbers("awaitly.step.duration") == {
        "remembering remember value": 1,
        "remembering remember value cache": 1,
    }


# Circuits and limiters.


def test_a_circuit_is_followed_from_opening_to_closing(measured: Measured) -> None:
    measured.doing = [OSError("away"), OSError("away")]
    seen = []

    async def story() -> None:
        async with measured.runtime(paying) as rt:
            measured.watch.attach(Gauges(breakers=lambda: {"payments": "closed", "idle": "closed"}))
            seen.append(measured.numbers("awaitly.breaker.state"))
            for _ in range(3):
                await rt.run(paying)
            seen.append(measured.numbers("awaitly.breaker.state"))
            await pause(measured.clock, 30)
            await rt.run(paying)
            seen.append(measured.numbers("awaitly.breaker.state"))

    measured.play(story())

    assert seen == [{"payments": 0, "idle": 0}, {"payments": 2, "idle": 0}, {"payments": 0, "idle": 0}]
    assert measured.numbers("awaitly.breaker.transitions") == {
        "payments open": 1, "payments half-open": 1, "payments closed": 1,
    }  # fmt: skip
    assert measured.numbers("awaitly.breaker.rejections") == {"payments paying pay": 1}


def test_a_circuit_that_changed_is_known_without_asking_anybody(measured: Measured) -> None:
    measured.tell(Notice("", "", BreakerOpened(at=1.0, breaker="payments", seconds=30)))

    assert measured.numbers("awaitly.breaker.state") == {"payments": 2}


def test_waits_for_a_limiter_are_measured(measured: Measured) -> None:
    measured.run(sitting, 2, 2)

    assert measured.sums("awaitly.limiter.wait") == {"seats": 2.0}
    assert measured.numbers("awaitly.limiter.wait") == {"seats": 1}


def test_those_whom_a_limiter_turns_away_are_counted(measured: Measured) -> None:
    measured.run(crowding, 2, 2)

    assert measured.numbers("awaitly.limiter.rejections") == {"seats crowding sit": 1}


def test_those_who_wait_for_a_limiter_are_asked_for(measured: Measured) -> None:
    measured.doing = [2, 2]
    seen = []

    async def story() -> None:
        async with measured.runtime(sitting) as rt:
            states = rt.states
            measured.watch.attach(
                Gauges(waiting=lambda: {name: state.waiting for name, state in states.states(Bulkhead).items()})
            )
            handle = await rt.start(sitting)
            await pause(measured.clock, 1)
            seen.append(measured.numbers("awaitly.limiter.waiting"))
            await handle.result()
            seen.append(measured.numbers("awaitly.limiter.waiting"))

    measured.play(story())

    assert seen == [{"seats": 1}, {"seats": 0}]


# Runs, the store, the process.


@pytest.mark.parametrize(
    ("flow", "doing", "outcome"),
    [
        (checkout, 3, "checkout value"),
        (checkout, Declined(), "checkout failure"),
        (checkout, OSError("away"), "checkout unexpected"),
        (hurried, 60, "hurried deadline"),
    ],
)
def test_a_run_is_one_record_with_its_outcome(
    measured: Measured, flow: Workflow[..., Any, Any], doing: float | Exception, outcome: str
) -> None:
    measured.run(flow, doing)

    assert measured.numbers("awaitly.run.duration") == {outcome: 1}


def test_a_cancelled_run_is_told_apart(measured: Measured) -> None:
    measured.doing = [60]

    async def story() -> None:
        async with measured.runtime(checkout) as rt:
            handle = await rt.start(checkout)
            await handle.cancel()
            await handle.result()

    measured.play(story())

    assert measured.numbers("awaitly.run.duration") == {"checkout cancelled": 1}


def interrupt(measured: Measured) -> None:
    """Let a process die while it executes a run, and another one end it."""
    measured.doing = [5, 1]
    dead = Life()

    async def dying() -> None:
        async with measured.runtime(checkout, store=CrashingStore(measured.store, dead)) as rt:
            await rt.start(checkout.options(id="run"))
            await pause(measured.clock, 2)
            dead.die()
            await asyncio.Future()

    async def resuming() -> None:
        async with measured.runtime(checkout) as rt:
            await pause(measured.clock, 60)
            assert await (await rt.handle("run")).result() == Ok("done")

    dead.run(dying(), clock=measured.clock)
    measured.watch = Metrics(measured.provider)  # another process
    measured.play(resuming())


def test_a_run_that_a_crash_interrupted_is_measured_from_its_start_on(measured: Measured) -> None:
    interrupt(measured)

    assert measured.numbers("awaitly.runs.resumed") == {"checkout": 1}
    assert measured.sums("awaitly.replay.facts") == {"checkout": 1}
    (point,) = measured.points("awaitly.run.duration").values()
    assert point.count == 1
    assert point.sum > 3  # the time between its two lives is part of it


def test_what_another_process_took_over_is_counted_as_lost(measured: Measured) -> None:
    measured.doing = [100, 1]
    here = CrashingStore(measured.store, Life())

    async def away(owner: str) -> bool:
        raise StoreError("the store is away", code="store-unavailable")

    async def story() -> None:
        async with measured.runtime(checkout, store=here) as mine, measured.runtime(checkout) as theirs:
            await mine.start(checkout.options(id="run"))
            await pause(measured.clock, 1)
            renew, here.renew = here.renew, away  # type: ignore[method-assign]  # cut off
            await pause(measured.clock, 40)
            here.renew = renew  # type: ignore[method-assign]
            await (await theirs.handle("run")).result()
            await pause(measured.clock, 20)

    measured.play(story())

    assert measured.numbers("awaitly.runs.lost") == {"checkout": 1}
    assert measured.numbers("awaitly.lease.lapses") == {"": 1}


def test_commits_are_measured_and_so_is_what_they_store(measured: Measured) -> None:
    measured.run(checkout)

    facts = measured.numbers("awaitly.commit.facts")

    assert facts == {"": 3}  # the start, the outcome, the end
    assert measured.numbers("awaitly.commit.duration") == {"": 2}  # that of the start holds the outcome, too


def test_nothing_is_kept_of_a_run_that_is_over_here(measured: Measured) -> None:
    measured.tell(
        started("finished"), Notice("finished", "checkout", RunFinished(at=2.0, ending=Ending.VALUE, payload=b"")),
        started("released"), Notice("released", "checkout", RunReleased(at=2.0, code="run-stopped", reason="")),
    )  # fmt: skip

    assert measured.watch._started == {}
    assert measured.watch._contexts == {}


def test_a_run_whose_start_was_not_seen_has_no_duration(measured: Measured) -> None:
    measured.tell(Notice("run", "checkout", RunFinished(at=2.0, ending=Ending.VALUE, payload=b"")))

    assert measured.numbers("awaitly.run.duration") == {}


# What is asked.


def test_what_is_asked_is_asked_when_somebody_collects(measured: Measured) -> None:
    measured.watch.attach(
        Gauges(
            active=lambda: {"checkout": 3, "refund": 1}, queued=lambda: 7, queue_age=lambda: 1.5,
            dropped=lambda: {"archive": 4}, sink_failures=lambda: {"archive": 2}, spans_dropped=lambda: 5,
            lag=lambda: 0.25,
        )
    )  # fmt: skip

    assert measured.numbers("awaitly.spans.dropped") == {"": 5}
    assert measured.numbers("awaitly.runs.active") == {"checkout": 3, "refund": 1}
    assert measured.numbers("awaitly.runs.queued") == {"": 7}
    assert measured.numbers("awaitly.runs.queue.age") == {"": 1.5}
    assert measured.numbers("awaitly.sink.dropped") == {"archive": 4}
    assert measured.numbers("awaitly.sink.failures") == {"archive": 2}
    assert measured.numbers("awaitly.loop.lag") == {"": 0.25}


def test_workflows_that_were_executed_here_and_are_not_now_have_no_active_runs_rather_than_no_number(
    measured: Measured,
) -> None:
    """They have 0, which an alert can tell from a process that is gone. Of runs that store nothing it is not known."""
    measured.watch.attach(Gauges(active=lambda: {"refund": 1}))
    resumed = RunResumed(at=1.0, recorded=3, started=0.5)
    measured.tell(
        started("one", digest="d"), Notice("two", "refund", resumed), Notice("three", "import", resumed),
        started("four", workflow="local"),
    )  # fmt: skip

    assert measured.numbers("awaitly.runs.active") == {"checkout": 0, "refund": 1, "import": 0}


def test_what_nobody_knows_has_no_value(measured: Measured) -> None:
    asked = [row.name for row in INSTRUMENTS if row.kind in (Kind.ASKED_GAUGE, Kind.ASKED_COUNTER)]
    asked.remove("awaitly.commit.facts")  # is counted here

    assert {name: measured.numbers(name) for name in asked} == {name: {} for name in asked}


def test_several_runtimes_that_report_to_one_provider_are_added_up(measured: Measured) -> None:
    measured.watch.attach(Gauges(active=lambda: {"checkout": 3}, queued=lambda: 2, queue_age=lambda: 5.0))
    other = Metrics(measured.provider, Gauges(active=lambda: {"checkout": 1}, queued=lambda: 1, queue_age=lambda: 9.0))

    assert measured.numbers("awaitly.runs.active") == {"checkout": 4}
    assert measured.numbers("awaitly.runs.queued") == {"": 3}
    assert measured.numbers("awaitly.runs.queue.age") == {"": 9.0}

    del other
    assert measured.numbers("awaitly.runs.active") == {"checkout": 3}


def test_without_a_provider_the_global_one_is_told_even_if_it_is_set_later(
    measured: Measured, global_provider: Callable[[MeterProvider], None]
) -> None:
    early = Metrics(gauges=Gauges(queued=lambda: 2))
    measured.reader = InMemoryMetricReader()
    global_provider(MeterProvider(metric_readers=[measured.reader]))
    late = Metrics(gauges=Gauges(queued=lambda: 1))
    for watch in (early, late):
        Bus(watchers=[watch]).publish("run", "checkout", finished("charge"))

    assert measured.numbers("awaitly.step.duration") == {"checkout charge value": 2}
    assert measured.numbers("awaitly.runs.queued") == {"": 3}


def test_a_program_that_has_set_up_nothing_but_metrics_gets_those_of_its_runs(
    measured: Measured, global_provider: Callable[[MeterProvider], None]
) -> None:
    measured.reader = InMemoryMetricReader()
    global_provider(MeterProvider(metric_readers=[measured.reader]))

    measured.play(counted(measured))

    assert measured.numbers("awaitly.step.duration") == {"counting one value": 1}


@pytest.mark.parametrize("named", [True, False])
def test_metrics_that_are_given_for_the_provider_of_the_program_are_not_counted_again(
    measured: Measured, global_provider: Callable[[MeterProvider], None], named: bool
) -> None:
    measured.reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[measured.reader])
    global_provider(provider)

    measured.play(counted(measured, Metrics(provider if named else None)))

    assert measured.numbers("awaitly.step.duration") == {"counting one value": 1}


def test_metrics_that_are_given_for_another_provider_are_counted_beside_those_of_the_program(
    measured: Measured, global_provider: Callable[[MeterProvider], None]
) -> None:
    reader = InMemoryMetricReader()
    global_provider(MeterProvider(metric_readers=[reader]))

    measured.play(counted(measured, measured.watch))
    assert measured.numbers("awaitly.step.duration") == {"counting one value": 1}

    measured.reader = reader
    assert measured.numbers("awaitly.step.duration") == {"counting one value": 1}


async def counted(measured: Measured, *watchers: Metrics) -> None:
    """Execute a run of one step in a runtime that is given these."""
    async with Runtime(Settings(), store="memory://", clock=measured.clock, watchers=watchers) as rt:
        assert await rt.run(counting) == Ok(1)


@step
async def one() -> int:
    return 1


@workflow
async def counting() -> int:
    return await one()


@pytest.fixture
def global_provider(monkeypatch: pytest.MonkeyPatch) -> Callable[[MeterProvider], None]:
    """Set OpenTelemetry's global provider, for the test alone: it can be set only once."""
    internal = api._internal
    monkeypatch.setattr(recording, "_of_the_global", [])
    monkeypatch.setattr(internal, "_METER_PROVIDER", None)
    monkeypatch.setattr(internal, "_METER_PROVIDER_SET_ONCE", type(internal._METER_PROVIDER_SET_ONCE)())
    monkeypatch.setattr(internal, "_PROXY_METER_PROVIDER", type(internal._PROXY_METER_PROVIDER)())
    return api.set_meter_provider


def test_threads_that_ask_for_the_report_of_one_provider_at_once_get_the_same() -> None:
    """An SDK asks the first one only: what another one is told would be lost."""
    reports: list[recording.Report] = []

    class Slow(MeterProvider):
        """Lets another thread ask while a report is made."""

        other: threading.Thread | None = None

        def get_meter(self, *about: Any, **more: Any) -> Any:
            if self.other is None:
                begun = threading.Event()
                self.other = threading.Thread(target=lambda: (begun.set(), ask()), daemon=True)
                self.other.start()
                assert begun.wait(20)
            return super().get_meter(*about, **more)

    provider = Slow(shutdown_on_exit=False)

    def ask() -> None:
        reports.append(recording.report_of(provider))

    ask()
    assert provider.other is not None
    provider.other.join(20)

    assert len(reports) == 2
    assert reports[0] is reports[1]


# Names.


def test_only_so_many_names_are_told_apart(measured: Measured) -> None:
    steps = [f"step{number}" for number in range(MOST_NAMES + 2)]

    measured.tell(*(Notice("run", "checkout", finished(name)) for name in steps))
    measured.tell(Notice("run", "checkout", finished("step7")))

    numbers = measured.numbers("awaitly.step.duration")
    assert len(numbers) == MOST_NAMES + 1
    assert numbers["other other value"] == 2
    assert numbers["checkout step7 value"] == 2


def test_counters_of_steps_know_the_same_names(measured: Measured) -> None:
    measured.tell(*(Notice("run", "checkout", finished(f"step{number}")) for number in range(MOST_NAMES)))

    measured.tell(*(Notice("run", "checkout", CacheHit(at=1.0, call="a#0", step=name, key="k")) for name in "ab"))

    assert measured.numbers("awaitly.cache.hits") == {"other other": 2}


@pytest.mark.parametrize("row", INSTRUMENTS, ids=lambda row: row.name)
def test_no_attribute_is_an_id_or_a_message(row: Instrument) -> None:
    assert set(row.attributes) <= {
        "workflow", "step", "outcome", "source", "breaker", "limiter", "state", "sink", "outbox", "reason",
    }  # fmt: skip


# Runs that have no room.


def test_waits_for_room_are_measured_and_are_part_of_a_runs_duration(measured: Measured) -> None:
    async def story() -> None:
        async with measured.runtime(resting, max_active_runs=1) as rt:
            await asyncio.gather(*(rt.run(resting) for _ in range(3)))

    measured.play(story())

    assert measured.numbers("awaitly.runs.queue.wait") == {"resting": 2}
    assert measured.sums("awaitly.runs.queue.wait")["resting"] == pytest.approx(1 + 2)
    assert measured.sums("awaitly.run.duration")["resting value"] == pytest.approx(1 + 2 + 3)


def test_runs_that_were_not_started_are_counted_by_why(measured: Measured) -> None:
    async def story() -> None:
        async with measured.runtime(resting, max_active_runs=1, overload="reject") as rt:
            await asyncio.gather(*(rt.run(resting) for _ in range(3)), return_exceptions=True)

    measured.play(story())

    assert measured.numbers("awaitly.runs.rejected") == {"resting runtime-overloaded": 2}


# Exemplars.


def test_what_is_current_when_somebody_collects_is_no_example(measured: Measured) -> None:
    measured.tell(Notice("run", "checkout", finished("charge")))
    collecting = TraceContextTextMapPropagator().extract({"traceparent": f"{TRACE}01"}, Context())

    token = attach(collecting)
    (point,) = measured.points("awaitly.step.duration").values()
    detach(token)

    assert list(point.exemplars) == []


@pytest.mark.parametrize("name", ["awaitly.step.duration", "awaitly.run.duration"])
def test_durations_have_the_sampled_trace_of_their_run_as_an_example(measured: Measured, name: str) -> None:
    measured.tell(
        started("run", trace=f"{TRACE}01"), Notice("run", "checkout", finished("charge")),
        Notice("run", "checkout", RunFinished(at=2.0, ending=Ending.VALUE, payload=b"")),
    )  # fmt: skip

    (point,) = measured.points(name).values()

    (example,) = point.exemplars
    assert f"{example.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{example.span_id:016x}" == "b7ad6b7169203331"


def test_the_example_of_a_real_run_is_its_span(measured: Measured) -> None:
    spans = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))

    measured.tracing.append(Tracing(tracers))
    measured.run(checkout)

    (point,) = measured.points("awaitly.step.duration").values()
    (run,) = [span for span in spans.get_finished_spans() if "checkout" in span.name]
    assert [(example.trace_id, example.span_id) for example in point.exemplars] == [
        (run.context.trace_id, run.context.span_id)
    ]
    tracers.shutdown()


@pytest.mark.parametrize("name", ["awaitly.step.duration", "awaitly.run.duration"])
def test_the_example_of_a_run_that_was_taken_over_is_its_span_here(measured: Measured, name: str) -> None:
    """The first one may never have been sent, as its process was killed."""
    spans = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    measured.tracing.append(Tracing(tracers, time=measured.clock.time))
    interrupt(measured)

    (point,) = measured.points(name).values()

    _, run = [span for span in spans.get_finished_spans() if "workflow" in span.name]
    assert [(example.trace_id, example.span_id) for example in point.exemplars] == [
        (run.context.trace_id, run.context.span_id)
    ]
    tracers.shutdown()


def test_the_example_of_a_run_that_was_taken_over_by_who_makes_no_traces_is_where_it_began(measured: Measured) -> None:
    resumed = RunResumed(at=1.0, recorded=3, started=0.5, trace=f"{TRACE}01")
    measured.tell(Notice("run", "checkout", resumed), Notice("run", "checkout", finished("charge")))

    (point,) = measured.points("awaitly.step.duration").values()

    assert [f"{example.trace_id:032x}" for example in point.exemplars] == ["0af7651916cd43dd8448eb211c80319c"]


@pytest.mark.parametrize("trace", ["", f"{TRACE}00", "nonsense"])
def test_a_trace_that_nobody_keeps_is_no_example(measured: Measured, trace: str) -> None:
    measured.tell(started("run", trace=trace), Notice("run", "checkout", finished("charge")))

    (point,) = measured.points("awaitly.step.duration").values()

    assert list(point.exemplars) == []


def finished(step: str, seconds: float = 0.1) -> StepFinished:
    return StepFinished(
        at=1.0, call=f"{step}#0", step=step, arguments="", ending=Ending.VALUE, payload=b"", seconds=seconds
    )


def started(run: str, trace: str = "", *, workflow: str = "checkout", digest: str = "") -> Notice:
    fact = RunStarted(
        at=1.0,
        workflow=workflow,
        version=None,
        fingerprint="",
        arguments=b"",
        arguments_digest=digest,
        seed=1,
        trace=trace,
    )
    return Notice(run, workflow, fact)


# Histograms that are added up here.


@pytest.fixture
def tallied() -> Iterator[Measured]:
    """Numbers that are added up before the SDK has them."""
    measured = Measured(tallied=True)
    yield measured
    measured.provider.shutdown()


def took(*seconds: float, step: str = "charge") -> Iterator[Notice]:
    """Yield the ends of steps that took so long."""
    return (Notice("run", "checkout", finished(step, seconds=each)) for each in seconds)


durations = st.lists(st.floats(min_value=0, max_value=1000, allow_subnormal=False), max_size=30)


@given(rounds=st.lists(durations, max_size=4), delta=st.booleans())
def test_a_tally_has_what_the_sdk_has_of_the_same_values(rounds: list[list[float]], delta: bool) -> None:
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    sdk = InMemoryMetricReader({SdkHistogram: temporality})
    ours = Tallied(delta=delta)
    providers = MeterProvider([sdk]), Provider([ours])
    watchers = [Metrics(provider) for provider in providers]

    for values in rounds:
        for watch in watchers:
            for notice in took(*values):
                watch(notice)
        recorded, tallied = (histogram(reader) for reader in (sdk, ours))
        assert tallied == recorded

    for provider in providers:
        provider.shutdown()


def histogram(reader: InMemoryMetricReader) -> list[Any]:
    """Return what a reader is given of the durations of steps."""
    data = reader.get_metrics_data()
    scopes = [] if data is None else data.resource_metrics[0].scope_metrics
    return [
        (metric.unit, metric.description, metric.data.aggregation_temporality, dict(point.attributes), point.count,
         pytest.approx(point.sum), list(point.bucket_counts), list(point.explicit_bounds), point.min, point.max)
        for scope in scopes if scope.scope.name == "awaitly"
        for metric in scope.metrics if metric.name == "awaitly.step.duration"
        for point in metric.data.data_points
    ]  # fmt: skip


def test_what_a_reader_reports_follows_on_what_it_reported_before(tallied: Measured) -> None:
    tallied.provider.remove_metric_reader(tallied.reader)
    tallied.reader = Tallied(delta=True)
    tallied.provider.add_metric_reader(tallied.reader)

    tallied.tell(*took(1))
    (first,) = tallied.points("awaitly.step.duration").values()
    tallied.tell(*took(2, 3))
    (second,) = tallied.points("awaitly.step.duration").values()

    assert (first.count, second.count) == (1, 2)
    assert first.start_time_unix_nano < first.time_unix_nano == second.start_time_unix_nano < second.time_unix_nano


def test_every_reader_of_a_tally_reports_everything(tallied: Measured) -> None:
    other = Tallied(delta=True)
    tallied.provider.add_metric_reader(other)
    tallied.tell(*took(1, 2))
    mine = tallied.numbers("awaitly.step.duration")
    tallied.reader = other

    assert mine == tallied.numbers("awaitly.step.duration") == {"checkout charge value": 2}


def test_a_reader_that_has_left_is_kept_no_book_for(tallied: Measured) -> None:
    tallied.provider.remove_metric_reader(tallied.reader)

    assert isinstance(tallied.provider, Provider)
    assert tallied.provider.tally.books == ()


def test_examples_are_told_once(tallied: Measured) -> None:
    tallied.tell(started("run", trace=f"{TRACE}01"), *took(0.5, 20))

    (first,) = tallied.points("awaitly.step.duration").values()
    (second,) = tallied.points("awaitly.step.duration").values()

    assert sorted(example.value for example in first.exemplars) == [0.5, 20]
    assert list(second.exemplars) == []


def test_examples_are_told_once_by_a_clock_that_is_set_back_too(
    tallied: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [2_000 * 10**9, 1_000 * 10**9, 3_000 * 10**9]
    told = []
    for at, seconds in zip(now, (0.5, 20, 0.5), strict=True):
        monkeypatch.setattr(tally, "time_ns", lambda at=at: at)
        tallied.tell(started("run", trace=f"{TRACE}01"), *took(seconds))
        (point,) = tallied.points("awaitly.step.duration").values()
        told.append([example.value for example in point.exemplars])

    assert told == [[0.5], [20], [0.5]]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "no trace",
        f"{TRACE}zz",
        TRACE,
        f"{TRACE}01-more",
        f"00-{'0' * 32}-{'0' * 16}-01",
        f"00-{'a' * 40}-{'b' * 16}-01",
    ],
)  # fmt: skip
def test_what_is_no_trace_is_none_of_an_example(tallied: Measured, wrong: str) -> None:
    tallied.tell(started("run", trace=wrong), *took(0.5))

    (point,) = tallied.points("awaitly.step.duration").values()
    assert (point.count, list(point.exemplars)) == (1, [])


@pytest.mark.parametrize("tallied", [False, True])
def test_examples_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, tallied: bool) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")
    measured = Measured(tallied=tallied)

    measured.tell(started("run", trace=f"{TRACE}01"), *took(0.5))

    (point,) = measured.points("awaitly.step.duration").values()
    assert list(point.exemplars) == []
    measured.provider.shutdown()


def test_a_reader_that_would_miss_the_tally_is_refused(tallied: Measured) -> None:
    with pytest.raises(ConfigurationError, match="InMemoryMetricReader would miss") as caught:
        tallied.provider.add_metric_reader(InMemoryMetricReader())

    assert caught.value.code == "invalid-option"


def test_values_that_come_while_others_are_added_up_are_not_lost(tallied: Measured) -> None:
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            tallied.reader.collect()

    collecting = threading.Thread(target=collect)
    collecting.start()
    tallied.tell(*took(*[0.1] * 20_000))
    stop.set()
    collecting.join()

    assert tallied.numbers("awaitly.step.duration") == {"checkout charge value": 20_000}
