"""Waiting in a body: sleeps and time limits; due times are recorded, firing has its place in the order."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from awaitly.execute.branch import Branch
from awaitly.execute.outcomes import Outcome
from awaitly.model.clock import Timer
from awaitly.model.facts import DeadlinePassed, Delivered, TimerFired, TimerSet

if TYPE_CHECKING:
    from awaitly.execute.run import Run


class Wait:
    """A timer of a body."""

    __slots__ = ("call", "due", "fired", "limit", "timer", "waiter")

    def __init__(self, call: str, due: float) -> None:
        self.call = call
        self.due = due
        self.fired = False
        self.timer: Timer | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.limit: asyncio.Timeout | None = None

    def receive(self, fact: Delivered, outcome: Outcome | None) -> None:
        """Wake the sleeper, or end the block whose time is over."""
        self.fired = True
        if self.limit is not None:
            self.limit.reschedule(asyncio.get_running_loop().time())
        elif self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Timers:
    """The timers of one run, its deadline among them."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._waits: dict[str, Wait] = {}
        self._deadline: Timer | None = None
        self._live = False

    async def sleep(self, call: str, seconds: float, branch: Branch) -> None:
        """Wait until the recorded time."""
        wait = self._set(call, seconds)
        wait.waiter = asyncio.get_running_loop().create_future()
        branch = self._run.awaiting(branch)
        branch.waiting = True
        try:
            await wait.waiter
        finally:
            branch.waiting = False
            self._unset(wait)

    def limit(self, call: str, seconds: float) -> AbstractAsyncContextManager[None]:
        """Return a context manager that ends its block with ``TimeoutError`` at the recorded time."""
        return self._limited(call, seconds)

    @asynccontextmanager
    async def _limited(self, call: str, seconds: float) -> AsyncIterator[None]:
        wait = self._set(call, seconds)
        wait.limit = asyncio.timeout(None)
        try:
            async with wait.limit:
                yield
        finally:
            self._unset(wait)

    def waiting(self, call: str) -> Wait | None:
        """Return the timer of this identity that has not fired."""
        return self._waits.get(call)

    def went_live(self) -> None:
        """Arm the deadline and what was set before the run was interrupted: what is overdue happens in due order."""
        self._live = True
        due = self._run.deadline
        if due is not None and self._run.request.ending is None and self._deadline is None:
            if due <= self._run.services.clock.time():
                self._expire()
            else:
                self._deadline = self._call_at(due, self._expire)
        for wait in sorted(self._waits.values(), key=lambda wait: wait.due):
            self._arm(wait)

    @property
    def due(self) -> float:
        """When the next one fires, on the wall clock; infinity if there is none."""
        dues = [wait.due for wait in self._waits.values() if not wait.fired]
        if self._deadline is not None and self._run.deadline is not None:
            dues.append(self._run.deadline)
        return min(dues, default=math.inf)

    def stop(self, error: BaseException) -> None:
        """Disarm everything and wake the sleepers with an error."""
        if self._deadline is not None:
            self._deadline.cancel()
        for wait in list(self._waits.values()):
            if wait.timer is not None:
                wait.timer.cancel()
            if wait.waiter is not None and not wait.waiter.done():
                wait.waiter.set_exception(error)

    def ended(self) -> None:
        """Disarm the deadline: the run is over."""
        if self._deadline is not None:
            self._deadline.cancel()

    def _set(self, call: str, seconds: float) -> Wait:
        now = self._run.services.clock.time()
        fact = self._run.witness(TimerSet(at=now, call=call, due=now + seconds), urgent=True)
        wait = self._waits[call] = Wait(call, fact.due)
        if self._live:
            self._arm(wait)
        return wait

    def _unset(self, wait: Wait) -> None:
        self._waits.pop(wait.call, None)
        if wait.timer is not None:
            wait.timer.cancel()
        self._run.delivery.withdraw(wait)

    def _arm(self, wait: Wait) -> None:
        if wait.timer is None and not wait.fired:
            wait.timer = self._call_at(wait.due, lambda: self._fire(wait))

    def _fire(self, wait: Wait) -> None:
        now = self._run.services.clock.time()
        self._run.delivery.arrive(wait, TimerFired(at=now, call=wait.call))

    def _expire(self) -> None:
        self._run.request.make(DeadlinePassed(at=self._run.services.clock.time()))

    def _call_at(self, due: float, callback: Callable[[], object]) -> Timer:
        services = self._run.services
        delay = max(0.0, due - services.clock.time())
        return services.call_later(delay, callback)
