"""What calls mean outside of durable bodies: in plain code, in a step's function, in a run that stores nothing."""

import asyncio
import inspect
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any

from awaitly.errors import UnexpectedError
from awaitly.execute.attempts import invoke
from awaitly.execute.outcomes import raisable
from awaitly.execute.parallel import mapped, raced, settled, together
from awaitly.model.clock import Clock
from awaitly.model.context import StepContext
from awaitly.model.effects import Effect
from awaitly.policies.clock import pause
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
        value = await invoke(_Alone(step), args, kwargs, self.clock)
        return unwrapped(value, step.name)

    async def _attempted(self, step: Any, args: Any, kwargs: Any) -> Ok[Any] | Err[Any]:
        try:
            value = await invoke(_Alone(step), args, kwargs, self.clock)
        except step.options.errors as error:
            return Err(error)
        except Exception as error:  # noqa: BLE001 - attempt() never raises for what a step did
            return Err(UnexpectedError.of(error, step=step.name))
        return value if isinstance(value, (Ok, Err)) else Ok(value)

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

    def current(self) -> StepContext:
        """Return a context of no run; the idempotency key is fresh."""
        return StepContext(
            run_id=None, step="", attempt=1, idempotency_key=uuid.uuid4().hex, fence=0, time_left=lambda: None
        )


class _Alone:
    """A step outside of any run, as a callee: nothing of it needs to be storable."""

    def __init__(self, step: Any) -> None:
        self.name: str = step.name
        self.fn: Callable[..., Any] = step.fn
        self.blocking = not inspect.iscoroutinefunction(step.fn)
        self.timeout: float | None = step.options.timeout
        self.effect: Effect = step.options.effect


def unwrapped(value: Any, name: str) -> Any:
    """Return the value of a step that returns a ``Result``, or raise its error."""
    if isinstance(value, Ok):
        return value.value
    if isinstance(value, Err):
        raise raisable(value.error, name)
    return value


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
