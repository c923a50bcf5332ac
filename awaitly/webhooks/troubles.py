"""What could not be delivered: when it is tried again, how long that goes on, and what is said of it.

What one event alone suffers from, such as a status 400, holds up the events of its run. What others would share, such
as no answer, holds up all of them.
"""

import logging
import random
from collections.abc import Collection
from dataclasses import dataclass

from awaitly.errors import AwaitlyError, UnexpectedError
from awaitly.execute.standing import Outgoing
from awaitly.model.clock import Clock
from awaitly.model.counts import counted
from awaitly.model.durations import humanised
from awaitly.policies.backoff import asked
from awaitly.webhooks.events import Event
from awaitly.webhooks.plan import Counts, Plan
from awaitly.webhooks.posting import DeliveryFailed

REFUSED = 1000  # runs whose events were refused, before it is taken for the receiver's trouble
LONGEST = 86_400.0  # seconds for which a receiver is left alone, whatever it asks for

_log = logging.getLogger("awaitly")


@dataclass(slots=True)
class _Trouble:
    """An event that could not be delivered; it happened ``at`` a time of the wall clock."""

    event: str
    at: float
    since: float
    attempts: int = 0
    due: float = 0.0
    reason: str = ""
    named: bool = False  # in the log


@dataclass(slots=True)
class _Spell:
    """Failures since something was delivered."""

    since: float
    failures: int = 0
    said: bool = False


@dataclass(slots=True)
class _Look:
    """What became of what was tried in one look at the store."""

    taken: bool = False
    failed: bool = False
    refused: Event | None = None  # the first one


