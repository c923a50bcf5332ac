"""Continuing a failed run from before its failure, and with it the children that made it fail."""

from collections.abc import Collection, Sequence
from contextlib import suppress

from awaitly.errors import LeaseLost, RunRefused
from awaitly.execute.engine import Engine
from awaitly.execute.journal import Log
from awaitly.execute.recorded import start_of
from awaitly.model.effects import Effect
from awaitly.model.facts import (
    CancelRequested,
    DeadlinePassed,
    Ending,
    Fact,
    FlagDecided,
    RetryScheduled,
    RunFinished,
    RunRetried,
    RunStarted,
    StepFinished,
    StepStarted,
    StepWithheld,
)
from awaitly.model.program import Program


async def retry(engine: Engine, program: Program, run_id: str) -> None:
    """Continue a failed run from before the outcome that ended it.

    The failed outcome that left the workflow is removed with everything delivered after it; failures that the body
    caught before stay. The deadline starts again.

    Raises:
        RunRefused: If the run has not failed, was cancelled, or an effect would be repeated; the run is untouched.
    """
    facts = await engine.store.read(run_id)
    _refuse_cancelled(run_id, facts)
    await engine.errands.wholly(_retried(engine, program, run_id, facts))


async def retry_child(engine: Engine, program: Program, run_id: str, since: float) -> None:
    """Retry a child that had ended badly before its parent was retried; one that may not be retried stays as it is.

    It may have been cancelled, as a sibling had failed.
    """
    facts = await engine.store.read(run_id)
    end = facts[-1] if facts else None
    if isinstance(end, RunFinished) and end.ending is not Ending.VALUE and end.at <= since:
        with suppress(RunRefused):
            await engine.errands.wholly(_retried(engine, program, run_id, facts))


def allowed_time(started: RunStarted) -> float | None:
    """Return how much time a run was given at its start."""
    return None if started.deadline is None else started.deadline - started.at


async def _retried(engine: Engine, program: Program, run_id: str, facts: Sequence[Fact]) -> None:
    cut = _cut(run_id, program, facts)
    claim = await engine.claims.take(run_id, ended=True)
    if claim is None:
        raise RunRefused(f"run {run_id!r} is being continued by somebody else", hint="wait for its result")
    try:
        await _continued(engine, program, run_id, claim.fence, facts, cut)
    except Exception:
        await engine.claims.give_back(run_id, claim.fence)
        raise


async def _continued(
    engine: Engine, program: Program, run_id: str, fence: int, facts: Sequence[Fact], cut: int
) -> None:
    if await engine.store.read(run_id) != facts:
        raise RunRefused(f"run {run_id!r} was continued by somebody else meanwhile", hint="look at it again")
    started = start_of(run_id, facts)
    now, allowed = engine.clock.time(), allowed_time(started)
    fact = RunRetried(at=now, deadline=None if allowed is None else now + allowed)
    if not await engine.store.truncate(run_id, fence, cut, fact):
        raise LeaseLost(f"run {run_id!r} has been taken over by another process")
    log = Log(engine.services.committer, run_id, engine.lease.owner.id, fence, cut + 1)
    log.inherited = False  # the run had ended: nothing was under way
    decided = [fact for fact in facts[cut:] if isinstance(fact, FlagDecided)]  # and stays so for the run's whole life
    for decision in decided:
        log.append(decision)
    engine.execute(program, log, started, [*facts[1:cut], fact, *decided], resumed=True)


def _refuse_cancelled(run_id: str, facts: Sequence[Fact]) -> None:
    end = facts[-1] if facts else None
    if isinstance(end, RunFinished) and end.ending is Ending.CANCELLED:
        raise RunRefused(
            f"run {run_id!r} was cancelled: there is no failure to go on from",
            hint=f"go on from before that in another run, awaitly runs fork {run_id}, or start it under another id",
        )


def _cut(run_id: str, program: Program, facts: Sequence[Fact]) -> int:
    """Return the number of the first fact to remove."""
    end = facts[-1] if facts else None
    if not isinstance(end, RunFinished) or end.ending is Ending.VALUE:
        state = "has succeeded" if isinstance(end, RunFinished) else "has not ended"
        raise RunRefused(f"run {run_id!r} {state}: there is nothing to retry", hint="fork it to run parts of it again")
    cut = len(facts) - 1 if end.blame is None else end.blame
    if end.ending in (Ending.CANCELLED, Ending.DEADLINE):
        cut = next(at for at, fact in enumerate(facts) if isinstance(fact, (CancelRequested, DeadlinePassed)))
    began = {fact.call for fact in facts if isinstance(fact, StepStarted)}
    settled = _settled(facts)
    for fact in facts[cut:]:
        reason = _repeats(program, began, settled, fact)
        if reason is not None:
            raise RunRefused(
                f"retrying run {run_id!r} would repeat {reason}",
                hint=f"fork it: awaitly runs fork {run_id} --at STEP, or start it again under another id",
            )
    return cut


def _settled(facts: Sequence[Fact]) -> set[str]:
    """Return the calls whose last start came to nothing."""
    calls: set[str] = set()
    for fact in facts:
        match fact:
            case StepStarted(call=call):
                calls.discard(call)
            case RetryScheduled(call=call) | StepWithheld(call=call):
                calls.add(call)
            case _:
                pass
    return calls


def _repeats(program: Program, began: Collection[str], settled: Collection[str], fact: Fact) -> str | None:
    """Return what would happen twice if the fact were removed."""
    match fact:
        case StepStarted(call=call) if call not in settled:
            return f"{call}, which happens once and began after the failure"
        case StepFinished(call=call, step=step, attempts=made) if made and (call in began or _once(program, step)):
            return f"{call}, which happens once"
        case StepFinished(call=call, step=step, ending=Ending.VALUE) if _guarded(program, step):
            return f"{call}, an effect that is stored after the failure"
    return None


def _guarded(program: Program, step: str) -> bool:
    binding = program.steps.get(step)
    return binding is None or binding.effect.guarded


def _once(program: Program, step: str) -> bool:
    binding = program.steps.get(step)
    return binding is not None and binding.effect is Effect.ONCE
