"""Spans that are plain, and are made without the SDK, are what the SDK would have made of them."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from awaitly import Ok, Runtime, step, workflow
from awaitly.observe.beginnings import Brief
from awaitly.observe.spans import FEW, PlainProvider, PlainSpan
from awaitly.observe.tracing import Tracing
from awaitly.settings import Settings

OTHER = SpanContext(trace_id=7, span_id=8, is_remote=True, trace_flags=TraceFlags(1))
PATIENCE = 20.0  # seconds until something that does not happen is given up
BEGAN, ENDED = 1_000, 2_000  # nanoseconds
ABOUT = {"awaitly.run.id": "run", "awaitly.step": "charge"}


class Made:
    """A provider of ours with what it exports."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = PlainProvider(self.exporter)
        self.tracer = self.provider.get_tracer("awaitly", "1")
        self.root = self.tracer.start_span("workflow checkout", Context(), start_time=BEGAN)
        self.around = trace.set_span_in_context(self.root, Context())

    def span(self) -> Span:
        return begun(self.tracer, self.around)

    def exported(self) -> list[ReadableSpan]:
        self.provider.force_flush()
        return list(self.exporter.get_finished_spans())


def begun(tracer: trace.Tracer, around: Context) -> Span:
    return tracer.start_span("step charge", around, attributes=ABOUT, start_time=BEGAN)


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    yield made
    made.provider.shutdown()


def told(span: ReadableSpan) -> dict[str, Any]:
    """Return all that is exported of a span, but its ids, and the times that nobody gave."""
    return {
        "name": span.name, "kind": span.kind, "status": (span.status.status_code, span.status.description),
        "times": (span.start_time, span.end_time), "scope": span.instrumentation_scope, "resource": span.resource,
        "attributes": [*(span.attributes or {}).items()], "dropped": (span.dropped_attributes, span.dropped_events),
        "events": [(event.name, dict(event.attributes or {})) for event in span.events],
        "links": [(link.context, dict(link.attributes or {})) for link in span.links],
        "state": (span.context and span.context.trace_state, span.context and span.context.trace_flags),
        "remote": span.parent and span.parent.is_remote,
    }  # fmt: skip


# What may be done with a span, each as the SDK's own would take it.

values: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=3), st.integers(-5, 5), st.floats(allow_nan=False), st.booleans(), st.none(), st.just(b"bytes"),
    st.lists(st.integers(0, 3), max_size=2), st.dictionaries(st.just("key"), st.booleans()), st.just(object),
)  # fmt: skip
keys: st.SearchStrategy[Any] = st.sampled_from(["awaitly.outcome", "awaitly.step", "mine", "", 3])
attributes = st.dictionaries(keys, values, max_size=3)
Deed = Callable[[Span], object]
deeds: st.SearchStrategy[Deed] = st.one_of(
    st.builds(lambda key, value: lambda span: span.set_attribute(key, value), keys, values),
    st.builds(lambda found: lambda span: span.set_attributes(found), attributes),
    st.builds(lambda name: lambda span: span.set_attributes({f"{name}.{at}": at for at in range(FEW)}), keys),
    st.builds(lambda found: lambda span: span.add_event("happened", found, 1_500), st.none() | attributes),
    st.builds(lambda found: lambda span: span.add_link(OTHER, found), st.none() | attributes),
    st.just(lambda span: span.set_status(StatusCode.ERROR, "failed")),
    st.just(lambda span: span.set_status(Status(StatusCode.OK))),
    st.just(lambda span: span.record_exception(ValueError("wrong"), timestamp=1_600)),
    st.just(lambda span: span.update_name("another name")),
    st.just(lambda span: span.is_recording()),
    st.just(lambda span: (span.name, dict(span.attributes), span.start_time, span.parent is None)),
    st.just(lambda span: span.end(ENDED)),
)


class Call:
    """A subject that says some things first, and one last."""

    def name(self) -> str:
        return "step charge"

    def first(self) -> dict[str, Any]:
        return dict(ABOUT)

    def last(self) -> dict[str, Any]:
        return {"awaitly.outcome": "value"}


