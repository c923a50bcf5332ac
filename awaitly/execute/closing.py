"""How an engine closes: runs go on for a time, those that would only wait are given back, at last nothing begins."""

import asyncio
import logging
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly.errors import ShuttingDown
from awaitly.execute.run import Run
from awaitly.model.counts import counted
from awaitly.persist.ports import Store
from awaitly.policies.timeout import Expired, within

if TYPE_CHECKING:
    from awaitly.execute.engine import Active, Engine

GOES_ON = 2 / 3  # of the time: then nothing begins any more, and what is left of it is for what is under way
PATIENCE = 1.0  # seconds that a run may wait for something before it is given back
LOOK = 0.05  # seconds between two looks at what runs wait for
SOON = 2  # further looks that come at once: a run that began to wait after the first is seen waiting by both
TURNS = 32  # of the loop, before each of them: by then whoever something was delivered to has it
ROUNDING = 1e-6  # seconds: of a clock that counts from long ago, less than this may be no time at all
LAST_TURNS = 0.5  # seconds that stopped bodies have for their finally blocks
ABANDONED = 75  # EX_TEMPFAIL: try again

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What became of the runs that were executed here when the runtime was shut down.

    Attributes:
        ended: how many ended in the time that they were given, children not counted.
        left: the ids of those that did not: they were given back, and go on wherever they are taken over.
        abandoned: the ids of runs whose effects were under way when the time was over, or whose last outcomes the store
            did not take. What the effects did to the world is not known to others: they are executed again, or are
            ambiguous (``effect="once"``).
    """

    ended: int = 0
    left: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """What the process should end with: 0, or 75 if effects were abandoned or could not be stored."""
        return ABANDONED if self.abandoned else 0


class Closing:
    """Closes one engine, once."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._clock = engine.clock
        self._error = ShuttingDown("the runtime is shutting down", hint="the run continues where it is resumed")
        self._runs: dict[str, Active | None] = {}  # all that were here; None: it waited for room
        self._abandoned: tuple[str, ...] = ()  # those with effects under way when the time was over
        self._waiting: dict[str, tuple[int, float]] = {}  # runs: what had happened in them when they began to wait

    async def close(self, timeout: float, go_on: float) -> None:
        """Let runs end.

        Args:
            timeout: The seconds that what is under way may take.
            go_on: The seconds of these in which runs go on as always, and begin further steps.
        """
        until = self._clock.monotonic() + timeout
        await self._let_end(min(go_on, timeout))
        await self._park(until)
        active = self._engine.active.items()
        self._abandoned = tuple(run_id for run_id, one in active if one.run.performer.affects)
        await self._stop()

    def told(self) -> Closed:
        """Return what became of the runs, once everything is stored that can be, and log it."""
        roots = {run_id: active for run_id, active in self._runs.items() if active is None or _is_root(active)}
        left = tuple(run_id for run_id, active in roots.items() if active is None or not _has_ended(active))
        _log.info("shut down: %s ended, %d left to be taken over", counted(len(roots) - len(left), "run"), len(left))
        if self._abandoned:
            _log.warning(
                "the time to shut down was over while effects were under way, which are abandoned: %s",
                ", ".join(self._abandoned),
            )
        unstored = tuple(run_id for run_id, active in self._runs.items() if active and active.run.log.unstored)
        if unstored:
            _log.warning("the store did not take what runs did last, which may be done again: %s", ", ".join(unstored))
        abandoned = tuple(dict.fromkeys(self._abandoned + unstored))
        return Closed(ended=len(roots) - len(left), left=left, abandoned=abandoned)

    async def _let_end(self, seconds: float) -> None:
        over = self._clock.monotonic() + seconds - ROUNDING
        soon = SOON if seconds > 0 else 0
        while True:
            self._runs.update(self._engine.active)
            self._give_back_queued()
            for active in list(self._engine.active.values()):
                if self._only_waits(active.run):
                    active.run.park(self._error)
            if soon:  # not by the clock: a test's may stand still while all runs sleep
                soon -= 1
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                continue
            left = over - self._clock.monotonic()
            if left <= 0 or not await self._some_are_left(min(LOOK, left + ROUNDING)):
                return

    def _give_back_queued(self) -> None:
        engine = self._engine
        waiting = [engine.dismiss(run_id, self._error) for run_id in list(engine.admission.queue)]
        for queued in waiting:  # none of which can begin any more
            self._runs[queued.log.run] = None
            engine.errands.begin(engine.claims.give_back(queued.log.run, queued.log.fence, self._error))

    def _only_waits(self, run: Run) -> bool:
        """Whether a run has waited for long enough, or will have to: it would use up the time for nothing.

        That is never so at the first look: what was delivered to a body may have yet to reach those who wait for it.
        """
        wakes, now = run.wakes, self._clock.monotonic()
        if wakes is None:
            self._waiting.pop(run.id, None)
            return False
        happened, since = self._waiting.get(run.id, (None, now))
        if happened != run.delivery.activity:
            self._waiting[run.id] = run.delivery.activity, now
            return False
        return now - since >= PATIENCE or PATIENCE < wakes - self._clock.time() < math.inf

    async def _some_are_left(self, seconds: float) -> bool:
        """Wait until all runs here have ended, or so many seconds; False if there are none."""
        engine = self._engine
        ends: list[asyncio.Future[Any]] = [active.task for active in engine.active.values()]
        ends += engine.starting.values()
        if ends:
            with suppress(Expired):
                await within(asyncio.wait(ends), seconds, self._clock)
        return bool(engine.active or engine.starting)

    async def _park(self, until: float) -> None:
        """Let what is under way finish; nothing begins any more."""
        self._engine.parking = True
        self._runs.update(self._engine.active)
        self._give_back_queued()
        for active in list(self._engine.active.values()):
            active.run.park(self._error)
        await self._some_are_left(max(0.0, until - self._clock.monotonic()))

    async def _stop(self) -> None:
        """Stop what is left, whatever is under way in it."""
        active = list(self._engine.active.values())
        for one in active:
            one.run.stop(self._error)
        await _ended(active, LAST_TURNS)
        for one in active:
            if not one.task.done():
                one.task.cancel()  # its body does not give way
        await _ended(active, None)


async def _ended(runs: Iterable["Active"], timeout: float | None) -> None:
    tasks = [run.task for run in runs if not run.task.done()]
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)


def _is_root(active: "Active") -> bool:
    return active.started.parent is None


def _has_ended(active: "Active") -> bool:
    return active.task.done() and not active.task.cancelled() and active.task.exception() is None


async def close_store(store: Store, seconds: float) -> None:
    """Close a store; one that does not answer in time is left to close when it does."""
    task = asyncio.ensure_future(store.close())
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        _log.warning("%s does not answer: it is closed as soon as it does", store.name)
    elif not task.cancelled() and task.exception() is not None:
        _log.warning("%s could not be closed in order: %s", store.name, task.exception())
