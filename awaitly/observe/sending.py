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
from typing import Final
from weakref import WeakSet

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

ROOM: Final = 2048  # spans that may wait unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise
SILENCE: Final = 60.0  # seconds between two lines of the log about what is dropped

_log = logging.getLogger("awaitly")


class Sending(BatchSpanProcessor):
    """The SDK's processor of batches; ``dropped`` are the spans for which there was no room.

    Args:
        exporter: Is given what has ended, some at a time.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self.dropped = 0
        self._handed = 0
        self._taking = _Taking(exporter)
        self._room = _room()
        self._lock = threading.Lock()
        self._said = -inf
        _all.add(self)
        super().__init__(self._taking)

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, if there is room."""
        with self._lock:
            fits = self._handed - self._taking.spans < self._room
            if fits:
                self._handed += 1
            else:
                self.dropped += 1
        if fits:
            super().on_end(span)
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
        self._lock = threading.Lock()


class _Taking(SpanExporter):
    """Counts the spans that an exporter is given."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.spans = 0
        self._exporter = exporter
        self.shutdown = exporter.shutdown  # type: ignore[method-assign]  # the SDK looks at what it takes
        self.force_flush = exporter.force_flush  # type: ignore[method-assign]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)  # one thread at a time
        return self._exporter.export(spans)


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
