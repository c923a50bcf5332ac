"""Logs: every line that is logged inside a run says of which one, and each thing that happens to runs is a line.

Nothing is bound anywhere. When a line is logged, a processor (structlog) and a filter (standard library) look at where
that is: run, workflow, step and attempt, and the trace if there is one. A body that is replayed logged its lines
before, so they are dropped.
"""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import structlog
import structlog.tracebacks
from opentelemetry.trace import get_current_span

from awaitly.errors import UnexpectedError
from awaitly.model.context import Whereabouts
from awaitly.model.facts import (
    BreakerClosed,
    BreakerOpened,
    CacheHit,
    Ending,
    Fact,
    FallbackTaken,
    FlagDecided,
    LeaseLapsed,
    LimiterRejected,
    RunAdmitted,
    RunFinished,
    RunQueued,
    RunReleased,
    RunResumed,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepRetrying,
    StepStarted,
)
from awaitly.model.notice import Notice
from awaitly.model.plain import jsonable

Format: TypeAlias = Literal["console", "json"]
Where: TypeAlias = Callable[[], Whereabouts | None]
Line: TypeAlias = tuple[int, str, dict[str, object]]

MOST = 10_000  # runs whose traces are known: one whose end was lost is not kept for ever

NAMES: Mapping[str, str] = {
    "run_id": "The run.",
    "workflow": "Its workflow.",
    "step": "The step whose function logs.",
    "attempt": "The number of its attempt, from 1.",
    "trace_id": "The trace, as 32 hexadecimal digits, where one is recorded.",
    "span_id": "The span, as 16 hexadecimal digits, where one is recorded.",
}
"""What every line inside a run has."""


def bound(where: Where) -> dict[str, object] | None:
    """Return what a line that is logged here has to say; None if it was logged before and is to be dropped."""
    here = where()
    if here is None:
        return {}
    if here.replaying:
        return None
    names: dict[str, object] = {"run_id": here.run, "workflow": here.workflow}
    if here.step is not None:
        names |= {"step": here.step, "attempt": here.attempt}
    span = get_current_span().get_span_context()
    if span.is_valid:
        names |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return names


class RunProcessor:
    """A processor for structlog, before what renders: adds where a line is logged; drops lines of a replay."""

    def __init__(self, where: Where) -> None:
        self._where = where

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Add what is not given.

        Raises:
            DropEvent: structlog's, during a replay.
        """
        names = bound(self._where)
        if names is None:
            raise structlog.DropEvent
        for name, value in names.items():
            event.setdefault(name, value)
        return event


class RunFilter(logging.Filter):
    """A filter for handlers of the standard library: the same, as attributes of records."""

    def __init__(self, where: Where) -> None:
        super().__init__()
        self._where = where

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is not given; False during a replay."""
        names = bound(self._where)
        if names is None:
            return False
        for name, value in names.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class Journalist:
    """Writes a line for what happens to runs: a sink. Its logger is ``awaitly.runs``; steps that succeed are debug.

    The time of a line is that of its fact, which a sink hears of later.
    """

    name = "logs"

    def __init__(self) -> None:
        self._log = logging.getLogger("awaitly.runs")
        self._traces: dict[str, str] = {}  # by run, of those that began here

    def __call__(self, notice: Notice) -> None:
        """Write the line of a fact, if it has one."""
        trace = self._trace(notice)
        line = described(notice.fact)
        if line is None or not self._log.isEnabledFor(line[0]):
            return
        level, event, names = line
        if notice.run:
            names = {"run_id": notice.run, "workflow": notice.workflow, **trace, **names}
        self._log.handle(self._record(level, event, names, notice))

    def _trace(self, notice: Notice) -> dict[str, object]:
        """Return the trace that a run began in: where it is taken over it goes on in another one, not known here."""
        match notice.fact:
            case RunStarted(trace=trace) if trace:
                self._traces[notice.run] = trace[3:35]  # of a traceparent
                if len(self._traces) > MOST:  # their ends were lost
                    del self._traces[next(iter(self._traces))]
            case RunFinished() | RunReleased():
                found = self._traces.pop(notice.run, None)
                return {} if found is None else {"trace_id": found}
        known = self._traces.get(notice.run)
        return {} if known is None else {"trace_id": known}

    def _record(self, level: int, event: str, names: dict[str, object], notice: Notice) -> logging.LogRecord:
        error = notice.error if level >= logging.ERROR else None
        raised = None if error is None else (type(error), error, error.__traceback__)
        record = self._log.makeRecord(self._log.name, level, __file__, 0, event, (), raised, extra=names)
        record.created = notice.fact.at
        record.msecs = notice.fact.at % 1 * 1000
        return record


