"""How many runs are executed here at once: more of them wait in the order in which they came, or are refused."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from awaitly.errors import Overloaded
from awaitly.execute.journal import Log
from awaitly.model.clock import Timer
from awaitly.model.facts import RunStarted


@dataclass(slots=True, eq=False)
class Queued:
    """A run that this process owns and does not execute yet."""

    log: Log
    started: RunStarted
    since: float  # on the monotonic clock
    begin: Callable[[], object]
    limit: Timer | None = None  # of its deadline, which does not wait for room
    gone: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """Counts the runs that are executed here, and those that are being stored to be executed at once.

    Each is known by its log: a run that is given back and taken over again has another one.

    Args:
        most: How many may be; None: any number. Children do not count: their parents wait for them.
        waits: Whether further ones wait, or are refused.
    """

    def __init__(self, most: int | None, *, waits: bool = True) -> None:
        self.most = most
        self.waits = waits
        self.queue: OrderedDict[str, Queued] = OrderedDict()
        self._admitted: set[Log] = set()

    @property
    def room(self) -> int | None:
        """How many more runs could be executed; None: any number."""
        return None if self.most is None else max(0, self.most - len(self._admitted) - len(self.queue))

    @property
    def full(self) -> bool:
        """Whether another run would have to wait."""
        return self.most is not None and len(self._admitted) >= self.most

    @property
    def refuses(self) -> bool:
        """Whether another run would be refused."""
        return self.full and not self.waits

    def refusal(self) -> Overloaded:
        """Return what a run is refused with that could not even wait."""
        return Overloaded(f"as many runs are executed here as max_active_runs allows: {self.most}")

    def enter(self, log: Log) -> bool:
        """Count a run in, if there is room for it or it is counted already."""
        if log not in self._admitted:
            if self.full:
                return False
            self._admitted.add(log)
        return True

    def leave(self, log: Log) -> None:
        """Count a run out, and begin those that have room now."""
        self._admitted.discard(log)
        while self.queue and not self.full:
            self.begin(next(iter(self.queue)))

    def begin(self, run: str) -> None:
        """Begin a run that waits, whether or not there is room: one that is asked to end needs it for a moment only."""
        queued = self.take(run)
        self._admitted.add(queued.log)
        queued.begin()

    def take(self, run: str) -> Queued:
        """Remove a run from the queue."""
        queued = self.queue.pop(run)
        queued.gone.set_result(None)
        if queued.limit is not None:
            queued.limit.cancel()
        return queued
