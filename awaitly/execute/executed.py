"""From a call that may begin to its outcome: through its policies, with what an earlier process left of it."""

import asyncio
from typing import TYPE_CHECKING

from awaitly.errors import RunSuspended
from awaitly.execute.attempts import cancelling
from awaitly.execute.course import CallCourse, Withheld
from awaitly.execute.once import left_open, unsettled
from awaitly.execute.outcomes import Outcome, failed, reported, succeeded
from awaitly.model.effects import Effect

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
        value = await (course.execute() if pipeline is None else pipeline(course.execute, course))
    except (RunSuspended, Withheld, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and cancelling():
            raise
        # Whatever else a step raises is an outcome.
        if course.unknown and call.binding.effect is Effect.ONCE:
            error = await unsettled(call, error)
        return failed(call.binding, error)
    return succeeded(call.binding, value)


async def _left_behind(run: "Run", course: CallCourse) -> tuple[Outcome, bytes] | None:
    """Take up what an earlier process left of the call; return its outcome if nothing may follow."""
    call = course.made
    ambiguous = await left_open(run, call)
    if ambiguous is not None:
        return failed(call.binding, ambiguous)
    scheduled = run.recorded.take_scheduled(call.identity)
    if scheduled is None:
        return None
    delay = course.resumed(scheduled)
    if delay > 0 or call.binding.effect is Effect.ONCE:
        call.replayed = False  # it is known that the attempt had not begun
    retry = call.chosen.policies.retry
    if retry is None or not retry.allows(course.attempts, course.clock.monotonic() - course.began + delay):
        return reported(call.binding, scheduled.payload)
    await course.waited(delay)
    return None
