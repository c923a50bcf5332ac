"""What watches the runs of one runtime: what it was given, and what its settings ask for.

Imported when a runtime is opened that has any of it.
"""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, runtime_checkable

from awaitly.errors import ConfigurationError, NotSupported
from awaitly.model.clock import Clock
from awaitly.model.context import Whereabouts
from awaitly.model.notice import Beginner, Entering, Watcher
from awaitly.observe.aside import aside
from awaitly.observe.bus import Bus, Sink
from awaitly.observe.variables import variable
from awaitly.policies.breaker import Circuit
from awaitly.policies.bulkhead import Bulkhead
from awaitly.policies.rate import Bucket, Window
from awaitly.policies.sharing import Shared
from awaitly.policies.turns import Turns
from awaitly.settings import Settings

if TYPE_CHECKING:
    from awaitly.execute.engine import Engine
    from awaitly.execute.vitals import Vitals
    from awaitly.observe.metrics import Gauges
    from awaitly.observe.otlp import Exporting
    from awaitly.observe.prometheus import Exposition

Sends: TypeAlias = Literal["alone", "with others", "nothing"]
"""By exporters of a runtime's own, by those that last as long as the process; with "nothing" nobody watches at all."""

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
)  # fmt: skip

_log = logging.getLogger("awaitly")


@runtime_checkable
class Asking(Protocol):
    """A watcher that asks for some numbers when they are collected."""

    def attach(self, gauges: "Gauges | None") -> None:
        """Ask these from now on; None: nobody."""


class Watching:
    """The bus of a runtime with everybody on it, and what they need.

    Args:
        settings: The operator's.
        sinks: What the runtime was given.
        watchers: Likewise.
        clock: The runtime's.
        where: Says where in a run code is.
        sends: Whether exporters are its own.

    Raises:
        NotSupported: If settings ask for what is not installed; it names the extra.
        ConfigurationError: If they do not fit.
    """

    def __init__(
        self,
        settings: Settings,
        sinks: Sequence[Sink],
        watchers: Sequence[Watcher],
        clock: Clock,
        where: Callable[[], Whereabouts | None],
        sends: Sends = "alone",
    ) -> None:
        logs = _logging(settings, where, sinks)  # first: there may be something to warn of
        reports = _reporting(settings, sinks)
        self.exporting = _exporting(settings, sends)  # from here on there are threads: what may not fit comes before
        self._sends = sends
        self.exposition = _exposition(settings, self.exporting)
        ours: list[Watcher] = []
        if not any(isinstance(watcher, Beginner) for watcher in watchers):
            ours += _tracing(settings, self.exporting, clock)
        elif self.exporting is not None and not _has_sdk():
            _provide(self.exporting, watchers)
        # After traces, for they ask what span is current.
        ours += _metrics(settings, self.exporting, self.exposition, watchers)
        everybody = (*watchers, *ours)
        self.begin = _beginning(everybody)
        self._asking = _asking(everybody)
        self._entering = _entering(everybody)
        self.bus = Bus((*sinks, *reports, *logs), everybody)

    def here(self) -> Callable[[], object]:
        """Return what puts back what watchers find current here, whatever they are told until then."""
        if len(self._entering) == 1:
            return self._entering[0].here()
        ways_back = [entering.here() for entering in self._entering]
        return lambda: [put_back() for put_back in ways_back]

    def attend(self, engine: "Engine", states: Shared, vitals: "Vitals") -> None:
        """Let metrics ask for what is counted when somebody collects, in whatever thread.

        Args:
            engine: What executes the runs.
            states: The circuits and limiters.
            vitals: Knows how late the event loop was, and how the outboxes deliver.
        """
        if self._asking:
            gauges = _gauges(engine, states, self.bus, vitals, self.exporting)
            for asking in self._asking:
                asking.attach(gauges)

    def leave(self) -> None:
        """Ask nobody any more."""
        for asking in self._asking:
            asking.attach(None)

    async def close(self, timeout: float) -> None:
        """Give sinks, and then exporters, up to ``timeout`` seconds in all."""
        until = monotonic() + timeout
        await self.bus.close(timeout)
        if self.exposition is not None:
            self.exposition.close()
        if self.exporting is not None and self._sends == "alone":
            left = max(0.0, until - monotonic())
            if not await aside("awaitly-exporters", partial(self.exporting.shutdown, left)):
                _log.warning("not all that was left of traces and metrics could be sent within %.3g s", left)


def watched(settings: Settings, sinks: Sequence[Sink], watchers: Sequence[Watcher]) -> bool:
    """Return whether anybody watches: without, facts that are only observed are not even made."""
    asked = settings.logs.format is not None or settings.prometheus or _wants_export(settings)
    found = _is_traced(settings) or _is_metered(settings) or _wants_reports(settings)
    return bool(sinks or watchers or asked or found)


def _beginning(watchers: Sequence[Watcher]) -> Callable[[str, str], str] | None:
    """Return what begins the trace of a run, if any of the watchers does."""
    for watcher in watchers:
        if isinstance(watcher, Beginner):
            return watcher.begin
    return None


def _asking(watchers: Sequence[Watcher]) -> list[Asking]:
    """Return those of the watchers that ask for numbers."""
    return [cast(Asking, watcher) for watcher in watchers if isinstance(watcher, Asking)]


def _entering(watchers: Sequence[Watcher]) -> list[Entering]:
    """Return those of the watchers that make something current."""
    return [cast(Entering, watcher) for watcher in watchers if isinstance(watcher, Entering)]


