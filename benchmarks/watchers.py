"""Whom a runtime can have: the observers whose cost is measured, and sinks and exporters in trouble."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from awaitly.declare.host import whereabouts
from awaitly.model.facts import RunFinished
from awaitly.model.notice import Notice, Watcher
from awaitly.observe.bus import Sink
from awaitly.observe.logs import Journalist, configure
from awaitly.observe.metrics import Metrics
from awaitly.observe.otlp import providers
from awaitly.observe.prometheus import Exposition
from awaitly.observe.tracing import Tracing
from awaitly.settings.tables import OtlpSettings

PATIENCE = 60.0  # seconds: for what a sink has still to take, and of the sink that blocks
BACKLOG = 2048  # spans that wait to be sent, the SDK's default


@dataclass(frozen=True, slots=True)
class Audience:
    """Who watches one runtime; ``settle`` waits for what is done in threads after so many runs, which is part of it."""

    watchers: Sequence[Watcher] = ()
    sinks: Sequence[Sink] = ()
    settle: Callable[[int], object] = lambda runs: None
    lost: Callable[[], int] = lambda: 0  # besides what the bus has dropped
    close: Callable[[], object] = lambda: None


@dataclass(slots=True)
class Followed:
    """A sink that tells when it has taken the end of a run."""

    sink: Sink
    ends: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, notice: Notice) -> None:
        if type(notice.fact) is RunFinished:
            self.ends.release()
        self.sink(notice)

    def settle(self, runs: int) -> None:
        """Wait until it has taken the ends of so many runs."""
        for _ in range(runs):
            if not self.ends.acquire(timeout=PATIENCE):
                raise RuntimeError(f"sink-too-slow: it did not take the end of a run in {PATIENCE:.0f} s")


class Nowhere(SpanExporter):
    """Forgets spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def nobody() -> Audience:
    return Audience()


def idle_watcher() -> Audience:
    return Audience(watchers=[lambda notice: None])


def idle_sink() -> Audience:
    sink = Followed(lambda notice: None)
    return Audience(sinks=[sink], settle=sink.settle)


def logs() -> Audience:
    configure(whereabouts, style="json", level="INFO")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    sink = Followed(Journalist())
    return Audience(sinks=[sink], settle=sink.settle)


def traces(share: float) -> Audience:
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return Audience([Tracing(provider)], settle=lambda runs: provider.force_flush(), close=provider.shutdown)


def metrics() -> Audience:
    """Metrics as settings set them up."""
    exposition = Exposition()
    return Audience([Metrics(exposition.provider)], close=exposition.close)


def metrics_elsewhere() -> Audience:
    """Metrics through a set-up that awaitly knows nothing of."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    return Audience([Metrics(provider)], close=provider.shutdown)


def everything() -> Audience:
    parts = [traces(1.0), metrics(), logs()]
    return Audience(
        [watcher for part in parts for watcher in part.watchers],
        [sink for part in parts for sink in part.sinks],
        settle=lambda runs: [part.settle(runs) for part in parts],
        close=lambda: [part.close() for part in parts],
    )


def raises() -> Audience:
    sink = Followed(_raise)
    return Audience(sinks=[sink], settle=sink.settle)


def _raise(notice: Notice) -> None:
    raise ConnectionError("nobody there")


def blocks() -> Audience:
    """A sink that blocks for a minute, or until the measurement is over."""
    over = threading.Event()

    def sink(notice: Notice) -> None:
        over.wait(PATIENCE)

    return Audience(sinks=[sink], close=over.set)


def sends_nowhere() -> Audience:
    """The same set-up as `hangs`, with an exporter that is done at once."""
    parts = [traces(1.0), metrics()]
    return Audience(
        [watcher for part in parts for watcher in part.watchers],
        settle=lambda runs: [part.settle(runs) for part in parts],
        close=lambda: [part.close() for part in parts],
    )


def hangs() -> Audience:
    """Traces and metrics by OTLP, to somebody who accepts connections and never answers."""
    silent = _silent()
    endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
    exporter = _Handed(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=PATIENCE))
    ended = _Ended()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(ended)
    tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "500"
    meter_provider = providers(OtlpSettings(endpoint=endpoint)).metrics
    return Audience(
        [Tracing(tracer_provider), Metrics(meter_provider)],
        # The SDK does not say how many spans it lost: those that it neither handed over nor has room for.
        lost=lambda: max(0, ended.spans - exporter.spans - BACKLOG),
        close=silent.close,
    )


def _silent() -> socket.socket:
    """A listening socket: the kernel accepts what comes, and nobody reads it."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(64)
    return silent


@dataclass(slots=True)
class _Handed(SpanExporter):
    """Counts what an exporter is given."""

    exporter: SpanExporter
    spans: int = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        with suppress(OSError):
            return self.exporter.export(spans)
        return SpanExportResult.FAILURE


@dataclass(slots=True)
class _Ended(SpanProcessor):
    """Counts what ends."""

    spans: int = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.spans += 1


COSTS: dict[str, Callable[[], Audience]] = {
    "nobody, once more": nobody,
    "a watcher that does nothing": idle_watcher,
    "a sink that does nothing": idle_sink,
    "logs, at `info`": logs,
    "traces, all of them": lambda: traces(1.0),
    "traces, one in 100": lambda: traces(0.01),
    "metrics": metrics,
    "metrics, to a meter provider of your own": metrics_elsewhere,
    "logs, all traces, metrics": everything,
}
"""What is compared with nobody."""

TROUBLES: tuple[dict[str, Callable[[], Audience]], ...] = (
    {
        "no sink": nobody,
        "a sink that does nothing": idle_sink,
        "a sink that raises": raises,
        "a sink that blocks for a minute": blocks,
    },
    {
        "no exporter": nobody,
        "traces and metrics, forgotten when sent": sends_nowhere,
        "traces and metrics to an endpoint that hangs": hangs,
    },
)
"""What is compared with one another: exporters work on while others have their turn, so they are by themselves."""
