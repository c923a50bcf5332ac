"""Limits on time: of an awaitable, of one attempt, and of a call with all its attempts and waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from awaitly.errors import StepDeadline, StepTimeout
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.policies.course import Call, Course

T = TypeVar("T")


async def within(
    awaitable: Awaitable[T], seconds: float, clock: Clock, *, unless: Callable[[], object] | None = None
) -> T:
    """Return what ``awaitable`` gives, or cancel it once ``seconds`` of ``clock`` have passed.

    Args:
        awaitable: What is awaited.
        seconds: What it may take.
        clock: What these are of.
        unless: Asked when they are over: whether it goes on all the same.

    Raises:
        Expired: If the time was over first. A ``TimeoutError`` of the awaitable itself passes through.
    """
    task = asyncio.current_task()
    assert task is not None
    others = task.cancelling()  # who cancel it already
    over = False

    def end() -> None:
        nonlocal over
        if unless is not None and unless():
            return
        over = True
        task.cancel()

    # What asyncio.timeout does, on our clock, in half of its time.
    timer = clock.call_later(seconds, end)
    try:
        return await awaitable
    except asyncio.CancelledError as error:
        if over and task.cancelling() <= others + 1:
            raise Expired(seconds) from error
        raise
    finally:
        timer.cancel()
        if over:
            task.uncancel()


class Expired(Exception):
    """The time was over; ``seconds`` is how much there was."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def attempt_limit(timeout: float | None, course: Course) -> float | None:
    """Return the seconds that an attempt may take: its timeout, or what is left of its call's deadline."""
    if course.due is None:
        return timeout
    left = max(0.0, course.due - course.clock.monotonic())
    return left if timeout is None else min(timeout, left)


def too_long(name: str, timeout: float | None, limit: float) -> StepTimeout | StepDeadline:
    """Return the error of an attempt that was ended after ``limit`` seconds."""
    if timeout is not None and limit >= timeout:
        return StepTimeout(
            f"an attempt of step {name} took longer than its timeout of {humanised(timeout)}",
            hint="raise timeout= if the step needs more, or make what it calls answer sooner",
        )
    return out_of_time(name)


def out_of_time(name: str) -> StepDeadline:
    """Return the error of a call that was not done by its deadline."""
    return StepDeadline(
        f"step {name} was not done by its deadline, with all its attempts and waits",
        hint="raise deadline= if the step needs more, or let it wait and try less",
    )


class Timeout:
    """Ends an attempt that takes too long, by cancelling it.

    Args:
        seconds: What one attempt may take; None: only what is left of the call's deadline.
    """

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    async def __call__(self, call: Call[T], course: Course) -> T:
        """Return what the call gives.

        Raises:
            StepTimeout: If it took longer.
            StepDeadline: If the deadline of the whole call came first.
        """
        limit = attempt_limit(self._seconds, course)
        if limit is None:
            return await call()
        try:
            return await within(call(), limit, course.clock)
        except Expired:
            raise too_long(course.name, self._seconds, limit) from None


class Deadline:
    """Limits a call with all that lies below: waits are ended, an attempt's own limit gets shorter.

    Args:
        seconds: What the call may take in all, from its first attempt on.
    """

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, call: Call[T], course: Course) -> T:
        """Return what the call gives.

        Raises:
            StepDeadline: If it took longer. The error of the last attempt, if there was one, is its cause.
        """
        course.due = course.began + self._seconds
        if course.due <= course.clock.monotonic():  # over before a restart
            raise out_of_time(course.name)
        left = max(0.0, course.due - course.clock.monotonic())
        try:
            # What is under way ends by the limit of its attempt.
            return await within(call(), left, course.clock, unless=lambda: course.attempting)
        except Expired as expired:
            interruption = expired.__cause__
            raise out_of_time(course.name) from (None if interruption is None else interruption.__cause__)
