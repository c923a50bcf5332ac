"""Executing a step's function once, in a thread if it is a plain one, within its time.

Nothing here knows of journals or of other policies.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from awaitly.errors import RunStopped
from awaitly.execute.outcomes import Returned
from awaitly.execute.threads import Seat, seats
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.model.effects import Effect
from awaitly.model.program import Pipeline
from awaitly.policies.course import Course
from awaitly.policies.timeout import Expired, attempt_limit, too_long, within
from awaitly.result import Err, Ok

GRACE = 30.0  # seconds that a plain step with an effect has to end after its timeout


class Callee(Protocol):
    """What is known of a step's function: a binding, or a step outside of any run."""

    @property
    def name(self) -> str:
        """The step's name."""

    @property
    def fn(self) -> Callable[..., Any]:
        """Its function."""

    @property
    def blocking(self) -> bool:
        """Whether that is a plain ``def``."""

    @property
    def timeout(self) -> float | None:
        """The seconds that an attempt may take."""

    @property
    def effect(self) -> Effect:
        """What it does to the world."""

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """The classes of its expected failures."""

    @property
    def returns_result(self) -> bool:
        """Whether ``Ok`` and ``Err`` that it returns are its outcome, and not its value."""

    @property
    def pipeline(self) -> Pipeline | None:
        """The policies around it."""


async def invoke(callee: Callee, course: Course, seat: Seat | None = None, *, limit: float | None) -> Any:
    """Call a step's function, a plain one in a worker thread, within ``limit`` seconds: that begins with the thread.

    A thread cannot be stopped. After a timeout that of an effect is waited for, so that nothing follows while it
    still runs; its late result is dropped.

    Raises:
        Expired: If it took longer.
        RunStopped: If an effect's thread did not end within :data:`GRACE` after its timeout: it is undetermined.
    """
    if not callee.blocking:
        called = callee.fn(*course.args, **course.kwargs)
        return await (called if limit is None else within(called, limit, course.clock))
    if seat is not None:
        return await _threaded(callee, course, seat, limit)
    seat = await seats().take()
    try:
        return await _threaded(callee, course, seat, limit)
    finally:
        seat.leave()


async def once_through(callee: Callee, course: Course, seat: Seat | None = None) -> Any:
    """Execute one attempt of a call and return its value; a ``Result`` is opened: its error is raised.

    Raises:
        StepTimeout: If it took longer than its timeout.
        StepDeadline: If the deadline of the whole call came first.
        Returned: For an ``Err`` that holds no exception.
    """
    limit = attempt_limit(callee.timeout, course)
    try:
        value = await invoke(callee, course, seat, limit=limit)
    except Expired as expired:
        raise too_long(callee.name, callee.timeout, expired.seconds) from None
    if not callee.returns_result:
        return value
    if isinstance(value, Ok):
        return value.value
    if isinstance(value, Err):
        # One that is not declared has to come out as what the function returned, not as something that escaped.
        raise value.error if isinstance(value.error, callee.errors) else Returned(value.error)
    return value


async def _threaded(callee: Callee, course: Course, seat: Seat, limit: float | None) -> Any:
    course.lingering = None
    thread = seat.call(callee.fn, course.args, course.kwargs)
    shielded = asyncio.shield(thread)  # it goes on, whoever stops waiting for it
    try:
        return await (shielded if limit is None else within(shielded, limit, course.clock))
    except Expired:
        if callee.effect.guarded:
            await _late(thread, callee.name, course.clock)
        raise
    finally:
        if not thread.done():
            course.lingering = thread


async def _late(thread: "asyncio.Future[Any]", name: str, clock: Clock) -> None:
    try:
        await within(asyncio.wait([thread]), GRACE, clock)
    except Expired:
        raise RunStopped(
            f"step {name} is undetermined: its thread still runs {humanised(GRACE)} after its timeout",
            hint="let what it calls time out by itself, then resume the run",
        ) from None
    if not thread.cancelled():
        thread.exception()  # looked at: a late failure is dropped like a late result


def cancelling() -> bool:
    """Whether somebody is cancelling this task, as opposed to a function that raised ``CancelledError`` by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
