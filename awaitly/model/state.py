"""What a run looks like from outside: its status, its row in the catalogue, its snapshot."""

from dataclasses import dataclass, field
from enum import StrEnum

from awaitly.model.facts import Ending, Fact


class Status(StrEnum):
    """Where a run is in its life."""

    PENDING = "pending"  # nobody has it: its owner gave it back
    QUEUED = "queued"  # its owner executes as many runs as it may; this one has its turn later
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the run has a result."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


STATUS_OF = {
    Ending.VALUE: Status.SUCCEEDED,
    Ending.FAILURE: Status.FAILED,
    Ending.UNEXPECTED: Status.FAILED,
    Ending.DEADLINE: Status.FAILED,
    Ending.CANCELLED: Status.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as the catalogue lists it. Times are seconds since the epoch."""

    id: str
    workflow: str
    status: Status
    fence: int
    owner: str | None
    created: float
    updated: float
    claims: int = 0  # since the last fact: see the guarantee on stuck runs
    cancel_requested: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A whole run: its record and its facts in order; enough to move it to another store."""

    record: RunRecord
    facts: tuple[Fact, ...] = field(default=())
