"""Sends traces and metrics by OTLP, for applications without a set-up of their own. Needs ``awaitly[otlp]``.

What is not given is taken from the standard ``OTEL_*`` variables, as the SDK reads them: endpoints, headers,
timeouts, sampling, sizes of batches, the resource. Sending has threads of its own; what does not fit into their queues
is dropped.
"""

import atexit
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from threading import Event, Thread
from time import monotonic
from typing import Any, Literal, Protocol
from urllib.parse import unquote

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from awaitly.errors import ConfigurationError, NotSupported
from awaitly.observe.sending import dropped
from awaitly.observe.spans import PlainProvider
from awaitly.observe.tally import Book, Provider
from awaitly.observe.variables import variable

Signal = Literal["traces", "metrics"]

_PACKAGES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}
_EXPORTERS: dict[Signal, tuple[str, str]] = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}

_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"

AT_EXIT = 2.0  # seconds of the end of a process that sending what is left may take

_log = logging.getLogger("awaitly")
_lasting: "dict[tuple[str | None, ...], Exporting]" = {}
os.register_at_fork(after_in_child=_lasting.clear)  # threads do not come along


class Destination(Protocol):
    """Where to send to, as :class:`~awaitly.settings.tables.OtlpSettings` says it; None: as ``OTEL_*`` says."""

    @property
    def endpoint(self) -> str | None:
        """The base URL; over HTTP, ``/v1/traces`` and ``/v1/metrics`` are added."""

    @property
    def headers(self) -> str | None:
        """``name=value`` pairs with commas between them, the values URL-encoded."""

    @property
    def protocol(self) -> str | None:
        """``http/protobuf`` or ``grpc``."""

    @property
    def service_name(self) -> str | None:
        """What the service is called."""

    @property
    def traces(self) -> str:
        """``off``: they are not sent."""

    @property
    def metrics(self) -> str:
        """Likewise."""


@dataclass(frozen=True, slots=True)
class Exporting:
    """Providers that send what is made with them; None for what is not to be sent."""

    traces: PlainProvider | None
    metrics: MeterProvider | None

    def dropped(self) -> int:
        """Return how many spans this process has not sent, by these or by others."""
        return dropped()

    def shutdown(self, timeout: float) -> bool:
        """Send what is left and stop; blocks up to ``timeout`` seconds. Return whether it ended in that time.

        That says nothing about whether anything arrived: what could not be sent is in the log.
        """
        begins = Event()
        begins.set()
        return _joined(self._enders(begins), timeout)

    def shutdown_at_exit(self) -> None:
        """Do that when the process ends, for two seconds at most."""
        exits = Event()
        # They wait from now on: a process that ends may start no threads any more.
        atexit.register(_ended_at_exit, exits, self._enders(exits))

    def _enders(self, begins: Event) -> list[Thread]:
        """Return threads, already started, that shut the providers down once they may begin.

        They are daemons: an endpoint that hangs must not keep the process from ending.
        """
        ends = [provider.shutdown for provider in (self.traces, self.metrics) if provider is not None]
        threads = [Thread(target=_ended, args=(begins, end), name="awaitly-otlp", daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        return threads


def lasting(to: Destination) -> Exporting:
    """Return what all in this process shares that sends to a destination. It ends with the process.

    Raises:
        NotSupported: As :func:`providers`.
        ConfigurationError: Likewise.
    """
    key = to.endpoint, to.headers, to.protocol, to.service_name, to.traces, to.metrics
    found = _lasting.get(key)
    if found is None:
        found = _lasting[key] = providers(to)
        found.shutdown_at_exit()
    return found


def providers(to: Destination) -> Exporting:
    """Return providers that send to a destination.

    Raises:
        NotSupported: ``not-supported``, if the exporter of the protocol is not installed.
        ConfigurationError: ``invalid-setting``, for another protocol, and for headers that are no pairs.
    """
    resource = Resource.create({SERVICE_NAME: to.service_name} if to.service_name else None)
    traces = _tracer_provider(to, resource)
    try:
        return Exporting(traces, _meter_provider(to, resource))
    except BaseException:
        Exporting(traces, None).shutdown(0)  # it has a thread already
        raise


def _tracer_provider(to: Destination, resource: Resource) -> PlainProvider | None:
    if _is_off("traces", to.traces):
        return None
    return PlainProvider(_exporter("traces", to), resource)


def _meter_provider(to: Destination, resource: Resource) -> MeterProvider | None:
    if _is_off("metrics", to.metrics):
        return None
    exporter = _exporter("metrics", to)
    if variable(_AGGREGATION) not in ("", "explicit_bucket_histogram"):
        reader = PeriodicExportingMetricReader(exporter)
        return MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    delta = variable(_TEMPORALITY) in ("delta", "lowmemory")
    return Provider([_Reader(exporter, Book(delta=delta))], resource)


class _Reader(PeriodicExportingMetricReader):
    """Adds the tally to what it exports."""

    def __init__(self, exporter: MetricExporter, book: Book) -> None:
        self.book = book  # first: the reader's thread begins with it
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self.book.completed(metrics_data), timeout_millis, **kwargs)


def _exporter(signal: Signal, to: Destination) -> Any:
    protocol = (
        to.protocol
        or variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        or variable("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    make = _class(signal, protocol)
    endpoint = to.endpoint or None
    if endpoint is not None and protocol != "grpc":
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return make(endpoint=endpoint, headers=_headers(to.headers) if to.headers else None)


def _class(signal: Signal, protocol: str) -> Callable[..., Any]:
    package = _PACKAGES.get(protocol)
    if package is None:
        raise ConfigurationError(
            f"the OTLP protocol is {protocol!r}, which awaitly does not send",
            hint=f"choose {' or '.join(_PACKAGES)} in AWAITLY_OTLP__PROTOCOL or OTEL_EXPORTER_OTLP_PROTOCOL",
            code="invalid-setting",
        )
    module, name = _EXPORTERS[signal]
    try:
        found: Callable[..., Any] = getattr(import_module(f"{package}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("opentelemetry", "grpc"):
            raise
        raise NotSupported(
            f"sending {signal} by OTLP over {protocol} needs the package"
            f" {package.replace('.', '-')}, which is not installed",
            hint="install awaitly[otlp]",
        ) from error
    return found


def _headers(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ConfigurationError(
            "the OTLP headers are not pairs of a name and a value",  # without them: they are secrets
            hint="write AWAITLY_OTLP__HEADERS=name=value,name=value, the values URL-encoded",
            code="invalid-setting",
        )
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


def _is_off(signal: Signal, said: str) -> bool:
    return said == "off" or variable(f"OTEL_{signal.upper()}_EXPORTER") == "none"


def _ended(begins: Event, end: Callable[[], object]) -> None:
    begins.wait()
    try:
        end()
    except Exception:  # noqa: BLE001 - foreign code in a thread; its error has nowhere else to go
        _log.exception("an OpenTelemetry provider failed to shut down")


def _ended_at_exit(exits: Event, enders: Sequence[Thread]) -> None:
    exits.set()
    with suppress(KeyboardInterrupt):  # who is in a hurry goes without
        if not _joined(enders, AT_EXIT):
            _log.warning("what was left of traces and metrics could not be sent within %d seconds: it is lost", AT_EXIT)


def _joined(threads: Sequence[Thread], timeout: float) -> bool:
    until = monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))
    return not any(thread.is_alive() for thread in threads)
