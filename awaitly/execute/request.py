"""What asks a run to end: a cancellation, or its deadline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from awaitly.execute.outcomes import Outcome
from awaitly.model.facts import CancelRequested, DeadlinePassed, Delivered, Ending, Fact

if TYPE_CHECKING:
    from awaitly.execute.run import Run


class EndRequest:
    """Asks the body of one run to end: what that is delivered to, as it has its place in the run's order.

    Attributes:
        cancelled: somebody has asked for the run's cancellation.
        ending: how the body was asked to end; None, if it was not.
        reason: why, for a cancellation.
        holds: the body is to be asked before anything begins here.
    """

    __slots__ = ("_run", "cancelled", "ending", "holds", "reason")

    def __init__(self, run: "Run", facts: Sequence[Fact]) -> None:
        self._run = run
        self.cancelled = any(isinstance(fact, CancelRequested) for fact in facts)
        self.ending: Ending | None = None
        self.reason = ""
        self.holds = False

    def make(self, fact: CancelRequested | DeadlinePassed) -> None:
        """Have the body end at the next place where it can; if nothing new has begun here yet, nothing does before."""
        self.holds = self.holds or not self._run.live
        self._run.delivery.arrive(self, fact)

    def placed(self) -> None:
        """Let begin what branches that go on all the same have called: the request has its place in the order just now.

        One that a replay delivers had its place before: it is not what the run is held for.
        """
        if self.holds:
            self.holds = False
            self._run.loop.call_soon(self._run.went_live)

    def receive(self, fact: Delivered, outcome: Outcome | None) -> None:
        """Ask the body to end."""
        if isinstance(fact, CancelRequested):
            self.ending, self.reason = Ending.CANCELLED, fact.reason
        else:
            self.ending = Ending.DEADLINE
        if self._run.body is not None:
            self._run.body.cancel()
