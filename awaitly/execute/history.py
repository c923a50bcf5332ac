"""What can be done with a run's past: retry it, fork it, check it against new code, follow it as it grows."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from awaitly.errors import AwaitlyError, LeaseLost, RunRefused
from awaitly.execute.clock import pause
from awaitly.execute.dry import DryRun
from awaitly.execute.engine import Engine
from awaitly.execute.journal import Log
from awaitly.model.facts import (
    CancelRequested,
    DeadlinePassed,
    Ending,
    Fact,
    RunFinished,
    RunRetried,
    RunStarted,
    StepFinished,
    StepStarted,
)
from awaitly.model.program import Program
from awaitly.model.state import Status

Arguments: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPlan:
    """What a fork would take over: the start of the new run and the facts that it keeps."""

    started: RunStarted
    kept: tuple[Fact, ...]
    dropped: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether this code can continue a run: ``fits``, ``does-not-fit`` or ``unknown``, and why."""

    run: str
    workflow: str
    answer: str
    reason: str = ""


async def retry(engine: Engine, program: Program, run_id: str) -> None:
    """Continue a failed run from before the outcome that ended it.

    The failed outcome that left the workflow is removed with everything delivered after it; failures that the body
    caught before stay. The deadline starts again.

    Raises:
        RunRefused: If the run has not failed, or a stored effect would be repeated; the run is untouched.
    """
    await engine.wholly(_retried(engine, program, run_id))


async def _retried(engine: Engine, program: Program, run_id: str) -> None:
    facts = await engine.store.read(run_id)
    cut = _cut(run_id, program, facts)
    claim = await engine.store.claim(run_id, engine.lease.owner.id, ended=True)
    if claim is None:
        raise RunRefused(f"run {run_id!r} is being continued by somebody else", hint="wait for its result")
    if await engine.store.read(run_id) != facts:
        await engine.store.release(run_id, claim.fence)
        raise RunRefused(f"run {run_id!r} was continued by somebody else meanwhile", hint="look at it again")
    if not await engine.store.truncate(run_id, claim.fence, cut):
        raise LeaseLost(f"run {run_id!r} has been taken over by another process")
    started = facts[0]
    assert isinstance(started, RunStarted)
    now = engine.clock.time()
    allowed = _allowed(started)
    retried = RunRetried(at=now, deadline=None if allowed is None else now + allowed)
    log = Log(engine.services.committer, run_id, engine.lease.owner.id, claim.fence, cut)
    log.append(retried)
    await log.barrier()
    engine.execute(program, log, started, [*facts[1:cut], retried])


def _allowed(started: RunStarted) -> float | None:
    """Return how much time a run was given at its start."""
    return None if started.deadline is None else started.deadline - started.at


def _cut(run_id: str, program: Program, facts: Sequence[Fact]) -> int:
    """Return the number of the first fact to remove."""
    end = facts[-1] if facts else None
    if not isinstance(end, RunFinished) or end.ending is Ending.VALUE:
        state = "has succeeded" if isinstance(end, RunFinished) else "has not ended"
        raise RunRefused(f"run {run_id!r} {state}: there is nothing to retry", hint="fork it to run parts of it again")
    cut = len(facts) - 1 if end.blame is None else end.blame
    if end.ending in (Ending.CANCELLED, Ending.DEADLINE):
        cut = next(at for at, fact in enumerate(facts) if isinstance(fact, (CancelRequested, DeadlinePassed)))
    for fact in facts[cut:]:
        if isinstance(fact, StepFinished) and fact.ending is Ending.VALUE and _guarded(program, fact.step):
            raise RunRefused(
                f"retrying run {run_id!r} would repeat {fact.call}, an effect that is stored after the failure",
                hint=f"fork it: awaitly runs fork {run_id} --at STEP, or start it again under another id",
            )
    return cut


def _guarded(program: Program, step: str) -> bool:
    binding = program.steps.get(step)
    return binding is None or binding.effect.guarded


