"""Looking around for work that nobody here asked for: runs without an owner, requests of other processes."""

import logging

from awaitly.errors import AwaitlyError
from awaitly.execute.engine import Engine
from awaitly.model.clock import Timer
from awaitly.model.program import Program
from awaitly.model.state import RunRecord

SWEEP = 1.0  # seconds between two looks
PAGE = 1000  # runs that one look takes over

_log = logging.getLogger("awaitly")


class Recovery:
    """Takes over, for one engine, the unfinished runs of known workflows that nobody alive owns."""

    def __init__(self, engine: Engine, *, takes_over: bool = True) -> None:
        self._engine = engine
        self._takes_over = takes_over
        self._programs: dict[str, Program] = {}
        self._reported: set[str] = set()
        self._seen: str | None = None  # the last run of the page that was looked at
        self._timer: Timer | None = None

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
            await engine.claims.settle(engine.active)
            await self.recover()
        except AwaitlyError as error:
            _log.warning("the store could not be asked for work: %s", error)
        finally:
            if not engine.closed:
                self._look_later()
