"""Executing a step's function: the pipeline of a call around it, and what the function sees while it runs.

Nothing here knows of journals: an attempt turns arguments into an :class:`Outcome`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from awaitly.errors import RunStopped, RunSuspended, StepTimeout
from awaitly.execute.outcomes import Outcome, failed, succeeded
from awaitly.execute.threads import Seat, seats
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.model.effects import Effect
from awaitly.model.program import StepBinding
from awaitly.policies.timeout import Expired, within

GRACE = 30.0  # seconds that a plain step with an effect has to end after its timeout


async def attempt(
    binding: StepBinding, args: Any, kwargs: Any, clock: Clock, seat: Seat | None
) -> tuple[Outcome, bytes]:
    """Execute the step's function once and return how it ended, with the encoded value or error.

    Args:
        binding: The step.
        args: Its arguments.
        kwargs: Its arguments.
        clock: What times it.
        seat: The thread that a plain function may use.

    Raises:
        RunSuspended: If it neither succeeded nor failed: a run that it waited for stopped without ending.
    """
    try:
        if binding.timeout is None and not binding.blocking:
            value = await binding.fn(*args, **kwargs)
        else:
            value = await invoke(binding, args, kwargs, clock, seat)
    except RunStopped as error:
        raise RunSuspended(f"step {binding.name} was interrupted: {error}") from error
    except (RunSuspended, KeyboardInterrupt, SystemExit):
        raise
    except asyncio.CancelledError as error:
        if _cancelling():
            raise
        return failed(binding, error)
    except BaseException as error:  # noqa: BLE001 - whatever a step raises is an outcome
        return failed(binding, error)
    return succeeded(binding, value)


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


async def invoke(callee: Callee, args: Any, kwargs: Any, clock: Clock, seat: Seat | None = None) -> Any:
    """Call a step's function, a plain one in a worker thread, within its timeout: that begins with the thread.

    A thread cannot be stopped. After a timeout that of an effect is waited for, so that nothing follows while it
    still runs; its late result is dropped.

    Raises:
        StepTimeout: If it took longer.
        RunStopped: If an effect's thread did not end within :data:`GRACE` after its timeout: it is undetermined.
    """
    if not callee.blocking:
        return await _timed(callee, callee.fn(*args, **kwargs), clock)
    if seat is not None:
        return await _timed(callee, seat.call(callee.fn, args, kwargs), clock)
    seat = await seats().take()
    try:
        return await _timed(callee, seat.call(callee.fn, args, kwargs), clock)
    finally:
        seat.leave()


async def _timed(callee: Callee, called: Any, clock: Clock) -> Any:
    blocking, timeout, name = callee.blocking, callee.timeout, callee.name
    if timeout is None:
        return await called
    try:
        return await within(asyncio.shield(called) if blocking else called, timeout, clock)
    except Expired:
        if blocking and callee.effect.guarded:
            await _late(called, name, clock)
        raise StepTimeout(
            f"an attempt of step {name} took longer than its timeout of {humanised(timeout)}",
            hint="raise timeout= if the step needs more, or make what it calls answer sooner",
        ) from None


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


def _cancelling() -> bool:
    """Whether somebody is cancelling this task, as opposed to a function that raised ``CancelledError`` by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
