"""What a run's journal says, by call: for the checks of a replay. The order itself is the delivery's business."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from awaitly.errors import CorruptCheckpoint
from awaitly.model.effects import Effect
from awaitly.model.facts import (
    Delivered,
    Fact,
    FlagDecided,
    RetryScheduled,
    RunRetried,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepStarted,
    StepWithheld,
)

PASSED_OVER = (StepStarted, StepWithheld, RetryScheduled, FlagDecided, RunRetried)
"""Facts that the body neither sees nor brings about: a replay passes over them."""


def start_of(run: str, facts: Sequence[Fact]) -> RunStarted:
    """Return the first fact of a run's journal.

    Raises:
        CorruptCheckpoint: If that is not its start.
    """
    started = facts[0] if facts else None
    if isinstance(started, RunStarted):
        return started
    raise CorruptCheckpoint(f"run {run!r} has no start in its journal", hint="restore the store from a backup")


def deadline_of(started: RunStarted, facts: Sequence[Fact]) -> float | None:
    """Return the deadline of a run: that of its last retry, or else of its start."""
    retries = [fact for fact in facts if isinstance(fact, RunRetried)]
    return retries[-1].deadline if retries else started.deadline


class Recorded:
    """The facts of a run after its start, as they were when it was claimed."""

    __slots__ = (
        "_arguments", "_brought_about", "_finished", "_scheduled", "_started", "_withheld", "facts", "flags", "retried",
    )  # fmt: skip

    def __init__(self, facts: Sequence[Fact]) -> None:
        self.facts = facts
        self.retried: float | None = None  # when the run was continued after its failure
        self._arguments: dict[str, str] = {}
        self._finished: dict[str, int] = {}
        self._started: dict[str, StepStarted] = {}
        self._scheduled: dict[str, RetryScheduled] = {}
        self._withheld: dict[str, int] = {}  # calls that had not begun when the run was given back: by which claim
        self.flags: dict[str, object] = {}  # that were decided, by name
        self._brought_about: defaultdict[tuple[type, str], deque[int]] = defaultdict(deque)
        for index, fact in enumerate(facts):
            self._note(index, fact)

    def _note(self, index: int, fact: Fact) -> None:
        match fact:
            case StepFinished(call=call, arguments=arguments):
                self._arguments[call] = arguments
                self._finished[call] = index
                self._started.pop(call, None)
                self._scheduled.pop(call, None)
            case StepStarted(call=call):
                self._started[call] = fact
            case StepWithheld(call=call, fence=fence):
                self._started.pop(call, None)
                self._withheld[call] = fence
            case RetryScheduled(call=call):
                self._started.pop(call, None)  # it is known what became of it
                self._scheduled[call] = fact
            case FlagDecided(flag=flag, value=value):
                self.flags[flag] = value
            case RunRetried(at=at):
                self.retried = at
                self._scheduled.clear()  # what failed begins to count anew
            case Delivered():
                pass
            case _:
                if isinstance(fact, StepCancelled):
                    self._arguments[fact.call] = fact.arguments
                    self._started.pop(fact.call, None)  # nothing was under way
                    self._scheduled.pop(fact.call, None)
                self._brought_about[type(fact), getattr(fact, "call", "")].append(index)

    def arguments(self, call: str) -> str | None:
        """Return the fingerprint of the arguments that a call was recorded with."""
        return self._arguments.get(call)

    def was_cancelled(self, call: str) -> bool:
        """Whether the body cancelled the call, and the replay has not come to it yet."""
        return bool(self._brought_about.get((StepCancelled, call)))

    def started(self, call: str) -> StepStarted | None:
        """Return the recorded start of a call that has no outcome."""
        return self._started.get(call)

    def idle(self, call: str, effect: Effect, fence: int) -> bool:
        """Whether nothing of a call without an outcome can be under way when its run is claimed with a fence."""
        if call in self._finished:
            return False
        return self._withheld.get(call) == fence - 1 or (effect is Effect.ONCE and call not in self._started)

    def attempts(self, call: str) -> int:
        """Return how many attempts an earlier process made of a call that has not begun again."""
        scheduled = self._scheduled.get(call)
        return 0 if scheduled is None else scheduled.attempts

    def take_scheduled(self, call: str) -> RetryScheduled | None:
        """Return (and forget) what is recorded of the attempts of a call that has no outcome."""
        return self._scheduled.pop(call, None)

    def sequence(self, fact: StepFinished) -> int:
        """Return the journal's number of an outcome; the run's start has number 0."""
        return self._finished[fact.call] + 1

    def brought_about(self, fact: Any) -> tuple[int, Any] | None:
        """Return (and forget) the recorded fact of the same kind and call, with its index."""
        indexes = self._brought_about.get((type(fact), fact.call))
        if not indexes:
            return None
        index = indexes.popleft()
        return index, self.facts[index]


NOTHING = Recorded(())
"""Of every run that is new."""
