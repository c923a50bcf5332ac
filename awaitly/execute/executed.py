"""From a call that may begin to its outcome: through its policies, with what an earlier process left of it."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from awaitly.errors import RunSuspended, UnexpectedError
from awaitly.execute.attempts import cancelling
from awaitly.execute.course import CallCourse, Withheld
from awaitly.execute.once import left_open, unsettled
from awaitly.execute.outcomes import Outcome, failed, reported, succeeded, was
from awaitly.model.counts import counted
from awaitly.policies.retry import gave_up

if TYPE_CHECKING:
    from awaitly.execute.run import Run


async def executed(run: "Run", course: CallCourse) -> tuple[Outcome, bytes]:
    """Execute a call and return how it ended, with the encoded value or error.

    Raises:
        Withheld: If it was not to begin, or not to go on.
        RunSuspended: If it neither succeeded nor failed: a run that it waited for stopped without ending.
    """
    call, pipeline = course.made, course.made.chosen.pipeline
    course.known = run.log.appended
    if run.recorded.facts:
        left = await _left_behind(run, course)
        if left is not None:
            return left
    try:
        if course.given_up is not None:
            value = await _instead(course, course.given_up)
        else:
            value = await (course.execute() if pipeline is None else pipeline(course.execute, course))
    except (RunSuspended, Withheld, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and cancelling():
            raise
        # Whatever else a step raises is an outcome.
        if course.unknown and course.once:
            error = await unsettled(call, error)
        return failed(call.binding, error)
    return succeeded(call.binding, value)


async def _left_behind(run: "Run", course: CallCourse) -> tuple[Outcome, bytes] | None:
    """Take up what an earlier process left of the call; return its outcome if its effect is ambiguous."""
    call = course.made
    ambiguous = await left_open(run, call)
    if ambiguous is not None:
        return failed(call.binding, ambiguous)
    scheduled = run.recorded.take_scheduled(call.identity)
    if scheduled is None:
        return None
    delay = course.resumed(scheduled)
    if delay > 0 or course.once:
        call.replayed = False  # it is known that the attempt had not begun
    last = reported(call.binding, scheduled.payload)
    course.failed(last)
    elapsed = course.clock.monotonic() - course.began
    retry = call.chosen.policies.retry
    if retry is None or not retry.allows(course.attempts, elapsed + delay):
        course.given_up = last
        _note(last, _why_no_other(retry, course.attempts))
        _note(last, gave_up(course.attempts, elapsed))
        return None
    await course.waited(delay)
    return None


def _why_no_other(retry: Any, attempts: int) -> str:
    if retry is None:
        return "not attempted again after a restart: the step is not retried any more"
    if retry.attempts is not None and attempts >= retry.attempts:
        return f"not attempted again after a restart: retry allows {counted(retry.attempts, 'attempt')} in all"
    return f"not attempted again after a restart: within={retry.within!r} is over"


def _note(error: Exception, note: str) -> None:
    if isinstance(error, UnexpectedError):
        error.notes = (*error.notes, note)
    else:
        error.add_note(note)


async def _instead(course: CallCourse, error: Exception) -> Any:
    """Raise what an earlier process got from the last attempt, or let the fallback answer for it."""
    fallback = course.made.chosen.policies.fallback
    classes = () if fallback is None else fallback.on
    try:
        raise error
    except Exception:
        if not any(was(error, kind) for kind in (classes if isinstance(classes, tuple) else (classes,))):
            raise
        # In here, so that an error of the fallback has this one as its context.
        return await course.substitute(partial(fallback.answer, course), error)
