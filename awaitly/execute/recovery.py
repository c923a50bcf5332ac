"""Looking around for work that nobody here asked for: runs without an owner, requests of other processes."""

import logging

from awaitly.errors import AwaitlyError
from awaitly.execute.engine import Engine
from awaitly.model.clock import Timer
from awaitly.model.program import Program
from awaitly.model.state import RunRecord

SWEEP = 1.0  # seconds between two looks
PURGE = 60.0  # seconds between two looks for runs that have been kept long enough
PORTION = 200  # of them that are removed at once: others want to write, too
PAGE = 1000  # runs that one look takes over

_log = logging.getLogger("awaitly")


class Recovery:
    """Takes over, for one engine, the unfinished runs of known workflows that nobody alive owns.

    It also removes their ended runs when the time is over for which those are kept.
    """

    def __init__(self, engine: Engine, *, takes_over: bool = True) -> None:
        self._engine = engine
        self._takes_over = takes_over
        self._programs: dict[str, Program] = {}
        self._reported: set[str] = set()
        self._seen: str | None = None  # the last run of the page that was looked at
        self._timer: Timer | None = None
        self._purges: dict[str, float] = {}  # when each workflow's old runs are removed next
        self._purging = False

    async def open(self) -> None:
        """Look around now, and then again and again."""
        await self.recover()
        self._look_later()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def know(self, program: Program) -> bool:
        """Remember a workflow's program; True the first time: its unowned runs can be taken over."""
        name = program.graph.workflow
        known = self._programs.get(name)
        self._programs[name] = program
        return known is None

    async def recover(self) -> None:
        """Take over the runs that nobody alive owns, one page of them after another."""
        if not self._takes_over:
            return
        self._tidy()
        engine = self._engine
        if engine.admission.room == 0:
            return  # somebody else may have room for them
        page = await engine.store.claimable(list(self._programs), limit=PAGE, after=self._seen)
        self._seen = page[-1].id if len(page) == PAGE else None
        for record in page:
            if engine.admission.room == 0:
                self._seen = None  # the rest is still to be had
                return
            if record.id not in engine.active and record.id not in engine.resting and not engine.closed:
                await self._take_over(record)

    async def _take_over(self, record: RunRecord) -> None:
        try:
            await self._engine.take_over(self._programs[record.workflow], record.id)
        except Exception as error:  # noqa: BLE001 - a defect in one run must not keep the others waiting
            if record.id not in self._reported:
                self._reported.add(record.id)
                _log.error("run %s cannot be continued: %s", record.id, error)

    def _tidy(self) -> None:
        """Begin to remove what has been kept long enough, if it is time to look for that."""
        now = self._engine.clock.monotonic()
        due = [name for name in self._keeping() if self._purges.get(name, now) <= now]
        if due and not self._purging and not self._engine.closed:
            self._purging = True
            self._engine.errands.begin(self._purge(due))

    def _keeping(self) -> dict[str, float]:
        """Return the workflows whose ended runs are kept for a while, and for how many seconds."""
        kept = {name: program.graph.retention for name, program in self._programs.items()}
        return {name: seconds for name, seconds in kept.items() if seconds is not None}

    async def _purge(self, workflows: list[str]) -> None:
        engine = self._engine
        try:
            for name in workflows:
                self._purges[name] = engine.clock.monotonic() + PURGE
                before = engine.clock.time() - self._keeping()[name]
                if await engine.store.purge(ended_before=before, limit=PORTION, workflow=name) == PORTION:
                    del self._purges[name]  # the next look goes on with it
        except AwaitlyError as error:
            _log.warning("the store could not be asked to remove old runs: %s", error)
        finally:
            self._purging = False

    def _look_later(self) -> None:
        interval = min(SWEEP, self._engine.lease.ttl / 3)
        self._timer = self._engine.services.call_later(interval, self._look)

    def _look(self) -> None:
        if not self._engine.closed:
            self._engine.errands.begin(self._look_around())

    async def _look_around(self) -> None:
        engine = self._engine
        try:
            for run_id, reason in await engine.store.cancels(engine.lease.owner.id):
                engine.request(run_id, reason)
            await engine.claims.settle(engine.holds)
            await self.recover()
        except AwaitlyError as error:
            _log.warning("the store could not be asked for work: %s", error)
        finally:
            if not engine.closed:
                self._look_later()
