"""What calls mean outside of durable bodies: in plain code, in a step's function, in a run that stores nothing."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any

from awaitly.errors import UnexpectedError
from awaitly.execute.attempts import Callee, once_through
from awaitly.execute.outcomes import Returned, raisable
from awaitly.execute.parallel import mapped, raced, settled, together
from awaitly.model.clock import Clock
from awaitly.model.context import StepContext, Whereabouts
from awaitly.model.effects import Effect
from awaitly.policies.clock import pause
from awaitly.policies.course import Course
from awaitly.policies.sharing import shared
from awaitly.result import Err, Ok

Answer = Coroutine[object, None, Any]
Start = Callable[..., Answer]
"""Begins an independent run: ``(workflow, options, args, kwargs, wanted=...)``."""


class PlainHost:
    """Plain code: a step is its function with its policies, a workflow an independent run."""

    __slots__ = ("_start", "clock")

    tracks_tasks = False

    def __init__(self, clock: Clock, start: Start) -> None:
        self.clock = clock
        self._start = start

    def step(self, step: Any, args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Answer:
        """Call the function with the step's policies."""
        answer: Answer = self._attempted(step, args, kwargs) if attempt else self._call(step, args, kwargs)
        answer.__qualname__ = step.name  # type: ignore[attr-defined]  # named when it is never awaited
        return answer

    async def _call(self, step: Any, args: Any, kwargs: Any) -> Any:
        callee = _callee(step)
        try:
            return await through(callee, self.course(callee, args, kwargs))
        except Returned as returned:
            raise raisable(returned.error, step.name) from None

    async def _attempted(self, step: Any, args: Any, kwargs: Any) -> Ok[Any] | Err[Any]:
        callee = _callee(step)
        try:
            return Ok(await through(callee, self.course(callee, args, kwargs)))
        except Returned as returned:
            return Err(returned.error)
        except callee.errors as error:
            return Err(error)
        except Exception as error:  # noqa: BLE001 - attempt() never raises for what a step did
            return Err(UnexpectedError.of(error, step=step.name))

    def course(self, callee: Callee, args: Any, kwargs: Any) -> Course:
        """Return the course of a call that is made here."""
        course = Course(self.clock, callee.name, (*callee.errors, Returned))
        course.args, course.kwargs = args, kwargs
        course.once = callee.effect is Effect.ONCE
        return course

    def workflow(self, workflow: Any, options: Any, args: Any, kwargs: Any, frame: FrameType, *, wanted: Any) -> Answer:
        """Begin an independent run."""
        return self._start(workflow, options, args, kwargs, wanted=wanted)

    def gather(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all; the first failure cancels the others."""
        return together(awaitables)

    def settle(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all, each to its own result."""
        return settled(awaitables)

    async def race(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Any:
        """Await the first."""
        _, value = await raced(awaitables)
        return value()

    def each(
        self, function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], concurrency: int, frame: FrameType
    ) -> Answer:
        """Map over items."""
        return mapped(function, items, concurrency)

    async def sleep(self, seconds: float, frame: FrameType) -> None:
        """Wait."""
        await pause(self.clock, seconds)

    def timeout(self, seconds: float, frame: FrameType) -> AbstractAsyncContextManager[None]:
        """Limit the time of a block."""
        return _limited(seconds, self.clock)

    def now(self, frame: FrameType) -> float:
        """Read the clock."""
        return self.clock.time()

    def random(self, frame: FrameType) -> float:
        """Return a random number."""
        return random.random()

    def uuid4(self, frame: FrameType) -> uuid.UUID:
        """Return a random UUID."""
        return uuid.uuid4()

    def about(self) -> Whereabouts | None:
        """Return where this is, for what is logged here; None outside of runs."""
        return None

    def current(self) -> StepContext:
        """Return a context of no run; the idempotency key is fresh."""
        return StepContext(
            run_id=None, step="", attempt=1, idempotency_key=uuid.uuid4().hex, fence=0, time_left=lambda: None
        )


def within_time(course: Course, left: float | None) -> Course:
    """Return the course of a call that has to be over within so many seconds, as what it belongs to has to."""
    if left is not None:
        course.horizon = course.began + left
    return course


def _callee(step: Any) -> Callee:
    states = shared()
    callee: Callee = states.kept(step, "", lambda: states.callee(step))
    return callee


async def through(callee: Callee, course: Course, begins: Callable[[], object] | None = None) -> Any:
    """Return what a call that nothing is stored of gives, through its policies.

    Args:
        callee: What is called.
        course: The call's.
        begins: Called in the context of every attempt when it begins.

    Raises:
        Returned: For an ``Err`` that the function returned.
    """

    def once() -> Awaitable[Any]:
        return course.attempt(attempted)

    def attempted() -> Awaitable[Any]:
        if begins is not None:
            begins()
        return once_through(callee, course)

    return await (once() if callee.pipeline is None else callee.pipeline(once, course))


@asynccontextmanager
async def _limited(seconds: float, clock: Clock) -> AsyncIterator[None]:
    limit = asyncio.timeout(None)
    loop = asyncio.get_running_loop()
    timer = clock.call_later(seconds, lambda: limit.reschedule(loop.time()))
    try:
        async with limit:
            yield
    finally:
        timer.cancel()
