"""Spans that are made here as long as they are plain, where awaitly sets traces up itself.

For a span the SDK takes 30 µs between other code, which is as much as the step that it is of. Most spans of steps have
a name, a parent, two times and a few attributes, and nothing else ever happens to them: such a one is kept as just that
and handed to the SDK's processor when it ends. What is asked of a span beyond that (an event, a link, a status, a value
that has to be checked, what only a span of the SDK can tell) has the SDK make it, with the same id: from then on it
does everything.

Processors and samplers of others see spans begin, and may say something else of each. So it is done only by providers
that awaitly makes, and where the environment asks for nothing unusual.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import getrandbits
from time import time_ns
from typing import Any, Final, NamedTuple, Protocol

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
)
from opentelemetry.util.types import AnyValue, Attributes

from awaitly.observe.sending import Sending
from awaitly.observe.variables import variable

TRACER: Final = "awaitly"  # what the tracer is called whose attributes are known to be simple
SIMPLE: Final = frozenset({str, bool, int, float})  # of which the SDK changes nothing
SAMPLED: Final = frozenset({0b01, 0b11})  # flags of W3C: sampled; the second one says that the trace id is random
FEW: Final = 100  # attributes that a span has without the SDK, which keeps 128

AS_PARENTS: Final = frozenset(
    {"", "always_on", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
)
"""Samplers that sample a span whose parent is sampled."""

UNUSUAL: Final = ("OTEL_ATTRIBUTE_", "OTEL_SPAN_", "OTEL_PYTHON_SDK_INTERNAL_METRICS")
"""Variables that have something done for each span: limits of what it may have, and the SDK's own metrics."""

_log = logging.getLogger("awaitly")
_new = tuple.__new__  # the SDK's ids are checked to be ids


class PlainProvider(TracerProvider):
    """A tracer provider for one exporter, whose plain spans are made here.

    Args:
        exporter: Is given what has ended, and shut down with the provider.
        resource: Whose spans they are; default: what the ``OTEL_*`` variables say.
    """

    def __init__(self, exporter: SpanExporter, resource: Resource | None = None) -> None:
        self.is_plain = _is_usual()
        self.sending = Sending(exporter, sheds=self.is_plain)
        self.ids = _Ids()
        super().__init__(resource=resource, shutdown_on_exit=False, id_generator=self.ids)
        super().add_span_processor(self.sending)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Let another one see all spans from now on, which the SDK then makes."""
        self.is_plain = False
        self.sending.shed_no_more()
        super().add_span_processor(span_processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return what makes the spans of one library: awaitly's may be plain."""
        full = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if instrumenting_module_name != TRACER:
            return full
        scope = InstrumentationScope(TRACER, instrumenting_library_version or "", schema_url, attributes)
        return _Tracer(self, full, scope)


class Subject(Protocol):
    """What a span is of, and says of itself; it is kept until the span is sent, so nothing else may hang on it."""

    def name(self) -> str:
        """Return what the span is called."""

    def first(self) -> dict[str, AnyValue]:
        """Return the attributes with which the span begins: a new dictionary, with values that are simple."""

    def last(self) -> dict[str, AnyValue]:
        """Return those that it has when it has gone well."""


