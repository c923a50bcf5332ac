"""Delivering for one outbox: looking at the store, sending what is new, waiting when it fails."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from awaitly.errors import AwaitlyError
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.model.facts import Fact, RunFinished
from awaitly.persist.ports import Position, Store, Undelivered
from awaitly.policies.backoff import Backoff, asked
from awaitly.policies.retry import Retry
from awaitly.webhooks.events import Event, event
from awaitly.webhooks.posting import DeliveryFailed

PAGE = 100  # runs that are looked at together
REFUSED = 1000  # runs whose events were refused, before it is taken for the receiver's trouble
LONGEST = 86_400.0  # seconds for which a receiver is left alone, whatever it asks for

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an outbox delivers, and how; times in seconds."""

    name: str
    kinds: tuple[type[Fact], ...]
    payloads: bool
    retry: Retry | None  # when to give up; None: never
    delays: Backoff
    every: float
    at_once: int
    send: Callable[[Event, Clock], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """What became of events and attempts."""

    delivered: int = 0
    failures: int = 0
    given_up: int = 0


@dataclass(slots=True)
class _Trouble:
    """An event that could not be delivered."""

    event: str
    since: float
    attempts: int = 0
    due: float = 0.0


class Delivering:
    """Delivers the facts of one store.

    Args:
        plan: What is delivered, and how.
        counts: What is counted.
        store: Where it is read.
        owner: As whom the outbox is held.
        clock: What time is read from.
    """

    def __init__(self, plan: Plan, counts: Counts, store: Store, owner: str, clock: Clock) -> None:
        self._plan = plan
        self._counts = counts
        self._store = store
        self._owner = owner
        self._clock = clock
        self._only_ends = plan.kinds == (RunFinished,)
        self._troubles: dict[str, _Trouble] = {}  # by run
        self._outage = 0  # rounds in which nobody could be reached
        self._paused = 0.0  # until when nothing is sent
        self._held = False
        self._ends = False
        self._nap: asyncio.Future[None] | None = None
        self._said: str | None = None  # what was logged last

    async def begin(self) -> None:
        """Hold the outbox, unless somebody else does: from now on it misses nothing.

        Raises:
            StoreError: If the store cannot be asked.
        """
        await self._store.hold(self._plan.name, self._owner)

    def end(self) -> None:
        """Look once more, and then no more."""
        self._ends = True
        self._wake()

    async def follow(self) -> None:
        """Look at the store again and again."""
        while not self._ends:
            await self._look()
            if not self._ends:
                await self._rest()
        await self._look()

    def _wake(self) -> None:
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    async def _rest(self) -> None:
        self._nap = nap = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(self._plan.every, self._wake)
        try:
            await nap
        finally:
            timer.cancel()

    async def _look(self) -> None:
        try:
            self._held = self._is_on() and await self._store.hold(self._plan.name, self._owner)
            if self._held:
                await self._sweep()
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end it either
            self._complain(f"cannot find out what is to be delivered: {error}")

    def _is_on(self) -> bool:
        return self._clock.monotonic() >= self._paused

    # One look.

    async def _sweep(self) -> None:
        """Deliver what there is, a page of runs after another."""
        after, full = None, True
        while full and self._held and self._is_on():
            page = await self._store.undelivered(self._plan.name, PAGE, ended=self._only_ends, after=after)
            await self._deliver(page)
            full = len(page) == PAGE
            after = page[-1].run if page else None

    async def _deliver(self, page: Sequence[Undelivered]) -> None:
        waiting, passed = list(reversed(page)), list[Position]()

        async def work() -> None:
            while waiting and self._held and self._is_on():
                if (position := await self._safely(waiting.pop())) is not None:
                    passed.append(position)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.at_once, len(page))):
                group.create_task(work())
        if passed:
            await self._note(passed)

    async def _safely(self, left: Undelivered) -> Position | None:
        """Deliver what is left of a run; one that cannot be read does not keep others waiting."""
        try:
            return await self._run(left)
        except AwaitlyError as error:
            now = self._clock.monotonic()
            self._troubles[left.run] = _Trouble("", now, due=now + self._plan.delays.most)
            self._complain(f"cannot read run {left.run}: {error}")
            return None

    async def _run(self, left: Undelivered) -> Position | None:
        """Deliver what is left of a run; return a position that is still to be noted."""
        trouble = self._troubles.get(left.run)
        if trouble is not None and trouble.due > self._clock.monotonic():
            return None
        after = left.last - 1 if self._only_ends else left.delivered
        passed = None
        for sequence, fact in enumerate(await self._store.read(left.run, after=after), after + 1):
            passed = Position(left.run, sequence, fact.at)
            if not isinstance(fact, self._plan.kinds):
                continue
            told = event(left.run, left.workflow, sequence, fact, payloads=self._plan.payloads)
            if not (self._held and self._is_on() and await self._send(told)):
                return None
            await self._note([passed])
            passed = None
        return passed

    async def _note(self, positions: Sequence[Position]) -> None:
        self._held = await self._store.delivered(self._plan.name, self._owner, positions) and self._held

    # One event.

    async def _send(self, told: Event) -> bool:
        """Send an event; return whether it is done with."""
        try:
            await self._plan.send(told, self._clock)
        except DeliveryFailed as failure:
            return self._failed(told, failure)
        self._troubles.pop(told.run, None)
        self._outage, self._said = 0, None
        self._counts.delivered += 1
        return True

    def _failed(self, told: Event, failure: DeliveryFailed) -> bool:
        """Say when it is tried again; return whether it is given up."""
        now = self._clock.monotonic()
        self._counts.failures += 1
        trouble = self._troubles.get(told.run)
        if trouble is None or trouble.event != told.id:
            trouble = self._troubles[told.run] = _Trouble(told.id, now)
        trouble.attempts += 1
        if self._is_over(trouble, failure, now):
            del self._troubles[told.run]
            self._counts.given_up += 1
            _log.error(
                "outbox %s gave up event %s of run %s after %s attempts: %s",
                self._plan.name, told.id, told.run, trouble.attempts, failure.reason,
            )  # fmt: skip
            return True
        self._wait(trouble, failure, now)
        return False

    def _is_over(self, trouble: _Trouble, failure: DeliveryFailed, now: float) -> bool:
        retry = self._plan.retry
        if retry is None:
            return False
        return not (retry.wants(failure, ()) and retry.allows(trouble.attempts, now - trouble.since))

    def _wait(self, trouble: _Trouble, failure: DeliveryFailed, now: float) -> None:
        """Leave the receiver alone for a while: altogether, or with the events of this run."""
        least = min(asked(failure, self._clock.time()) or 0.0, LONGEST)
        if failure.everybodys or len(self._troubles) > REFUSED:
            if self._is_on():  # others fail with it
                self._outage += 1
            delay = max(least, self._plan.delays.delay(self._outage, random.random))
            self._paused = max(self._paused, now + delay)
        else:
            delay = max(least, self._plan.delays.delay(trouble.attempts, random.random))
            trouble.due = now + delay
        self._complain(f"could not deliver, and tries again in {humanised(delay)}: {failure.reason}", failure.reason)

    def _complain(self, what: str, reason: str | None = None) -> None:
        if self._said != (reason or what):
            self._said = reason or what
            _log.warning("outbox %s %s", self._plan.name, what)
