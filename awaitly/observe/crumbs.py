"""Facts as Sentry's breadcrumbs: what happened before an error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from awaitly.model.facts import (
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BreakerRejected,
    CacheHit,
    Ending,
    Fact,
    FallbackTaken,
    FlagDecided,
    LimiterRejected,
    StepCancelled,
    StepFinished,
    StepHedged,
    StepRetrying,
    StepStarted,
)


class Crumb(NamedTuple):
    """Something that happened before an error."""

    at: float
    category: str
    message: str
    level: str
    data: Mapping[str, object]


def crumb_of(fact: Fact) -> Crumb | None:
    """Return what is shown of a fact; None if it is not."""
    match fact:
        case StepStarted(at=at, step=step, attempt=attempt):
            return Crumb(at, "awaitly.step", f"{step} began", "info", {"call": fact.call, "attempt": attempt})
        case StepFinished(at=at, step=step, ending=ending):
            level = "info" if ending is Ending.VALUE else "error" if ending is Ending.UNEXPECTED else "warning"
            return Crumb(at, "awaitly.step", f"{step} ended: {ending.value}", level, _outcome(fact))
        case StepCancelled(at=at, step=step):
            return Crumb(at, "awaitly.step", f"{step} was cancelled", "info", {"call": fact.call})
        case StepRetrying(at=at, step=step, attempt=attempt, delay=delay, error=error):
            data = {"call": fact.call, "attempt": attempt, "delay": round(delay, 3), "error": error}
            return Crumb(at, "awaitly.retry", f"{step} failed, and is tried again", "warning", data)
        case StepHedged(at=at, step=step, attempt=attempt):
            return Crumb(at, "awaitly.step", f"{step} is slow: hedged", "info", {"attempt": attempt})
        case FallbackTaken(at=at, step=step, error=error):
            return Crumb(at, "awaitly.step", f"the fallback of {step} answers", "warning", {"error": error})
        case CacheHit(at=at, step=step):
            return Crumb(at, "awaitly.step", f"{step} was answered from the cache", "info", {})
        case LimiterRejected(at=at, step=step, limiter=limiter):
            return Crumb(at, "awaitly.limiter", f"{step} was refused", "warning", {"limiter": limiter})
        case FlagDecided(at=at, flag=flag, value=value):
            return Crumb(at, "awaitly.flag", f"{flag} was decided", "info", {"value": value})
        case _:
            return _of_circuit(fact)


def _of_circuit(fact: Fact) -> Crumb | None:
    match fact:
        case BreakerRejected(at=at, step=step, breaker=breaker):
            return Crumb(at, "awaitly.breaker", f"{step} was refused: {breaker} is open", "warning", {})
        case BreakerOpened(at=at, breaker=breaker, reason=reason, seconds=seconds):
            return Crumb(at, "awaitly.breaker", f"{breaker} opened", "warning", {"reason": reason, "seconds": seconds})
        case BreakerHalfOpened(at=at, breaker=breaker):
            return Crumb(at, "awaitly.breaker", f"{breaker} lets probes through", "info", {})
        case BreakerClosed(at=at, breaker=breaker):
            return Crumb(at, "awaitly.breaker", f"{breaker} closed", "info", {})
        case _:
            return None


def _outcome(fact: StepFinished) -> dict[str, object]:
    data: dict[str, object] = {"call": fact.call, "attempts": fact.attempts, "seconds": round(fact.seconds, 6)}
    if fact.source:
        data["source"] = fact.source
    if fact.variant:
        data["variant"] = fact.variant
    return data


def shown(crumb: Crumb) -> dict[str, object]:
    """Return a crumb as the protocol has it."""
    return {
        "timestamp": moment(crumb.at), "category": crumb.category, "message": crumb.message, "level": crumb.level,
        "data": dict(crumb.data),
    }  # fmt: skip


def moment(at: float) -> datetime:
    """Return a fact's time as the SDK takes it."""
    return datetime.fromtimestamp(at, UTC)
