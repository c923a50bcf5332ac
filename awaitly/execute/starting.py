"""Starting runs.

An id is idempotent. Starting creates the run in the store or finds out that it exists; then it is attached to, taken
over, or its stored result is given back.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awaitly.errors import (
    AwaitlyError,
    RunConflict,
    RunIdConflict,
    RunNotFound,
    RunRefused,
    ShuttingDown,
)
from awaitly.execute.engine import Engine
from awaitly.execute.handles import Handle
from awaitly.execute.journal import Log
from awaitly.execute.recorded import start_of
from awaitly.execute.retrying import retry_child
from awaitly.execute.tracking import watch
from awaitly.model.facts import RunStarted
from awaitly.model.ids import checked_run_id, new_run_id
from awaitly.model.names import overlaid
from awaitly.model.program import Program
from awaitly.model.state import Status


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
    due: float | None = None  # the parent's own deadline, a time of the wall clock


async def start(engine: Engine, program: Program, args: Any, kwargs: Any, asked: Beginning) -> str:
    """Start a run, or find the one that has its id. Returns the id once the start is stored.

    Raises:
        RunConflict: ``run-conflict``, if the id was started with other arguments.
        RunIdConflict: ``run-id-conflict``, if it belongs to another workflow or another parent.
        RunRefused: If it is running and attaching was refused.
        ShuttingDown: If the runtime is shutting down.
        Overloaded: If as many runs are executed here as may be, and others do not wait. Nothing was stored.
    """
    _check_open(engine, asked)
    watch(asyncio.get_running_loop(), engine.services.host)
    run_id = _chosen_id(program, args, kwargs, asked)
    if asked.parent is None and engine.admission.refuses:
        await _refuse_new(engine, run_id)
    started = _started(engine, run_id, program, args, kwargs, asked)
    while run_id in engine.starting:
        await asyncio.wait([engine.starting[run_id]])
    _check_open(engine, asked)
    if _here(engine, run_id) is None and await _created(engine, program, run_id, started):
        return run_id
    await _join(engine, program, run_id, started, asked)
    return run_id


def _check_open(engine: Engine, asked: Beginning) -> None:
    """Refuse runs during a shutdown; those that go on meanwhile begin children."""
    if engine.closed and (asked.parent is None or engine.parking):
        raise ShuttingDown("the runtime is shutting down")


async def _refuse_new(engine: Engine, run_id: str) -> None:
    """Refuse a run for which there is no room, unless it exists: who asks for that finds it."""
    if await engine.store.find(run_id) is None:
        raise engine.admission.refusal()


def _here(engine: Engine, run_id: str) -> RunStarted | None:
    """Return the start of a run that is executed here, or waits here for room."""
    here = engine.active.get(run_id) or engine.admission.queue.get(run_id)
    return None if here is None else here.started


async def start_child(
    engine: Engine,
    workflow: Any,
    options: Any,
    args: Any,
    kwargs: Any,
    *,
    parent: str,
    identity: str,
    retried: float | None,
    flags: Mapping[str, object],
    due: float | None,
) -> Handle[Any, Any]:
    """Start a child run; one that had failed before its parent was ``retried`` is retried with it.

    It begins with the flags that its parent has, and gets no more time than its parent has left.
    """
    program = engine.services.program(workflow)
    asked = Beginning(
        id=options.id, deadline=options.deadline, flags=overlaid(flags, options.flags), metadata=options.metadata,
        parent=parent, identity=identity, due=due,
    )  # fmt: skip
    child: Handle[Any, Any] = Handle(engine, program, await start(engine, program, args, kwargs, asked))
    if retried is not None:
        await retry_child(engine, program, child.id, retried)
    return child


def _chosen_id(program: Program, args: Any, kwargs: Any, asked: Beginning) -> str:
    if asked.id is not None:
        return checked_run_id(asked.id)
    if program.key is not None:
        return checked_run_id(program.key(args, kwargs))
    if asked.parent is not None:
        return checked_run_id(f"{asked.parent}/{asked.identity}")
    return new_run_id(program.graph.workflow)


def _started(engine: Engine, run_id: str, program: Program, args: Any, kwargs: Any, asked: Beginning) -> RunStarted:
    now = engine.clock.time()
    allowed = asked.deadline if asked.deadline is not None else program.graph.deadline
    return RunStarted(
        at=now,
        workflow=program.graph.workflow,
        version=program.graph.version,
        fingerprint=program.graph.fingerprint,
        arguments=program.arguments.encode(args, kwargs),
        arguments_digest=program.arguments.fingerprint(args, kwargs),
        seed=secrets.randbits(63),
        deadline=min(
            (due for due in (None if allowed is None else now + allowed, asked.due) if due is not None), default=None
        ),
        flags=overlaid(asked.flags),
        metadata=dict(asked.metadata),
        parent=asked.parent,
        trace="" if engine.services.trace is None else engine.services.trace(run_id, program.graph.workflow),
    )


async def _created(engine: Engine, program: Program, run_id: str, started: RunStarted) -> bool:
    log = Log(engine.services.committer, run_id, engine.lease.owner.id, 1, 0)
    waits = started.parent is None and not engine.admission.enter(log)
    if waits and not engine.admission.waits:  # others that were started at the same time had the last places
        await _refuse_new(engine, run_id)
        return False
    log.append(started)
    log.turn(waits=waits)
    gate = engine.starting[run_id] = asyncio.get_running_loop().create_future()
    try:
        await log.barrier()
    except asyncio.CancelledError:  # of who asked for it: what is being stored is executed all the same
        engine.errands.begin(_begun(engine, program, log, started, gate))
        raise
    except AwaitlyError:
        pass  # the next look at the log raises it again
    return await _begun(engine, program, log, started, gate)


async def _begun(engine: Engine, program: Program, log: Log, started: RunStarted, gate: "asyncio.Future[None]") -> bool:
    try:
        await log.barrier()
        engine.execute(program, log, started, ())
    except RunIdConflict:
        engine.admission.leave(log)
        return False
    except BaseException as error:
        engine.admission.leave(log)
        if isinstance(error, AwaitlyError):
            engine.claims.doubt(log.run)  # it may have been stored, and be ours
        raise
    finally:
        del engine.starting[log.run]
        gate.set_result(None)
    return True


async def _join(engine: Engine, program: Program, run_id: str, started: RunStarted, asked: Beginning) -> None:
    """Make sure that the run which has the id is the one that was meant, and that somebody executes it."""
    here = _here(engine, run_id)
    if here is not None:
        there, status = here, Status.RUNNING
    else:
        record = await engine.store.find(run_id)
        if record is None:
            raise RunNotFound(f"run {run_id!r} was removed while it was being started", hint="start it again")
        there, status = start_of(run_id, await engine.store.read(run_id)), record.status
    _same_run(run_id, there, started)
    if status.ended:
        return
    taken = here is None and await engine.take_over(program, run_id)
    if not taken and not asked.attach:
        raise RunRefused(
            f"run {run_id!r} is running already", hint="wait for it with attach=True, or choose another id"
        )


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
