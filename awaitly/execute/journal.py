"""One run's place in its journal, and the committer that stores the facts of all runs together.

A fact is *appended* when it gets its place in the run's order, *sent* when the committer takes it, *stable* when the
store has acknowledged it. Effects wait for stability (:meth:`Log.barrier`), nothing else does.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

from awaitly.errors import AwaitlyError, LeaseLost, RunIdConflict, RunStopped, StoreError
from awaitly.model.clock import Clock, Timer
from awaitly.model.facts import Fact
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended, Journal

LAZY_DELAY = 0.2  # seconds that an outcome which no effect waits for may stay in memory
LAZY_FACTS = 256

TOLD_TOGETHER = 100  # commits that observers are told of at once
TOLD_WITHIN = 1.0  # seconds; a notice of each would cost a step more than all others

T = TypeVar("T")


class Log:
    """The facts of one run on their way to the store."""

    __slots__ = (
        "_barriers", "_committer", "_ends", "_failed", "_lazy", "_pending", "_turn", "_urgent", "_waiters", "appended",
        "creates", "fence", "inherited", "on_failure", "owner", "run", "stable", "waits",
    )  # fmt: skip

    def __init__(self, committer: "Committer", run: str, owner: str, fence: int, stored: int) -> None:
        self.run = run
        self.owner = owner
        self.fence = fence
        self.appended = stored
        self.stable = stored
        self.creates = stored == 0
        self.inherited = fence > 1  # from an owner who may have left effects under way
        self.waits = False  # for its turn: nobody executes the run
        self.on_failure: Callable[[AwaitlyError], object] | None = None
        self._committer = committer
        self._pending: list[Fact] = []
        self._urgent = False
        self._ends: Status | None = None
        self._turn: bool | None = None  # whether the run waits, where the store is still to be told
        self._lazy: Timer | None = None
        self._failed: AwaitlyError | None = None
        self._waiters: deque[tuple[int, Callable[[Any], object], Any]] = deque()
        self._barriers: set[asyncio.Future[None]] = set()

    @property
    def unstored(self) -> bool:
        """Whether the store has yet to acknowledge something that was appended, or never will."""
        return self.stable < self.appended

    def append(self, fact: Fact, *, urgent: bool = True) -> int:
        """Give ``fact`` its place; with ``urgent`` it is sent when the body next blocks. Returns its number."""
        self._pending.append(fact)
        self._urgent = self._urgent or urgent
        self.appended += 1
        return self.appended - 1

    def check(self) -> None:
        """Raise what the log failed with, if it did."""
        if self._failed is not None:
            raise self._failed

    def hand_over(self) -> None:
        """Send what is urgent: the body has blocked. What is not may wait a little for company."""
        if not self._pending:
            return
        if self._urgent or len(self._pending) >= LAZY_FACTS:
            self.flush()
        elif self._lazy is None:
            self._lazy = self._committer.clock.call_later(LAZY_DELAY, self._lazy_flush)

    def _lazy_flush(self) -> None:
        self._lazy = None
        self.flush()

    def flush(self) -> None:
        """Send everything appended so far."""
        if self._pending and self._failed is None:
            self._committer.send(self)

    def turn(self, *, waits: bool) -> None:
        """Tell the store whether the run waits for its turn, unless it knows: others can see it then."""
        if waits != self.waits and self._failed is None:
            self.waits = self._turn = waits
            self._committer.send(self)

    def end(self, fact: Fact, status: Status) -> None:
        """Append the run's last fact and send it."""
        self._ends = status
        self.append(fact)
        self.flush()

    async def barrier(self) -> None:
        """Wait until everything appended so far is stable.

        Raises:
            AwaitlyError: If the store refused or failed; the run can write no more.
        """
        self.check()
        if self.stable >= self.appended:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers.add(waiter)
        try:
            self.when_stable(_wake, waiter)
            await waiter
        finally:
            self._barriers.discard(waiter)

    def when_stable(self, callback: Callable[[T], object], argument: T) -> None:
        """Call ``callback`` once everything appended so far is stable: now or later; never if the log failed."""
        if self._failed is not None:
            return
        if self.stable >= self.appended:
            callback(argument)
        else:
            self._waiters.append((self.appended, callback, argument))
            self.flush()

    def take(self) -> Append:
        """Return what is to be sent now (called by the committer)."""
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        facts, self._pending, self._urgent = tuple(self._pending), [], False
        turn, self._turn = self._turn, None
        return Append(
            run=self.run,
            fence=self.fence,
            first=self.appended - len(facts),
            facts=facts,
            creates=self.creates,
            owner=self.owner if self.creates else None,
            ends=self._ends,
            waits=turn,
        )

    def settle(self, append: Append, answer: Appended) -> None:
        """Learn what became of an append (called by the committer)."""
        if answer is Appended.STORED:
            self.creates = False
            if append.facts:  # without, it says nothing of those before: they may be lost
                self.stable = append.first + len(append.facts)
            while self._waiters and self._waiters[0][0] <= self.stable:
                _, callback, argument = self._waiters.popleft()
                callback(argument)
        elif answer is Appended.EXISTS:
            self.fail(RunIdConflict(f"a run with the id {self.run!r} exists already"))
        else:
            self.fail(LeaseLost(f"run {self.run!r} has been taken over by another process"))

    def fail(self, error: AwaitlyError) -> None:
        """Refuse everything from now on: the run cannot be written any more."""
        if self._failed is not None:
            return
        self._failed = error
        self._pending.clear()
        self._waiters.clear()
        for waiter in self._barriers:
            if not waiter.done():
                waiter.set_exception(error)
        if self.on_failure is not None:
            self.on_failure(error)


