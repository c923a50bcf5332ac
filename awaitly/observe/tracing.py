"""Runs and steps as OpenTelemetry spans, made from facts as they happen.

```text
workflow checkout             a run, as far as this process executes it
├── step fetch_user           a call of a step; clients' spans are inside
├── step charge               a call that took several attempts
│   ├── attempt charge        the first one, known to be one of several only when it had failed
│   └── attempt charge        clients' spans of the second one are inside
└── step shipping             a call of a child workflow
    └── workflow shipping     the child run
```

A replay makes no spans, as its facts are not observed. The span of a run that is resumed links to the trace that the
run began in. Spans begin and end with the times in their facts.

A span has the status ``ERROR`` if it ended in what nobody expected, or too late. An expected failure is part of the
business: it sets ``error.type`` and no status. An attempt that another followed has it, whatever it failed with.

The span of a run is current in its body, that of a call or of an attempt in the step's function. A run whose span is
not recorded has no spans of steps; as it is current, the decision not to sample it reaches those whom its steps call.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import (
    Link,
    Span,
    StatusCode,
    TracerProvider,
)
from opentelemetry.util.types import AttributeValue

from awaitly.errors import AwaitlyError, UnexpectedError
from awaitly.model import attributes as names
from awaitly.model.counts import counted
from awaitly.model.facts import (
    BreakerRejected,
    CacheHit,
    CancelRequested,
    DeadlinePassed,
    Ending,
    Fact,
    FallbackTaken,
    FlagDecided,
    LimiterRejected,
    LimiterWaited,
    RunAdmitted,
    RunFinished,
    RunQueued,
    RunReleased,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepHedged,
    StepRetrying,
    StepStarted,
)
from awaitly.model.notice import Notice, Sorting, Watcher
from awaitly.model.plain import brief, value_of
from awaitly.model.secrets import Redact, redacted
from awaitly.observe.beginnings import Beginnings, CallSpan, RunSpan
from awaitly.observe.surviving import survive
from awaitly.observe.traceparent import context_of, traceparent_of
from awaitly.texts import valid

WAITING: Final = 1000  # spans of starts that have not become runs here, and
MOST: Final = 10_000  # as long as they may still become some, in a burst
FRESH: Final = 10.0  # seconds in which a start has become a run here, or has taken over the one that it found
LONGEST: Final = 1000  # characters of what is recorded of values and messages
LARGEST: Final = 64_000  # bytes of a value that is looked at on the event loop

INTERRUPTED: Final = "interrupted"
TOO_LATE: Final = "deadline-exceeded"

HARMLESS: Final = frozenset({"run-stopped", "shutting-down", "lease-lost"})
"""Why a run stops here although nothing is wrong with it."""

EVENTS: Final[Mapping[type[Fact], tuple[str, Mapping[str, str]]]] = {
    StepRetrying: (
        "awaitly.step.retrying",
        {
            "attempt": names.ATTEMPT,
            "delay": names.SECONDS,
            "error": names.EXCEPTION_TYPE,
            "message": names.EXCEPTION_MESSAGE,
        },
    ),
    StepHedged: ("awaitly.step.hedged", {"attempt": names.ATTEMPT}),
    FallbackTaken: ("awaitly.fallback.taken", {"error": names.EXCEPTION_TYPE}),
    CacheHit: ("awaitly.cache.hit", {}),
    LimiterWaited: ("awaitly.limiter.waited", {"limiter": names.LIMITER, "seconds": names.SECONDS}),
    LimiterRejected: ("awaitly.limiter.rejected", {"limiter": names.LIMITER}),
    BreakerRejected: ("awaitly.breaker.rejected", {"breaker": names.BREAKER}),
    RunQueued: ("awaitly.run.queued", {}),
    RunAdmitted: ("awaitly.run.admitted", {"seconds": names.SECONDS}),
    CancelRequested: ("awaitly.run.cancel_requested", {"reason": names.REASON}),
    DeadlinePassed: ("awaitly.run.deadline_passed", {}),
    FlagDecided: (
        "feature_flag.evaluation",
        {
            "flag": names.FLAG_KEY,
            "value": names.FLAG_VALUE,
            "variant": names.FLAG_VARIANT,
            "reason": names.FLAG_REASON,
            "provider": names.FLAG_PROVIDER,
        },
    ),
}
"""Facts that are events of a span, their fields as attributes: of the call that they are about, or else of the run."""

_log = logging.getLogger("awaitly")


class Tracing(Sorting):
    """A watcher that makes spans of runs, steps, attempts and children. Without an SDK it does next to nothing.

    Args:
        provider: Makes the spans; default: the one that OpenTelemetry's API knows, also if it is set later. A runtime
            that sends traces, in a program that has set none up, gives its own.
        enrich: Called with a span and the fact that began it, ended it or became an event of it, before the span ends;
            where a step begins, in its context: it may set attributes. What it raises is logged once.
        inputs: Whether the arguments of durable runs, and the values of their steps and of themselves, are recorded: as
            JSON without their secrets, at most 1,000 characters.
        redact: With ``inputs``, called with the name of each value and the value; returns what is recorded instead.
            What is named like a secret (``password``, ``api_key``, ``authorization``) is masked before it is asked. A
            result that is no object has the name of its step or workflow: that of ``fetch_token`` is masked.
        time: Returns the seconds since the epoch.
    """

    def __init__(
        self,
        provider: TracerProvider | None = None,
        *,
        enrich: Callable[[Span, Fact], object] | None = None,
        inputs: bool = False,
        redact: Redact | None = None,
        time: Callable[[], float] = time.time,
    ) -> None:
        self._spans = Beginnings(provider)
        self._is_given = provider is not None
        self._enrich = enrich
        self._inputs = inputs
        self._is_brief = enrich is None and not inputs
        self._redact = redact
        self._time = time
        self._failed = False
        self._begun: dict[tuple[str, str], RunSpan] = {}  # by run and traceparent: of starts that are not runs yet
        self._runs: dict[str, RunSpan] = {}
        of_runs: dict[type[Fact], Callable[[RunSpan, Any, BaseException | None], None]] = {
            StepCancelled: self._step_cancelled,
            StepRetrying: self._step_retrying,
            RunFinished: self._run_finished,
            RunReleased: self._run_released,
            **{kind: self._happened for kind in EVENTS if kind is not StepRetrying},
        }
        self._handlers: Mapping[type[Fact], Watcher] = {
            RunStarted: self._run_started,
            RunResumed: self._run_resumed,
            StepStarted: self._step_started,
            StepFinished: self._step_finished,
            **{kind: partial(self._in_run, handle) for kind, handle in of_runs.items()},
        }

    def provide(self, provider: TracerProvider) -> None:
        """Have the spans made by a provider from now on, unless one was given."""
        if not self._is_given:
            self._spans = Beginnings(provider)

    def begin(self, run_id: str, workflow: str) -> str:
        """Begin the span of a run that is being started, in the trace of who starts it; return its ``traceparent``.

        If the run turns out to exist, the span is used by whoever takes the run over at once, or never ended. Empty, if
        there is no trace: nobody made one, or the run is executed here already, to which the caller's span is linked.
        """
        known = self._runs.get(run_id)
        try:
            if known is None:
                return self._begin(run_id, workflow)
            trace.get_current_span().add_link(known.span.get_span_context())
        except BaseException as error:  # noqa: BLE001 - samplers and processors are foreign code
            self._survive(error, "an OpenTelemetry SDK failed to begin the span of a run")
        return ""

    def here(self) -> Callable[[], object]:
        """Return what makes current again what is current now."""
        return partial(attach, get_current())

    @property
    def handlers(self) -> Mapping[type[Fact], Watcher]:
        """What begins, marks or ends the span that facts of a kind are about."""
        return self._handlers

    def _in_run(self, handle: Callable[[RunSpan, Any, BaseException | None], None], notice: Notice) -> None:
        run = self._runs.get(notice.run)
        if run is not None:
            handle(run, notice.fact, notice.error)

    # Runs.

    def _begin(self, run_id: str, workflow: str) -> str:
        run = self._spans.run(run_id, workflow, get_current(), self._time())
        about = run.span.get_span_context()
        if not about.is_valid:
            return ""
        traceparent = traceparent_of(about)
        if len(self._begun) >= WAITING:
            self._drop_old(run.began - FRESH)
        self._begun[run_id, traceparent] = run
        return traceparent

    def _drop_old(self, before: float) -> None:
        """Drop what began before a time: those starts found a run. Of younger ones only so many are kept."""
        while len(self._begun) >= WAITING:
            oldest = next(iter(self._begun))
            if self._begun[oldest].began >= before and len(self._begun) < MOST:
                break
            del self._begun[oldest]

    def _run_started(self, notice: Notice) -> None:
        fact: Any = notice.fact  # a `RunStarted`
        run = self._begun.pop((notice.run, fact.trace), None)
        if run is None:
            run = self._spans.run(notice.run, notice.workflow, context_of(fact.trace), fact.at)
        if not self._know(run):
            return
        pinned = {names.VERSION: fact.version, names.PARENT: fact.parent, names.FORKED_FROM: fact.forked_from}
        found: dict[str, AttributeValue] = {name: value for name, value in pinned.items() if value is not None}
        if self._inputs and fact.arguments:  # nothing is encoded of a run that stores nothing
            found[names.INPUT] = self._text(fact.arguments)
        run.span.set_attributes(found)
        self._enriched(run.span, fact)

    def _run_resumed(self, notice: Notice) -> None:
        fact: Any = notice.fact  # a `RunResumed`
        first = trace.get_current_span(context_of(fact.trace)).get_span_context()
        run = self._taking_over(notice.run, fact.at)
        if run is None:
            links = [Link(first)] if first.is_valid else None
            run = self._spans.run(notice.run, notice.workflow, Context(), fact.at, links)
        elif first.is_valid:
            run.span.add_link(first)
        if self._know(run):
            run.span.set_attribute(names.RESUMED, True)
            self._enriched(run.span, fact)

    def _taking_over(self, run_id: str, at: float) -> RunSpan | None:
        """Return what a start began that found this run unfinished, and takes it over just now."""
        for key in reversed(self._begun):
            if self._begun[key].began < at - FRESH:
                break
            if key[0] == run_id:
                return self._begun.pop(key)
        return None

    def _know(self, run: RunSpan) -> bool:
        """Remember a run, if there is a trace of it, and enter it; return whether it is recorded."""
        if run.span.get_span_context().is_valid:
            self._runs[run.id] = run
            attach(run.context)  # in the context of the run's body, which ends with it or is put back
        return run.recording

    def _run_finished(self, run: RunSpan, fact: RunFinished, error: BaseException | None) -> None:
        self._forget(run, fact)
        if run.recording:
            span = run.span
            span.set_attribute(names.OUTCOME, fact.ending.value)
            if self._inputs:
                span.set_attributes(self._result(run.workflow, fact))
            known = isinstance(error, UnexpectedError) and error.step is not None  # the step's span tells of it
            self._explain(span, fact, error, told=known)
            self._enriched(span, fact)
            span.end(_nanoseconds(fact.at))

    def _run_released(self, run: RunSpan, fact: RunReleased, error: BaseException | None) -> None:
        self._forget(run, fact)
        if not run.recording:
            return
        run.span.set_attributes({names.OUTCOME: INTERRUPTED, names.RELEASED: fact.code})
        if fact.code not in HARMLESS:
            run.span.set_attributes({names.ERROR_TYPE: fact.code, names.ERROR_CODE: fact.code})
            run.span.set_status(StatusCode.ERROR, _cut(fact.reason))
        self._enriched(run.span, fact)
        run.span.end(_nanoseconds(fact.at))

    def _forget(self, run: RunSpan, fact: Fact) -> None:
        """Drop a run that has ended here, with the calls that were under way."""
        del self._runs[run.id]
        at = _nanoseconds(fact.at)
        for call in run.calls.values():
            if call.is_lost:
                self._spans.lose()
            for span in (*call.open, call.span):
                span.set_attribute(names.OUTCOME, INTERRUPTED)
                span.end(at)

    # Calls.

    def _step_started(self, notice: Notice) -> None:
        fact: Any  # a `StepStarted`
        run_id, _, fact, _ = notice
        run = self._runs.get(run_id)
        if run is None or not run.recording:
            return
        at = int(fact.at * 1e9)
        call = run.calls.get(fact.call)
        if call is None:  # the body may have spans of its own around it
            call = self._spans.call(run, fact, get_current(), at)
        if call.is_lost:
            attach(call.context)
            return
        call.attempts += 1
        if call.attempts == 1:
            call.first, call.began = fact.attempt, at
            attach(call.context)  # in the context of the attempt, which ends with its task or is put back
            span = call.span
        else:
            if call.attempts == 2:
                self._first_of_several(run, call, fact)
            span = self._spans.attempt(run, call, fact.step, fact.attempt, at)
            attach(trace.set_span_in_context(span, call.context))
        if self._enrich is not None:
            self._enriched(span, fact)

    def _first_of_several(self, run: RunSpan, call: CallSpan, fact: StepStarted) -> None:
        """Make the span of an attempt that is known only now to be one of several."""
        self._spans.attempt(run, call, fact.step, call.first, call.began)
        if call.failed is not None:
            self._attempts_failed(call, call.failed)

    def _attempts_failed(self, call: CallSpan, fact: StepRetrying) -> None:
        for span in call.open:
            span.set_attribute(names.ERROR_TYPE, _cut(fact.error))
            span.set_status(StatusCode.ERROR, _cut(fact.message))
            span.end(_nanoseconds(fact.at))
        call.open = ()

    def _step_retrying(self, run: RunSpan, fact: StepRetrying, error: BaseException | None) -> None:
        call = run.calls.get(fact.call)
        if call is None or call.is_lost:
            return  # not recorded
        if call.attempts == 1 and call.failed is None:  # a later one may have been refused
            call.failed = fact
        self._attempts_failed(call, fact)
        attach(call.context)
        self._happened(run, fact, error)

    def _step_finished(self, notice: Notice) -> None:
        fact: Any  # a `StepFinished`
        run_id, _, fact, error = notice
        run = self._runs.get(run_id)
        if run is None or not run.recording:
            return
        call = run.calls.get(fact.call)
        if call is None:
            call = self._spans.call(run, fact, run.context, _nanoseconds(fact.at - fact.seconds))
        del run.calls[fact.call]
        if call.is_lost:
            self._spans.lose()
            return
        span, at = call.span, int(fact.at * 1e9)
        well = fact.ending is Ending.VALUE and fact.attempts == 1 and not (fact.source or fact.variant or call.open)
        if well and self._is_brief and call.plain is not None:
            call.plain.finish(at)
            return
        span.set_attributes(self._ended(fact))
        if call.open:
            self._end_attempts(call, fact, error)
        if fact.ending is not Ending.VALUE:
            self._explain(span, fact, error)
        self._enriched(span, fact)
        span.end(at)

    def _ended(self, fact: StepFinished) -> dict[str, AttributeValue]:
        """Return what is said of how a call ended."""
        about: dict[str, AttributeValue] = {names.OUTCOME: fact.ending.value}
        if self._inputs:
            about |= self._result(fact.step, fact)
        if fact.attempts != 1:
            about[names.ATTEMPTS] = fact.attempts
        if fact.source:
            about[names.SOURCE] = fact.source
        if fact.variant:
            about[names.VARIANT] = _cut(fact.variant)
        return about

    def _end_attempts(self, call: CallSpan, fact: StepFinished, error: BaseException | None) -> None:
        """End what is left of several attempts; which of two that ran beside one another decided is not known."""
        for span in call.open:
            if len(call.open) == 1 and not fact.source and error is not None:
                self._explain(span, fact, error, told=True)
            span.end(_nanoseconds(fact.at))

    def _step_cancelled(self, run: RunSpan, fact: StepCancelled, error: BaseException | None) -> None:
        call = run.calls.pop(fact.call, None)
        if call is None:
            return  # it had not begun
        if call.is_lost:
            self._spans.lose()
            return
        for span in call.open:
            span.set_attribute(names.OUTCOME, Ending.CANCELLED.value)
            span.end(_nanoseconds(fact.at))
        call.span.set_attributes({names.OUTCOME: Ending.CANCELLED.value, names.ATTEMPTS: fact.attempts})
        self._enriched(call.span, fact)
        call.span.end(_nanoseconds(fact.at))

    # Both.

    def _happened(self, run: RunSpan, fact: Any, error: BaseException | None) -> None:
        """Make a fact an event of the span that it is about."""
        if not run.recording:
            return
        span = self._about(run, fact) if hasattr(fact, "call") else run.span
        if span is None:
            return
        name, fields = EVENTS[type(fact)]
        about = {attribute: getattr(fact, field) for field, attribute in fields.items()}
        about = {
            attribute: _cut(value) if isinstance(value, str) else value
            for attribute, value in about.items()
            if _is_plain(value)
        }
        span.add_event(name, about, _nanoseconds(fact.at))
        self._enriched(span, fact)

    def _about(self, run: RunSpan, fact: Any) -> Span | None:
        """Return the span of the call that a fact is about, which may be the first fact of it; None: it is lost."""
        call = run.calls.get(fact.call)
        if call is None:
            began = fact.at - fact.seconds if isinstance(fact, LimiterWaited) else fact.at
            call = self._spans.call(run, fact, get_current(), _nanoseconds(began))
        return None if call.is_lost else call.span

    def _explain(
        self, span: Span, fact: StepFinished | RunFinished, error: BaseException | None, *, told: bool = False
    ) -> None:
        """Say what a span ended in; a traceback is recorded unless another span has ``told`` it."""
        match fact.ending:
            case Ending.FAILURE if error is not None:
                span.set_attribute(names.ERROR_TYPE, _cut(_class(error)))
                if isinstance(error, AwaitlyError):
                    span.set_attribute(names.ERROR_CODE, error.code)
            case Ending.UNEXPECTED if error is not None:
                self._unexpected(span, UnexpectedError.of(error), _nanoseconds(fact.at), told=told)
            case Ending.DEADLINE:
                span.set_attributes({names.ERROR_TYPE: TOO_LATE, names.ERROR_CODE: TOO_LATE})
                span.set_status(StatusCode.ERROR, "its deadline passed")

    def _unexpected(self, span: Span, error: UnexpectedError, at: int, *, told: bool) -> None:
        span.set_attribute(names.ERROR_TYPE, error.type_name)
        if error.cause_code is not None:
            span.set_attribute(names.ERROR_CODE, error.cause_code)
        span.set_status(StatusCode.ERROR, _cut(error.message))
        if not told:
            about = {
                names.EXCEPTION_TYPE: error.type_name,
                names.EXCEPTION_MESSAGE: error.message,
                names.EXCEPTION_STACKTRACE: error.traceback or "",
            }
            span.add_event("exception", about, at)

    def _result(self, name: str, fact: StepFinished | RunFinished) -> dict[str, AttributeValue]:
        """Return what is recorded of the value of what has this name."""
        if not fact.payload or fact.ending is not Ending.VALUE:
            return {}
        return {names.RESULT: self._text(fact.payload, name)}

    def _text(self, payload: bytes, name: str = "") -> str:
        """Return what may be seen of a stored value; ``name`` is that of one that has no names in it."""
        if len(payload) <= LARGEST:
            try:
                return _cut(brief(self._shown(value_of(payload), name), LONGEST))
            except BaseException as error:  # noqa: BLE001 - nested too deeply, or redact is to blame
                survive(error)
        return f"({counted(len(payload), 'byte')})"

    def _shown(self, value: Any, name: str) -> Any:
        return redacted(value, self._redact, "" if isinstance(value, dict) else name)

    def _enriched(self, span: Span, fact: Fact) -> None:
        if self._enrich is None:
            return
        try:
            self._enrich(span, fact)
        except BaseException as error:  # noqa: BLE001 - foreign code, which must not leave a span open
            self._survive(error, "enrich= of Tracing failed")

    def _survive(self, error: BaseException, what: str) -> None:
        if survive(error) and not self._failed:
            self._failed = True
            _log.exception("%s; further failures of it are not logged", what)


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)


def _class(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _cut(text: str) -> str:
    """Return text from outside as a span can have it: one that cannot be encoded would lose the spans sent with it."""
    text = valid(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and value != ""
