"""Spans for which there is no room are counted and said, and harm nobody."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from awaitly import Retry, Runtime, current, race, step, workflow
from awaitly.observe import sending
from awaitly.observe.sending import dropped
from awaitly.observe.spans import PlainProvider
from awaitly.observe.tracing import Tracing
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock

T = TypeVar("T")
PATIENCE = 20.0  # seconds until something that does not happen is given up
BATCH, ROOM = 2, 4


class Blocked(SpanExporter):
    """An exporter that takes nothing before it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.released.wait(PATIENCE)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(BATCH))
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(ROOM))
    blocked = Blocked()
    yield blocked
    blocked.released.set()


def ended(provider: PlainProvider, *names: str) -> None:
    for name in names:
        provider.get_tracer("awaitly").start_span(name, Context()).end()


def test_what_does_not_fit_is_dropped_counted_and_said_once(blocked: Blocked, caplog: pytest.LogCaptureFixture) -> None:
    provider = PlainProvider(blocked)
    ended(provider, "a", "b")
    assert blocked.entered.wait(PATIENCE)  # the first batch is on its way

    ended(provider, "c", "d", "e", "f", "g", "h", "i")

    assert provider.sending.dropped == 3
    assert [record.message.partition(",")[0] for record in caplog.records] == ["4 spans wait to be sent"]
    blocked.released.set()
    provider.force_flush()
    assert blocked.names == ["a", "b", "c", "d", "e", "f"]


def test_when_there_is_room_again_nothing_is_dropped(blocked: Blocked) -> None:
    provider = PlainProvider(blocked)
    ended(provider, *"ab")
    assert blocked.entered.wait(PATIENCE)
    ended(provider, *"cdefg")
    blocked.released.set()
    provider.force_flush()

    for name in "hijklmn":
        ended(provider, name)
        provider.force_flush()

    assert provider.sending.dropped == 1
    assert blocked.names == list("abcdefhijklmn")
    provider.shutdown()


