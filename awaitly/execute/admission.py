"""How many runs are executed here at once: more of them wait in the order in which they came, or are refused."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from awaitly.errors import Overloaded
from awaitly.execute.journal import Log


@dataclass(slots=True, eq=False)
class Queued:
    """A run that this process owns and does not execute yet."""

    log: Log
    since: float  # on the monotonic clock
    begin: Callable[[str | None], object]  # given the reason of its cancellation, if that was asked for meanwhile
    cancelled: str | None = None
    gone: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """Counts the runs that are executed here.

    Args:
        most: How many may be; None: any number. Children do not count: their parents wait for them.
        waits: Whether further ones wait, or are refused.
    """

    def __init__(self, most: int | None, *, waits: bool = True) -> None:
        self.most = most
        self.waits = waits
        self.queue: OrderedDict[str, Queued] = OrderedDict()
        self._admitted: set[str] = set()

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

    def check(self) -> None:
        """Refuse a run that could not even wait.

        Raises:
            Overloaded: If there is no room and runs do not wait here.
        """
        if self.refuses:
            raise Overloaded(f"{len(self._admitted)} runs are executed here, and no more may be")

    def admit(self, run: str) -> None:
        """Count a run in."""
        self._admitted.add(run)

    def leave(self, run: str) -> None:
        """Count a run out, and begin the next one that waits."""
        self._admitted.discard(run)
        while self.queue and not self.full:
            queued = self.take(next(iter(self.queue)))
            queued.begin(queued.cancelled)

    def take(self, run: str) -> Queued:
        """Remove a run from the queue."""
        queued = self.queue.pop(run)
        queued.gone.set_result(None)
        return queued
