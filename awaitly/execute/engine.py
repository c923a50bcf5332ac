"""Runs that this process executes: claimed, executed as tasks of their own, asked to end, given back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from awaitly.errors import (
    AwaitlyError,
    ChangedArguments,
    CorruptCheckpoint,
    LeaseLost,
    Mismatch,
    RunNotFound,
    RunStopped,
    ShuttingDown,
    StoreError,
    StuckRun,
)
from awaitly.execute.admission import Admission, Queued
from awaitly.execute.claims import Claims
from awaitly.execute.closing import Closed, Closing
from awaitly.execute.errands import Errands
from awaitly.execute.journal import Log
from awaitly.execute.outcomes import Outcome
from awaitly.execute.recorded import deadline_of, start_of
from awaitly.execute.refusals import Refusals
from awaitly.execute.resting import Resting
from awaitly.execute.run import Run
from awaitly.execute.services import Services
from awaitly.execute.sites import SiteIndex
from awaitly.execute.supervise import Supervision, supervise
from awaitly.execute.tracking import watch
from awaitly.model.facts import (
    CancelRequested,
    Committed,
    Fact,
    FlagDecided,
    LeaseLapsed,
    RunAdmitted,
    RunQueued,
    RunReleased,
    RunResumed,
    RunStarted,
)
from awaitly.model.program import Program
from awaitly.texts import valid

CLAIMS = 5  # without a new fact in between: then a run is stuck
LATER = 0.001  # seconds after its deadline that a queued run is begun, to find that it has passed: timers may be early
FAREWELL = 1.0  # seconds that the store and then farewells have at least, however long the runs took to end
LAST_WORDS = 0.1  # seconds more, for who is to end, and for the store to forget this process
STUCK = "find out what kills its process or stops it, then: awaitly runs resume"

Farewell: TypeAlias = Callable[[float], Coroutine[Any, Any, None]]
"""What is done after the last run has ended, while the store is still ours; it is told how many seconds it has."""

_log = logging.getLogger("awaitly")
_of_runs = logging.getLogger("awaitly.runs")  # what observers are told of too


@dataclass(slots=True, eq=False)
class Active:
    """A run that this process executes."""

    program: Program
    started: RunStarted
    task: "asyncio.Task[Outcome]"
    run: Run


class Engine:
    """Executes runs on one store, from one event loop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.store = services.store
        self.clock = services.clock
        self.lease = services.lease
        self.lease.fences = self._fences
        self.lease.on_lost = self._lost
        if services.observe is not None:
            if services.wants(Committed):
                services.committer.on_commits = self._committed
            self.lease.on_lapse = partial(services.notice, LeaseLapsed)
        self.claims = Claims(self.store, self.lease.owner.id)
        self.errands = Errands(services.context)
        self.resting = Resting(self.clock)
        self.starting: dict[str, asyncio.Future[None]] = {}  # runs whose start is being stored
        self.active: dict[str, Active] = {}
        self.admission = Admission(services.most_runs, waits=services.runs_wait)
        self.refusals = Refusals(services)
        self.closed = False  # no other run may begin
        self.parking = False  # nothing may begin
        self.farewells: set[Farewell] = set()
        self._sites: dict[int, tuple[Program, SiteIndex]] = {}
        self._unfit: dict[str, tuple[str, AwaitlyError]] = {}  # by run: a graph that it does not fit, and why

    async def open(self) -> None:
        """Register with the store and begin the heartbeat."""
        watch(asyncio.get_running_loop(), self.services.host)
        await self.lease.open()

    async def close(self, timeout: float, go_on: float) -> Closed:
        """Let runs end within ``timeout`` seconds; the rest is resumable at once.

        Args:
            timeout: The seconds that what is under way may take.
            go_on: The seconds of these in which runs go on as always, and begin further steps.
        """
        self.closed = True
        self.errands.close()
        until = self.clock.monotonic() + timeout
        closing = Closing(self)
        try:
            await closing.close(timeout, go_on)
        finally:
            over = max(until, self.clock.monotonic()) + FAREWELL
            settled = await self._settled(self._left(over))
            await self._bid_farewell(min(max(min(FAREWELL, timeout), self._left(until)), self._left(over)))
            self.refusals.close()
            await self.lease.close(max(LAST_WORDS, self._left(over)), frees=settled)
        return closing.told()

    def _left(self, until: float) -> float:
        return max(0.0, until - self.clock.monotonic())

    async def _settled(self, seconds: float) -> bool:
        """Wait until everything is stored and given back; False if the store does not answer in time.

        Then nothing that is left here is given back: another owner would have refused what the store may yet take.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # of real time, whatever the clock is: so is a store
                await self.errands.settle()
                await self.services.committer.drain()
                return True
        self.errands.close()
        self.services.committer.give_up()
        return False

    async def _bid_farewell(self, seconds: float) -> None:
        """Let farewells be done, which know how long they have; one that waits for a store is left behind."""
        tasks = [self.errands.begin(farewell(seconds)) for farewell in self.farewells]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds + LAST_WORDS)
            for task in late:
                task.cancel()

    # Executing.

    async def take_over(self, program: Program, run_id: str, *, force: bool = False) -> bool:
        """Claim a run that nobody alive owns and continue it; False if somebody does.

        Raises:
            AwaitlyError: If what is recorded does not fit the program; the run is untouched and released.
        """
        return await self.errands.wholly(self._taken_over(program, run_id, force=force))

    async def _taken_over(self, program: Program, run_id: str, *, force: bool) -> bool:
        graph = program.graph.fingerprint
        known = self._unfit.get(run_id)
        if known is not None and known[0] == graph and not force:
            raise known[1]
        watch(asyncio.get_running_loop(), self.services.host)
        claim = await self.claims.take(run_id)
        if claim is None:
            return False
        try:
            if claim.record.claims > CLAIMS and not force:
                raise StuckRun(f"run {run_id!r} was claimed {claim.record.claims} times and got no further", hint=STUCK)
            facts = await self.store.read(run_id)
            started = start_of(run_id, facts)
            self.services.check(program, run_id, facts)
            log = Log(self.services.committer, run_id, self.lease.owner.id, claim.fence, len(facts))
            self.execute(program, log, started, facts[1:], cancelled=claim.record.cancel_requested, resumed=True)
        except Exception as error:
            if isinstance(error, AwaitlyError) and not isinstance(error, StoreError):
                self._unfit[run_id] = graph, error
            await self.claims.give_back(run_id, claim.fence, error)
            raise
        return True

    def execute(
        self,
        program: Program,
        log: Log,
        started: RunStarted,
        facts: Sequence[Fact],
        *,
        cancelled: str | None = None,
        resumed: bool = False,
    ) -> None:
        """Execute a run that this process owns, from its start and what is recorded, as soon as there is room.

        Raises:
            ShuttingDown: If nothing begins here any more.
            AwaitlyError: If its arguments do not fit the program.
        """
        context = self.services.context.copy()

        def tell() -> None:
            if self.services.observe is not None:
                fact = self._resumed(started, facts) if resumed else started
                # In the context that the body begins in: what is current there is current in all of the run.
                context.run(self.services.observe, log.run, program.graph.workflow, fact)

        try:
            if self.parking:
                raise ShuttingDown("the runtime is shutting down")
            given = program.arguments.decode(started.arguments)
            begin = partial(self._begin, program, log, started, facts, given, context)
            if started.parent is None and not self.admission.enter(log) and cancelled is None:
                tell()
                self._queue(log, started, facts, begin)
                return
            begin()
        except BaseException:
            self.admission.leave(log)
            raise
        tell()
        if cancelled is not None:
            self.request(log.run, cancelled)

    def _queue(self, log: Log, started: RunStarted, facts: Sequence[Fact], begin: Callable[[], object]) -> None:
        """Let a run wait for room; one that is asked to end, or whose deadline passes, does not wait any longer."""
        waiting, since = self.admission.queue, self.clock.monotonic()
        log.turn(waits=True)
        self.services.notice(RunQueued, log.run, started.workflow, ahead=len(waiting))

        def admitted() -> None:
            waited = self.clock.monotonic() - since
            self.services.notice(RunAdmitted, log.run, started.workflow, seconds=waited)
            try:
                begin()
            except Exception as error:  # noqa: BLE001 - nobody waits for it here: it is given back, and tried again
                self._not_begun(log, started, error)

        waiting[log.run] = queued = Queued(log, started, since, admitted)
        log.on_failure = partial(self._not_waiting, log, started)
        deadline = deadline_of(started, facts)
        if deadline is not None:
            left = deadline - self.clock.time() + LATER
            queued.limit = self.services.call_later(left, partial(self.admission.begin, log.run))

    def _not_waiting(self, log: Log, started: RunStarted, error: AwaitlyError) -> None:
        """Remove a run from the queue that cannot be written any more: it is somebody else's, or given back."""
        queued = self.admission.queue.get(log.run)
        if queued is None or queued.log is not log:
            return
        self.dismiss(log.run, error)
        if not isinstance(error, LeaseLost):
            _of_runs.error("run %s stopped while it waited: %s", log.run, error)
            self.resting.add(log.run)
            self.errands.begin(self.claims.give_back(log.run, log.fence, error))

    def _not_begun(self, log: Log, started: RunStarted, error: Exception) -> None:
        _log.error("run %s could not be begun: %s", log.run, error)
        self.admission.leave(log)
        self.resting.add(log.run)
        self._released(log.run, started.workflow, error)
        self.errands.begin(self.claims.give_back(log.run, log.fence, error))

    def _begin(
        self,
        program: Program,
        log: Log,
        started: RunStarted,
        facts: Sequence[Fact],
        given: tuple[tuple[Any, ...], dict[str, Any]],
        context: Context,
    ) -> None:
        log.check()  # nothing begins that could not be stored
        run = Run(self.services, program, self.sites(program), log, started, facts)
        task = Supervision(run, supervise(run, *given), loop=asyncio.get_running_loop(), context=context)
        self.active[log.run] = active = Active(program, started, task, run)
        task.add_done_callback(lambda _: self._ended(log.run, active))
        log.turn(waits=False)

    def _resumed(self, started: RunStarted, facts: Sequence[Fact]) -> RunResumed:
        decided = {fact.flag: fact.value for fact in facts if isinstance(fact, FlagDecided)}
        return RunResumed(
            at=self.clock.time(), recorded=1 + len(facts), started=started.at, trace=started.trace,
            flags={**started.flags, **decided}, metadata=started.metadata, parent=started.parent,
        )  # fmt: skip

    def _ended(self, run_id: str, active: Active) -> None:
        del self.active[run_id]
        self.admission.leave(active.run.log)
        error = RunStopped("cancelled") if active.task.cancelled() else active.task.exception()
        if error is None:
            self.resting.discard(run_id)
            return
        self._released(run_id, active.started.workflow, error)
        if isinstance(error, (Mismatch, ChangedArguments, CorruptCheckpoint)):
            self._unfit[run_id] = active.program.graph.fingerprint, error
        if not isinstance(error, (LeaseLost, RunStopped)):
            _of_runs.error("run %s stopped: %s", run_id, error)
        if not isinstance(error, LeaseLost):
            self.resting.add(run_id)
            self.errands.begin(self._given_back(active.run.log, error))

    def _released(self, run_id: str, workflow: str, error: BaseException) -> None:
        code, reason = getattr(error, "code", "unexpected-error"), getattr(error, "message", str(error))
        self.services.notice(RunReleased, run_id, workflow, error=error, code=code, reason=reason)

    def dismiss(self, run_id: str, error: AwaitlyError) -> Queued:
        """Remove a run from the queue that goes on elsewhere."""
        queued = self.admission.take(run_id)
        self._released(run_id, queued.started.workflow, error)
        return queued

    async def _given_back(self, log: Log, error: BaseException) -> None:
        """Give a run back once what it appended is stored: somebody else's fence would have it refused."""
        with suppress(AwaitlyError):
            await log.barrier()
        await self.claims.give_back(log.run, log.fence, error)

    def holds(self, run_id: str) -> bool:
        """Whether a run is executed here, or waits here for room."""
        return run_id in self.active or run_id in self.admission.queue

    def sites(self, program: Program) -> SiteIndex:
        """Return the call sites of a program, the same for all its runs."""
        held = self._sites.get(id(program))
        if held is None or held[0] is not program:
            held = self._sites[id(program)] = program, SiteIndex(program)
        return held[1]

    # Asking.

    async def cancel(self, run_id: str, reason: str = "") -> bool:
        """Ask for a run's cancellation; returns when that is stored. False if the run has ended already.

        Raises:
            RunNotFound: If there is no such run.
        """
        reason = valid(reason)
        if not await self.store.request_cancel(run_id, reason):
            if await self.store.find(run_id) is None:
                raise RunNotFound(
                    f"there is no run {run_id!r} in {self.store.name}", hint="list them with: awaitly runs list"
                )
            return False
        self.request(run_id, reason)
        return True

    def request(self, run_id: str, reason: str) -> None:
        """Tell a run, if it is executed here, that its cancellation was asked for."""
        if run_id in self.admission.queue:
            self.admission.begin(run_id)
        active = self.active.get(run_id)
        if active is not None and not active.run.request.cancelled:
            active.run.request.cancelled = True
            active.run.request.make(CancelRequested(at=self.clock.time(), reason=reason))

    def _committed(self, facts: int, seconds: Sequence[float]) -> None:
        self.services.notice(Committed, facts=facts, seconds=seconds)

    # The lease.

    def _fences(self) -> dict[str, int]:
        owned = {run_id: queued.log.fence for run_id, queued in self.admission.queue.items()}
        return owned | {run_id: active.run.log.fence for run_id, active in self.active.items()}

    def _lost(self, runs: Sequence[str]) -> None:
        for run_id in runs:
            lost, active = LeaseLost(f"run {run_id!r} has been taken over by another process"), self.active.get(run_id)
            if run_id in self.admission.queue:
                self.dismiss(run_id, lost)
            if active is not None:
                active.run.log.fail(lost)
