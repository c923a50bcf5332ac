"""Facts to health: how the runs of each workflow ended lately. A few µs a run, nothing a step, and bounded."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from awaitly.errors import DeadlineExceeded, UnexpectedError
from awaitly.model.facts import Ending, Fact, RunFinished, RunRejected, RunReleased, RunResumed, RunStarted
from awaitly.model.notice import Notice

LATEST = 1000  # ends that rates and durations are made of
MOST_WORKFLOWS = 200
OTHERS = "other"  # those beyond, together


@dataclass(frozen=True, slots=True)
class LastError:
    """The last failure of a workflow: the class of its error, and when it was (seconds since the epoch)."""

    error: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the runs of a workflow ended in this process.

    Attributes:
        ended: how many did since the process began, by how.
        latest: of how many of them, the latest, the rest of this is said.
        success_rate: the share of successes; those that were cancelled do not count. None if there is no other.
        average: the seconds from a run's start to its end, restarts included; None if nothing ended.
        p95: likewise, what 95 of 100 did not exceed.
        last_error: the last failure, however long ago.
        rejected: how many were not started, as there was no room or the process was shutting down.
    """

    ended: Mapping[Ending, int]
    latest: int
    success_rate: float | None
    average: float | None
    p95: float | None
    last_error: LastError | None
    rejected: int = 0


class Health:
    """A watcher that keeps how runs ended, for :func:`awaitly.serve.app` and others."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}  # by run
        self._workflows: dict[str, _Ends] = {}
        self.facts = frozenset(_HANDLERS)  # none of steps

    def __call__(self, notice: Notice) -> None:
        """Note when runs start and how they end."""
        handle = _HANDLERS.get(type(notice.fact))
        if handle is not None:
            handle(self, notice, notice.fact)

    def reports(self) -> Mapping[str, Report]:
        """Return a report of each workflow of which a run ended here, or was refused; from whatever thread."""
        return {workflow: ends.report() for workflow, ends in sorted(self._workflows.copy().items())}

    def _begun(self, notice: Notice, fact: RunStarted) -> None:
        self._started[notice.run] = fact.at

    def _resumed(self, notice: Notice, fact: RunResumed) -> None:
        self._started[notice.run] = fact.started

    def _released(self, notice: Notice, fact: RunReleased) -> None:
        self._started.pop(notice.run, None)

    def _finished(self, notice: Notice, fact: RunFinished) -> None:
        ends = self._ends(notice.workflow)
        began = self._started.pop(notice.run, fact.at)
        ends.add(fact.ending, max(0.0, fact.at - began))  # the wall clock may have been set back
        if (error := _error(fact.ending, notice.error)) is not None:
            ends.last_error = LastError(error, fact.at)

    def _rejected(self, notice: Notice, fact: RunRejected) -> None:
        self._ends(notice.workflow).rejected += 1

    def _ends(self, workflow: str) -> "_Ends":
        ends = self._workflows.get(workflow)
        if ends is None:
            if len(self._workflows) >= MOST_WORKFLOWS:
                workflow = OTHERS
            ends = self._workflows.setdefault(workflow, _Ends())
        return ends


_HANDLERS: dict[type[Fact], Callable[[Health, Notice, Any], None]] = {
    RunStarted: Health._begun,
    RunResumed: Health._resumed,
    RunReleased: Health._released,
    RunFinished: Health._finished,
    RunRejected: Health._rejected,
}


@dataclass(slots=True, eq=False)
class _Ends:
    """The ends of one workflow's runs."""

    ended: Counter[Ending] = field(default_factory=Counter)
    latest: "deque[tuple[Ending, float]]" = field(default_factory=lambda: deque(maxlen=LATEST))
    last_error: LastError | None = None
    rejected: int = 0

    def add(self, ending: Ending, seconds: float) -> None:
        self.ended[ending] += 1
        self.latest.append((ending, seconds))

    def report(self) -> Report:
        latest = list(self.latest)
        counted = [ending for ending, _ in latest if ending is not Ending.CANCELLED]
        durations = sorted(seconds for _, seconds in latest)
        return Report(
            ended=dict(self.ended),
            latest=len(latest),
            success_rate=counted.count(Ending.VALUE) / len(counted) if counted else None,
            average=sum(durations) / len(durations) if durations else None,
            p95=durations[ceil(0.95 * len(durations)) - 1] if durations else None,
            last_error=self.last_error,
            rejected=self.rejected,
        )


def _error(ending: Ending, error: BaseException | None) -> str | None:
    """Return the class of the error that a run ended with, if that is a failure."""
    match ending:
        case Ending.VALUE | Ending.CANCELLED:
            return None
        case Ending.DEADLINE:
            return DeadlineExceeded.__name__
        case _ if isinstance(error, UnexpectedError):
            return error.type_name
        case _:
            return type(error).__name__ if error is not None else ending.value
