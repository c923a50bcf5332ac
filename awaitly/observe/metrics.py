"""Facts to numbers: counters, histograms and gauges through OpenTelemetry's meter.

What there is to count and measure is the table in :mod:`awaitly.observe.instruments`.

A histogram keeps examples of its values ("exemplars") with the trace that they belong to. An outcome is delivered
outside of its step's task, where no span is current, so what is kept is the trace that the fact of the run's start
carries: the right trace, with the id of the run's span in place of the step's. Only sampled traces are kept. Of a run
that was taken over it is the trace that it is in here, which links to the one that it began in: there, the span of the
run may be missing, as its process is gone.

How values get into histograms is another module's business: :mod:`awaitly.observe.tally` where awaitly sets metrics
up, :mod:`awaitly.observe.recording` where somebody else does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import NonRecordingSpan, get_current_span, set_span_in_context

from awaitly.errors import LeaseLost, StepTimeout, UnexpectedError
from awaitly.model.facts import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerRejected,
    CacheHit,
    Committed,
    Fact,
    FallbackTaken,
    LeaseLapsed,
    LimiterRejected,
    LimiterWaited,
    RunAdmitted,
    RunFinished,
    RunRejected,
    RunReleased,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepHedged,
    StepRetrying,
)
from awaitly.model.notice import Notice, Sorting, Watcher
from awaitly.observe.instruments import (
    BREAKER_REJECTIONS,
    BREAKER_STATE,
    BREAKER_TRANSITIONS,
    CACHE_HITS,
    COMMIT_DURATION,
    FALLBACKS,
    LEASE_LAPSES,
    LIMITER_REJECTIONS,
    LIMITER_WAIT,
    QUEUE_WAIT,
    REPLAY_FACTS,
    RUN_DURATION,
    RUNS_ACTIVE,
    RUNS_LOST,
    RUNS_REJECTED,
    RUNS_RESUMED,
    STEP_DURATION,
    STEP_HEDGES,
    STEP_RETRIES,
    STEP_TIMEOUTS,
    Instrument,
)
from awaitly.observe.recording import Line, Tallying, report_of
from awaitly.observe.traceparent import context_of

MOST_NAMES = 1000  # different pairs of workflow and step, and of any other name
OTHER = "other"  # what those beyond are called

_STATES: dict[type[Fact], str] = {BreakerClosed: "closed", BreakerHalfOpened: "half-open", BreakerOpened: "open"}
_NUMBERS: dict[str, int] = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What is asked when somebody collects; None: nobody knows.

    They are called in whatever thread collects, while the event loop runs: each looks at a copy, such as
    ``list(queue)``, and changes nothing.

    Attributes:
        active: the runs that are executed, by workflow.
        queued: the runs that wait for room.
        queue_age: the seconds that the first of them has been waiting; 0 if there is none.
        waiting: the calls that wait, by limiter.
        breakers: the states of all circuits as of their last change, by name: a circuit that is asked may change.
        dropped: the notices that were lost, by sink.
        sink_failures: the notices at which a sink raised, by sink.
        spans_dropped: the spans that this process has not sent.
        delivered: the events that were delivered, by outbox.
        delivery_failures: the attempts at that which failed, by outbox.
        given_up: the events that are not tried any more, by outbox.
        delivery_age: the seconds since the oldest event that waits for its delivery, by outbox.
        lag: the seconds by which the event loop was late.
    """

    active: Callable[[], Mapping[str, int]] | None = None
    queued: Callable[[], int] | None = None
    queue_age: Callable[[], float] | None = None
    waiting: Callable[[], Mapping[str, int]] | None = None
    breakers: Callable[[], Mapping[str, str]] | None = None
    dropped: Callable[[], Mapping[str, int]] | None = None
    sink_failures: Callable[[], Mapping[str, int]] | None = None
    spans_dropped: Callable[[], int] | None = None
    delivered: Callable[[], Mapping[str, int]] | None = None
    delivery_failures: Callable[[], Mapping[str, int]] | None = None
    given_up: Callable[[], Mapping[str, int]] | None = None
    delivery_age: Callable[[], Mapping[str, float]] | None = None
    lag: Callable[[], float] | None = None


