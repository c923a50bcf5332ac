"""Whom a runtime can have: the observers whose cost is measured, and sinks and exporters in trouble."""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from awaitly.declare.host import whereabouts
from awaitly.model.facts import RunFinished
from awaitly.model.notice import Notice, Watcher
from awaitly.observe.bus import Sink
from awaitly.observe.logs import Journalist, configure
from awaitly.observe.metrics import Metrics
from awaitly.observe.otlp import providers
from awaitly.observe.prometheus import Exposition
from awaitly.observe.spans import PlainProvider
from awaitly.observe.tracing import Tracing
from awaitly.settings.tables import OtlpSettings

COLLECTOR = Path(__file__).with_name("collector.py")
PATIENCE = 60.0  # seconds: for what a sink has still to take, and of the sink that blocks


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


class Encoding(SpanExporter):
    """Forgets spans when it has them as they would be sent by OTLP."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
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
    """Traces as settings set them up, but for the exporter."""
    _sample(share)
    return _traced(PlainProvider(Nowhere()))


def traces_encoded() -> Audience:
    """All traces, with what an exporter does before it sends them."""
    _sample(1)
    return _traced(PlainProvider(Encoding()))


def traces_elsewhere() -> Audience:
    """Traces through a set-up that awaitly knows nothing of."""
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return _traced(provider)


def _sample(share: float) -> None:
    """Have so many of the traces recorded that are set up from here on."""
    os.environ.update(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG=str(share))


def _traced(provider: TracerProvider) -> Audience:
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


def sends() -> Audience:
    """Traces and metrics by OTLP, to a process that takes what it gets."""
    collector = subprocess.Popen([sys.executable, str(COLLECTOR)], stdout=subprocess.PIPE, text=True)
    assert collector.stdout is not None
    port = int(collector.stdout.readline())

    def close() -> None:
        collector.kill()
        collector.communicate()

    return _sent(port, close)


def hangs() -> Audience:
    """The same, to somebody who accepts connections and never answers."""
    silent = _silent()
    return _sent(silent.getsockname()[1], silent.close)


def _sent(port: int, close: Callable[[], object]) -> Audience:
    _sample(1)
    os.environ.update(OTEL_METRIC_EXPORT_INTERVAL="500", OTEL_EXPORTER_OTLP_TIMEOUT="60")
    found = providers(OtlpSettings(endpoint=f"http://127.0.0.1:{port}"))
    assert found.traces is not None
    sending = found.traces.sending
    return Audience([Tracing(found.traces), Metrics(found.metrics)], lost=lambda: sending.dropped, close=close)


def _silent() -> socket.socket:
    """A listening socket: the kernel accepts what comes, and nobody reads it."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(64)
    return silent


COSTS: dict[str, Callable[[], Audience]] = {
    "nobody, once more": nobody,
    "a watcher that does nothing": idle_watcher,
    "a sink that does nothing": idle_sink,
    "logs, at `info`": logs,
    "traces, all of them": lambda: traces(1.0),
    "traces, all of them, encoded for OTLP": traces_encoded,
    "traces, to a tracer provider of your own": traces_elsewhere,
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
        "no sink, once more": nobody,
    },
    {
        "no exporter": nobody,
        "traces and metrics to a collector": sends,
        "traces and metrics to an endpoint that hangs": hangs,
    },
)
"""What is compared with one another: exporters work on while others have their turn, so they are by themselves."""