def described(fact: Fact) -> Line | None:
    """Return level, text and names of the line that a fact is logged as; None if it is not."""
    match fact:
        case RunStarted():
            return logging.INFO, "run started", {}
        case RunResumed(recorded=recorded):
            return logging.INFO, "run resumed", {"recorded": recorded}
        case RunQueued(ahead=ahead):
            return logging.INFO, "run queued", {"ahead": ahead}
        case RunAdmitted(seconds=seconds):
            return logging.INFO, "run admitted", {"seconds": round(seconds, 3)}
        case RunFinished(ending=Ending.VALUE):
            return logging.INFO, "run finished", {"outcome": fact.ending.value}
        case RunFinished(ending=Ending.UNEXPECTED):
            return logging.ERROR, "run failed unexpectedly", {"outcome": fact.ending.value}
        case RunFinished(ending=ending):
            return logging.WARNING, "run ended without a result", {"outcome": ending.value}
        case RunReleased(code=code, reason=reason):
            return logging.WARNING, "run stopped here, to be resumed", {"code": code, "reason": reason}
        case LeaseLapsed():
            return logging.WARNING, "lease lapsed", {}
        case BreakerOpened(breaker=breaker, seconds=seconds, reason=reason):
            return logging.ERROR, "circuit opened", {"breaker": breaker, "seconds": seconds, "reason": reason}
        case BreakerClosed(breaker=breaker):
            return logging.INFO, "circuit closed", {"breaker": breaker}
        case _:
            return _of_step(fact)


def _of_step(fact: Fact) -> Line | None:
    match fact:
        case StepStarted(step=step, attempt=attempt):
            return logging.DEBUG, "step started", {"step": step, "attempt": attempt}
        case StepFinished(ending=Ending.VALUE, step=step):
            return logging.DEBUG, "step finished", {"step": step, **_outcome(fact)}
        case StepFinished(ending=Ending.UNEXPECTED, step=step):
            return logging.WARNING, "step failed unexpectedly", {"step": step, **_outcome(fact)}
        case StepFinished(ending=Ending.CANCELLED, step=step):
            return logging.INFO, "step cancelled", {"step": step, **_outcome(fact)}
        case StepFinished(ending=Ending.DEADLINE, step=step):
            return logging.WARNING, "step ended too late", {"step": step, **_outcome(fact)}
        case StepFinished(step=step):
            return logging.INFO, "step failed as declared", {"step": step, **_outcome(fact)}
        case StepCancelled(step=step):
            return logging.INFO, "step cancelled", {"step": step}
        case StepRetrying(step=step, attempt=attempt, delay=delay, error=error):
            return logging.WARNING, "step failed, trying again", {
                "step": step, "attempt": attempt, "delay": round(delay, 3), "error": error,
            }  # fmt: skip
        case FallbackTaken(step=step, error=error):
            return logging.WARNING, "fallback taken", {"step": step, "error": error}
        case LimiterRejected(step=step, limiter=limiter):
            return logging.WARNING, "limiter refused a call", {"step": step, "limiter": limiter}
        case CacheHit(step=step):
            return logging.DEBUG, "answered from the cache", {"step": step}
        case FlagDecided(flag=flag, value=value, provider=provider, reason=reason):
            return logging.INFO, "flag decided", {"flag": flag, "value": value, "provider": provider, "reason": reason}
        case _:
            return None


def _outcome(fact: StepFinished) -> dict[str, object]:
    names: dict[str, object] = {
        "outcome": fact.ending.value, "attempts": fact.attempts, "seconds": round(fact.seconds, 6)
    }  # fmt: skip
    if fact.source:
        names["source"] = fact.source
    if fact.variant:
        names["variant"] = fact.variant
    return names


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Writes a line of every record, of one that cannot be formatted too: what went wrong, and where it was logged."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - the __str__ of whatever was logged is foreign code
            return super().format(_instead_of(record, error))


def _instead_of(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    kept = {name: value for name, value in vars(record).items() if name in _KEPT}
    said = record.msg if isinstance(record.msg, str) else record.msg.get("event") if type(record.msg) is dict else None
    meant = said if isinstance(said, str) else "a line"
    why = UnexpectedError.of(error)
    where = f"{record.filename}:{record.lineno}"
    what = f"{meant} (cannot be formatted where {where} logs it: {why.type_name}: {why.message})"
    return logging.makeLogRecord({**kept, "msg": what, "args": ()})


_KEPT = frozenset({"name", "levelname", "levelno", "created", "msecs", *NAMES})


def configure(where: Where, *, style: Format, level: str = "INFO") -> None:
    """Let this process log to standard error, one line an event, through structlog and the standard library alike.

    It replaces the handlers of the root logger and structlog's configuration: a program that has set up its own logs
    adds :class:`RunProcessor` and :class:`RunFilter` there instead.

    Args:
        where: Says where a line is logged.
        style: ``"json"`` for machines, ``"console"`` for people.
        level: The lowest level that is shown.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            RunProcessor(where),
            *shared,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(RunFilter(where))
    handler.setFormatter(
        _Formatter(foreign_pre_chain=[*shared, _timed, structlog.stdlib.ExtraAdder()], processors=_rendering(style))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _timed(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the time that a record of the standard library has, written as structlog writes it."""
    made = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = made.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _jsonable(logger: object, method: str, event: MutableMapping[str, Any]) -> Any:
    """Make valid JSON possible, whatever was logged: no line is lost, and none that a collector cannot read."""
    return jsonable(event)


def _rendering(style: Format) -> list[Any]:
    tidy: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if style == "json":
        # Without the values of variables: there may be secrets among them.
        traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        renderer = structlog.processors.ExceptionRenderer(traceback)
        return [*tidy, renderer, _jsonable, structlog.processors.JSONRenderer()]
    return [
        *tidy,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
    ]
