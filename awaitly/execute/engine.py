"""Runs of one runtime: started, found, taken over, waited for, retried and forked.

An id is idempotent. Starting creates the run in the store or finds out that it exists; then it is attached to, taken
over, or its stored result is given back. Runs that this process executes are tasks of their own; whoever waits for one
only waits, and may be cancelled without harm to it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from awaitly.errors import (
    AwaitlyError,
    ChangedArguments,
    CorruptCheckpoint,
    LeaseLost,
    Mismatch,
    RunConflict,
    RunIdConflict,
    RunNotFound,
    RunRefused,
    RunStopped,
    StoreError,
    StuckRun,
)
from awaitly.execute import ending
from awaitly.execute.claims import Claims
from awaitly.policies.clock import pause
from awaitly.execute.journal import Committer, Log
from awaitly.execute.leases import Lease
from awaitly.execute.outcomes import Outcome
from awaitly.execute.resting import Resting
from awaitly.execute.retrying import retry_child
from awaitly.execute.run import Run
from awaitly.execute.services import Services
from awaitly.execute.sites import SiteIndex
from awaitly.execute.supervise import Supervision, supervise
from awaitly.execute.tracking import watch
from awaitly.model.clock import Clock, Timer
from awaitly.model.facts import CancelRequested, Fact, RunFinished, RunStarted
from awaitly.model.ids import checked_run_id, new_run_id
from awaitly.model.program import Program, StepBinding
from awaitly.model.state import RunRecord, Status
from awaitly.persist.ports import Owner, Store
from awaitly.policies.timeout import Expired, within
from awaitly.result import Err, Ok

R = TypeVar("R")

POLL = 0.1  # seconds between two looks at a run that another process executes
POLL_MOST = 1.0
SWEEP = 1.0  # seconds between two looks for requests and for runs without an owner
RECOVER = 1000  # runs that one look takes over
LAST_TURNS = 1.0  # seconds that stopped bodies have for their finally blocks
CLAIMS = 5  # without a new fact in between: then a run is stuck
STUCK = "find out what kills its process, then: awaitly runs resume"

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is asked of a run when it is started."""

    id: str | None = None
    deadline: float | None = None
    flags: Mapping[str, object]
    metadata: Mapping[str, str]
    attach: bool = True
    parent: str | None = None
    identity: str | None = None  # of the parent's call


@dataclass(slots=True, eq=False)
class Active:
    """A run that this process executes."""

    program: Program
    started: RunStarted
    task: "asyncio.Task[Outcome]"
    run: Run


