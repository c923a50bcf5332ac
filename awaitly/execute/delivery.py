"""The run's one order: outcomes reach the body one at a time, and the body settles between two.

Live, outcomes come from attempts, timers and requests in whatever order they arrive; each gets its place in the
journal when it is delivered. On replay they come from the journal, in that order. Either way the next one is
delivered only when the body cannot move without it, so shared state and "who finished first" come out the same.

A body of one task has settled when that task blocks. With several, the queue of the event loop tells: see
``stillness`` and ``docs/design/delivery.md``.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from typing import Protocol

from awaitly.execute.outcomes import Outcome
from awaitly.execute.recorded import PASSED_OVER
from awaitly.execute.stillness import Stillness
from awaitly.model.facts import Delivered, Fact

FOREIGN_TURN = 0.005  # seconds between two looks while the body waits for something that is not ours


class Target(Protocol):
    """What an outcome is delivered to."""

    def receive(self, fact: Delivered, outcome: Outcome | None) -> None:
        """Wake whoever waits for it."""


class Body(Protocol):
    """What delivery needs to know of the run."""

    tasks: int
    patience: float  # seconds that a replay lets the body wait for something that is not awaitly's

    def record(self, target: Target, fact: Delivered, outcome: Outcome | None) -> None:
        """Give a delivered fact its place in the journal."""

    def recorded_target(self, fact: Delivered) -> tuple[Target, Outcome | None] | None:
        """Return who waits for a recorded fact, and the restored outcome; None if nobody does (yet)."""

    def mismatched(self, fact: Fact) -> None:
        """Stop: the body has settled and does not wait for what was recorded."""

    def waits_elsewhere(self) -> bool:
        """Whether a task of the body waits for something that is not awaitly's."""

    def went_live(self) -> None:
        """Begin what was called during the replay and never recorded."""


class Delivery:
    """Hands outcomes to one body."""

    __slots__ = (
        "_arrived", "_body", "_consumed", "_context", "_foreign", "_loop", "_next", "_recorded", "_stillness",
        "_ticking", "activity", "replaying", "stopped", "woken",
    )  # fmt: skip

    def __init__(self, body: Body, recorded: Sequence[Fact], stillness: Stillness, context: Context) -> None:
        self._body = body
        self._stillness = stillness
        self._context = context  # of the run: what a delivery sets off is the body's
        self._recorded = recorded
        self._next = 0
        self._consumed: set[int] = set()
        self._arrived: deque[tuple[Target, Delivered, Outcome | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._ticking = False
        self._foreign = 0.0
        self.replaying = bool(recorded)  # recorded facts are left
        self.activity = 0  # counted up with every delivery and whenever a task of the body runs
        self.woken = True  # something was delivered and no task of the body has blocked since
        self.stopped = False

    @property
    def position(self) -> int:
        """The index of the next recorded fact."""
        return self._next

    @property
    def idle(self) -> bool:
        """Whether nothing waits for its turn."""
        return not self._ticking and not self._arrived

    def begin(self) -> None:
        """Skip to the first recorded fact that matters."""
        if self._recorded:
            self._skip()

    def arrive(self, target: Target, fact: Delivered, outcome: Outcome | None = None) -> None:
        """Take what happened: it is delivered at once if the body has settled, else when its turn comes."""
        if self._settled_alone and not (self._arrived or self.replaying or self._ticking or self.stopped):
            self.woken = True
            self.activity += 1
            self._body.record(target, fact, outcome)
            target.receive(fact, outcome)
        else:
            self._arrived.append((target, fact, outcome))
            self.poke()

    @property
    def _settled_alone(self) -> bool:
        """Whether the body has a single task, and that has blocked."""
        return self._body.tasks == 1 and not self.woken

    def withdraw(self, target: Target) -> None:
        """Forget what has arrived for ``target`` and was not delivered."""
        if self._arrived:
            self._arrived = deque(entry for entry in self._arrived if entry[0] is not target)

    def blocked(self) -> None:
        """A task of the body has blocked: with a single task, the body has settled."""
        self.woken = False
        if self._arrived or self.replaying:
            self.poke()

    def poke(self) -> None:
        """See to it that what can be delivered will be."""
        if (self._arrived or self.replaying) and not self._ticking and not self.stopped:
            self._ticking = True
            self._loop.call_soon(self._tick, context=self._context)

    def take_recorded(self, call: str) -> Delivered | None:
        """Return the next recorded fact if it belongs to ``call`` and the body's only task is asking."""
        if self._body.tasks != 1 or self._ticking or not self.replaying:
            return None
        fact = self._recorded[self._next]
        if not isinstance(fact, Delivered) or getattr(fact, "call", None) != call:
            return None
        self._step_over()
        return fact

    def consume(self, index: int) -> None:
        """Tick off a recorded fact that the body brought about by itself."""
        self._consumed.add(index)
        if index == self._next:
            self._step_over()

    def _tick(self) -> None:
        self._ticking = False
        if self.stopped or not self._body.tasks:
            return
        if not (self._settled_alone or self._stillness.reached(self.activity)):
            self.poke()
        elif self.replaying:
            self._deliver_recorded()
        elif self._arrived:
            self._deliver_arrived()

    def _deliver_recorded(self) -> None:
        fact = self._recorded[self._next]
        found = self._body.recorded_target(fact) if isinstance(fact, Delivered) else None
        if found is not None:
            assert isinstance(fact, Delivered)
            self.woken = True
            self.activity += 1
            self._foreign = 0.0
            self._step_over()
            found[0].receive(fact, found[1])
            self.poke()
        elif self.stopped:
            return
        elif self._body.waits_elsewhere() and self._foreign < self._body.patience:
            # An opaque await, a library's: it came to an end when this was recorded, and will again.
            self._foreign += FOREIGN_TURN
            self._ticking = True
            self._loop.call_later(FOREIGN_TURN, self._tick, context=self._context)
        else:
            self._body.mismatched(fact)

    def _deliver_arrived(self) -> None:
        target, fact, outcome = self._arrived.popleft()
        self.woken = True
        self.activity += 1
        self._body.record(target, fact, outcome)
        target.receive(fact, outcome)
        self.poke()

    def _step_over(self) -> None:
        self._next += 1
        self._skip()

    def _skip(self) -> None:
        recorded = self._recorded
        while self._next < len(recorded) and (
            self._next in self._consumed or isinstance(recorded[self._next], PASSED_OVER)
        ):
            self._next += 1
        if self._next >= len(recorded):
            self.replaying = False
            # Not at once: what called is in the middle of something.
            self._loop.call_soon(self._body.went_live, context=self._context)