class Metrics(Sorting):
    """A watcher that counts and measures.

    Args:
        meter_provider: Where the numbers go; default: OpenTelemetry's global provider, whenever that is set.
        gauges: What is asked for the rest; :meth:`attach` can say it later.
    """

    def __init__(self, meter_provider: MeterProvider | None = None, gauges: Gauges | None = None) -> None:
        self._given = self._gauges = gauges or Gauges()
        self._provider = meter_provider
        self._report = report_of(meter_provider)
        self._report.join(self)
        self._tallied = isinstance(meter_provider, Tallying)
        self._line = meter_provider.series if isinstance(meter_provider, Tallying) else self._report.line
        self._commits = self._line(COMMIT_DURATION, {})
        self._outcomes: dict[tuple[str, str, str, str], Line] = {}  # by workflow, step, outcome and source
        self._contexts: dict[str, Context] = {}  # by run, of those whose trace is sampled
        self._started: dict[str, float] = {}  # by run
        self._circuits: dict[str, str] = {}  # that changed: also those that nobody can be asked for
        self._executed: dict[str, int] = {}  # 0 for each workflow of which a run was executed here
        self._workflows, self._steps = _Names(), _Names()
        self._names = {name: _Names() for name in ("breaker", "limiter", "sink", "outbox")}

    @property
    def handlers(self) -> Mapping[type[Fact], Watcher]:
        """What counts and measures facts of a kind."""
        # Not kept: they know this, which has to be gone as soon as nobody has it any more.
        handlers: dict[type[Fact], Watcher] = {
            kind: partial(self._handle, handle) for kind, handle in _HANDLERS.items()
        }
        handlers[StepFinished] = self._step_finished
        return handlers

    def reports_to(self, provider: MeterProvider | None) -> bool:
        """Return whether this counts for a provider; None: OpenTelemetry's global one."""
        return (self._provider or get_meter_provider()) is (provider or get_meter_provider())

    def attach(self, gauges: Gauges | None) -> None:
        """Ask these from now on for what nobody was given for when this was made; None asks nobody else."""
        own = {field.name: known for field in fields(Gauges) if (known := getattr(self._given, field.name)) is not None}
        self._gauges = replace(gauges or Gauges(), **own)

    def _handle(self, handle: "_Handler", notice: Notice) -> None:
        handle(self, notice, notice.fact)

    # Runs.

    def _run_started(self, notice: Notice, fact: RunStarted) -> None:
        self._begin(notice.run, fact.at, _sampled(context_of(fact.trace)))
        if fact.arguments_digest:  # a run that stores nothing is never among the active ones
            self._execute(notice.workflow)

    def _run_resumed(self, notice: Notice, fact: RunResumed) -> None:
        here = get_current_span().get_span_context()  # the run's, if it is traced here: traces are told first
        context = set_span_in_context(NonRecordingSpan(here), Context()) if here.is_valid else context_of(fact.trace)
        self._begin(notice.run, fact.started, _sampled(context))
        self._execute(notice.workflow)
        self.count(RUNS_RESUMED, notice, fact)
        self._record(REPLAY_FACTS, fact.recorded, notice, fact)

    def _run_admitted(self, notice: Notice, fact: RunAdmitted) -> None:
        self._record(QUEUE_WAIT, fact.seconds, notice, fact)

    def _run_rejected(self, notice: Notice, fact: RunRejected) -> None:
        self.count(RUNS_REJECTED, notice, fact, reason=fact.reason)

    def _run_released(self, notice: Notice, fact: RunReleased) -> None:
        self._forget(notice.run)
        if fact.code == LeaseLost.code:
            self.count(RUNS_LOST, notice, fact)

    def _run_finished(self, notice: Notice, fact: RunFinished) -> None:
        started = self._started.get(notice.run)
        if started is not None:
            attributes = self._attributes(RUN_DURATION, notice, fact, {"outcome": fact.ending.value})
            line = self._line(RUN_DURATION, attributes)
            line.record(max(0.0, fact.at - started), fact.at, self._contexts.get(notice.run))
        self._forget(notice.run)

    def _begin(self, run: str, started: float, context: Context | None) -> None:
        self._started[run] = started
        if context is not None:
            self._contexts[run] = context

    def _execute(self, workflow: str) -> None:
        (known,) = self._workflows(workflow)
        self._executed[known] = 0

    def _forget(self, run: str) -> None:
        self._started.pop(run, None)
        self._contexts.pop(run, None)

    # Steps.

    def _step_finished(self, notice: Notice) -> None:
        fact: Any  # a `StepFinished`
        run, workflow, fact, error = notice
        line: Any = self._outcomes.get((workflow, fact.step, fact.ending, fact.source))
        if line is None:
            line = self._outcome(workflow, fact.step, fact.ending.value, fact.source)
        seconds = fact.seconds if fact.seconds > 0 else 0.0  # the wall clock may be set back
        context = self._contexts.get(run)
        if self._tallied:  # it takes them in place
            taken = line.values if context is None else line.traced
            taken.append(seconds if context is None else (seconds, fact.at, context))
            if len(taken) >= line.many:
                line.add_up()
        else:
            line.record(seconds, fact.at, context)
        if error is not None and _timed_out(error):
            self.count(STEP_TIMEOUTS, notice, fact)

    def _outcome(self, workflow: str, step: str, outcome: str, source: str) -> Line:
        """Return what takes the durations of an outcome; it is kept if its names are."""
        known = self._steps(workflow, step)
        attributes = {"workflow": known[0], "step": known[1], "outcome": outcome}
        if source:
            attributes["source"] = source
        line = self._line(STEP_DURATION, attributes)
        if known == (workflow, step):
            self._outcomes[workflow, step, outcome, source] = line
        return line

    def _step_cancelled(self, notice: Notice, fact: StepCancelled) -> None:
        line = self._outcome(notice.workflow, fact.step, "cancelled", "")
        line.record(max(0.0, fact.seconds), fact.at, self._contexts.get(notice.run))

    def _step_retrying(self, notice: Notice, fact: StepRetrying) -> None:
        self.count(STEP_RETRIES, notice, fact)
        self._count_timeout(notice, fact)

    def _fallback_taken(self, notice: Notice, fact: FallbackTaken) -> None:
        self.count(FALLBACKS, notice, fact)
        self._count_timeout(notice, fact)

    def _count_timeout(self, notice: Notice, fact: StepRetrying | FallbackTaken) -> None:
        if fact.error == StepTimeout.__name__:
            self.count(STEP_TIMEOUTS, notice, fact)

    # Policies and the store.

    def _limiter_waited(self, notice: Notice, fact: LimiterWaited) -> None:
        self._record(LIMITER_WAIT, fact.seconds, notice, fact)

    def _breaker_changed(self, notice: Notice, fact: BreakerOpened | BreakerHalfOpened | BreakerClosed) -> None:
        state = _STATES[type(fact)]
        self._circuits[fact.breaker] = state
        self.count(BREAKER_TRANSITIONS, notice, fact, state=state)

    def _committed(self, notice: Notice, fact: Committed) -> None:
        self._report.stored += fact.facts
        self._commits.record_all(fact.seconds)

    # Recording.

    def count(self, row: Instrument, notice: Notice, fact: Fact, **own: str) -> None:
        """Add one to a counter."""
        self._report.counters[row].add(1, self._attributes(row, notice, fact, own))

    def _record(self, row: Instrument, value: float, notice: Notice, fact: Fact) -> None:
        self._line(row, self._attributes(row, notice, fact, {})).record(value, fact.at, None)

    def _attributes(self, row: Instrument, notice: Notice, fact: Any, own: Mapping[str, str]) -> dict[str, str]:
        attributes = dict(own)
        if "step" in row.attributes:
            attributes["workflow"], attributes["step"] = self._steps(notice.workflow, fact.step)
        elif "workflow" in row.attributes:
            (attributes["workflow"],) = self._workflows(notice.workflow)
        for name, names in self._names.items():
            if name in row.attributes:
                (attributes[name],) = names(getattr(fact, name))
        return attributes

    def answers(self, row: Instrument) -> Iterable[tuple[str, float]]:
        """Return the values of an asked instrument, by its attribute if it has one."""
        ask: Callable[[], Any] | None = getattr(self._gauges, row.asks)
        if row is BREAKER_STATE:
            states: dict[str, str] = {**({} if ask is None else ask()), **self._circuits.copy()}
            found = {name: _NUMBERS[state] for name, state in states.items()}
        elif ask is None:
            return []
        else:
            found = ask() if row.attributes else {"": ask()}
        if row is RUNS_ACTIVE:
            found = self._executed.copy() | found
        names = self._names.get(row.attributes[0], self._workflows) if row.attributes else _unchanged
        return [(names(name)[0], value) for name, value in found.items()]