class Committer:
    """Stores what the runs of a runtime have appended: one commit at a time, for all that wait (group commit).

    While a commit is under way others gather for the next; when idle, a commit begins in the same turn of the loop.
    """

    __slots__ = (
        "_context", "_durations", "_journal", "_queue", "_stored", "_telling", "_worker", "clock", "on_commits"
    )  # fmt: skip

    def __init__(self, journal: Journal, clock: Clock, context: Context) -> None:
        self.clock = clock
        self._journal = journal
        self._context = context  # of no run: what the committer awaits belongs to nobody's branch
        self.on_commits: Callable[[int, list[float]], object] | None = None  # told of facts, seconds of each
        self._durations: list[float] = []  # of the commits that are still to be told
        self._stored = 0  # facts in them
        self._telling: Timer | None = None
        self._queue: dict[Log, None] = {}
        self._worker: asyncio.Task[None] | None = None

    def send(self, log: Log) -> None:
        """Store what ``log`` has pending with the next commit."""
        self._queue[log] = None
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(
                self._work(), name="awaitly-commit", context=self._context
            )
            self._worker.add_done_callback(self._ended, context=self._context)

    async def _work(self) -> None:
        while self._queue:
            logs, self._queue = list(self._queue), {}
            await self._commit(logs, [log.take() for log in logs])

    def _ended(self, worker: "asyncio.Task[None]") -> None:
        """Have no worker: also of one that was cancelled, with all tasks of its loop, before it had its first turn."""
        self._worker = None
        if worker.cancelled():
            logs, self._queue = list(self._queue), {}
            for log in logs:
                log.fail(_interrupted(log))
        elif self._queue:  # something came in the turn in which it ended
            self.send(next(iter(self._queue)))

    async def _commit(self, logs: list[Log], batch: list[Append]) -> None:
        begun = self.clock.monotonic()
        try:
            answers = await self._journal.append(batch)
        except AwaitlyError as error:
            for log in logs:
                log.fail(error)
            return
        except Exception as error:  # noqa: BLE001 - a defect of the store's, or a value that it cannot take
            await self._commit_alone(logs, batch, error)
            return
        except BaseException:  # the loop ends: nobody knows whether this was stored, so nothing may follow it
            for log in logs:
                log.fail(_interrupted(log))
            raise
        if self.on_commits is not None:  # in place, as this is done for every step of a run
            for append in batch:
                self._stored += len(append.facts)
            durations = self._durations
            durations.append(self.clock.monotonic() - begun)
            if len(durations) == 1:
                self._telling = self.clock.call_later(TOLD_WITHIN, self._tell)
            elif len(durations) >= TOLD_TOGETHER:
                self._tell()
        for log, append, answer in zip(logs, batch, answers, strict=True):
            log.settle(append, answer)

    async def _commit_alone(self, logs: list[Log], batch: list[Append], error: Exception) -> None:
        """Find out whose append the store cannot take: it must not harm the others of its batch."""
        if len(logs) > 1:
            for log, append in zip(logs, batch, strict=True):
                await self._commit([log], [append])
        else:
            failure = StoreError(
                f"the store could not take what run {logs[0].run!r} appended: {error!r}",
                hint="report this as a defect of the store; the run is resumable",
                code="store-unavailable",
            )
            failure.__cause__ = error
            logs[0].fail(failure)

    def _tell(self) -> None:
        """Tell of the commits that were not told yet."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self.on_commits is not None and self._durations:
            facts, durations = self._stored, self._durations
            self._stored, self._durations = 0, []
            self.on_commits(facts, durations)

    async def drain(self) -> None:
        """Wait until nothing is left to store, nor to tell."""
        while self._worker is not None:
            await asyncio.wait([self._worker])
        self._tell()

    def give_up(self) -> None:
        """Wait no more for the store: nobody knows what it has taken, so the runs can write no more."""
        if self._worker is not None:
            self._worker.cancel()
        self._tell()


def _interrupted(log: Log) -> RunStopped:
    return RunStopped(f"run {log.run!r} stopped while it was being stored", hint="it can be resumed")


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
