"""Replaying a run without effects and without writing: what ``check`` and the plan of a fork find out."""

import asyncio
from collections.abc import Sequence
from typing import Any

from awaitly.errors import AwaitlyError, RunStopped
from awaitly.execute.engine import Engine
from awaitly.execute.journal import Log
from awaitly.execute.run import Run
from awaitly.execute.supervise import supervise
from awaitly.model.facts import Fact, RunStarted
from awaitly.model.program import Program

PATIENCE = 1.0  # seconds for an await that is not awaitly's


class _Nowhere:
    """A committer that keeps nothing."""

    def __init__(self, engine: Engine) -> None:
        self.clock = engine.clock

    def send(self, log: Log) -> None:
        log.take()


class _Rehearsal(Run):
    """A run that stops where it would go live."""

    unsure = False  # the body waited for something that is not awaitly's: nobody knows what comes after it

    def mismatched(self, fact: Fact, found: Fact | None = None) -> None:
        self.unsure = self.waits_elsewhere()
        super().mismatched(fact, found)

    def went_live(self) -> None:
        self.stop(RunStopped(f"run {self.id} was replayed to its end"))

    def observe(self, fact: Fact, error: BaseException | None = None) -> None:
        pass


class DryRun:
    """One replay of recorded facts against a program."""

    def __init__(
        self, engine: Engine, program: Program, run_id: str, started: RunStarted, facts: Sequence[Fact]
    ) -> None:
        self._program = program
        self._started = started
        nowhere: Any = _Nowhere(engine)
        log = Log(nowhere, run_id, engine.lease.owner.id, 0, 1 + len(facts))
        self._run = _Rehearsal(engine.services, program, engine.sites(program), log, started, facts)
        self._run.parking = True  # nothing begins
        self._run.patience = PATIENCE
        self._facts = facts
        self.found: AwaitlyError | None = None  # what did not fit

    @property
    def unsure(self) -> bool:
        """Whether nothing can be said: the body waited for something that is not awaitly's."""
        return self._run.unsure

    async def problem(self) -> AwaitlyError | None:
        """Return what does not fit; None if everything does."""
        services = self._run.services
        args, kwargs = self._program.arguments.decode(self._started.arguments)
        work = supervise(self._run, args, kwargs, store_end=False)
        task = asyncio.get_running_loop().create_task(work, context=services.context.copy())
        await asyncio.wait([task])
        error = task.exception()
        if error is None or isinstance(error, RunStopped):
            return None
        if isinstance(error, AwaitlyError):
            return error
        raise error

    async def fitting(self) -> int:
        """Return how many of the facts were delivered before the first that does not fit."""
        self.found = await self.problem()
        return len(self._facts) if self.found is None else self._run.delivery.position
