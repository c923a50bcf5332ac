"""What is asked of a runtime that is open: to begin runs, find them, steer them, and continue what is left of them.

It comes with all that executes runs, so it is imported when a runtime is opened.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

from awaitly.errors import NotSupported, Overloaded, RunNotFound, ShuttingDown
from awaitly.execute.closing import Closed
from awaitly.execute.engine import Engine
from awaitly.execute.handles import Handle
from awaitly.execute.history import Arguments, ForkPlan, Verdict, begin_fork, check_all, plan_fork
from awaitly.execute.local import Asked, LocalHost, run_locally
from awaitly.execute.observed import run_observed
from awaitly.execute.outcomes import Outcome
from awaitly.execute.recovery import Recovery
from awaitly.execute.retrying import retry
from awaitly.execute.services import Services
from awaitly.execute.starting import Beginning, start, start_child
from awaitly.execute.waiting import outcome
from awaitly.model.facts import Fact
from awaitly.model.ids import checked_run_id, new_run_id
from awaitly.model.program import Program
from awaitly.model.state import RunRecord, Status


class Programs(Protocol):
    """The workflows that a runtime knows."""

    @property
    def by_name(self) -> Mapping[str, Program]:
        """The programs by the names of their workflows."""

    def named(self, workflow: str) -> Program:
        """Return the program of a workflow.

        Raises:
            ConfigurationError: ``invalid-setting``, if it is not known.
        """

    def check_flags(self, program: Program, flags: Mapping[str, object]) -> None:
        """Refuse what is given for the flags of a run.

        Raises:
            ConfigurationError: ``unknown-flag`` or ``invalid-option``.
        """


class Control:
    """The runs of one store, in the event loop in which it is opened.

    Args:
        services: The parts of the runtime.
        programs: The workflows that it knows.
        takes_over: Whether runs that nobody owns are continued without being asked for.
    """

    def __init__(self, services: Services, programs: Programs, *, takes_over: bool) -> None:
        self.engine = Engine(services)
        services.start_child = partial(start_child, self.engine)
        self._services = services
        self._store = services.store
        self._programs = programs
        self._recovery = Recovery(self.engine, takes_over=takes_over)
        for program in programs.by_name.values():
            self._recovery.know(program)

    async def open(self) -> None:
        """Register with the store.

        Raises:
            StoreError: If it cannot be used.
        """
        await self.engine.open()

    async def recover(self) -> None:
        """Take over unfinished runs that nobody owns, now and then again and again."""
        await self._recovery.open()

    def closes(self) -> None:
        """Begin no other run from now on."""
        self.engine.closed = True

    async def close(self, timeout: float, go_on: float) -> Closed:
        """Let runs end, of the ``timeout`` seconds ``go_on`` as always; the rest is resumable at once."""
        self._recovery.close()
        return await self.engine.close(timeout, go_on)

    async def begin(
        self, program: Program, options: Any, args: Any, kwargs: Any, wanted: Literal["value", "result", "handle"]
    ) -> Any:
        """Begin a run, and return its handle, or its value or result when it has ended."""
        if not program.graph.durable:
            return await self._locally(program, options, args, kwargs, wanted)
        if self._recovery.know(program):
            await self._recovery.recover()
        asked = Beginning(
            id=options.id, deadline=options.deadline, flags=options.flags, metadata=options.metadata,
            attach=options.attach,
        )  # fmt: skip
        try:
            run_id = await start(self.engine, program, args, kwargs, asked)
        except (Overloaded, ShuttingDown) as error:
            self.engine.refusals.note(program.graph.workflow, error)
            raise
        if wanted == "handle":
            return Handle(self.engine, program, run_id)
        return _wanted(await outcome(self.engine, program, run_id), wanted)

    async def handle(self, run_id: str) -> Handle[Any, Any]:
        """Return the handle of a run.

        Raises:
            RunNotFound: If there is none with this id.
        """
        record = await self.record(run_id)
        return self._held(self._programs.named(record.workflow), run_id)

    async def runs(
        self, *, workflow: str | None, status: Status | None, limit: int, before: str | None
    ) -> Sequence[RunRecord]:
        """Return the records of runs, newest first."""
        return await self._store.list(workflow=workflow, status=status, limit=limit, before=before)

    async def interrupted(self, records: Sequence[RunRecord]) -> frozenset[str]:
        """Return the ids of those that count as running or queued, but whose process is gone."""
        under_way = (Status.RUNNING, Status.QUEUED)
        owned = {record.id: record.owner for record in records if record.status in under_way}
        owners = {owner for owner in owned.values() if owner is not None}
        living = await self._store.living(owners) if owners else frozenset()
        return frozenset(run for run, owner in owned.items() if owner not in living)

    async def record(self, run_id: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            RunNotFound: If there is no run with this id.
        """
        record = await self._store.find(run_id)
        if record is None:
            raise RunNotFound(
                f"there is no run {run_id!r} in {self._store.name}", hint="list them with: awaitly runs list"
            )
        return record

    async def facts(self, run_id: str, *, after: int) -> Sequence[Fact]:
        """Return what a run's journal holds after a sequence number, in order.

        Raises:
            RunNotFound: If there is no run with this id.
        """
        await self.record(run_id)
        return await self._store.read(run_id, after=after)

    async def resume(self, run_id: str) -> Handle[Any, Any]:
        """Continue an unfinished run here, also one that is stuck, unless somebody executes it.

        Raises:
            RunNotFound: If there is no run with this id.
            Mismatch: If what it recorded does not fit the code; it stays as it is.
        """
        record = await self.record(run_id)
        program = self._programs.named(record.workflow)
        if not record.status.ended:
            await self.engine.take_over(program, run_id, force=True)
        return self._held(program, run_id)

    async def cancel(self, run_id: str, reason: str) -> bool:
        """Ask for a run's cancellation; returns when that is stored. False if it has ended already."""
        return await self.engine.cancel(run_id, reason)

    async def retry(self, run_id: str) -> Handle[Any, Any]:
        """Continue a failed run from before the failure that ended it.

        Raises:
            RunNotFound: If there is no run with this id.
            RunRefused: If it has not failed, or if effects that are stored would be repeated.
        """
        record = await self.record(run_id)
        program = self._programs.named(record.workflow)
        await retry(self.engine, program, run_id)
        return self._held(program, run_id)

    async def fork(
        self,
        run_id: str,
        *,
        at: str | None,
        id: str | None,
        arguments: Arguments | None,
        flags: Mapping[str, object] | None,
    ) -> Handle[Any, Any]:
        """Start a new run from what another recorded before a step.

        Raises:
            RunNotFound: If there is no run with this id.
            RunRefused: If nothing of that name is recorded, or if what it would keep does not fit the code.
        """
        program, plan = await self._planned(run_id, at, arguments, flags)
        plan.check()
        new_id = checked_run_id(id) if id is not None else new_run_id(program.graph.workflow)
        await begin_fork(self.engine, program, new_id, plan)
        return self._held(program, new_id)

    async def plan_fork(
        self, run_id: str, *, at: str | None, arguments: Arguments | None, flags: Mapping[str, object] | None
    ) -> ForkPlan:
        """Return what :meth:`fork` would keep, without doing it."""
        return (await self._planned(run_id, at, arguments, flags))[1]

    async def check(self) -> Sequence[Verdict]:
        """Say for every unfinished run of the known workflows whether this code can continue it, without effects."""
        return [verdict async for verdict in check_all(self.engine, self._programs.by_name)]

    async def _planned(
        self, run_id: str, at: str | None, arguments: Arguments | None, flags: Mapping[str, object] | None
    ) -> tuple[Program, ForkPlan]:
        record = await self.record(run_id)
        program = self._programs.named(record.workflow)
        self._programs.check_flags(program, flags or {})
        return program, await plan_fork(self.engine, program, run_id, at=at, arguments=arguments, flags=flags)

    async def _locally(self, program: Program, options: Any, args: Any, kwargs: Any, wanted: str) -> Any:
        if wanted == "handle":
            raise NotSupported(
                f"{program.graph.workflow}.start() was called, and it is not durable", hint="await its run() instead"
            )
        if self.engine.closed:
            error = ShuttingDown("the runtime is shutting down")
            self.engine.refusals.note(program.graph.workflow, error)
            raise error
        run_id = options.id or new_run_id(program.graph.workflow)
        deadline = options.deadline if options.deadline is not None else program.graph.deadline
        asked = Asked(id=run_id, deadline=deadline, flags=options.flags, metadata=options.metadata)
        return _wanted(await self._executed(program, asked, args, kwargs), wanted)

    async def _executed(self, program: Program, asked: Asked, args: Any, kwargs: Any) -> Outcome:
        called: Any = program.fn(*args, **kwargs)  # raises what a plain call does if they do not fit
        if self._services.observe is not None:
            return await run_observed(self._services, program, asked, called)
        outcome, _ = await run_locally(LocalHost(self._services, program, asked), called)
        return outcome

    def _held(self, program: Program, run_id: str) -> Handle[Any, Any]:
        return Handle(self.engine, program, run_id)


def _wanted(outcome: Outcome, wanted: str) -> Any:
    return outcome.take() if wanted == "value" else outcome.result()
