"""Waiting for a run's end, wherever it is executed. Whoever waits may be cancelled without harm to the run."""

import asyncio

from awaitly.errors import CorruptCheckpoint, LeaseLost, RunNotFound, RunStopped, ShuttingDown
from awaitly.execute import ending
from awaitly.execute.engine import Engine
from awaitly.execute.outcomes import Outcome
from awaitly.model.facts import RunFinished
from awaitly.model.program import Program
from awaitly.persist.ports import Store
from awaitly.policies.clock import pause

POLL = 0.1  # seconds between two looks at a run that another process executes
POLL_MOST = 1.0


async def outcome(engine: Engine, program: Program, run_id: str) -> Outcome:
    """Wait for the end of a run and return its outcome; a run that nobody executes is taken over.

    Raises:
        RunNotFound: If there is no such run.
        ShuttingDown: If this process will not see the end of it.
        AwaitlyError: If the run stopped here without ending.
    """
    wait = POLL
    while True:
        active = engine.active.get(run_id)
        if active is not None:
            try:
                return await _waited(active.task)
            except LeaseLost:
                continue
        if run_id in engine.admission.queue:
            await asyncio.shield(engine.admission.queue[run_id].gone)
            continue
        record = await engine.store.find(run_id)
        if record is None:
            raise RunNotFound(
                f"there is no run {run_id!r} in {engine.store.name}", hint="list them with: awaitly runs list"
            )
        if record.status.ended:
            return ending.restored(program, await _end_of(engine.store, run_id))
        if engine.closed:  # it is executed elsewhere, or will be
            raise ShuttingDown("the runtime is shutting down")
        if run_id not in engine.active and not await engine.take_over(program, run_id):
            await pause(engine.clock, wait)
            wait = min(POLL_MOST, wait * 1.5)


async def _end_of(store: Store, run_id: str) -> RunFinished:
    facts = await store.read(run_id)
    if facts and isinstance(facts[-1], RunFinished):
        return facts[-1]
    raise CorruptCheckpoint(
        f"run {run_id!r} has ended but its journal has no end", hint="restore the store from a backup"
    )


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
