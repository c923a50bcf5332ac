"""What policies and flags did to a call, in few words."""

from dataclasses import dataclass

from awaitly.model.durations import humanised
from awaitly.model.facts import (
    BreakerRejected,
    CacheHit,
    Fact,
    FallbackTaken,
    FlagDecided,
    LimiterRejected,
    LimiterWaited,
    RetryScheduled,
    StepHedged,
    StepRetrying,
)
from awaitly.model.plain import brief
from awaitly.render.payloads import failure_of
from awaitly.render.rows import Pause

WIDEST = 60  # characters of an error


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is worth saying of a call; a later remark about the same replaces it."""

    call: str
    step: str
    about: str
    text: str


def remark_of(fact: Fact) -> Remark | None:
    """Return what a fact says about a call; None if it is not for the tree."""
    match fact:
        case LimiterWaited(call=call, step=step, limiter=limiter, seconds=seconds):
            return Remark(call, step, f"limiter {limiter}", f"waited {humanised(seconds)} for limiter {limiter}")
        case LimiterRejected(call=call, step=step, limiter=limiter):
            return Remark(call, step, f"limiter {limiter}", f"refused by limiter {limiter}")
        case BreakerRejected(call=call, step=step, breaker=breaker):
            return Remark(call, step, f"breaker {breaker}", f"circuit {breaker} is open")
        case StepHedged(call=call, step=step):
            return Remark(call, step, "hedge", "hedged")
        case CacheHit(call=call, step=step):
            return Remark(call, step, "source", "from its cache")
        case FallbackTaken(call=call, step=step, error=error):
            return Remark(call, step, "source", f"from its fallback, after {error}")
        case _:
            return None


def pause_of(fact: StepRetrying | RetryScheduled) -> Pause:
    """Return what a call waits for, and why."""
    if isinstance(fact, StepRetrying):
        told = f"{fact.error}: {fact.message}" if fact.message else fact.error
        return Pause(error=_short(told), due=fact.at + fact.delay)
    return Pause(error=_short(str(failure_of(fact.payload))), due=fact.due)


def flag_text(fact: FlagDecided) -> str:
    """Return what a flag is in a run, and who says so."""
    said = ", ".join(filter(None, (fact.provider, fact.reason)))
    return f"flag {fact.flag} is {brief(fact.value)}{f' ({said})' if said else ''}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"