FORKING = """
import os, sys
from tests.observe.test_sending import Blocked, ended
from awaitly.observe.spans import PlainProvider

blocked = Blocked()
provider = PlainProvider(blocked)
ended(provider, "a", "b")
assert blocked.entered.wait(20)
ended(provider, *"cdefgh")
print(provider.sending.dropped, flush=True)
if os.fork() == 0:
    ended(provider, *"ijkl")
    blocked.released.set()
    provider.force_flush()
    print(provider.sending.dropped, "".join(blocked.names), flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""


def test_a_process_that_is_forked_begins_with_all_the_room() -> None:
    given = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": str(BATCH), "OTEL_BSP_MAX_QUEUE_SIZE": str(ROOM)}
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-c", FORKING], env={**os.environ, **given, "PYTHONPATH": str(root)}, cwd=root,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert done.stdout.split("\n")[:2] == ["2", "0 ijkl"]


class Failing(SpanExporter):
    """An exporter whose endpoint is not there."""

    def __init__(self, raised: Exception | None) -> None:
        self.raised = raised

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.raised is not None:
            raise self.raised
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("raised", [None, ConnectionError("nobody there")])
def test_what_the_exporter_could_not_send_is_counted(raised: Exception | None) -> None:
    provider = PlainProvider(Failing(raised))

    ended(provider, *"abc")
    provider.force_flush()

    assert provider.sending.dropped == 3
    provider.shutdown()


def test_of_all_exporters_of_a_process_one_number_is_told_which_never_falls() -> None:
    before = dropped()
    for name in "ab":
        provider = PlainProvider(Failing(None))
        ended(provider, name)
        provider.shutdown()

    assert dropped() == before + 2


def test_what_ends_after_a_shutdown_is_counted_and_not_blamed_on_the_endpoint(
    blocked: Blocked, caplog: pytest.LogCaptureFixture
) -> None:
    blocked.released.set()
    provider = PlainProvider(blocked)
    provider.shutdown()

    ended(provider, *"abcdefghij")

    assert provider.sending.dropped == 10
    assert caplog.text == ""


def test_spans_that_are_not_sampled_take_no_room(blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    provider = PlainProvider(blocked)

    ended(provider, *"abcdefghij")

    assert provider.sending.dropped == 0


# Where nothing has been sent for a while, and there is no more room.


@step(retry=Retry(3, initial="1s", jitter=False))
async def charge(failures: int) -> str:
    span = trace.get_current_span()
    span.set_attribute("mine", True)
    seen.append((span.is_recording(), span.get_span_context().span_id))
    if current().attempt <= failures:
        raise ConnectionError("away")
    return "paid"


@workflow
async def checkout(failures: int) -> int:
    around.append(trace.get_current_span().get_span_context().span_id)
    await charge(failures)
    return around[-1]


seen: list[tuple[bool, int]] = []  # whether the span of an attempt was recorded, and its id
around: list[int] = []  # the id of the span of the latest run


@dataclass
class Stuck:
    """A provider whose exporter takes nothing; the runs that are watched with it."""

    provider: PlainProvider
    exporter: Blocked
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(auto=True))
    options: dict[str, Any] = field(default_factory=dict)

    def runs(self, *failures: int) -> None:
        async def story() -> None:
            async with self.runtime() as rt:
                for each in failures:
                    (await rt.run(checkout, each)).unwrap()

        self.play(story())

    def runtime(self) -> Runtime:
        return Runtime(Settings(store="memory://"), watchers=[Tracing(self.provider, **self.options)], clock=self.clock)

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        seen.clear()
        return self.clock.run(story, longest=PATIENCE)

    def sent(self) -> list[str]:
        self.exporter.released.set()
        self.provider.force_flush()
        return self.exporter.names


@pytest.fixture
def stuck(blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    monkeypatch.setattr(sending, "STUCK", -1.0)  # seconds
    provider = PlainProvider(blocked)
    ended(provider, *"ab")
    assert blocked.entered.wait(PATIENCE)
    ended(provider, *"cdefg")
    yield Stuck(provider, blocked)
    blocked.released.set()
    provider.shutdown()


def test_steps_have_no_spans_that_would_not_be_sent_and_these_are_counted(stuck: Stuck) -> None:
    before = stuck.provider.sending.dropped

    stuck.runs(0, 0)

    assert stuck.provider.sending.dropped == before + 4  # two runs with a step each
    assert stuck.sent() == list("abcdef")


def test_what_is_in_a_step_without_a_span_is_inside_of_its_run_and_says_nothing_of_it(stuck: Stuck) -> None:
    stuck.runs(0)

    assert seen == [(False, around[-1])]


def test_the_attempts_of_a_step_without_a_span_have_none_either(stuck: Stuck) -> None:
    before = stuck.provider.sending.dropped

    stuck.runs(2)

    assert seen == [(False, around[-1])] * 3
    assert stuck.provider.sending.dropped == before + 2


def test_once_spans_are_sent_again_steps_have_some(stuck: Stuck) -> None:
    stuck.sent()

    stuck.runs(0)

    assert seen[0][0]
    assert stuck.sent()[-2:] == ["step charge", "workflow checkout"]


def test_a_processor_of_somebody_else_sees_all_spans_though_they_are_not_sent(stuck: Stuck) -> None:
    exporter = InMemorySpanExporter()
    stuck.provider.add_span_processor(SimpleSpanProcessor(exporter))

    stuck.runs(0)

    assert [span.name for span in exporter.get_finished_spans()] == ["step charge", "workflow checkout"]


def test_a_short_burst_costs_no_more_spans_than_those_for_which_there_is_no_room(blocked: Blocked) -> None:
    provider = PlainProvider(blocked)
    ended(provider, *"ab")
    assert blocked.entered.wait(PATIENCE)
    ended(provider, *"cdefg")

    Stuck(provider, blocked).runs(0)

    assert seen[0][0]
    blocked.released.set()
    provider.shutdown()


@workflow
async def in_a_span(failures: int) -> int:
    with trace.get_tracer("mine", tracer_provider=MINE).start_as_current_span("mine") as span:
        await charge(failures)
        return span.get_span_context().span_id


MINE = TracerProvider(shutdown_on_exit=False)


@pytest.mark.parametrize("recovers", [False, True])
def test_what_is_done_in_a_step_without_a_span_is_inside_of_a_span_of_the_body(stuck: Stuck, recovers: bool) -> None:
    """Whatever becomes of the endpoint while the step is tried again."""

    async def story() -> int:
        async with stuck.runtime() as rt:
            run = await rt.start(in_a_span, 2)
            await stuck.clock.advance(0.5)
            if recovers:
                stuck.sent()
            return (await run.result()).unwrap()

    mine = stuck.play(story())

    assert seen == [(False, mine)] * 3
    assert [name for name in stuck.sent() if "charge" in name] == []


def test_code_that_looks_at_the_span_of_a_step_does_not_fail_where_it_is_lost(stuck: Stuck) -> None:
    looked: list[Any] = []

    @step
    async def look() -> None:
        span: Any = trace.get_current_span()
        readable = {name for name in dir(ReadableSpan) if not name.startswith("_")} - {"instrumentation_info"}
        looked.extend((name, getattr(span, name)) for name in readable)
        span.end()  # as `use_span(end_on_exit=True)` does

    @workflow
    async def looking() -> None:
        await look()

    before = stuck.provider.sending.dropped

    async def story() -> None:
        async with stuck.runtime() as rt:
            (await rt.run(looking)).unwrap()

    stuck.play(story())

    found = dict(looked)
    assert {"name", "attributes", "parent", "events"} <= found.keys()
    assert found["start_time"] > 0
    assert found["instrumentation_scope"].name == "awaitly"
    assert found["resource"].attributes["service.name"]
    assert stuck.provider.sending.dropped == before + 2  # the step and its run


def test_nobody_is_asked_to_enrich_a_span_that_is_lost(stuck: Stuck) -> None:
    facts: list[str] = []
    stuck.options = {"enrich": lambda span, fact: facts.append(type(fact).__name__)}

    stuck.runs(1)

    assert facts == ["RunStarted", "RunFinished"]


@workflow
async def hurried() -> None:
    await race(hang(), charge(0))


@step(effect="read")
async def hang() -> None:
    await asyncio.Event().wait()


@workflow
async def patient() -> None:
    await hang()


def test_a_step_that_is_cancelled_and_one_that_its_run_leaves_are_counted_once(stuck: Stuck) -> None:
    before = stuck.provider.sending.dropped

    async def story() -> None:
        async with stuck.runtime() as rt:
            (await rt.run(hurried)).unwrap()
            await rt.start(patient)
            await stuck.clock.advance(1)
            await rt.shutdown(timeout=0)

    stuck.play(story())

    assert stuck.provider.sending.dropped == before + 3 + 2