def _gauges(engine: "Engine", states: Shared, bus: Bus, vitals: "Vitals", exporting: "Exporting | None") -> "Gauges":
    from awaitly.observe.metrics import Gauges

    def waits() -> list[float]:
        now = engine.clock.monotonic()
        return [now - queued.since for queued in list(engine.admission.queue.values())]

    def limiters() -> list[Turns]:
        return [limiter for kind in (Bucket, Window, Bulkhead) for limiter in states.states(kind).values()]

    return Gauges(
        active=lambda: Counter(active.started.workflow for active in list(engine.active.values())),
        queued=lambda: len(engine.admission.queue),
        queue_age=lambda: max(waits(), default=0.0),
        waiting=lambda: {limiter.name: limiter.waiting for limiter in limiters()},
        breakers=lambda: {circuit.name: circuit.last for circuit in states.states(Circuit).values()},
        dropped=lambda: bus.dropped,
        sink_failures=lambda: bus.failures,
        spans_dropped=None if exporting is None or exporting.traces is None else exporting.dropped,
        delivered=lambda: {name: outbox.delivered for name, outbox in vitals.outboxes().items()},
        delivery_failures=lambda: {name: outbox.failures for name, outbox in vitals.outboxes().items()},
        given_up=lambda: {name: outbox.given_up for name, outbox in vitals.outboxes().items()},
        delivery_age=lambda: {name: outbox.age for name, outbox in vitals.outboxes().items()},
        lag=vitals.lag,
    )


def _exporting(settings: Settings, sends: Sends) -> "Exporting | None":
    if not _wants_export(settings) or (_has_sdk() and settings.otlp.endpoint is None):
        return None  # a program with a set-up of its own knows where to send
    from awaitly.observe.otlp import lasting, providers

    try:
        return providers(settings.otlp) if sends == "alone" else lasting(settings.otlp)
    except (ConfigurationError, NotSupported) as error:
        if _asks_by_itself(settings):
            raise
        _warn_once(f"nothing is sent to where OTEL_EXPORTER_OTLP_ENDPOINT or the like says: {error}")
        return None


@cache
def _warn_once(text: str) -> None:
    _log.warning(text)


def _exposition(settings: Settings, exporting: "Exporting | None") -> "Exposition | None":
    if not settings.prometheus:
        return None
    from awaitly.observe.prometheus import Exposition

    return Exposition(None if exporting is None else exporting.metrics)


def _metrics(
    settings: Settings, exporting: "Exporting | None", exposition: "Exposition | None", given: Sequence[Watcher]
) -> list[Watcher]:
    provider = exposition.provider if exposition is not None else None if exporting is None else exporting.metrics
    if provider is None and not _is_metered(settings):
        return []
    from awaitly.observe.metrics import Metrics

    counted = any(isinstance(watcher, Metrics) and watcher.reports_to(provider) for watcher in given)
    return [] if counted else [Metrics(provider)]


def _tracing(settings: Settings, exporting: "Exporting | None", clock: Clock) -> list[Watcher]:
    provider = None if exporting is None else exporting.traces
    if settings.otlp.traces == "off" or (provider is None and not _is_traced(settings)):
        return []
    from awaitly.observe.tracing import Tracing

    return [Tracing(provider, time=clock.time)]


def _provide(exporting: "Exporting", watchers: Sequence[Watcher]) -> None:
    """Let those that were given without a provider of spans have the one that sends, as the program has none."""
    from awaitly.observe.tracing import Tracing

    for watcher in watchers:
        if isinstance(watcher, Tracing) and exporting.traces is not None:
            watcher.provide(exporting.traces)


def _logging(settings: Settings, where: Callable[[], Whereabouts | None], given: Sequence[Sink]) -> tuple[Sink, ...]:
    if settings.logs.format is None:
        return ()
    from awaitly.observe.logs import Journalist, configure

    configure(where, style=settings.logs.format, level=settings.logs.level)
    return () if any(isinstance(sink, Journalist) for sink in given) else (Journalist(),)


def _reporting(settings: Settings, sinks: Sequence[Sink]) -> tuple[Sink, ...]:
    if not _wants_reports(settings):
        return ()
    from awaitly.observe.sentry import SentrySink, configured

    return () if any(isinstance(sink, SentrySink) for sink in sinks) else (configured(settings.sentry),)


def _wants_reports(settings: Settings) -> bool:
    sentry = settings.sentry
    return sentry.errors == "on" or (sentry.errors == "auto" and (sentry.dsn is not None or _has_sentry()))


def _wants_export(settings: Settings) -> bool:
    disabled = variable("OTEL_SDK_DISABLED") == "true"
    if disabled or settings.otlp.traces == settings.otlp.metrics == "off":
        return False
    return _asks_by_itself(settings) or any(os.environ.get(name) for name in _ENDPOINTS)


def _asks_by_itself(settings: Settings) -> bool:
    """Whether it is awaitly that is to send, and not whoever heeds the standard variables."""
    return settings.otlp.traces == "on" or settings.otlp.endpoint is not None


def _is_traced(settings: Settings) -> bool:
    return settings.otlp.traces != "off" and _has_sdk()


def _is_metered(settings: Settings) -> bool:
    return settings.otlp.metrics != "off" and _has_meter()


def _has_sdk() -> bool:
    """Whether the program has set OpenTelemetry up for traces; it is not imported to find out."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _has_sentry() -> bool:
    """Whether the program has set Sentry up; it is not imported to find out."""
    sentry = sys.modules.get("sentry_sdk")
    return sentry is not None and bool(sentry.get_client().is_active())


def _has_meter() -> bool:
    """Likewise for metrics."""
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return False
    return type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.sdk")
