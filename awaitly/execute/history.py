"""What can be done with a run's past: fork it, check it against new code, follow it as it grows."""

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from awaitly.errors import AwaitlyError, RunRefused, ShuttingDown, StoreError
from awaitly.execute.dry import DryRun
from awaitly.execute.engine import Engine
from awaitly.execute.journal import Log
from awaitly.execute.recorded import PASSED_OVER, start_of
from awaitly.execute.retrying import allowed_time
from awaitly.model.facts import (
    CancelRequested,
    DeadlinePassed,
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
from awaitly.model.names import overlaid, spelt
from awaitly.model.program import Program
from awaitly.model.state import Status
from awaitly.persist.ports import Store
from awaitly.policies.clock import pause

Arguments: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any]]

FORGOTTEN = (RunFinished, RunRetried, StepStarted, StepWithheld, RetryScheduled)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPlan:
    """What a fork would take over: the start of the new run and the facts that it keeps.

    Attributes:
        dropped: what it does not keep: steps among that are executed again, where the code comes to them.
        problem: why it is refused; None if all that it keeps fits.
        before: the last call before which the run can be forked so that all fits; None if there is none.
    """

    started: RunStarted
    kept: tuple[Fact, ...]
    dropped: tuple[Fact, ...]
    problem: RunRefused | None = None
    before: str | None = None

    def check(self) -> None:
        """Refuse a fork that would stop where what it keeps does not fit, or begin earlier than it was asked to.

        Raises:
            RunRefused: If it would.
        """
        if self.problem is not None:
            raise self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether this code can continue a run: ``fits``, ``does-not-fit`` or ``unknown``, and why."""

    run: str
    workflow: str
    answer: str
    reason: str = ""


async def plan_fork(
    engine: Engine,
    program: Program,
    run_id: str,
    *,
    at: str | None = None,
    arguments: Arguments | None = None,
    flags: Mapping[str, object] | None = None,
) -> ForkPlan:
    """Return what a fork of a run would keep; ``flags`` are given to the new run, as to one that is started.

    Only without ``at``, other arguments mean that what does not fit them is not kept: who names a step does not expect
    that those before it are executed again.

    Raises:
        RunRefused: If no outcome of ``at`` is recorded, or an outcome that is kept depended on another value of a flag.
    """
    facts = await engine.store.read(run_id)
    # What began without an outcome began in the other run: in the new one it has not happened.
    past = [fact for fact in facts[1:] if not isinstance(fact, FORGOTTEN)]
    cut = _cut(past, len(past) if at is None else _position(run_id, past, at))
    started = _begun_anew(run_id, start_of(run_id, facts), program, engine.clock.time(), arguments)
    replay = DryRun(engine, program, run_id, started, past[:cut])
    fitting = await replay.fitting()
    as_fits = arguments is not None and at is None
    if as_fits:
        cut = min(cut, fitting)
    pinned = _pinned_flags(program, started, past[:cut])
    for name, value in (flags or {}).items():
        _check_free(run_id, name, value, pinned)
    started = replace(started, flags=overlaid(started.flags, flags or {}))
    # What no outcome depended on the new run decides for itself.
    kept = tuple(fact for fact in past[:cut] if not isinstance(fact, FlagDecided) or spelt(fact.flag) in pinned)
    plan = ForkPlan(started=started, kept=kept, dropped=tuple(past[cut:]))
    if as_fits or replay.found is None or replay.unsure:
        return plan
    before = _last_before(past, fitting)
    refusal = _unfit(started, replay.found, before) if arguments is None else _earlier(run_id, at, replay.found, before)
    return replace(plan, problem=refusal, before=before)


def _unfit(started: RunStarted, problem: AwaitlyError, before: str | None) -> RunRefused:
    """Return the refusal of a fork that would stop at once."""
    other = "start it again under another id"
    return RunRefused(
        f"the fork would not fit the code of {started.workflow}: {problem.message}",
        hint=f"keep less: {_at(before)}; or {other}" if before else f"nothing that it recorded fits: {other}",
    )


def _earlier(run_id: str, at: str | None, problem: AwaitlyError, before: str | None) -> RunRefused:
    """Return the refusal of a fork that other arguments would let begin before the step that was named."""
    again = "what follows is executed again, with other idempotency keys"
    return RunRefused(
        f"a fork of run {run_id!r} with these arguments would begin before {at}: {problem.message}",
        hint=f"if that is meant, fork it there: {_at(before)}; {again}"
        if before
        else f"if that is meant, leave out at (--at), which keeps what fits: nothing does, so {again}",
    )


def _at(call: str) -> str:
    return f"at={call!r}, on the command line --at {shlex.quote(call)}"


def _cut(past: Sequence[Fact], position: int) -> int:
    """Return how many facts may be kept: none after the run was asked to end."""
    ends = (index for index, fact in enumerate(past[:position]) if isinstance(fact, (CancelRequested, DeadlinePassed)))
    return next(ends, position)


def _begun_anew(
    run_id: str, started: RunStarted, program: Program, now: float, arguments: Arguments | None
) -> RunStarted:
    """Return the start of a fork of a run now, if need be with other arguments."""
    allowed = allowed_time(started)
    anew = replace(
        started, at=now, deadline=None if allowed is None else now + allowed, forked_from=run_id, parent=None,
        fingerprint=program.graph.fingerprint,
    )  # fmt: skip
    if arguments is None:
        return anew
    args, kwargs = arguments[0], dict(arguments[1])
    return replace(
        anew,
        arguments=program.arguments.encode(args, kwargs),
        arguments_digest=program.arguments.fingerprint(args, kwargs),
    )


def _last_before(past: Sequence[Fact], fitting: int) -> str | None:
    """Return the last call before which only what fits is recorded: ``fitting`` facts do."""
    for index, fact in enumerate(past):
        if index >= fitting and isinstance(fact, StepFinished):
            return fact.call
        if index >= fitting and not isinstance(fact, PASSED_OVER):
            break
    finished = [fact.call for fact in past[:fitting] if isinstance(fact, StepFinished)]
    return finished[-1] if finished else None


def _pinned_flags(program: Program, started: RunStarted, facts: Sequence[Fact]) -> dict[str, tuple[object, str]]:
    """Return the flags on which outcomes depended: their values, and the first call of each."""
    values = {spelt(name): value for name, value in started.flags.items()}
    pinned: dict[str, tuple[object, str]] = {}
    for fact in facts:
        if isinstance(fact, FlagDecided):
            values[spelt(fact.flag)] = fact.value
        elif isinstance(fact, StepFinished):
            binding = program.steps.get(fact.step)
            # A child run begins with all of its parent's flags, and nobody here knows which of them it looked at.
            names = list(values) if binding is None else [spelt(variant.flag) for variant in binding.variants]
            for name in names:
                if name in values:
                    pinned.setdefault(name, (values[name], fact.call))
    return pinned


def _check_free(run_id: str, name: str, value: object, pinned: Mapping[str, tuple[object, str]]) -> None:
    was, call = pinned.get(spelt(name), (value, ""))
    if was != value:
        raise RunRefused(
            f"a fork of run {run_id!r} cannot have {name}={value!r}: it keeps the outcome of {call}, for which it was"
            f" {was!r}",
            hint=f"fork it before that: {_at(call)}",
        )


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
    services = engine.services
    trace = "" if services.trace is None else services.trace(new_id, plan.started.workflow)
    traced = replace(plan, started=replace(plan.started, trace=trace))  # it is not in the trace of the other run
    await engine.errands.wholly(_forked(engine, program, new_id, traced))


async def _forked(engine: Engine, program: Program, new_id: str, plan: ForkPlan) -> None:
    log = Log(engine.services.committer, new_id, engine.lease.owner.id, 1, 0)
    log.append(plan.started)
    for fact in plan.kept:
        log.append(fact)
    try:
        await log.barrier()
    except StoreError:
        engine.claims.doubt(new_id)  # it may have been stored, and be ours
        raise
    engine.execute(program, log, plan.started, plan.kept)


async def check_all(engine: Engine, programs: Mapping[str, Program]) -> AsyncIterator[Verdict]:
    """Yield a verdict for every unfinished run: the structural check, then a replay without effects."""
    for status in (Status.PENDING, Status.QUEUED, Status.RUNNING):
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
        started = start_of(run_id, facts)
        engine.services.check(program, run_id, facts)
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
    """Yield the facts of a run as they are stored, from its start to its end, wherever it is executed.

    A retry removes what had failed, and numbers begin there again: who has seen some of that is told of the retry, and
    of what follows.

    Raises:
        ShuttingDown: If this process will not see the end of it.
    """
    seen = _Seen()
    while True:
        leaving = engine.closed and run_id not in engine.active
        for fact in await seen.news(engine.store, run_id):
            seen.note(fact)
            yield fact
            if isinstance(fact, RunFinished):
                return
        if leaving:
            raise ShuttingDown("the runtime is shutting down")
        await pause(engine.clock, FOLLOW)


class _Seen:
    """What somebody who follows a run has seen of its journal."""

    def __init__(self) -> None:
        self._marks: list[_Mark] = []  # by number
        self._last = 0  # the number of the last fact that a retry would not store again

    def note(self, fact: Fact) -> None:
        if not isinstance(fact, FlagDecided):
            self._last = len(self._marks)
        self._marks.append(_mark(fact))

    async def news(self, store: Store, run_id: str) -> Sequence[Fact]:
        """Return what has not been seen, from where the journal is another one than what was seen."""
        facts = await store.read(run_id, after=self._last - 1)
        known = self._marks[self._last :]
        if [_mark(fact) for fact in facts[: len(known)]] == known:
            return facts[len(known) :]
        facts = await store.read(run_id)
        same = 0
        for mark, fact in zip(self._marks, facts, strict=False):
            if mark != _mark(fact):
                break
            same += 1
        self._last = 0
        del self._marks[same:]
        return facts[same:]


_Mark: TypeAlias = tuple[type[Fact], float, str]


def _mark(fact: Fact) -> _Mark:
    """Return what tells a fact from another one that took its number."""
    return type(fact), fact.at, getattr(fact, "call", "")


FOLLOW = 0.1  # seconds between two looks