def with_subject(made: Made) -> PlainSpan:
    assert isinstance(made.tracer, Brief)
    span = made.tracer.begin(Call(), made.around, made.root.get_span_context(), BEGAN)
    assert span is not None
    return span


def another_root(tracer: trace.Tracer) -> Span:
    return begun(tracer, Context())


@given(done=st.lists(deeds, max_size=6), of=st.sampled_from(["a step", "a step that went well", "a run"]))
def test_whatever_is_done_with_a_plain_span_is_exported_as_the_sdk_would_have_it(done: list[Deed], of: str) -> None:
    made, exporter, sdk = Made(), InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    sdk.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = sdk.get_tracer("awaitly", "1")
    root = tracer.start_span("workflow checkout", Context(), start_time=BEGAN)
    if of == "a run":
        plain, usual = another_root(made.tracer), another_root(tracer)
    else:
        plain = with_subject(made) if of == "a step that went well" else made.span()
        usual = begun(tracer, trace.set_span_in_context(root, Context()))
    assert type(plain) is PlainSpan

    with quiet():
        answers = [[deed(span) for deed in done] for span in (plain, usual)]
        if of == "a step that went well":
            plain.finish(ENDED)
            usual.set_attributes(Call().last())
        for span in (plain, usual):
            span.end(ENDED)
            span.set_attribute("too", "late")

    assert answers[0] == answers[1]
    assert [told(span) for span in made.exported()] == [told(span) for span in exporter.get_finished_spans()]
    assert plain.is_recording() is usual.is_recording() is False
    made.provider.shutdown()


def test_what_is_said_of_a_span_at_its_begin_is_what_that_was_then(made: Made) -> None:
    mine: dict[str, Any] = {"number": 1}
    span: Any = made.tracer.start_span("mine", made.around, attributes=mine, start_time=BEGAN)

    mine["number"] = 2
    span.end(ENDED)

    assert dict(span.attributes) == {"number": 1}


@pytest.mark.parametrize("unusual", [False, True])
def test_a_trace_that_it_begins_has_ids_of_its_own_and_keeps_them_whoever_makes_it(made: Made, unusual: bool) -> None:
    one, other = another_root(made.tracer), another_root(made.tracer)
    about = one.get_span_context()
    if unusual:
        one.add_event("happened")
    one.end(ENDED)

    (ended,) = made.exported()
    assert (ended.context, ended.parent) == (about, None)
    ids = {about.trace_id, other.get_span_context().trace_id, made.root.get_span_context().trace_id}
    assert len(ids - {0}) == 3
    assert about.trace_flags == made.root.get_span_context().trace_flags


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_traces_are_sampled_as_the_sampler_says(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(share))
    made = Made()

    spans = [another_root(made.tracer) for _ in range(200)]

    for span in spans:
        about = span.get_span_context()
        assert about.is_valid
        assert span.is_recording() == about.trace_flags.sampled == (about.trace_id & (2**64 - 1) < share * 2**64)
    assert any(type(span) is PlainSpan for span in spans) == bool(share)
    made.provider.shutdown()


def test_what_a_span_is_of_can_be_read_while_it_lasts_and_when_it_has_ended(made: Made) -> None:
    span: Any = with_subject(made)
    span.finish(ENDED)

    assert (span.name, dict(span.attributes)) == ("step charge", {**ABOUT, "awaitly.outcome": "value"})
    assert (span.start_time, span.end_time) == (BEGAN, ENDED)


