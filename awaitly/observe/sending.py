"""Hands spans that have ended to an exporter, in the SDK's thread, and counts those for which there is no room.

The SDK has a thread, a queue and an exporter, and drops what does not fit into the queue. It says so in a line of the
log for each, which takes longer than the rest that is done for a span, and counts nothing. So what would not fit is not
given to it: what it was given and its exporter has not been given yet is in the queue.
"""

import logging
import os
import threading
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Final, Protocol, cast
from weakref import WeakSet

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

ROOM: Final = 2048  # spans that may wait unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise
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
    """The SDK's processor of batches; ``dropped`` are the spans for which there was no room.

    Args:
        exporter: Is given what has ended, some at a time.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self.dropped = 0
        # Of what is counted, and of the plain spans that are to be sent. What the garbage collector finalizes while it
        # is held may have spans, too: so it can be taken twice.
        self.lock = threading.RLock()
        self._handed = 0
        self._taking = _Taking(exporter)
        self._room = _room()
        self._said = -inf
        _all.add(self)
        super().__init__(self._taking)

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, if it is sampled and there is room."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.put(span)

    def put(self, span: "ReadableSpan | Unread") -> None:
        """Put a sampled span into the queue, if there is room."""
        with self.lock:
            fits = self._handed - self._taking.spans < self._room
            if fits:
                self._handed += 1
            else:
                self.dropped += 1
        if fits:
            super().on_end(cast(ReadableSpan, span))  # which asks whether it is sampled, and does not look at it again
        elif monotonic() - self._said >= SILENCE:
            self._said = monotonic()
            _log.warning(
                "%d spans wait to be sent, as many as may: what ends now is lost, and counted (awaitly.spans.dropped);"
                " the endpoint is away, or slower than spans are made",
                self._room,
            )

    def forget(self) -> None:
        """Begin anew in a process that was forked: the queue of the SDK is empty there."""
        self.dropped = self._handed = self._taking.spans = 0
        self.lock = threading.RLock()


class _Taking(SpanExporter):
    """Counts the spans that an exporter is given, and makes them readable."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.spans = 0
        self._exporter = exporter
        self.shutdown = exporter.shutdown  # type: ignore[method-assign]  # the SDK looks at what it takes
        self.force_flush = exporter.force_flush  # type: ignore[method-assign]

    def export(self, spans: Sequence[ReadableSpan | Unread]) -> SpanExportResult:
        self.spans += len(spans)  # one thread at a time
        return self._exporter.export([span if isinstance(span, ReadableSpan) else span.readable() for span in spans])


_all: WeakSet[Sending] = WeakSet()


def _forget() -> None:
    for sending in list(_all):
        sending.forget()


os.register_at_fork(after_in_child=_forget)


def _room() -> int:
    try:
        return int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", ROOM))
    except ValueError:  # which the SDK complains of
        return ROOM
