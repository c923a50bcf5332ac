"""From how a body ended to how its run ends: which errors are expected, and which outcome is to blame."""

import asyncio
from collections.abc import Sequence
from typing import Any

from awaitly.errors import DeadlineExceeded, Failure, RunCancelled, UnexpectedError, Unserialisable, UnwrapError
from awaitly.execute.outcomes import Outcome, carried, encoded, raisable
from awaitly.model.facts import Ending, RunFinished
from awaitly.model.program import Program
from awaitly.result import Err, Ok


def returned(program: Program, value: Any) -> tuple[Outcome, bytes]:
    """Return the end of a run whose body returned ``value``."""
    name = program.graph.workflow
    if program.returns_result:
        if isinstance(value, Err):
            return _failed(program, Ending.FAILURE, value.error)
        if isinstance(value, Ok):
            value = value.value
    try:
        payload, kept = program.result.roundtrip(value)
    except Unserialisable as problem:
        return _failed(program, Ending.UNEXPECTED, UnexpectedError.of(problem, step=name))
    return Outcome(Ending.VALUE, value=kept), payload


def raised(
    program: Program, error: BaseException, requested: Ending | None, reason: str, delivered: Sequence[BaseException]
) -> tuple[Outcome, bytes]:
    """Return the end of a run whose body raised ``error``.

    Args:
        program: The workflow.
        error: What escaped from the body.
        requested: How the run was asked to end, if it was.
        reason: Why, for a cancellation.
        delivered: The failures that steps delivered to the body: expected unless they are ``UnexpectedError``.
    """
    if isinstance(error, asyncio.CancelledError) and requested is Ending.CANCELLED:
        return _failed(program, requested, RunCancelled(reason or "the run was cancelled"))
    if isinstance(error, asyncio.CancelledError) and requested is Ending.DEADLINE:
        return _failed(program, requested, DeadlineExceeded("the run was not done by its deadline"))
    if isinstance(error, UnexpectedError):
        return _failed(program, Ending.UNEXPECTED, error)
    if _expected(program, error, delivered):
        return _failed(program, Ending.FAILURE, carried(error))
    return _failed(program, Ending.UNEXPECTED, UnexpectedError.of(error))


def restored(program: Program, fact: RunFinished) -> Outcome:
    """Return the end that a fact recorded.

    Raises:
        CorruptCheckpoint: If the payload is not what the workflow's annotations say.
    """
    name = program.graph.workflow
    match fact.ending:
        case Ending.VALUE:
            return Outcome(fact.ending, value=program.result.decode(fact.payload))
        case Ending.CANCELLED:
            error: Any = RunCancelled(_message(program, fact, "the run was cancelled"))
        case Ending.DEADLINE:
            error = DeadlineExceeded(_message(program, fact, "the run was not done by its deadline"))
        case _:
            error = program.failure.decode(fact.payload)
    return Outcome(fact.ending, error=error, raised=raisable(error, name))


def blamed(error: BaseException, blames: Sequence[tuple[BaseException, int]]) -> int | None:
    """Return the sequence number of the outcome that is the reason of ``error``: itself, a cause, a group's member."""
    numbers = {id(known): sequence for known, sequence in blames}
    pending, seen = [error], set[int]()
    while pending:
        candidate = pending.pop(0)
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if id(candidate) in numbers:
            return numbers[id(candidate)]
        if isinstance(candidate, BaseExceptionGroup):
            pending.extend(candidate.exceptions)
        pending.extend(inner for inner in (candidate.__cause__, candidate.__context__) if inner is not None)
    return None


def _expected(program: Program, error: BaseException, delivered: Sequence[BaseException]) -> bool:
    if program.errors:
        return isinstance(error, program.errors)
    return isinstance(error, (Failure, UnwrapError)) or any(error is known for known in delivered)


def _failed(program: Program, ending: Ending, error: Any) -> tuple[Outcome, bytes]:
    name = program.graph.workflow
    ending, payload, kept = encoded(program.failure, ending, error, name)
    if ending in (Ending.CANCELLED, Ending.DEADLINE):
        kept = error
    return Outcome(ending, error=kept, raised=raisable(kept, name)), payload


def _message(program: Program, fact: RunFinished, default: str) -> str:
    stored = program.failure.decode(fact.payload)
    return stored.message if isinstance(stored, UnexpectedError) else default