@contextmanager
def quiet() -> Iterator[None]:
    """Have nothing logged: of half of what is done the SDK complains."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("unusual", [False, True])
def test_it_is_the_child_of_its_parent_and_keeps_its_id_whoever_makes_it(made: Made, unusual: bool) -> None:
    span = made.span()
    about = span.get_span_context()
    if unusual:
        span.add_event("happened")
        span.add_event("again")
    span.end(ENDED)

    (ended,) = made.exported()
    assert ended.context == span.get_span_context() == about
    assert ended.parent == made.root.get_span_context()
    assert about.trace_id == made.root.get_span_context().trace_id


def test_without_a_context_it_is_in_the_one_that_it_began_in(made: Made) -> None:
    token = attach(made.around)
    span = made.tracer.start_span("step charge", start_time=BEGAN)
    detach(token)
    token = attach(trace.set_span_in_context(span))
    span.add_event("happened")  # the SDK makes it now, where it is current itself
    detach(token)
    span.end(ENDED)

    (ended,) = made.exported()
    assert ended.parent == made.root.get_span_context()


@pytest.mark.parametrize(
    "special", [{"kind": SpanKind.CLIENT}, {"links": [Link(OTHER)]}, {"record_exception": False}, {"start_time": None}]
)
def test_what_is_said_of_it_at_its_beginning_is_not_lost(made: Made, special: dict[str, Any]) -> None:
    span = made.tracer.start_span("special", made.around, **{"start_time": BEGAN, **special})
    assert type(span) is not PlainSpan
    with pytest.raises(KeyError), span:
        raise KeyError("there")

    (ended,) = made.exported()
    assert ended.kind is special.get("kind", SpanKind.INTERNAL)
    assert len(ended.links) == len(special.get("links", []))
    assert len(ended.events) == (0 if "record_exception" in special else 1)


def test_ids_are_given_to_no_other_span(made: Made) -> None:
    spans = [made.span() for _ in range(100)]
    for span in spans[::2]:
        span.update_name("made by the SDK")
    spans += [made.tracer.start_span("another", Context()) for _ in range(10)]

    assert len({span.get_span_context().span_id for span in spans}) == 110


def test_what_only_a_span_of_the_sdk_knows_can_be_asked_before_and_after_its_end(made: Made) -> None:
    open_one: Any = made.span()
    ended: Any = made.span()
    ended.end(ENDED)

    assert (open_one.name, open_one.start_time) == (ended.name, ended.start_time) == ("step charge", BEGAN)
    assert open_one.parent == ended.parent == made.root.get_span_context()
    assert ended.end_time == ENDED
    with pytest.raises(AttributeError):
        _ = ended.nothing_of_the_kind


def test_used_in_a_block_it_has_what_was_raised_there(made: Made) -> None:
    with pytest.raises(KeyError), made.span():
        raise KeyError("there")

    (ended,) = made.exported()
    assert ended.status.status_code is StatusCode.ERROR
    assert [event.name for event in ended.events] == ["exception"]


def test_what_is_done_after_its_end_is_not_recorded_and_said(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    span = made.span()
    span.end(ENDED)

    span.set_attribute("too", "late")
    span.end(ENDED + 1)

    (ended,) = made.exported()
    assert (dict(ended.attributes or {}), ended.end_time) == (ABOUT, ENDED)
    assert caplog.text.count("step charge after it had ended") == 2


def test_a_mapping_is_looked_at_where_nobody_waits_for_it(made: Made) -> None:
    class Slow(Mapping[str, int]):
        """Knows its values only when another span has ended."""

        def __iter__(self) -> Iterator[str]:
            return iter(["number"])

        def __len__(self) -> int:
            return 1

        def __getitem__(self, key: str) -> int:
            other = threading.Thread(target=made.span().end, args=[ENDED], daemon=True)
            other.start()
            other.join(PATIENCE)
            assert not other.is_alive()
            return 7

    span = made.span()

    span.set_attributes(Slow())
    span.end(ENDED)

    assert (made.exported()[-1].attributes or {})["number"] == 7


def test_what_another_thread_asks_of_it_while_it_ends_is_answered(made: Made) -> None:
    found: list[str] = []
    span: Any = made.span()
    other = threading.Thread(target=lambda: found.append(span.name), daemon=True)

    with made.provider.sending.lock:
        other.start()
        span.end(ENDED)
    other.join(PATIENCE)

    assert found == ["step charge"]


def test_when_it_has_ended_it_keeps_nothing_of_where_it_began(made: Made) -> None:
    class Request:
        pass

    request = Request()
    gone = weakref.ref(request)
    spans = [begun(made.tracer, set_value("request", request, made.around)) for _ in range(2)]
    spans[0].end(ENDED)
    spans[1].update_name("made by the SDK")
    del request

    assert gone() is None


# Where spans are not plain.


@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
    ],
)
def test_what_the_environment_asks_of_every_span_is_left_to_the_sdk(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    made = Made()

    span = made.span()
    span.end(ENDED)

    assert type(span) is not PlainSpan
    limited = made.exported()[0].attributes or {}
    assert variable != "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" or len(limited) == 1
    assert variable != "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" or set(limited.values()) == {"r", "c"}
    made.provider.shutdown()


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio", "always_off", "always_on"])
def test_samplers_are_asked_unless_they_follow_the_parent(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
    made = Made()

    assert (type(made.span()) is PlainSpan) == (sampler in ("parentbased_traceidratio", "always_on"))
    assert made.span().is_recording() == (sampler != "always_off")
    made.provider.shutdown()


def test_a_processor_that_is_added_sees_what_begins(made: Made) -> None:
    seen: list[str] = []

    class Seeing(SpanProcessor):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            seen.append(span.name)

    made.provider.add_span_processor(Seeing())

    made.span().end(ENDED)

    assert seen == ["step charge"]
    assert len(made.exported()) == 1


def test_a_processor_that_is_added_sees_the_end_of_what_had_begun_and_may_have_spans_of_its_own(made: Made) -> None:
    seen: list[tuple[str, Any]] = []
    span = made.span()

    class Tracing(SpanProcessor):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            if span.name == "step charge":
                made.provider.get_tracer("processor").start_span("look").end()

        def on_end(self, span: ReadableSpan) -> None:
            seen.append((span.name, span.context and span.context.span_id))

    made.provider.add_span_processor(Tracing())

    span.end(ENDED)

    (look, looked), (name, ended) = seen
    assert (look, name) == ("look", "step charge")
    assert ended == span.get_span_context().span_id != looked


@pytest.mark.parametrize("invalid", [{"trace_id": 0}, {"span_id": 0}])
def test_a_parent_that_is_none_begins_no_trace(made: Made, invalid: dict[str, int]) -> None:
    ids = {"trace_id": 7, "span_id": 8, **invalid}
    nobody = NonRecordingSpan(SpanContext(**ids, is_remote=False, trace_flags=TraceFlags(1)))

    span: Any = begun(made.tracer, trace.set_span_in_context(nobody, Context()))

    assert span.parent is None
    assert span.get_span_context().is_valid


@pytest.mark.parametrize("flags", [0, 1])
def test_a_span_in_a_trace_from_elsewhere_is_the_samplers_to_decide(made: Made, flags: int) -> None:
    elsewhere = SpanContext(trace_id=7, span_id=8, is_remote=True, trace_flags=TraceFlags(flags))

    span = begun(made.tracer, trace.set_span_in_context(NonRecordingSpan(elsewhere), Context()))

    assert type(span) is not PlainSpan
    assert span.is_recording() == bool(flags)


def test_spans_of_other_libraries_are_made_by_the_sdk(made: Made) -> None:
    assert type(begun(made.provider.get_tracer("httpx"), made.around)) is not PlainSpan


def test_an_sdk_that_is_disabled_makes_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    made = Made()

    assert not made.span().is_recording()
    assert made.exported() == []
    made.provider.shutdown()


# In runs.


@step
async def charge(amount: int) -> int:
    span = trace.get_current_span()
    assert type(span) is PlainSpan
    span.set_attribute("amount", amount)
    if amount == 13:
        span.add_event("unlucky")
    return amount


@workflow
async def checkout(amount: int) -> int:
    return await charge(amount)


@pytest.mark.parametrize(("amount", "events"), [(1, []), (13, ["unlucky"])])
def test_a_step_finds_its_span_and_what_it_says_of_it_is_recorded(made: Made, amount: int, events: list[str]) -> None:
    async def story() -> None:
        async with Runtime(Settings(store="memory://"), watchers=[Tracing(made.provider)]) as rt:
            assert await rt.run(checkout, amount) == Ok(amount)

    asyncio.run(story())

    ended = next(span for span in made.exported() if span.name == "step charge")
    assert (ended.attributes or {})["amount"] == amount
    assert (ended.attributes or {})["awaitly.outcome"] == "value"
    assert [event.name for event in ended.events] == events