class Engine:
    """Executes runs on one store, from one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        owner: Owner,
        clock: Clock,
        ttl: float,
        host: ContextVar[Any],
        context: Context,
        program: Callable[[Any], Program],
        bind: Callable[[Any], StepBinding],
        start_run: Callable[..., Coroutine[Any, Any, Any]],
        check: Callable[[Program, str, Sequence[Fact]], None],
        recovers: bool = True,
        observe: Callable[[str, str, Fact], None] | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.check = check
        self.recovers = recovers
        self.active: dict[str, Active] = {}
        self.programs: dict[str, Program] = {}
        self.lease = Lease(store, owner, ttl, clock, context)
        self.claims = Claims(store, owner.id)
        self.lease.fences = self._fences
        self.lease.on_lost = self._lost
        self.services = Services(
            clock=clock, store=store, committer=Committer(store, clock, context), lease=self.lease, host=host,
            context=context, bind=bind, program=program, start_run=start_run, start_child=self.start_child,
            observe=observe,
        )  # fmt: skip
        self._sites: dict[int, tuple[Program, SiteIndex]] = {}
        self._sweep_timer: Timer | None = None
        self._sweeps: set[asyncio.Task[Any]] = set()
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._unfit: dict[str, tuple[str, AwaitlyError]] = {}  # by run: a graph that it does not fit, and why
        self._reported: set[str] = set()
        self._resting = Resting(clock)
        self._seen: str | None = None  # the last run of the page that recovering looked at
        self._closed = False

    async def open(self) -> None:
        """Register with the store, begin the heartbeat, and take over what nobody owns."""
        watch(asyncio.get_running_loop(), self.services.host)
        await self.lease.open()
        await self.recover()
        self._sweep_later()

    async def close(self, timeout: float) -> None:
        """Stop: what is under way is recorded within ``timeout`` seconds, the rest is resumable at once."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for sweep in list(self._sweeps):
            sweep.cancel()
        stopping = RunStopped("the runtime is shutting down", hint="the run continues where it is resumed")
        tasks = [active.task for active in self.active.values()]
        for active in list(self.active.values()):
            active.run.park(stopping)
        if tasks:
            with suppress(Expired):
                await within(asyncio.wait(tasks), timeout, self.clock)
        for active in list(self.active.values()):
            active.run.stop(stopping)
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_TURNS)
        for active in list(self.active.values()):
            active.task.cancel()  # its body does not give way
        if tasks:
            await asyncio.wait(tasks)
        await self.services.committer.drain()
        await self.lease.close()

    def know(self, program: Program) -> bool:
        """Remember a workflow's program; True the first time: its unowned runs can be taken over."""
        name = program.graph.workflow
        known = self.programs.get(name)
        self.programs[name] = program
        return known is None

    # Starting.

    async def start(self, program: Program, args: Any, kwargs: Any, asked: Beginning) -> str:
        """Start a run, or find the one that has its id. Returns the id once the start is stored.

        Raises:
            RunConflict: ``run-conflict``, if the id was started with other arguments.
            RunIdConflict: ``run-id-conflict``, if it belongs to another workflow or another parent.
            RunRefused: If it is running and attaching was refused.
        """
        if self._closed:
            raise RunStopped("the runtime is shutting down", hint="start the run elsewhere, or later")
        watch(asyncio.get_running_loop(), self.services.host)
        run_id = self._chosen_id(program, args, kwargs, asked)
        started = self._started(run_id, program, args, kwargs, asked)
        while run_id in self._starting:
            await asyncio.wait([self._starting[run_id]])
        if run_id not in self.active and await self._created(program, run_id, started):
            return run_id
        await self._join(program, run_id, started, asked)
        return run_id

    async def start_child(
        self, workflow: Any, options: Any, args: Any, kwargs: Any, *, parent: str, identity: str, retried: float | None
    ) -> "Child":
        """Start a child run; one that had failed before its parent was ``retried`` is retried with it."""
        program = self.services.program(workflow)
        asked = Beginning(
            id=options.id, deadline=options.deadline, flags=options.flags, metadata=options.metadata,
            parent=parent, identity=identity,
        )  # fmt: skip
        child = Child(self, program, await self.start(program, args, kwargs, asked))
        if retried is not None:
            await retry_child(self, program, child.id, retried)
        return child

    def _chosen_id(self, program: Program, args: Any, kwargs: Any, asked: Beginning) -> str:
        if asked.id is not None:
            return checked_run_id(asked.id)
        if program.key is not None:
            return checked_run_id(program.key(args, kwargs))
        if asked.parent is not None:
            return checked_run_id(f"{asked.parent}/{asked.identity}")
        return new_run_id(program.graph.workflow)

    def _started(self, run_id: str, program: Program, args: Any, kwargs: Any, asked: Beginning) -> RunStarted:
        now = self.clock.time()
        allowed = asked.deadline if asked.deadline is not None else program.graph.deadline
        return RunStarted(
            at=now,
            workflow=program.graph.workflow,
            version=program.graph.version,
            fingerprint=program.graph.fingerprint,
            arguments=program.arguments.encode(args, kwargs),
            arguments_digest=program.arguments.fingerprint(args, kwargs),
            seed=secrets.randbits(63),
            deadline=None if allowed is None else now + allowed,
            flags=dict(asked.flags),
            metadata=dict(asked.metadata),
            parent=asked.parent,
        )

    async def _created(self, program: Program, run_id: str, started: RunStarted) -> bool:
        log = Log(self.services.committer, run_id, self.lease.owner.id, 1, 0)
        log.append(started)
        gate = self._starting[run_id] = asyncio.get_running_loop().create_future()
        try:
            await log.barrier()
        except asyncio.CancelledError:  # of who asked for it: what is being stored is executed all the same
            self._aside(self._begun(program, log, started, gate))
            raise
        except AwaitlyError:
            pass  # the next look at the log raises it again
        return await self._begun(program, log, started, gate)

    async def _begun(self, program: Program, log: Log, started: RunStarted, gate: "asyncio.Future[None]") -> bool:
        try:
            await log.barrier()
            self.execute(program, log, started, ())
        except RunIdConflict:
            return False
        except AwaitlyError:
            self.claims.doubt(log.run)  # it may have been stored, and be ours
            raise
        finally:
            del self._starting[log.run]
            gate.set_result(None)
        return True

    async def _join(self, program: Program, run_id: str, started: RunStarted, asked: Beginning) -> None:
        """Make sure that the run which has the id is the one that was meant, and that somebody executes it."""
        active = self.active.get(run_id)
        if active is not None:
            there, status = active.started, Status.RUNNING
        else:
            record = await self.store.find(run_id)
            if record is None:
                raise RunNotFound(f"run {run_id!r} was removed while it was being started", hint="start it again")
            there, status = await self._start_of(run_id), record.status
        _same_run(run_id, there, started)
        if status.ended:
            return
        taken = active is None and await self.take_over(program, run_id)
        if not taken and not asked.attach:
            raise RunRefused(
                f"run {run_id!r} is running already", hint="wait for it with attach=True, or choose another id"
            )

    async def _start_of(self, run_id: str) -> RunStarted:
        facts = await self.store.read(run_id)
        started = facts[0] if facts else None
        if not isinstance(started, RunStarted):
            raise CorruptCheckpoint(
                f"run {run_id!r} has no start in its journal", hint="restore the store from a backup"
            )
        return started

    # Executing.

    async def take_over(self, program: Program, run_id: str, *, force: bool = False) -> bool:
        """Claim a run that nobody alive owns and continue it; False if somebody does.

        Raises:
            AwaitlyError: If what is recorded does not fit the program; the run is untouched and released.
        """
        return await self.wholly(self._taken_over(program, run_id, force=force))

    async def wholly(self, work: Coroutine[Any, Any, R]) -> R:
        """Do work to its end even when who asked for it goes away: a run that is claimed is executed.

        Raises:
            RunStopped: If the runtime was shut down meanwhile.
        """
        task = self._aside(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed and task.cancelled():
                raise RunStopped("the runtime is shutting down", hint="the run continues where it is resumed") from None
            raise

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
            facts = await self.store.read(run_id)
            started = facts[0]
            assert isinstance(started, RunStarted)
            if claim.record.claims > CLAIMS and not force:
                raise StuckRun(f"run {run_id!r} was claimed {claim.record.claims} times and got no further", hint=STUCK)
            self.check(program, run_id, facts)
            log = Log(self.services.committer, run_id, self.lease.owner.id, claim.fence, len(facts))
            self.execute(program, log, started, facts[1:], cancelled=claim.record.cancel_requested)
        except Exception as error:
            if isinstance(error, AwaitlyError) and not isinstance(error, StoreError):
                self._unfit[run_id] = graph, error
            await self.claims.give_back(run_id, claim.fence)
            raise
        return True

    def execute(
        self, program: Program, log: Log, started: RunStarted, facts: Sequence[Fact], *, cancelled: str | None = None
    ) -> None:
        """Execute a run that this process owns, from its start and what is recorded."""
        args, kwargs = program.arguments.decode(started.arguments)
        run = Run(self.services, program, self.sites(program), log, started, facts)
        loop = asyncio.get_running_loop()
        task = Supervision(run, supervise(run, args, kwargs), loop=loop, context=self.services.context.copy())
        self.active[log.run] = active = Active(program, started, task, run)
        task.add_done_callback(lambda _: self._ended(log.run, active))
        run.observe(started)
        if cancelled is not None:
            self._request(active, cancelled)

    def _ended(self, run_id: str, active: Active) -> None:
        del self.active[run_id]
        error = RunStopped("cancelled") if active.task.cancelled() else active.task.exception()
        if error is None:
            self._resting.discard(run_id)
            return
        if isinstance(error, (Mismatch, ChangedArguments, CorruptCheckpoint)):
            self._unfit[run_id] = active.program.graph.fingerprint, error
        if not isinstance(error, (LeaseLost, RunStopped)):
            _log.error("run %s stopped: %s", run_id, error)
        if not isinstance(error, LeaseLost):
            self._resting.add(run_id)
            self._aside(self.claims.give_back(run_id, active.run.log.fence))

    def sites(self, program: Program) -> SiteIndex:
        """Return the call sites of a program, the same for all its runs."""
        held = self._sites.get(id(program))
        if held is None or held[0] is not program:
            held = self._sites[id(program)] = program, SiteIndex(program)
        return held[1]

    # Waiting.

    async def outcome(self, program: Program, run_id: str) -> Outcome:
        """Wait for the end of a run, wherever it is executed, and return its outcome.

        Raises:
            RunNotFound: If there is no such run.
            AwaitlyError: If the run stopped here without ending.
        """
        wait = POLL
        while True:
            active = self.active.get(run_id)
            if active is not None:
                try:
                    return await _waited(active.task)
                except LeaseLost:
                    continue
            record = await self.store.find(run_id)
            if record is None:
                raise RunNotFound(
                    f"there is no run {run_id!r} in {self.store.name}", hint="list them with: awaitly runs list"
                )
            if record.status.ended:
                return ending.restored(program, await self._end_of(run_id))
            if run_id not in self.active and not await self.take_over(program, run_id):
                await pause(self.clock, wait)
                wait = min(POLL_MOST, wait * 1.5)

    async def _end_of(self, run_id: str) -> RunFinished:
        facts = await self.store.read(run_id)
        if facts and isinstance(facts[-1], RunFinished):
            return facts[-1]
        raise CorruptCheckpoint(
            f"run {run_id!r} has ended but its journal has no end", hint="restore the store from a backup"
        )

    # Asking.

    async def cancel(self, run_id: str, reason: str = "") -> bool:
        """Ask for a run's cancellation; returns when that is stored. False if the run has ended already.

        Raises:
            RunNotFound: If there is no such run.
        """
        if not await self.store.request_cancel(run_id, reason):
            if await self.store.find(run_id) is None:
                raise RunNotFound(
                    f"there is no run {run_id!r} in {self.store.name}", hint="list them with: awaitly runs list"
                )
            return False
        active = self.active.get(run_id)
        if active is not None:
            self._request(active, reason)
        return True

    def _request(self, active: Active, reason: str) -> None:
        if not active.run.cancel_asked:
            active.run.cancel_asked = True
            active.run.delivery.arrive(active.run, CancelRequested(at=self.clock.time(), reason=reason))

    # Taking over.

    async def recover(self) -> None:
        """Take over the unfinished runs of known workflows that nobody alive owns, one page of them after another."""
        if not self.recovers:
            return
        page = await self.store.claimable(list(self.programs), limit=RECOVER, after=self._seen)
        self._seen = page[-1].id if len(page) == RECOVER else None
        for record in page:
            if record.id not in self.active and record.id not in self._resting and not self._closed:
                await self._recover(record)

    async def _recover(self, record: RunRecord) -> None:
        try:
            await self.take_over(self.programs[record.workflow], record.id)
        except AwaitlyError as error:
            if record.id not in self._reported:
                self._reported.add(record.id)
                _log.error("run %s cannot be continued: %s", record.id, error)

    def _sweep_later(self) -> None:
        interval = min(SWEEP, self.lease.ttl / 3)
        self._sweep_timer = self.services.call_later(interval, self._sweep)

    def _sweep(self) -> None:
        if not self._closed:
            self._aside(self._look_around())

    async def _look_around(self) -> None:
        try:
            for run_id, reason in await self.store.cancels(self.lease.owner.id):
                active = self.active.get(run_id)
                if active is not None:
                    self._request(active, reason)
            await self.claims.settle(self.active)
            await self.recover()
        except AwaitlyError as error:
            _log.warning("the store could not be asked for work: %s", error)
        finally:
            if not self._closed:
                self._sweep_later()

    def _aside(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        task = asyncio.get_running_loop().create_task(work, context=self.services.context)
        self._sweeps.add(task)
        task.add_done_callback(self._swept)
        return task

    def _swept(self, task: "asyncio.Task[Any]") -> None:
        self._sweeps.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: who asked for the work gets it, or is gone

    # The lease.

    def _fences(self) -> dict[str, int]:
        return {run_id: active.run.log.fence for run_id, active in self.active.items()}

    def _lost(self, runs: Sequence[str]) -> None:
        for run_id in runs:
            active = self.active.get(run_id)
            if active is not None:
                active.run.log.fail(LeaseLost(f"run {run_id!r} has been taken over by another process"))


class Child:
    """A child run as its parent waits for it."""

    def __init__(self, engine: Engine, program: Program, run_id: str) -> None:
        self._engine = engine
        self._program = program
        self.id = run_id

    async def result(self) -> Ok[Any] | Err[Any]:
        """Wait for the end and return the result."""
        return (await self._engine.outcome(self._program, self.id)).result()

    async def cancel(self, reason: str = "") -> None:
        """Ask for its cancellation."""
        await self._engine.cancel(self.id, reason)


async def _waited(task: "asyncio.Task[Outcome]") -> Outcome:
    """Return a task's result; whoever is cancelled meanwhile leaves the task alone."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object) -> None:
        if not done.done():
            done.set_result(None)

    task.add_done_callback(wake)
    try:
        await done
    finally:
        task.remove_done_callback(wake)
    if task.cancelled():
        raise RunStopped("the runtime was shut down before the run had ended", hint="it continues where it is resumed")
    return task.result()


def _same_run(run_id: str, there: RunStarted, asked: RunStarted) -> None:
    if there.workflow != asked.workflow:
        raise RunIdConflict(
            f"the id {run_id!r} belongs to a run of {there.workflow}, not of {asked.workflow}",
            hint="ids are unique in a store: put the workflow's name into the key",
        )
    if there.parent != asked.parent:
        raise RunIdConflict(
            f"the id {run_id!r} belongs to "
            + (f"a child of run {there.parent!r}" if there.parent else "a run without a parent")
            + (f", not of {asked.parent!r}" if asked.parent else ", not to a run that is started by itself"),
            hint=(
                "give the child a key of its own"
                if asked.parent
                else f"read its result: (await rt.handle({run_id!r})).result()"
            ),
        )
    if there.arguments_digest != asked.arguments_digest:
        raise RunConflict(
            f"run {run_id!r} of {there.workflow} was started with other arguments",
            hint="use the same arguments to get its result, or another id for another run",
        )
