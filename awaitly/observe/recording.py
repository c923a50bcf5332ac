"""What is reported to one meter provider, through OpenTelemetry's API.

The SDK takes 5 µs for a record in a histogram, and twice that when it is called between other code, which is more than
all the rest. So values are recorded in batches: when one is full, and before somebody collects.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Line(Protocol):
    """What takes the values of a histogram that have the same attributes."""

    def record(self, value: float, at: float, context: Context | None) -> None:
        """Take a value that came to be at a time (seconds since the epoch), and the trace that it is an example of."""

    def record_all(self, values: Sequence[float]) -> None:
        """Take some values."""


Traced: TypeAlias = tuple[float, float, Context]
"""A value, when it came to be, and the trace that it is an example of."""


class Tallied(Line, Protocol):
    """One to whose values others may be appended in place, as a call of a function takes as long as all the rest."""

    values: list[float]  # in no trace, that are still to be added up
    traced: list[Traced]  # in traces
    many: int  # are too many

    def add_up(self) -> None:
        """Add up what is still to be."""


@runtime_checkable
class Tallying(Protocol):
    """A meter provider that adds histograms up by itself."""

    def series(self, row: Instrument, attributes: Mapping[str, str]) -> Tallied:
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
        self.pending: _Pending = deque()
        self.stored = 0  # facts
        self.counters = {
            row: meter.create_counter(row.name, row.unit, row.description)
            for row in INSTRUMENTS if row.kind is Kind.COUNTER
        }  # fmt: skip
        self._records: dict[Instrument, _Record] = {}
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
        return _Line(self, self._records[row], attributes)

    def flush(self) -> None:
        """Record what is pending. Two threads may do it at once: each takes what the other has not."""
        take = self.pending.popleft
        with suppress(IndexError):
            while True:
                record, value, attributes, context = take()
                record(value, attributes, context)

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
_Pending: TypeAlias = "deque[tuple[_Record, float, Mapping[str, str], Context]]"

_NOWHERE = set_span_in_context(INVALID_SPAN, Context())  # an empty one would stand for the current one


class _Line:
    __slots__ = ("_attributes", "_pending", "_record", "_report")

    def __init__(self, report: Report, record: _Record, attributes: Mapping[str, str]) -> None:
        self._report = report
        self._pending = report.pending
        self._record = record
        self._attributes = attributes

    def record(self, value: float, at: float, context: Context | None) -> None:
        self._pending.append((self._record, value, self._attributes, context or _NOWHERE))
        if len(self._pending) >= BATCH:
            self._report.flush()

    def record_all(self, values: Sequence[float]) -> None:
        for value in values:
            self.record(value, 0.0, None)


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
