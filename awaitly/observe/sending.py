"""Hands spans that have ended to an exporter, in the SDK's thread, and counts those that are lost.

The SDK has a thread, a queue and an exporter, and drops what does not fit into the queue. It says so in a line of the
log for each, which takes longer than the rest that is done for a span, and counts nothing. So what would not fit is not
given to it: what it was given and its exporter was not given yet is in the queue. What the exporter then fails to send
is lost as well.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import Final, Protocol, cast
from weakref import WeakSet

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

ROOM: Final = 2048  # spans that may wait unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise
STUCK: Final = 1.0  # seconds in which an exporter takes nothing, while spans are lost
SILENCE: Final = 60.0  # seconds between two lines of the log about what is dropped

_log = logging.getLogger("awaitly")


class Unread(Protocol):
    """A span that is made readable only when it is sent."""

    @property
    def context(self) -> SpanContext:
        """Its ids."""

    def readable(self) -> ReadableSpan:
        """Return it as exporters know it."""


class Sending(BatchSpanProcessor):
    """The SDK's processor of batches; ``dropped`` are the spans that were not sent.

    Args:
        exporter: Is given what has ended, some at a time.
        sheds: Whether spans that would not be sent need not be made, as nobody else sees them.
    """

    def __init__(self, exporter: SpanExporter, *, sheds: bool = False) -> None:
        # Of what is counted, and of the plain spans that are to be sent. What the garbage collector finalizes while it
        # is held may have spans, too: so it can be taken twice.
        self.lock = threading.RLock()
        self.dropped = 0
        self.is_stuck = False  # spans that begin now would not be sent, and need not be made
        self._sheds = sheds
        self._full_since: float | None = None  # on the monotonic clock
        self._handed = 0
        self._taken = 0
        self._taking = _Taking(exporter, self._take, self.drop)
        self._room = _room()
        self._said = -inf
        self._is_over = False
        _all.add(self)
        super().__init__(self._taking)

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, if it is sampled and there is room."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.put(span)

    def put(self, span: "ReadableSpan | Unread") -> None:
        """Put a sampled span into the queue, if there is room."""
        with self.lock:
            fits = self._handed - self._taken < self._room and not self._is_over
            if fits:
                self._handed += 1
            else:
                self._no_room(monotonic())
        if fits:
            super().on_end(cast(ReadableSpan, span))  # which asks whether it is sampled, and does not look at it again
            return
        self.drop(1)
        if not self._is_over and monotonic() - self._said >= SILENCE:
            self._said = monotonic()
            _log.warning(
                "%d spans wait to be sent, as many as may: what ends now is lost, and counted (awaitly.spans.dropped);"
                " the endpoint is away, or slower than spans are made",
                self._room,
            )

    def _no_room(self, now: float) -> None:
        if self._full_since is None:
            self._full_since = now
        self.is_stuck = self._sheds and not self._is_over and now - self._full_since > STUCK

    def shed_no_more(self) -> None:
        """Have all spans made from now on: somebody else sees them."""
        with self.lock:
            self._sheds = self.is_stuck = False

    def shutdown(self) -> None:
        """Send what is in the queue; what ends later is not sent."""
        self._is_over = True
        super().shutdown()  # type: ignore[no-untyped-call]  # the SDK's

    def forget(self) -> None:
        """Begin anew in a process that was forked: the queue of the SDK is empty there."""
        self.dropped = self._handed = self._taken = 0
        self._make_room()
        self.lock = threading.RLock()

    def drop(self, spans: int) -> None:
        """Count spans that are lost."""
        with _losses.lock:
            self.dropped += spans
            _losses.spans += spans

    def _take(self, spans: int) -> None:
        with self.lock:
            self._taken += spans
            self._make_room()

    def _make_room(self) -> None:
        self.is_stuck, self._full_since = False, None


def dropped() -> int:
    """Return how many spans this process has not sent, whoever was to send them."""
    return _losses.spans


class _Taking(SpanExporter):
    """Tells how many spans an exporter is given, and how many of them it did not send; makes them readable."""

    def __init__(self, exporter: SpanExporter, take: Callable[[int], object], drop: Callable[[int], object]) -> None:
        self._exporter = exporter
        self._take = take
        self._drop = drop
        self.shutdown = exporter.shutdown  # type: ignore[method-assign]  # the SDK looks at what it takes
        self.force_flush = exporter.force_flush  # type: ignore[method-assign]

    def export(self, spans: Sequence[ReadableSpan | Unread]) -> SpanExportResult:
        self._take(len(spans))
        sent = False
        try:
            found = [span if isinstance(span, ReadableSpan) else span.readable() for span in spans]
            result = self._exporter.export(found)
            sent = result is SpanExportResult.SUCCESS
        finally:
            if not sent:
                self._drop(len(spans))
        return result


class _Losses:
    """The spans that were lost, of all who send, as they come and go."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.spans = 0
        self.lock = threading.RLock()


_all: WeakSet[Sending] = WeakSet()
_losses = _Losses()


def _forget() -> None:
    _losses.forget()
    for sending in _all:
        sending.forget()


os.register_at_fork(after_in_child=_forget)


def _room() -> int:
    try:
        return int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", ROOM))
    except ValueError:  # which the SDK complains of
        return ROOM