def _counts(row: Instrument) -> "_Handler":
    return lambda metrics, notice, fact: metrics.count(row, notice, fact)


_Handler: TypeAlias = Callable[[Metrics, Notice, Any], None]

_HANDLERS: dict[type[Fact], _Handler] = {
    RunStarted: Metrics._run_started,
    RunResumed: Metrics._run_resumed,
    RunAdmitted: Metrics._run_admitted,
    RunRejected: Metrics._run_rejected,
    RunReleased: Metrics._run_released,
    RunFinished: Metrics._run_finished,
    StepCancelled: Metrics._step_cancelled,
    StepRetrying: Metrics._step_retrying,
    StepHedged: _counts(STEP_HEDGES),
    CacheHit: _counts(CACHE_HITS),
    FallbackTaken: Metrics._fallback_taken,
    LimiterWaited: Metrics._limiter_waited,
    LimiterRejected: _counts(LIMITER_REJECTIONS),
    BreakerRejected: _counts(BREAKER_REJECTIONS),
    **dict.fromkeys(_STATES, Metrics._breaker_changed),
    Committed: Metrics._committed,
    LeaseLapsed: _counts(LEASE_LAPSES),
}


class _Names:
    """Lets so many different names through; those that come later are all called other."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *names: str) -> tuple[str, ...]:
        if names not in self._known:
            if len(self._known) >= MOST_NAMES:
                return (OTHER,) * len(names)
            self._known.add(names)
        return names


def _unchanged(*names: str) -> tuple[str, ...]:
    return names


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, StepTimeout) or (
        isinstance(error, UnexpectedError) and error.cause_code == StepTimeout.code
    )


def _sampled(context: Context) -> Context | None:
    """Return the context if what is current in it is sampled."""
    return context if get_current_span(context).get_span_context().trace_flags.sampled else None