class Troubles:
    """The failures of one outbox.

    Args:
        plan: What is delivered, and how.
        counts: What is counted.
        clock: What time is read from.
    """

    def __init__(self, plan: Plan, counts: Counts, clock: Clock) -> None:
        self._plan = plan
        self._counts = counts
        self._clock = clock
        self._events: dict[str, _Trouble] = {}  # by run
        self._outage = 0  # rounds in which nobody could be reached
        self._paused = 0.0  # until when nothing is sent
        self._spell: _Spell | None = None
        self._look = _Look()
        self._reason = ""  # of the last failure

    @property
    def paused(self) -> bool:
        """Whether the receiver is left alone now."""
        return self._clock.monotonic() < self._paused

    @property
    def runs(self) -> set[str]:
        """The runs of which something could not be delivered."""
        return set(self._events)

    def holds(self, run: str) -> bool:
        """Return whether the events of a run are to wait now."""
        trouble = self._events.get(run)
        return trouble is not None and trouble.due > self._clock.monotonic()

    def forget(self, runs: Collection[str]) -> None:
        """Nothing of these runs is left to deliver, whatever became of it."""
        for run in runs:
            self._events.pop(run, None)
        if runs and not self._events:
            self._spell = None

    def end(self) -> None:
        """Another process delivers now."""
        self._events.clear()
        self._outage, self._paused, self._spell = 0, 0.0, None

    def standing(self, sending: Collection[float]) -> Outgoing:
        """Return how deliveries go; for any thread.

        Args:
            sending: When the events happened that are being sent.
        """
        waiting = [*sending, *(trouble.at for trouble in list(self._events.values()))]
        spell = self._spell if self._spell is not None and self._spell.said else None
        return Outgoing(
            delivered=self._counts.delivered,
            failures=self._counts.failures,
            given_up=self._counts.given_up,
            age=max(0.0, self._clock.time() - min(waiting)) if waiting else 0.0,
            failing_for=None if spell is None else self._clock.monotonic() - spell.since,
            last_error=None if spell is None and not self._events else self._reason,
        )

    # What became of an attempt.

    def taken(self, told: Event) -> None:
        """Note that an event was delivered."""
        now = self._clock.monotonic()
        self._counts.delivered += 1
        self._outage, self._look.taken = 0, True
        trouble = self._events.pop(told.run, None)
        if self._spell is not None and self._spell.said:
            _log.warning(
                "outbox %s delivers again, after %s in %s",
                self._plan.name, counted(self._spell.failures, "failed attempt"), humanised(now - self._spell.since),
            )  # fmt: skip
        elif trouble is not None and trouble.named:
            _log.warning(
                "outbox %s delivered event %s of run %s after %s in %s",
                self._plan.name, told.id, told.run, counted(trouble.attempts, "failed attempt"),
                humanised(now - trouble.since),
            )  # fmt: skip
        self._spell = None

    def failed(self, told: Event, failure: DeliveryFailed) -> bool:
        """Note that an event was not delivered, and when it is tried again; return whether it is given up."""
        now = self._clock.monotonic()
        trouble = self._events.get(told.run)
        if trouble is None or trouble.event != told.id:
            trouble = self._events[told.run] = _Trouble(told.id, told.at, now)
        self._count(told, trouble, failure, now)

        if self._is_over(trouble, failure, now):
            self._give_up(told, trouble, failure)
            return True
        self._wait(trouble, failure, now)
        return False

    def unreadable(self, run: str, error: Exception) -> None:
        """Leave a run alone for long, as it cannot be found out what is to be delivered of it."""
        now, known = self._clock.monotonic(), self._events.get(run)
        if known is None or known.event:
            why = error if isinstance(error, AwaitlyError) else UnexpectedError.of(error)
            _log.warning("outbox %s cannot go on with run %s: %s", self._plan.name, run, why)
        self._events[run] = _Trouble("", self._clock.time(), now, due=now + self._plan.delays.most)

    def looked(self) -> None:
        """Say what there is to say of what was tried since the store was looked at."""
        look, self._look = self._look, _Look()
        if look.taken:
            self._spell = None
            if look.refused is not None:
                self._name(look.refused)
        elif look.failed and self._spell is not None and not self._spell.said:
            self._spell.said = True
            _log.warning(
                "outbox %s cannot deliver, and tries again less and less often: %s", self._plan.name, self._reason
            )

    def _name(self, refused: Event) -> None:
        trouble = self._events.get(refused.run)
        if trouble is None or trouble.named:
            return
        trouble.named = True
        _log.warning(
            "outbox %s delivers, but not event %s of run %s, which is tried again less and less often: %s",
            self._plan.name, trouble.event, refused.run, trouble.reason,
        )  # fmt: skip

    def _count(self, told: Event, trouble: _Trouble, failure: DeliveryFailed, now: float) -> None:
        self._counts.failures += 1
        trouble.attempts += 1
        trouble.reason = self._reason = failure.reason
        if failure.everybodys or trouble.attempts == 1:  # that it is refused again says nothing new
            self._look.failed = True
            self._spell = self._spell or _Spell(now)
        if not failure.everybodys:
            self._look.refused = self._look.refused or told
        if self._spell is not None:
            self._spell.failures += 1

    def _is_over(self, trouble: _Trouble, failure: DeliveryFailed, now: float) -> bool:
        retry = self._plan.retry
        if retry is None:
            return False
        return not (retry.wants(failure, ()) and retry.allows(trouble.attempts, now - trouble.since))

    def _give_up(self, told: Event, trouble: _Trouble, failure: DeliveryFailed) -> None:
        del self._events[told.run]
        self._counts.given_up += 1
        _log.error(
            "outbox %s gave up event %s of run %s after %s: %s",
            self._plan.name, told.id, told.run, counted(trouble.attempts, "attempt"), failure.reason,
        )  # fmt: skip

    def _wait(self, trouble: _Trouble, failure: DeliveryFailed, now: float) -> None:
        """Leave the receiver alone for a while: altogether, or with the events of this run."""
        least = min(asked(failure, self._clock.time()) or 0.0, LONGEST)
        if failure.everybodys or len(self._events) > REFUSED:
            if not self.paused:  # others fail with it
                self._outage += 1
            delay = max(least, self._plan.delays.delay(self._outage, random.random))
            self._paused = max(self._paused, now + delay)
        else:
            delay = max(least, self._plan.delays.delay(trouble.attempts, random.random))
            trouble.due = now + delay
