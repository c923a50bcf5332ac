"""Delivering for one outbox: looking at the store, sending what is new, waiting when it fails."""

import asyncio
import logging
from collections.abc import Sequence

from awaitly.execute.standing import Outgoing
from awaitly.model.clock import Clock
from awaitly.model.facts import RunFinished
from awaitly.persist.ports import Position, Store, Undelivered
from awaitly.webhooks.events import Event, event
from awaitly.webhooks.plan import Counts, Plan
from awaitly.webhooks.posting import DeliveryFailed
from awaitly.webhooks.troubles import Troubles

PAGE = 100  # runs that are looked at together

_log = logging.getLogger("awaitly")


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
        self._store = store
        self._owner = owner
        self._clock = clock
        self._only_ends = plan.kinds == (RunFinished,)
        self._troubles = Troubles(plan, counts, clock)
        self._sending: dict[str, float] = {}  # when the events happened that are being sent, by run
        self._held = False
        self._ends = False
        self._nap: asyncio.Future[None] | None = None
        self._said = ""  # what was logged last of the store

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

    def standing(self) -> Outgoing:
        """Return how deliveries go; for any thread."""
        return self._troubles.standing(self._sending.copy().values())

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
            self._held = await self._store.hold(self._plan.name, self._owner)
            if self._held:
                await self._sweep()
                self._said = ""
            else:
                self._troubles.end()
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end it either
            self._complain(f"cannot find out what is to be delivered: {error}")
        finally:
            self._troubles.looked()

    def _goes_on(self) -> bool:
        return self._held and not self._troubles.paused

    # One look.

    async def _sweep(self) -> None:
        """Deliver what there is, a page of runs after another."""
        after, full, unseen = None, True, self._troubles.runs
        while full and self._goes_on():
            page = await self._store.undelivered(self._plan.name, PAGE, ended=self._only_ends, after=after)
            unseen.difference_update(left.run for left in page)
            await self._deliver(page)
            full = len(page) == PAGE
            after = page[-1].run if page else None
        if not full:
            self._troubles.forget(unseen)

    async def _deliver(self, page: Sequence[Undelivered]) -> None:
        waiting, passed = list(reversed(page)), list[Position]()

        async def work() -> None:
            while waiting and self._goes_on():
                if (position := await self._safely(waiting.pop())) is not None:
                    passed.append(position)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.at_once, len(page))):
                group.create_task(work())
        if passed:
            await self._note(passed)

    async def _safely(self, left: Undelivered) -> Position | None:
        """Deliver what is left of a run; one that cannot be read or told of does not keep others waiting."""
        try:
            return await self._run(left)
        except Exception as error:  # noqa: BLE001 - a defect of ours concerns this run alone, too
            self._troubles.unreadable(left.run, error)
            return None

    async def _run(self, left: Undelivered) -> Position | None:
        """Deliver what is left of a run; return a position that is still to be noted."""
        if self._troubles.holds(left.run):
            return None
        after = left.last - 1 if self._only_ends else left.delivered
        passed = None
        for sequence, fact in enumerate(await self._store.read(left.run, after=after), after + 1):
            passed = Position(left.run, sequence, fact.at)
            if not isinstance(fact, self._plan.kinds):
                continue
            told = event(left.run, left.workflow, sequence, fact, payloads=self._plan.payloads)
            if not (self._goes_on() and await self._send(told)):
                return None
            await self._note([passed])
            passed = None
        return passed

    async def _note(self, positions: Sequence[Position]) -> None:
        self._held = await self._store.delivered(self._plan.name, self._owner, positions) and self._held

    async def _send(self, told: Event) -> bool:
        """Send an event; return whether it is done with."""
        self._sending[told.run] = told.at
        try:
            await self._plan.send(told, self._clock)
        except DeliveryFailed as failure:
            return self._troubles.failed(told, failure)
        finally:
            del self._sending[told.run]
        self._troubles.taken(told)
        return True

    def _complain(self, what: str) -> None:
        if self._said != what:
            self._said = what
            _log.warning("outbox %s %s", self._plan.name, what)