async def plan_fork(
    engine: Engine, program: Program, run_id: str, *, at: str | None = None, arguments: Arguments | None = None
) -> ForkPlan:
    """Return what a fork of a run would keep.

    Raises:
        RunRefused: If no outcome of ``at`` is recorded.
    """
    facts = await engine.store.read(run_id)
    started = facts[0]
    assert isinstance(started, RunStarted)
    # What began without an outcome began in the other run: in the new one it has not happened.
    past = [fact for fact in facts[1:] if not isinstance(fact, (RunFinished, RunRetried, StepStarted))]
    cut = len(past) if at is None else _position(run_id, past, at)
    for index, fact in enumerate(past[:cut]):
        if isinstance(fact, (CancelRequested, DeadlinePassed)):
            cut = index
            break
    now = engine.clock.time()
    allowed = _allowed(started)
    started = replace(
        started, at=now, deadline=None if allowed is None else now + allowed, forked_from=run_id, parent=None,
        fingerprint=program.graph.fingerprint,
    )  # fmt: skip
    if arguments is not None:
        args, kwargs = arguments[0], dict(arguments[1])
        started = replace(
            started,
            arguments=program.arguments.encode(args, kwargs),
            arguments_digest=program.arguments.fingerprint(args, kwargs),
        )
        cut = min(cut, await DryRun(engine, program, run_id, started, past[:cut]).fitting())
    return ForkPlan(started=started, kept=tuple(past[:cut]), dropped=tuple(past[cut:]))


def _position(run_id: str, past: Sequence[Fact], at: str) -> int:
    for index, fact in enumerate(past):
        if isinstance(fact, StepFinished) and at in (fact.step, fact.call):
            return index
    steps = sorted({fact.step for fact in past if isinstance(fact, StepFinished)})
    raise RunRefused(
        f"run {run_id!r} recorded no outcome of {at!r}",
        hint=f"name one of {', '.join(steps) or 'its steps: it has none'}",
    )


async def begin_fork(engine: Engine, program: Program, new_id: str, plan: ForkPlan) -> None:
    """Store the new run with what it keeps, in one commit, and continue it from there."""
    await engine.wholly(_forked(engine, program, new_id, plan))


async def _forked(engine: Engine, program: Program, new_id: str, plan: ForkPlan) -> None:
    log = Log(engine.services.committer, new_id, engine.lease.owner.id, 1, 0)
    log.append(plan.started)
    for fact in plan.kept:
        log.append(fact)
    await log.barrier()
    engine.execute(program, log, plan.started, plan.kept)


async def check_all(engine: Engine, programs: Mapping[str, Program]) -> AsyncIterator[Verdict]:
    """Yield a verdict for every unfinished run: the structural check, then a replay without effects."""
    for status in (Status.PENDING, Status.RUNNING):
        before = None
        while True:
            page = await engine.store.list(status=status, limit=200, before=before)
            for record in page:
                program = programs.get(record.workflow)
                if program is None:
                    yield Verdict(
                        run=record.id, workflow=record.workflow, answer="unknown", reason="its workflow was not given"
                    )
                else:
                    yield await _checked(engine, program, record.id)
            if len(page) < 200:
                break
            before = page[-1].id


async def _checked(engine: Engine, program: Program, run_id: str) -> Verdict:
    name = program.graph.workflow
    try:
        facts = await engine.store.read(run_id)
        engine.check(program, facts)
        started = facts[0]
        assert isinstance(started, RunStarted)
        dry = DryRun(engine, program, run_id, started, facts[1:])
        problem = await dry.problem()
    except AwaitlyError as error:
        problem = error
    if problem is not None:
        return Verdict(run=run_id, workflow=name, answer="does-not-fit", reason=str(problem))
    opaque = [found.message for found in program.graph.diagnostics if found.code in OPAQUE]
    if opaque:
        return Verdict(run=run_id, workflow=name, answer="unknown", reason=opaque[0])
    return Verdict(run=run_id, workflow=name, answer="fits")


OPAQUE = frozenset({"opaque-call", "io-outside-step"})


async def follow(engine: Engine, run_id: str) -> AsyncIterator[Fact]:
    """Yield the facts of a run as they are stored, from its start to its end, wherever it is executed."""
    seen = -1
    while True:
        facts = await engine.store.read(run_id, after=seen)
        for fact in facts:
            yield fact
            if isinstance(fact, RunFinished):
                return
        seen += len(facts)
        await pause(engine.clock, FOLLOW)


FOLLOW = 0.1  # seconds between two looks
