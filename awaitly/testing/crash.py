"""Simulated process death, at every boundary that matters: before and after each commit and each effect.

A :class:`Life` is one process. It counts the boundaries that it passes and dies at a given one: from that moment its
store answers nothing and :meth:`Life.boundary` lets nothing through, so no code of the dead life has an observable
effect. The next life opens the same store under a new owner.

```python
def live(life, store, clock):
    async def story():
        async with Runtime(store=CrashingStore(store, life), clock=clock):
            return await booking.run()

    return life.run(story(), clock=clock)

for dies_at in count():
    clock = VirtualClock(auto=True)  # the dead keep their lease for a while: let that be virtual time
    store = MemoryStore(monotonic=clock.monotonic)
    life = Life(dies_at=dies_at)
    live(life, store, clock)
    assert live(Life(), store, clock) == Ok([1, 2])  # nothing that was stored is executed again
    if not life.dead:
        break  # it has passed all boundaries
```
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence, Set
from contextvars import copy_context
from typing import Any, TypeVar

from awaitly.declare.host import HOST
from awaitly.model.facts import Fact
from awaitly.model.state import RunRecord, Status
from awaitly.persist.ports import Append, Appended, Claim, Owner, Position, Store, Undelivered
from awaitly.testing.clock import LONGEST, VirtualClock

T = TypeVar("T")

ROUNDS = 20  # turns that the tasks of a dead life get to go away by themselves
THROWS = 100  # and how often they are told that they are dead


class ProcessDied(BaseException):
    """The simulated process is dead: raised into whatever of it still runs."""


class Life:
    """One life of a simulated process.

    Args:
        dies_at: The number of the boundary (from 0) at which it dies; None: it lives.
    """

    def __init__(self, *, dies_at: int | None = None) -> None:
        self.dies_at = dies_at
        self.dead = False
        self.boundaries: list[str] = []
        self._death: asyncio.Future[None] | None = None
        self._on_death: list[Callable[[], object]] = []

    def boundary(self, name: str) -> None:
        """Pass a boundary, or die at it.

        Raises:
            ProcessDied: If this life ends here or has ended before.
        """
        self.check()
        self.boundaries.append(name)
        if len(self.boundaries) - 1 == self.dies_at:
            self.die()
            raise ProcessDied(f"died at {name}")

    def check(self) -> None:
        """Let only the living through.

        Raises:
            ProcessDied: If this life has ended.
        """
        if self.dead:
            raise ProcessDied("this process is dead")

    def die(self) -> None:
        """End here."""
        if not self.dead:
            self.dead = True
            for act in self._on_death:
                act()
            if self._death is not None and not self._death.done():
                self._death.set_result(None)

    def on_death(self, act: Callable[[], object]) -> None:
        """Call ``act`` at the very moment of death: to note what was known then."""
        self._on_death.append(act)

    def run(
        self, main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None, longest: float = LONGEST
    ) -> T | None:
        """Run a coroutine in a loop of this life's own; None if the life ended before the coroutine did.

        Raises:
            TimeoutError: If it takes more than ``longest`` real seconds.
        """
        loop = clock.new_loop() if clock is not None else asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: None)
        try:
            return loop.run_until_complete(self._live(main, longest))
        finally:
            _abandon(loop)

    async def _live(self, main: Coroutine[Any, Any, T], longest: float) -> T | None:
        loop = asyncio.get_running_loop()
        death = self._death = loop.create_future()
        work = loop.create_task(main)
        await asyncio.wait([work, death], return_when=asyncio.FIRST_COMPLETED, timeout=longest)
        if self.dead:
            return None
        if not work.done():
            self.die()
            stacks = "\n".join(str(task) for task in asyncio.all_tasks())
            raise TimeoutError(f"not done after {longest} seconds; boundaries passed: {self.boundaries}\n{stacks}")
        return work.result()


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    """End a loop without letting anything finish in order."""
    for _ in range(ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    _bury_all(loop)
    loop.run_until_complete(loop.shutdown_default_executor())
    _bury_all(loop)  # meanwhile timers of the dead may have begun something
    loop.close()


def _bury_all(loop: asyncio.AbstractEventLoop) -> None:
    grave = copy_context()
    nobody: Any = _Nobody()
    grave.run(HOST.set, nobody)
    for task in asyncio.all_tasks(loop):
        grave.run(_bury, task.get_coro())


def _bury(coro: Any) -> None:
    """End a coroutine that does not let itself be cancelled; left to the garbage it would run in another life."""
    for _ in range(THROWS):
        try:
            coro.throw(ProcessDied("this process is dead"))
        except BaseException:  # noqa: BLE001 - it is over, whatever it said
            return


class _Nobody:
    """The host of the dead: whatever they call."""

    def __getattr__(self, name: str) -> Any:
        raise ProcessDied("this process is dead")


class CrashingStore:
    """A store as one life sees it: a boundary before and after each commit, and silence after death.

    Args:
        inner: The store that outlives the process.
        life: The process.
        clock: Held while the inner store works, as it may do so in threads.
        turns: Of the loop that every answer takes.
    """

    def __init__(self, inner: Store, life: Life, clock: VirtualClock | None = None, *, turns: int = 0) -> None:
        self.inner = inner
        self.life = life
        self.owners: list[str] = []
        self.appends = 0
        self.reads = 0
        self.turns = turns
        self._clock = clock

    @property
    def name(self) -> str:
        """The inner store's name."""
        return self.inner.name

    @property
    def durable(self) -> bool:
        """As the inner store."""
        return self.inner.durable

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        if self.life.dead:
            question.close()
        self.life.check()
        if self._clock is None:
            answer = await question
        else:
            with self._clock.busy():
                answer = await question
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.life.check()
        return answer

    async def _change(self, what: str, change: Coroutine[Any, Any, T]) -> T:
        try:
            self.life.boundary(f"before {what}")
        except ProcessDied:
            change.close()
            raise
        answer = await self._ask(change)
        self.life.boundary(f"after {what}")
        return answer

    async def open(self) -> None:
        """Open the inner store."""
        await self._ask(self.inner.open())

    async def close(self) -> None:
        """Close the inner store."""
        await self._ask(self.inner.close())

    async def append(self, batch: Sequence[Append]) -> Sequence[Appended]:
        """Append, between two boundaries."""
        self.appends += 1
        return await self._change("commit", self.inner.append(batch))

    async def read(self, run: str, *, after: int = -1) -> Sequence[Fact]:
        """Read."""
        self.reads += 1
        return await self._ask(self.inner.read(run, after=after))

    async def truncate(self, run: str, fence: int, first: int, fact: Fact) -> bool:
        """Truncate, between two boundaries."""
        return await self._change("truncate", self.inner.truncate(run, fence, first, fact))

    async def register(self, owner: Owner, ttl: float) -> None:
        """Register an owner, and remember that it was of this life."""
        self.owners.append(owner.id)
        await self._ask(self.inner.register(owner, ttl))

    async def renew(self, owner: str) -> bool:
        """Renew a lease."""
        return await self._ask(self.inner.renew(owner))

    async def retire(self, owner: str) -> None:
        """Retire an owner."""
        await self._ask(self.inner.retire(owner))

    async def claim(self, run: str, owner: str, *, ended: bool = False) -> Claim | None:
        """Claim, between two boundaries."""
        return await self._change("claim", self.inner.claim(run, owner, ended=ended))

    async def release(self, run: str, fence: int, *, counted: bool = False) -> None:
        """Release."""
        await self._ask(self.inner.release(run, fence, counted=counted))

    async def lost(self, fences: Mapping[str, int]) -> Sequence[str]:
        """Ask what was lost."""
        return await self._ask(self.inner.lost(fences))

    async def living(self, owners: Collection[str]) -> Set[str]:
        """Ask who is alive."""
        return await self._ask(self.inner.living(owners))

    async def claimable(self, workflows: Sequence[str], limit: int, *, after: str | None = None) -> Sequence[RunRecord]:
        """Ask what can be claimed."""
        return await self._ask(self.inner.claimable(workflows, limit, after=after))

    async def request_cancel(self, run: str, reason: str) -> bool:
        """Request a cancellation, between two boundaries."""
        return await self._change("request", self.inner.request_cancel(run, reason))

    async def cancels(self, owner: str) -> Sequence[tuple[str, str]]:
        """Ask for requested cancellations."""
        return await self._ask(self.inner.cancels(owner))

    async def find(self, run: str) -> RunRecord | None:
        """Find a run."""
        return await self._ask(self.inner.find(run))

    async def list(
        self, *, workflow: str | None = None, status: Status | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[RunRecord]:
        """List runs."""
        return await self._ask(self.inner.list(workflow=workflow, status=status, limit=limit, before=before))

    async def count(self) -> Mapping[tuple[str, Status], int]:
        """Count runs."""
        return await self._ask(self.inner.count())

    async def purge(self, *, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        """Purge runs."""
        return await self._ask(self.inner.purge(ended_before=ended_before, limit=limit, workflow=workflow))

    async def recall(self, key: str, now: float) -> bytes | None:
        """Recall an answer."""
        return await self._ask(self.inner.recall(key, now))

    async def remember(self, key: str, data: bytes, *, now: float, expires: float) -> None:
        """Remember an answer, between two boundaries."""
        await self._change("remember", self.inner.remember(key, data, now=now, expires=expires))

    async def hold(self, outbox: str, owner: str) -> bool:
        """Hold an outbox."""
        return await self._ask(self.inner.hold(outbox, owner))

    async def undelivered(
        self, outbox: str, limit: int, *, ended: bool = False, after: str | None = None
    ) -> Sequence[Undelivered]:
        """Ask what is to be delivered."""
        return await self._ask(self.inner.undelivered(outbox, limit, ended=ended, after=after))

    async def delivered(self, outbox: str, owner: str, upto: Sequence[Position]) -> bool:
        """Note what was delivered, between two boundaries."""
        return await self._change("delivery", self.inner.delivered(outbox, owner, upto))