class PlainSpan(Span):
    """A span of which nothing unusual is known yet; the SDK makes it as soon as there is."""

    # Of what is done for every span much is written in place, and what can be is left to the thread that sends it:
    # between other code, each call costs as much as a lookup in memory, and in that thread a fifth of it. Nothing is
    # called as in the SDK's spans: who looks into these is told by `__getattr__`.

    __slots__ = ("_about", "_around", "_began", "_ended", "_made", "_subject", "_tracer", "_under", "context")

    def __init__(
        self,
        tracer: "_Tracer",
        subject: Subject,
        around: Context,
        parent: SpanContext | None,
        context: SpanContext,
        began: int,
    ) -> None:
        self._tracer = tracer
        self._subject = subject
        self._around: Context | None = around  # as long as the SDK may have to make it: much hangs on it
        self._under = parent
        self.context = context
        self._about: dict[str, AnyValue] | None = None  # what is said of it, unless that is what its subject says
        self._began = began
        self._made: Span | None = None  # by the SDK
        self._ended: int | None = None  # without it

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        return self.context

    def is_recording(self) -> bool:
        """Return whether it has not ended."""
        return self._ended is None if self._made is None else self._made.is_recording()

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Say something of it."""
        if type(value) in SIMPLE and type(key) is str and key:
            with self._tracer.sending.lock:
                about = self._said()
                if about is not None and len(about) < FEW:
                    about.pop(key, None)  # the latest are last: the SDK drops the first, if there are too many
                    about[key] = value
                    return
        self._full().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Say some things of it."""
        given = dict(attributes)  # looked at once, and not while the lock is held: it may be anybody's mapping
        if all(type(key) is str and key and type(value) in SIMPLE for key, value in given.items()):
            with self._tracer.sending.lock:
                about = self._said()
                if about is not None and len(about) + len(given) <= FEW:
                    for key in given:
                        about.pop(key, None)
                    about.update(given)
                    return
        self._full().set_attributes(given)

    def end(self, end_time: int | None = None) -> None:
        """Have it sent, by the SDK if that has made it."""
        if end_time is not None and self._tracer.provider.is_plain:
            with self._tracer.sending.lock:
                ends = self._said() is not None
                if ends:
                    self._ended, self._around = end_time, None
            if ends:
                self._tracer.sending.put(self)
                return
        self._full().end(end_time)

    def finish(self, at: int) -> None:
        """Say what its subject says last, and end."""
        tracer = self._tracer
        if tracer.provider.is_plain:
            with tracer.sending.lock:
                ends = self._about is None and self._made is None and self._ended is None
                if ends:
                    self._ended, self._around = at, None
            if ends:
                tracer.sending.put(self)
                return
        self.set_attributes(self._subject.last())
        self.end(at)

    def readable(self) -> ReadableSpan:
        """Return it as it is exported, when it has ended: made where it is sent, as that costs half of it there."""
        subject, about = self._subject, self._about
        return ReadableSpan(
            subject.name(), self.context, self._under, self._tracer.provider.resource,
            {**subject.first(), **subject.last()} if about is None else about,
            start_time=self._began, end_time=self._ended, instrumentation_scope=self._tracer.scope,
        )  # fmt: skip

    def _said(self) -> dict[str, AnyValue] | None:
        """Return what is said of it, to say more, with the lock held; None if the SDK has made it, or it has ended."""
        if self._made is not None or self._ended is not None:
            return None
        if self._about is None:
            self._about = self._subject.first()
        return self._about

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Say that something happened in it."""
        self._full().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Point to another one."""
        self._full().add_link(context, attributes)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Say what was raised in it."""
        self._full().record_exception(exception, attributes, timestamp, escaped)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went."""
        self._full().set_status(status, description)

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self._full().update_name(name)

    def __exit__(self, *raised: Any) -> None:
        self._full().__exit__(*raised)

    def __getattr__(self, name: str) -> Any:
        """Return what a span of the SDK has, and the API does not know: its name, its parent, its attributes."""
        if name.startswith("__"):
            raise AttributeError(name)
        whole = self._whole()
        return getattr(self.readable() if whole is None else whole, name)

    def _full(self) -> Span:
        """Return the SDK's span, which is made if need be; one that forgets everything if it is too late for that."""
        whole = self._whole()
        if whole is not None:
            return whole
        _log.warning("something was done with the span %s after it had ended: it is not recorded", self._subject.name())
        return INVALID_SPAN

    def _whole(self) -> Span | None:
        """Return the SDK's span, which is made if need be; None if it has ended without."""
        with self._tracer.sending.lock:
            about = self._said()
            if about is not None:
                with self._tracer.provider.ids.given(self.context):
                    self._made = self._tracer.full.start_span(
                        self._subject.name(), self._around, attributes=about, start_time=self._began
                    )
                self._around = None
            return self._made


