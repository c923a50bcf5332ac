"""Numbers as a Prometheus server reads them. Needs ``awaitly[prometheus]``."""

import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData

from awaitly.errors import NotSupported
from awaitly.observe.tally import Book, Provider

try:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Exemplar, Sample
except ModuleNotFoundError as error:
    missing = error.name or ""
    if not missing.startswith(("prometheus_client", "opentelemetry.exporter")):
        raise
    package = "prometheus_client" if missing.startswith("prometheus") else "opentelemetry-exporter-prometheus"
    raise NotSupported(
        f"metrics for Prometheus need the package {package}, which is not installed",
        hint="install awaitly[prometheus]",
    ) from error

_Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]  # a family's name without its unit, and the labels
_Examples: TypeAlias = Mapping[_Series, Mapping[float, Exemplar]]  # by the upper bound of their bucket


class Exposition:
    """What is served at ``/metrics``, with a registry of its own.

    ```python
    exposition = Exposition()
    runtime = Runtime(watchers=[Metrics(exposition.provider)])

    body, content_type = exposition.render(request.headers.get("accept"))
    ```

    Args:
        provider: A meter provider of the SDK that this is to read besides others; by default it has one of its own.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        self._registry = CollectorRegistry()
        self._reader = _Reader(self._registry)
        self._one_at_a_time = threading.Lock()
        self._owns = provider is None
        self.provider = Provider() if provider is None else provider
        self.provider.add_metric_reader(self._reader)

    def close(self) -> None:
        """Stop reading the provider; one of its own is shut down."""
        if self._owns:
            self.provider.shutdown()
        else:
            self.provider.remove_metric_reader(self._reader)

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """Return everything that was measured, and its content type; may be called in any thread.

        Args:
            accept: The request's header. Exemplars, those since the last time, are part of OpenMetrics only.
        """
        encode, content_type = choose_encoder(accept or "")
        with self._one_at_a_time:
            families = list(self._registry.collect())
            if content_type.startswith("application/openmetrics-text"):
                _exemplify(families, self._reader.examples)
        return encode(_Collected(families)), content_type


class _Reader(PrometheusMetricReader):
    """Adds the tally, and keeps the exemplars, which the exporter leaves out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(scope_info_enabled=False, registry=registry)
        self.examples: _Examples = {}
        self.book = Book()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        data = self.book.completed(metrics_data)
        self.examples = dict(_examples(data))
        super()._receive_metrics(data, timeout_millis, **kwargs)


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _examples(data: MetricsData) -> Iterable[tuple[_Series, Mapping[float, Exemplar]]]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    if isinstance(point, HistogramDataPoint) and point.exemplars:
                        labels = {_plain(key): str(value) for key, value in (point.attributes or {}).items()}
                        yield (_plain(metric.name), frozenset(labels.items())), _by_bucket(point)


def _by_bucket(point: HistogramDataPoint) -> Mapping[float, Exemplar]:
    bounds = [*point.explicit_bounds, float("inf")]
    return {
        bounds[bisect_left(point.explicit_bounds, example.value)]: Exemplar(
            {"trace_id": f"{example.trace_id:032x}", "span_id": f"{example.span_id:016x}"},
            example.value,
            example.time_unix_nano / 1e9,
        )
        for example in point.exemplars
        if example.trace_id is not None and example.span_id is not None
    }


def _exemplify(families: Iterable[Metric], examples: _Examples) -> None:
    for family in families:
        if family.type == "histogram":
            name = family.name.removesuffix(f"_{family.unit}")
            family.samples = [_exemplified(name, sample, examples) for sample in family.samples]


def _exemplified(name: str, sample: Sample, examples: _Examples) -> Sample:
    bound = sample.labels.get("le")
    if bound is None:
        return sample
    labels = frozenset((key, value) for key, value in sample.labels.items() if key != "le" and value)
    return sample._replace(exemplar=examples.get((name, labels), {}).get(float(bound)))


def _plain(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9:]+", "_", name)
