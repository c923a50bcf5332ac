"""What is reported to one meter provider, through OpenTelemetry's API.

The SDK takes 5 µs for a record in a histogram, and twice that when it is called between other code, which is more than
all the rest. So values are recorded in batches: when one is full, and before somebody collects.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Protocol, TypeAlias, runtime_checkable
from weakref import WeakKeyDictionary, WeakValueDictionary

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from awaitly.observe.instruments import COMMIT_FACTS, INSTRUMENTS, METER, Instrument, Kind

BATCH = 100  # values that are recorded at once: half a millisecond of the event loop


Traced: TypeAlias = tuple[float, float, Context]
"""A value, when it came to be (seconds since the epoch), and the trace that it is an example of."""


class Line(Protocol):
    """What takes the values of a histogram that have the same attributes."""

    many: int  # values are too many

    @property
    def values(self) -> MutableSequence[float]:
        """Those in no trace that are still to be added up: others may be appended."""

    @property
    def traced(self) -> MutableSequence[Traced]:
        """Likewise, those in traces."""

    def add_up(self) -> None:
        """Add up what is still to be."""

    def record(self, value: float, at: float, context: Context | None) -> None:
        """Take a value, and the trace that it is an example of."""

    def record_all(self, values: Sequence[float]) -> None:
        """Take some values."""


@runtime_checkable
class Tallying(Protocol):
    """A meter provider that adds histograms up by itself."""

    def series(self, row: Instrument, attributes: Mapping[str, str]) -> Line:
        """Return what takes the values of a histogram that have these attributes."""


class Answering(Protocol):
    """Who knows what is asked when somebody collects."""

    def answers(self, row: Instrument) -> Iterable[tuple[str, float]]:
        """Return the values of an asked instrument, by its attribute if it has one."""


class Report:
    """What all share that report to one provider.

    An SDK keeps one instrument of a name, with the callbacks of the first who made it. So these callbacks belong to
    nobody who reports; they ask all that are alive, and outlive them, with what is pending.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = (provider or get_meter_provider()).get_meter(METER)
        self.stored = 0  # facts
        self.counters = {
            row: meter.create_counter(row.name, row.unit, row.description)
            for row in INSTRUMENTS if row.kind is Kind.COUNTER
        }  # fmt: skip
        self._records: dict[Instrument, _Record] = {}
        self._lines: dict[tuple[Instrument, frozenset[tuple[str, str]]], _Line] = {}
        self._members: WeakValueDictionary[int, Answering] = WeakValueDictionary()
        for row in INSTRUMENTS:
            ask = [partial(self._answers, row)]
            if row.kind is Kind.ASKED_GAUGE:
                meter.create_observable_gauge(row.name, ask, row.unit, row.description)
            elif row.kind is Kind.ASKED_COUNTER:
                meter.create_observable_counter(row.name, ask, row.unit, row.description)
            elif row.kind is Kind.HISTOGRAM and not isinstance(provider, Tallying):
                bounds = [float(bound) for bound in row.bounds]  # which is how Prometheus shows them
                self._records[row] = meter.create_histogram(
                    row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=bounds
                ).record

    def join(self, who: Answering) -> None:
        """Ask this one too, as long as it is alive."""
        self._members[id(who)] = who

    def line(self, row: Instrument, attributes: Mapping[str, str]) -> Line:
        """Return what takes the values of a histogram that have these attributes."""
        key = row, frozenset(attributes.items())
        line = self._lines.get(key)
        if line is None:
            line = self._lines.setdefault(key, _Line(self._records[row], attributes))
        return line

    def flush(self) -> None:
        """Record what is still to be."""
        for line in list(self._lines.values()):
            line.add_up()

    def _answers(self, row: Instrument, options: CallbackOptions) -> list[Observation]:
        self.flush()  # somebody collects, and these are asked first
        if row is COMMIT_FACTS:
            return [Observation(self.stored)]
        answers: dict[str, list[float]] = {}
        for reference in self._members.valuerefs():  # a copy: others may join meanwhile
            member = reference()
            for name, value in () if member is None else member.answers(row):
                answers.setdefault(name, []).append(value)
        key = row.attributes[:1]
        return [Observation(row.several(values), dict.fromkeys(key, name)) for name, values in answers.items()]


_Record: TypeAlias = Callable[[float, Mapping[str, str], Context], None]

_NOWHERE = set_span_in_context(INVALID_SPAN, Context())  # an empty one would stand for the current one


class _Line:
    """Two threads may add up at once: each takes what the other has not."""

    __slots__ = ("_attributes", "_record", "traced", "values")

    many = BATCH

    def __init__(self, record: _Record, attributes: Mapping[str, str]) -> None:
        self.values: deque[float] = deque()
        self.traced: deque[Traced] = deque()
        self._record = record
        self._attributes = attributes

    def record(self, value: float, at: float, context: Context | None) -> None:
        if context is None:
            self.values.append(value)
        else:
            self.traced.append((value, at, context))
        if len(self.values) + len(self.traced) >= BATCH:
            self.add_up()

    def record_all(self, values: Sequence[float]) -> None:
        self.values.extend(values)
        if len(self.values) >= BATCH:
            self.add_up()

    def add_up(self) -> None:
        with suppress(IndexError):
            while True:
                self._record(self.values.popleft(), self._attributes, _NOWHERE)
        with suppress(IndexError):
            while True:
                value, _, context = self.traced.popleft()
                self._record(value, self._attributes, context)


_of_the_global: list[Report] = []
_reports: "WeakKeyDictionary[MeterProvider, Report]" = WeakKeyDictionary()
_making = Lock()  # of the reports: an SDK asks the first one only that makes an instrument


def report_of(provider: MeterProvider | None) -> Report:
    """Return what is reported to a provider; None: to OpenTelemetry's global one, whenever that is set."""
    with _making:
        if provider is None:
            if not _of_the_global:
                _of_the_global.append(Report(None))
            return _of_the_global[0]
        report = _reports.get(provider)
        if report is None:
            report = _reports[provider] = Report(provider)
        return report
