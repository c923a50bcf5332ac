"""Histograms that are added up here and reported by readers of awaitly's own, along with what the SDK has collected.

A record in a histogram takes the SDK 5 µs, which is more than all the rest that is done for metrics. So values are kept
in a list, and many at a time are sorted into their buckets. The SDK still collects, converts and exports: classes of
readers are meant to be derived from, and those of awaitly add these histograms to what they receive.

Views, and readers of others, do not see them. So it is done only where awaitly sets metrics up; whoever has a provider
of their own gets every value through OpenTelemetry's API (:mod:`awaitly.observe.recording`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from threading import Lock
from time import time_ns
from typing import Protocol, TypeVar, runtime_checkable

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import get_current_span

from awaitly.errors import ConfigurationError
from awaitly.observe.instruments import METER, Instrument
from awaitly.observe.recording import Traced
from awaitly.observe.variables import variable

T = TypeVar("T")

MANY = 500  # values that are sorted at once, which takes 0.1 ms of the event loop


class Provider(MeterProvider):
    """A meter provider for readers that complete what they read: its histograms of awaitly's are added up in a tally.

    Args:
        readers: Those that it ends with. One that is added later has to be shut down by who adds it.
        resource: Whose metrics they are; default: what the ``OTEL_*`` variables say.

    Raises:
        ConfigurationError: ``invalid-option``, for a reader that would miss the histograms.
    """

    def __init__(self, readers: Sequence[MetricReader] = (), resource: Resource | None = None) -> None:
        self.tally = Tally()
        for reader in readers:
            self.tally.join(reader)
        super().__init__(metric_readers=readers, resource=resource, shutdown_on_exit=False)

    def series(self, row: Instrument, attributes: Mapping[str, str]) -> "Series":
        """Return what takes the values of a histogram that have these attributes."""
        return self.tally.series(row, attributes)

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """Let a reader read everything from now on.

        Raises:
            ConfigurationError: As above.
        """
        self.tally.join(metric_reader)
        super().add_metric_reader(metric_reader)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """Let a reader read no more."""
        super().remove_metric_reader(metric_reader)
        self.tally.leave(metric_reader)


@runtime_checkable
class Completing(Protocol):
    """A reader that hands on ``book.completed(data)`` in place of the data that it receives."""

    book: "Book"


class Tally:
    """The histograms of one provider."""

    def __init__(self) -> None:
        self.books: tuple[Book, ...] = ()  # of its readers
        self.has_examples = variable("OTEL_METRICS_EXEMPLAR_FILTER") != "always_off"
        self._series: dict[tuple[Instrument, frozenset[tuple[str, str]]], Series] = {}
        self._lock = Lock()

    def join(self, reader: object) -> None:
        """Keep a book for a reader; raises ``invalid-option``, if it has none."""
        if not isinstance(reader, Completing):
            raise ConfigurationError(
                f"{type(reader).__qualname__} would miss the histograms of a meter provider that awaitly made",
                hint="make a MeterProvider of your own with your readers, and give it to Metrics and to Exposition",
                code="invalid-option",
            )
        reader.book.tally = self
        self.books = (*self.books, reader.book)

    def leave(self, reader: object) -> None:
        """Keep no book for a reader any more."""
        if isinstance(reader, Completing):
            self.books = tuple(book for book in self.books if book is not reader.book)

    def series(self, row: Instrument, attributes: Mapping[str, str]) -> "Series":
        """Return what takes the values of a histogram that have these attributes."""
        key = row, frozenset(attributes.items())
        with self._lock:
            known = self._series.get(key)
            if known is None:
                known = self._series[key] = Series(self, row, attributes)
            return known

    def add_up(self) -> None:
        """Enter everything that was recorded into the books."""
        with self._lock:
            everything = list(self._series.values())
        for series in everything:
            series.add_up()


class Series:
    """The values of a histogram that have the same attributes: any thread may add them up, and report them."""

    __slots__ = ("_lock", "_tally", "attributes", "bounds", "many", "row", "traced", "values")

    def __init__(self, tally: Tally, row: Instrument, attributes: Mapping[str, str]) -> None:
        self.row = row
        self.attributes = attributes
        self.bounds = row.bounds
        self.values: list[float] = []
        self.traced: list[Traced] = []
        self.many = MANY
        self._tally = tally
        self._lock = Lock()

    def record(self, value: float, at: float, context: Context | None) -> None:
        """Take a value, and the trace that it is an example of."""
        if context is None:
            self.values.append(value)
        else:
            self.traced.append((value, at, context))
        if len(self.values) + len(self.traced) >= MANY:
            self.add_up()

    def record_all(self, values: Sequence[float]) -> None:
        """Take some values."""
        self.values.extend(values)
        if len(self.values) >= MANY:
            self.add_up()

    def add_up(self) -> None:
        """Enter the values that came since the last time into the books."""
        with self._lock:
            traced = _taken(self.traced)
            values = _taken(self.values) + [value for value, _, _ in traced]
            if not values:
                return
            examples = self._examples(traced) if self._tally.has_examples else {}
            values.sort()
            ends = [0, *(bisect_right(values, bound) for bound in self.bounds), len(values)]
            counts = [end - begin for begin, end in pairwise(ends)]
            for book in self._tally.books:
                book.enter(self, counts, values, examples)

    def _examples(self, traced: Sequence[Traced]) -> dict[int, Traced]:
        """Return the latest value of each bucket, with its trace."""
        return {bisect_left(self.bounds, each[0]): each for each in traced}


def _taken(found: list[T]) -> list[T]:
    """Return what is in a list, and take it out: others may append meanwhile."""
    taken = found[:]
    del found[: len(taken)]
    return taken


@dataclass(slots=True)
class Entry:
    """What a reader is to report of one series."""

    counts: list[int]
    total: float = 0.0
    smallest: float = inf
    largest: float = -inf
    examples: dict[int, Traced] = field(default_factory=dict)  # the latest since the last report, by bucket

    def add(self, counts: list[int], values: list[float], examples: Mapping[int, Traced]) -> None:
        """Add sorted values, so many to each bucket."""
        self.examples |= examples
        self.counts = [count + more for count, more in zip(self.counts, counts, strict=True)]
        self.total += sum(values)
        self.smallest = min(self.smallest, values[0])
        self.largest = max(self.largest, values[-1])


class Book:
    """What one reader is to report.

    Args:
        delta: Whether it reports what came since its last report, and not since it began.
    """

    def __init__(self, *, delta: bool = False) -> None:
        self.tally: Tally | None = None
        self._delta = delta
        self._began = self._reported = time_ns()
        self._entries: dict[Series, Entry] = {}
        self._lock = Lock()

    def enter(self, series: Series, counts: list[int], values: list[float], examples: Mapping[int, Traced]) -> None:
        """Add sorted values of a series, so many to each bucket, and examples of them."""
        with self._lock:
            entry = self._entries.get(series)
            if entry is None:
                entry = self._entries[series] = Entry([0] * len(counts))
            entry.add(counts, values, examples)

    def completed(self, data: MetricsData) -> MetricsData:
        """Return what the SDK has collected with the histograms added."""
        if self.tally is None:
            return data
        self.tally.add_up()
        histograms = self._histograms(time_ns())
        return MetricsData([_with(resource, histograms) for resource in data.resource_metrics])

    def _histograms(self, now: int) -> list[Metric]:
        points: dict[Instrument, list[HistogramDataPoint]] = {}
        with self._lock:
            began = self._reported if self._delta else self._began
            for series, entry in self._entries.items():
                points.setdefault(series.row, []).append(_point(series, entry, began, now))
            self._reported = now
            if self._delta:
                self._entries = {}
        temporality = AggregationTemporality.DELTA if self._delta else AggregationTemporality.CUMULATIVE
        return [Metric(row.name, row.description, row.unit, Histogram(of, temporality)) for row, of in points.items()]


def _point(series: Series, entry: Entry, began: int, now: int) -> HistogramDataPoint:
    examples, entry.examples = entry.examples.values(), {}  # each is told once
    return HistogramDataPoint(
        attributes=series.attributes,
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(entry.counts),
        sum=entry.total,
        bucket_counts=entry.counts,  # nobody changes this list
        explicit_bounds=series.bounds,
        min=entry.smallest,
        max=entry.largest,
        exemplars=[_exemplar(*example) for example in examples],
    )


def _exemplar(value: float, at: float, context: Context) -> Exemplar:
    trace = get_current_span(context).get_span_context()
    return Exemplar({}, value, int(at * 1e9), trace.span_id, trace.trace_id)


def _with(resource: ResourceMetrics, histograms: list[Metric]) -> ResourceMetrics:
    ours = ScopeMetrics(InstrumentationScope(METER), histograms, "")
    scopes = []
    for scope in resource.scope_metrics:
        if scope.scope.name == METER:
            ours = replace(scope, metrics=[*scope.metrics, *histograms])
        else:
            scopes.append(scope)
    return replace(resource, scope_metrics=[*scopes, ours])
