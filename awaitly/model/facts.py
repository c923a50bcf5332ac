"""What happens in a run, as frozen values with their time inside.

The journal appends facts, observers notice them, replay folds them. ``call`` is the identity of a call in
its run (see ``docs/design/identity.md``); ``payload`` is what the codec wrote. Facts derived from
:class:`Delivered` woke the body when they were delivered: replay wakes it with them again, in this order.

Nobody changes a fact once it is made. They are not ``frozen`` dataclasses, which would say so, because enforcing it
takes longer than everything else that is done with a fact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Ending(StrEnum):
    """How a step's call or a run ended."""

    VALUE = "value"
    FAILURE = "failure"  # a declared error
    UNEXPECTED = "unexpected"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Fact:
    """Something that happened at a time (seconds since the epoch)."""

    at: float


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Delivered(Fact):
    """A fact that was handed to the body at its place in the run's order."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunStarted(Fact):
    """The run exists, with everything that is pinned for its life."""

    workflow: str
    version: str | None
    fingerprint: str
    arguments: bytes
    arguments_digest: str
    seed: int
    deadline: float | None = None
    flags: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    forked_from: str | None = None
    trace: str = ""  # of the run's first span, a W3C traceparent


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunResumed(Fact):
    """This process took an unfinished run over, of which ``recorded`` facts are stored. Only observed.

    ``started`` is when it began, ``trace`` the trace that it began in; ``flags`` are those that it was given or that
    were decided before.
    """

    recorded: int
    started: float
    trace: str = ""
    flags: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunReleased(Fact):
    """The run stopped in this process without having ended; it can be resumed. Only observed."""

    code: str
    reason: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunQueued(Fact):
    """As many runs are executed here as may be: this one waits, behind ``ahead`` others. Only observed."""

    ahead: int


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunAdmitted(Fact):
    """A run that was queued is executed from now on; it has waited for ``seconds``. Only observed."""

    seconds: float


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunRejected(Fact):
    """A run was not started here; ``reason`` is the code of the error that says why. Only observed, of no run."""

    reason: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Committed(Fact):
    """Facts of some runs were stored, in commits that took ``seconds`` each and are told together. Only observed."""

    facts: int
    seconds: Sequence[float] = field(hash=False)


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class LeaseLapsed(Fact):
    """This process could not renew its lease in time, and begins nothing until it has. Only observed."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepStarted(Fact):
    """An attempt is about to begin. Stored for ``effect="once"``, observed for all."""

    call: str
    step: str
    attempt: int = 1


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class EachStarted(Fact):
    """``each`` was called with a known number of items. Only observed."""

    call: str
    items: int


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepFinished(Delivered):
    """A call has its outcome: a value, a declared failure, or an unexpected error.

    ``attempts`` is 0 if its function never ran: ``source`` then says ``cache`` or ``fallback``, or an open circuit or a
    full limiter refused it. ``variant`` names the function that ran in the step's place.
    """

    call: str
    step: str
    arguments: str
    ending: Ending
    payload: bytes
    attempts: int = 1
    seconds: float = 0.0
    source: str = ""
    variant: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class FlagDecided(Fact):
    """A feature flag has its value for the rest of the run. The body does not see it: it is not delivered.

    ``variant`` and ``reason`` are the provider's own words for what it chose and why.
    """

    flag: str
    value: object
    provider: str
    variant: str = ""
    reason: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RetryScheduled(Fact):
    """The next attempt of a call is far enough away to survive a restart.

    ``attempts`` were made since the time ``since``; the last one failed with ``payload``, an encoded error; the next
    one is ``due``. Times are of the wall clock.
    """

    call: str
    step: str
    attempts: int
    since: float
    due: float
    payload: bytes


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepWithheld(Fact):
    """A process gave its run back, and nothing of this effect was under way: it waited, or had just been called.

    ``fence`` is the claim's: it says nothing of what the owner of a later claim began. A start (``StepStarted``) that
    was stored before this came to nothing.
    """

    call: str
    step: str
    fence: int


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepRetrying(Fact):
    """An attempt failed, or was refused before it began, and another follows after ``delay`` seconds. Only observed.

    ``attempt`` is the number of the last one that began; 0 if none did.
    """

    call: str
    step: str
    attempt: int
    delay: float
    error: str
    message: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepHedged(Fact):
    """An attempt was slow, so that another one began beside it. Only observed."""

    call: str
    step: str
    attempt: int


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class FallbackTaken(Fact):
    """A call failed and its fallback took its place. Only observed."""

    call: str
    step: str
    error: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class CacheHit(Fact):
    """A call was answered from the cache. Only observed."""

    call: str
    step: str
    key: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class LimiterWaited(Fact):
    """A call waited for its turn. Only observed."""

    call: str
    step: str
    limiter: str
    seconds: float


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class LimiterRejected(Fact):
    """A limiter turned a call away. Only observed."""

    call: str
    step: str
    limiter: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class BreakerRejected(Fact):
    """An open circuit turned a call away. Only observed."""

    call: str
    step: str
    breaker: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class BreakerOpened(Fact):
    """A circuit opened; probes are let through in ``seconds``. Only observed."""

    breaker: str
    seconds: float
    reason: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class BreakerHalfOpened(Fact):
    """An open circuit lets probes through. Only observed."""

    breaker: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class BreakerClosed(Fact):
    """A circuit closed. Only observed."""

    breaker: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepCancelled(Fact):
    """The body cancelled a call before it had an outcome, after ``attempts`` that had failed.

    ``seconds`` is how long it had been under way, waiting for its turn included; 0 if it had not begun.
    """

    call: str
    step: str
    arguments: str
    attempts: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class TimeRead(Fact):
    """The body read the clock; ``at`` is what it saw."""

    call: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class TimerSet(Fact):
    """A sleep or a time limit began; it is due at a wall-clock time."""

    call: str
    due: float


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class TimerFired(Delivered):
    """A sleep is over, or a time limit has passed."""

    call: str


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RaceWon(Fact):
    """A race was decided: the index of the branch that finished first."""

    call: str
    winner: int


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class CancelRequested(Delivered):
    """Somebody asked for the run's cancellation."""

    reason: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class DeadlinePassed(Delivered):
    """The run's deadline was over."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunRetried(Fact):
    """The run continues after a failure that was removed; its deadline started again."""

    deadline: float | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RunFinished(Fact):
    """The run has ended. ``blame`` is the sequence number of the outcome that left the workflow as its failure."""

    ending: Ending
    payload: bytes
    blame: int | None = None
