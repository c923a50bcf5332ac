"""What happens in a run, as frozen values with their time inside.

The journal appends facts, observers notice them, replay folds them. ``call`` is the identity of a call in
its run (see ``docs/design/identity.md``); ``payload`` is what the codec wrote. Facts derived from
:class:`Delivered` woke the body when they were delivered: replay wakes it with them again, in this order.

Nobody changes a fact once it is made. They are not ``frozen`` dataclasses, which would say so, because enforcing it
takes longer than everything else that is done with a fact.
"""

from collections.abc import Mapping
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
    """A call has its outcome: a value, a declared failure, or an unexpected error."""

    call: str
    step: str
    arguments: str
    ending: Ending
    payload: bytes
    attempts: int = 1
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class StepCancelled(Fact):
    """The body cancelled a call before it had an outcome."""

    call: str
    step: str
    arguments: str


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