class LostSpan(NonRecordingSpan):
    """Takes the place of spans that would not be sent: what is in them is inside of what is around them."""

    def __init__(self, tracer: "_Tracer", around: SpanContext) -> None:
        super().__init__(around)
        self._readable = ReadableSpan(
            "lost", around, None, tracer.provider.resource, {},
            start_time=time_ns(), instrumentation_scope=tracer.scope,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        """Return what a span of the SDK has, and the API does not know: code that looks must not fail of a lost one."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._readable, name)


class _Named(NamedTuple):
    """The subject of a span that somebody begins in OpenTelemetry's way."""

    called: str
    about: dict[str, AnyValue]

    def name(self) -> str:
        return self.called

    def first(self) -> dict[str, AnyValue]:
        return dict(self.about)

    def last(self) -> dict[str, AnyValue]:
        return {}


class _Tracer(Tracer):
    """Makes plain spans; all others are the SDK's, and the first that begins a trace and is sampled."""

    def __init__(self, provider: PlainProvider, full: Tracer, scope: InstrumentationScope) -> None:
        self.provider = provider
        self.sending = provider.sending
        self.full = full
        self.scope = scope
        self._new_id = provider.ids.new
        self._root_flags: TraceFlags | None = None  # of a span that begins a trace and is sampled, once there was one

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Begin a span, a plain one if that can be."""
        around = get_current() if context is None else context
        span: Span | None = None
        usual = kind is SpanKind.INTERNAL and not links and record_exception and set_status_on_exception
        if usual and start_time is not None:
            subject, parent = _Named(name, dict(attributes or {})), get_current_span(around).get_span_context()
            if parent.is_valid:
                span = self.begin(subject, around, parent, start_time)
            elif self.provider.is_plain and self._root_flags is not None:
                return self._root(subject, around, start_time, self._root_flags)
        if span is None:
            span = self.full.start_span(
                name, around, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
            self._root_flags = self._root_flags or _flags_of_root(span)
        return span

    def begin(self, subject: Subject, around: Context, parent: SpanContext, at: int) -> PlainSpan | None:
        """Begin a plain span, if its parent, which is current around it, is sampled here: that then goes for it too."""
        trace_id, _, is_remote, flags, state, is_valid = parent
        if is_remote or not is_valid or flags not in SAMPLED or not self.provider.is_plain:
            return None
        about = (trace_id, getrandbits(64) or self._new_id(), False, flags, state, True)
        return PlainSpan(self, subject, around, parent, _new(SpanContext, about), at)

    def lost(self, around: SpanContext) -> LostSpan:
        """Return what takes the place of spans in another one that would not be sent."""
        return LostSpan(self, around)

    def _root(self, subject: _Named, around: Context, at: int, flags: TraceFlags) -> Span:
        """Begin a trace as the SDK would; the samplers that are usual say yes or no, and nothing else of a span."""
        trace_id = self.provider.ids.new_trace()
        found = self.provider.sampler.should_sample(
            around, trace_id, subject.called, SpanKind.INTERNAL, subject.about, ()
        )
        is_sampled = found.decision is Decision.RECORD_AND_SAMPLE
        if not is_sampled:
            flags = TraceFlags(flags & ~TraceFlags.SAMPLED)
        about = SpanContext(trace_id, self._new_id(), False, flags, found.trace_state)
        return PlainSpan(self, subject, around, None, about, at) if is_sampled else NonRecordingSpan(about)

    def start_as_current_span(self, *args: Any, **options: Any) -> Any:
        """Begin a span of the SDK, current in a block."""
        return self.full.start_as_current_span(*args, **options)


def _flags_of_root(span: Span) -> TraceFlags | None:
    """Return the flags of a span of the SDK if it begins a trace and is sampled."""
    flags = span.get_span_context().trace_flags
    return flags if isinstance(span, ReadableSpan) and span.parent is None and flags in SAMPLED else None


class _Ids(RandomIdGenerator):
    """Random ids, but those that a span has already when the SDK makes it."""

    def __init__(self) -> None:
        self._next = _Next()

    def new(self) -> int:
        """Return the id of a span that the SDK does not make."""
        return super().generate_span_id()

    def new_trace(self) -> int:
        """Return the id of a trace that the SDK does not begin."""
        return super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a span that the SDK makes."""
        given, self._next.span = self._next.span, 0  # once: another span may begin while that one is made
        return given or super().generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the id of a trace that the SDK begins."""
        given, self._next.trace = self._next.trace, 0
        return given or super().generate_trace_id()

    @contextmanager
    def given(self, about: SpanContext) -> Iterator[None]:
        """Have the span that this thread makes in the block get the ids that it has."""
        self._next.trace, self._next.span = about.trace_id, about.span_id
        try:
            yield
        finally:
            self._next.trace = self._next.span = 0


class _Next(threading.local):
    trace = 0
    span = 0


def _is_usual() -> bool:
    return variable("OTEL_TRACES_SAMPLER") in AS_PARENTS and not any(name.startswith(UNUSUAL) for name in os.environ)
