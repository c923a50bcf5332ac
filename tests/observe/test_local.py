"""Runs that store nothing are observed as durable ones are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from awaitly import (
    Breaker,
    Failure,
    Fallback,
    Flag,
    Hedge,
    Ok,
    Policies,
    RateLimit,
    Retry,
    Runtime,
    Workflow,
    gather,
    race,
    sleep,
    step,
    workflow,
)
from awaitly.declare.host import whereabouts
from awaitly.errors import UnexpectedError
from awaitly.model import attributes as names
from awaitly.model.facts import (
    Committed,
    DeadlinePassed,
    Fact,
    RaceWon,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepStarted,
    TimerFired,
    TimerSet,
)
from awaitly.model.notice import Notice, Watcher
from awaitly.observe.logs import Journalist, RunFilter
from awaitly.observe.metrics import Metrics
from awaitly.observe.tracing import Tracing
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock

CLOCK: list[VirtualClock] = []
FAILING = [0]  # how many calls to come fail
TRACES = TracerProvider(shutdown_on_exit=False)
CLIENT = TRACES.get_tracer("client")


class Declined(Failure):
    code: str


@pytest.fixture(autouse=True)
def clock() -> VirtualClock:
    CLOCK[:] = [VirtualClock(auto=True)]
    FAILING[0] = 0
    return CLOCK[0]


def played(flow: Workflow[..., Any, Any], *args: Any, watchers: tuple[Watcher, ...] = (), **options: Any) -> Any:
    """Run a workflow in virtual time and return its result."""

    async def story() -> Any:
        async with Runtime(Settings(store="memory://"), watchers=watchers, clock=CLOCK[0], **options) as rt:
            return await rt.run(flow, *args)

    return CLOCK[0].run(story(), longest=20)


def told(flow: Workflow[..., Any, Any], *args: Any) -> list[Notice]:
    """Run a workflow and return what its observers were told, except of commits and of what only waits."""
    notices: list[Notice] = []
    played(flow, *args, watchers=(notices.append,))
    return [notice for notice in notices if not isinstance(notice.fact, (Committed, TimerSet, TimerFired, RaceWon))]


def in_short(notice: Notice) -> tuple[object, ...]:
    """Return what a notice says, without times, identities and what is only stored."""
    fact, known = notice.fact, ("step", "ending", "attempt", "attempts", "source", "variant", "flag", "value", "error")
    about = tuple(getattr(fact, name) for name in known if hasattr(fact, name))
    return type(fact).__name__, about, type(notice.error).__name__


@step
async def greet(name: str) -> str:
    with CLIENT.start_as_current_span(f"GET /{name}"):
        await pause(CLOCK[0], 1)
        return f"hello {name}"


@step
def in_a_thread(name: str) -> str:
    with CLIENT.start_as_current_span(f"GET /{name}"):
        return name


@step(errors=Declined, retry=Retry(3, on=ConnectionError, initial="2s", jitter=False))
async def charge(card: str) -> str:
    await pause(CLOCK[0], 1)
    FAILING[0] -= 1
    if FAILING[0] >= 0:
        raise ConnectionError("busy")
    if card == "stolen":
        raise Declined(code="stolen")
    return card


@step
async def broken(name: str) -> str:
    raise ValueError(name)


@step(effect="read", fallback=Fallback(value="none"))
async def substituted(name: str) -> str:
    raise ValueError(name)


@step(effect="read", hedge=Hedge(after="2s"))
async def slow(name: str) -> str:
    FAILING[0] += 1
    await pause(CLOCK[0], 10 if FAILING[0] == 1 else 1)
    return name


@step(limiter=RateLimit("few", limit=1, per="10s"))
async def limited(name: str) -> str:
    return name


@step(policies=Policies(breaker=Breaker("fragile", failure_threshold=1)))
async def fragile(name: str) -> str:
    raise ConnectionError(name)


NEW = Flag("greeting", default=False)


@step(effect="read")
async def plain(name: str) -> str:
    return name


@plain.variant(flag=NEW, when=True)
async def fancy(name: str) -> str:
    return name.upper()


@step(effect="read")
async def steady(name: str) -> str:
    return name


@steady.variant(flag="daring", when=False, retry=Retry(2, initial="1s", jitter=False))
async def daring(name: str) -> str:
    raise ConnectionError("busy")


async def in_sequence(name: str) -> str:
    return await greet(name) + await in_a_thread(name)


async def at_once(name: str) -> str:
    one, other = await gather(greet("a"), greet("b"))
    return one + other


async def paying(name: str) -> str:
    return await charge(name)


async def crashing(name: str) -> str:
    return await broken(name)


async def coping(name: str) -> str:
    return await substituted(name)


async def hedging(name: str) -> str:
    return await slow(name)


async def queueing(name: str) -> str:
    await limited(name)
    return await limited(name)


async def refusing(name: str) -> str:
    failed = await fragile.attempt(name)
    return await fragile(name) if failed.is_err() else name


async def choosing(name: str) -> str:
    return await plain(name)


async def choosing_and_trying(name: str) -> str:
    return await steady(name)


async def mistaken(name: str) -> str:
    raise ValueError(name)


async def first(name: str) -> str:
    return await race(patient("1s"), patient("1h"))


async def patient(duration: str) -> str:
    await sleep(duration)
    return await greet(duration)


def declared(body: Callable[[str], Awaitable[str]], *, durable: bool) -> Workflow[[str], str, Any]:
    return workflow(name="flow", durable=durable, errors=Declined)(body)  # type: ignore[arg-type, return-value]  # a choice at run time


@pytest.mark.parametrize(
    ("body", "argument", "failing"),
    [
        (in_sequence, "pen", 0),
        (paying, "card", 2),
        (paying, "stolen", 0),
        (paying, "card", 9),
        (crashing, "pen", 0),
        (coping, "pen", 0),
        (hedging, "pen", 0),
        (queueing, "pen", 0),
        (refusing, "pen", 0),
        (choosing, "pen", 0),
        (choosing_and_trying, "pen", 0),
        (mistaken, "pen", 0),
        (first, "pen", 0),
    ],
)
def test_observers_are_told_the_same_of_a_run_that_stores_nothing(
    body: Callable[[str], Awaitable[str]], argument: str, failing: int
) -> None:
    FAILING[0] = failing
    durable = told(declared(body, durable=True), argument)
    FAILING[0] = failing
    local = told(declared(body, durable=False), argument)

    assert list(map(in_short, local)) == list(map(in_short, durable))
    assert {notice.workflow for notice in local if notice.run} == {"flow"}


def test_nothing_of_such_a_run_is_encoded_for_them() -> None:
    start, *_, end = told(declared(in_sequence, durable=False), "pen")

    assert isinstance(start.fact, RunStarted)
    assert isinstance(end.fact, RunFinished)
    assert (start.fact.arguments, end.fact.payload) == (b"", b"")


def test_one_that_is_cancelled_by_who_awaits_it_has_ended() -> None:
    notices: list[Notice] = []

    async def story() -> None:
        async with Runtime(Settings(store="memory://"), watchers=[notices.append], clock=CLOCK[0]) as rt:
            running = asyncio.create_task(rt.run(declared(in_sequence, durable=False), "pen"))
            for _ in range(20):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])

    CLOCK[0].run(story(), longest=20)

    kinds = [type(notice.fact).__name__ for notice in notices]
    assert kinds == ["RunStarted", "StepStarted", "StepCancelled", "RunFinished"]
    assert str(getattr(notices[-1].fact, "ending", "")) == "cancelled"


def test_that_its_deadline_passed_is_told() -> None:
    flow = workflow(name="flow", durable=False, deadline="500ms")(in_sequence)

    *_, cancelled, passed, end = told(flow, "pen")

    assert isinstance(cancelled.fact, StepCancelled)
    assert isinstance(passed.fact, DeadlinePassed)
    assert in_short(end) == ("RunFinished", ("deadline",), "CancelledError")


class Fatal(BaseException):
    """Nothing that a run could end with."""


@step
async def dying(name: str) -> str:
    raise Fatal


async def dies(name: str) -> str:
    return await dying(name)


def test_one_that_takes_more_than_itself_along_has_ended_too() -> None:
    notices: list[Notice] = []

    with pytest.raises(Fatal):
        played(declared(dies, durable=False), "pen", watchers=(notices.append,))

    kinds = [type(notice.fact).__name__ for notice in notices]
    assert kinds == ["RunStarted", "StepStarted", "StepCancelled", "RunFinished"]


TENANT = ContextVar("TENANT", default="")


@step
async def chooses_tenant(name: str) -> str:
    TENANT.set(name)
    return name


async def asks_tenant(name: str) -> str:
    await chooses_tenant(name)
    return TENANT.get()


@pytest.mark.parametrize("watchers", [(), (lambda notice: None,), (Tracing(TRACES),), (Tracing(), Tracing(TRACES))])
def test_observers_change_nothing_of_what_its_steps_leave_in_their_context(watchers: tuple[Watcher, ...]) -> None:
    assert played(declared(asks_tenant, durable=False), "acme", watchers=watchers) == Ok("acme")


def test_arguments_that_do_not_fit_are_a_plain_calls_error_and_no_run() -> None:
    notices: list[Notice] = []

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        played(declared(in_sequence, durable=False), watchers=(notices.append,))

    assert notices == []


def traced(flow: Workflow[..., Any, Any], *args: Any, **options: Any) -> tuple[Any, dict[str, ReadableSpan]]:
    """Run a workflow and return its result, and the spans by name."""
    spans, provider = InMemorySpanExporter(), TRACES
    processor = SimpleSpanProcessor(spans)
    provider.add_span_processor(processor)
    result = played(flow, *args, watchers=(Tracing(provider, time=CLOCK[0].time, **options),))
    return result, {span.name: span for span in spans.get_finished_spans()}


def parent(spans: dict[str, ReadableSpan], name: str) -> str | None:
    above = spans[name].parent
    return next((each.name for each in spans.values() if above and each.context.span_id == above.span_id), None)


def test_spans_of_clients_are_inside_its_steps_and_those_inside_the_run() -> None:
    result, spans = traced(declared(in_sequence, durable=False), "pen")

    assert result == Ok("hello penpen")
    assert parent(spans, "step greet") == parent(spans, "step in_a_thread") == "workflow flow"
    assert parent(spans, "GET /pen") == "step in_a_thread"  # the last of that name


def current_name() -> str:
    return getattr(trace.get_current_span(), "name", "")


async def looking_around(name: str) -> list[str]:
    seen = [current_name()]
    await greet(name)
    seen.append(current_name())
    await charge.attempt("stolen")
    await slow(name)
    return [*seen, current_name()]


def test_a_span_is_current_in_its_step_or_run_and_not_after_it() -> None:
    result, after = surrounded(looking_around, Tracing(TRACES, time=CLOCK[0].time))

    assert result == Ok(["workflow flow"] * 3)
    assert after == "POST /orders"


def test_nothing_is_current_after_a_run_either_where_several_make_spans() -> None:
    _, after = surrounded(looking_around, Tracing(TRACES), Tracing(TRACES))

    assert after == "POST /orders"


def surrounded(body: Callable[[str], Awaitable[Any]], *watchers: Watcher) -> tuple[Any, str]:
    """Run a body inside a span; return its result, and what is current after it."""

    async def story() -> tuple[Any, str]:
        async with Runtime(Settings(store="memory://"), watchers=watchers, clock=CLOCK[0]) as rt:
            with CLIENT.start_as_current_span("POST /orders"):
                return await rt.run(workflow(name="flow", durable=False)(body), "pen"), current_name()

    FAILING[0] = 1
    return CLOCK[0].run(story(), longest=20)


def test_spans_of_steps_at_once_do_not_nest_in_one_another() -> None:
    _, spans = traced(declared(at_once, durable=False), "pen")

    assert parent(spans, "step greet") == "workflow flow"
    assert {parent(spans, name) for name in ("GET /a", "GET /b")} <= {"step greet", None}  # one of two of that name
    assert len({spans[name].parent.span_id for name in ("GET /a", "GET /b")}) == 2  # type: ignore[union-attr]  # both have one


def test_the_span_of_a_child_is_inside_its_parents_either_way() -> None:
    inner = declared(in_sequence, durable=True)
    local = workflow(name="local", durable=False)(in_sequence)

    @workflow(name="outer", durable=False)
    async def outer(name: str) -> str:
        return await inner(name)

    @workflow(name="durable")
    async def durable(name: str) -> str:
        return await inside(name)

    @step
    async def inside(name: str) -> str:
        return (await local.run(name)).unwrap()

    _, spans = traced(outer, "pen")
    assert parent(spans, "workflow flow") == "workflow outer"
    _, spans = traced(durable, "pen")
    assert parent(spans, "workflow local") == "step inside"


def test_attempts_of_its_steps_have_spans() -> None:
    FAILING[0] = 1

    result, spans = traced(declared(paying, durable=False), "card")

    assert result == Ok("card")
    assert parent(spans, "attempt charge") == "step charge"


def test_inputs_are_not_recorded_where_nothing_is_encoded() -> None:
    _, spans = traced(declared(in_sequence, durable=False), "pen", inputs=True)

    for span in spans.values():
        assert names.INPUT not in (span.attributes or {})
        assert names.RESULT not in (span.attributes or {})


def test_its_durations_are_measured() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader], shutdown_on_exit=False))

    played(declared(at_once, durable=False), "pen", watchers=(metrics,))

    data = reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert [point.sum for point in points["awaitly.run.duration"]] == [1.0]
    assert sum(point.count for point in points["awaitly.step.duration"]) == 2


@pytest.mark.parametrize("durable", [True, False])
def test_its_lines_are_those_of_a_durable_run(durable: bool, caplog: pytest.LogCaptureFixture) -> None:
    FAILING[0] = 1
    caplog.set_level(logging.DEBUG, "awaitly.runs")

    played(declared(paying, durable=durable), "card", sinks=[Journalist()])

    lines = [(record.levelname, record.message) for record in caplog.records if record.name == "awaitly.runs"]
    assert lines == [
        ("INFO", "run started"),
        ("DEBUG", "step started"),
        ("WARNING", "step failed, trying again"),
        ("DEBUG", "step started"),
        ("DEBUG", "step finished"),
        ("INFO", "run finished"),
    ]


def test_a_line_in_its_step_says_where_it_is_and_in_which_trace(caplog: pytest.LogCaptureFixture) -> None:
    @step
    async def logs(name: str) -> str:
        logging.getLogger("shop").warning(name)
        return name

    @workflow(name="flow", durable=False)
    async def flow(name: str) -> str:
        return await logs(name)

    caplog.handler.addFilter(RunFilter(whereabouts))
    try:
        _, spans = traced(flow, "pen")
    finally:
        caplog.handler.filters.clear()

    (line,) = [vars(record) for record in caplog.records if record.name == "shop"]
    about = spans["step logs"].context
    assert [line[name] for name in ("workflow", "step", "attempt")] == ["flow", "logs", 1]
    assert (line["trace_id"], line["span_id"]) == (f"{about.trace_id:032x}", f"{about.span_id:016x}")


def test_a_failure_of_such_a_run_is_told_with_its_error() -> None:
    *_, step_end, run_end = told(declared(crashing, durable=False), "pen")

    for notice in (step_end, run_end):
        assert isinstance(notice.error, UnexpectedError)
        assert isinstance(notice.error.__cause__, ValueError)


def test_where_nobody_observes_no_fact_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(Fact, "__init__", lambda fact, **fields: made.append(fact))
    monkeypatch.setattr(StepStarted, "__init__", lambda fact, **fields: made.append(fact))

    assert played(declared(crashing, durable=False), "pen").is_err()
    assert made == []
