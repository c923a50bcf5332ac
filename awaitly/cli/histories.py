"""A run and its child runs, read from a store without their code."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from awaitly.errors import CorruptCheckpoint, RunNotFound
from awaitly.model.facts import Fact, RunStarted, StepFinished
from awaitly.model.state import RunRecord, Status
from awaitly.render.progress import Progress
from awaitly.render.rows import Row
from awaitly.runtime import Runtime

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known of a run."""

    record: RunRecord
    started: RunStarted
    facts: Sequence[Fact]
    tree: Row
    interrupted: bool = False  # it counts as running, and nobody executes it


async def read_history(runtime: Runtime, run_id: str) -> History:
    """Return a run's history, its child runs in the tree.

    Raises:
        RunNotFound: If there is no run with this id.
        CorruptCheckpoint: If its journal cannot be read.
    """
    facts = await runtime.facts(run_id)
    record = await runtime.record(run_id)
    started = facts[0] if facts else None
    if not isinstance(started, RunStarted):
        raise CorruptCheckpoint(f"the journal of run {run_id!r} has no start", hint="restore the store from a backup")
    progress = Progress()
    await read_into(progress, runtime, record, facts)
    interrupted = bool(await runtime.interrupted([record]))
    return History(record=record, started=started, facts=facts, tree=progress.tree(run_id), interrupted=interrupted)


async def read_into(progress: Progress, runtime: Runtime, record: RunRecord, facts: Sequence[Fact]) -> None:
    """Fold a run and its child runs."""
    progress.load(record.id, record.workflow, facts)
    for child in await _children(runtime, record, facts):
        with suppress(RunNotFound):
            await read_into(progress, runtime, child, await runtime.facts(child.id))


async def _children(runtime: Runtime, parent: RunRecord, facts: Sequence[Fact]) -> list[RunRecord]:
    """Return the child runs whose id begins with their parent's: those without a key of their own."""
    steps = {fact.step for fact in facts if isinstance(fact, StepFinished)}
    found: dict[str, RunRecord] = {}
    for step in steps:
        for record in await runtime.runs(workflow=step, limit=_PAGE):
            found[record.id] = record
    if not parent.status.ended:
        for status in (Status.RUNNING, Status.QUEUED, Status.PENDING):
            for record in await runtime.runs(status=status, limit=_PAGE):
                found[record.id] = record
    prefix = f"{parent.id}/"
    return [record for record in found.values() if record.id.startswith(prefix)]
