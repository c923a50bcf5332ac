"""Executing a step's function: the pipeline of a call around it, and what the function sees while it runs.

Nothing here knows of journals: an attempt turns arguments into an :class:`Outcome`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from awaitly.errors import RunStopped, RunSuspended, StepTimeout
from awaitly.execute.outcomes import Outcome, failed, succeeded
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.model.program import StepBinding
from awaitly.policies.timeout import Expired, within


async def attempt(binding: StepBinding, args: Any, kwargs: Any, clock: Clock) -> tuple[Outcome, bytes]:
    """Execute the step's function once and return how it ended, with the encoded value or error.

    Raises:
        RunSuspended: If it neither succeeded nor failed: a run that it waited for stopped without ending.
    """
    try:
        if binding.timeout is None and not binding.blocking:
            value = await binding.fn(*args, **kwargs)
        else:
            value = await invoke(binding.fn, binding.blocking, args, kwargs, binding.timeout, clock, binding.name)
    except RunStopped as error:
        raise RunSuspended(f"step {binding.name} was interrupted: {error}") from error
    except Exception as error:  # noqa: BLE001 - whatever a step raises is an outcome
        return failed(binding, error)
    except asyncio.CancelledError as error:
        if _cancelling():
            raise
        return failed(binding, error)
    return succeeded(binding, value)


async def invoke(
    fn: Callable[..., Any], blocking: bool, args: Any, kwargs: Any, timeout: float | None, clock: Clock, name: str
) -> Any:
    """Call a step's function, a plain one in a worker thread, within its timeout.

    Raises:
        StepTimeout: If it took longer. A plain function's thread cannot be stopped: its late result is dropped.
    """
    called = asyncio.to_thread(fn, *args, **kwargs) if blocking else fn(*args, **kwargs)
    if timeout is None:
        return await called
    try:
        return await within(called, timeout, clock)
    except Expired:
        raise StepTimeout(
            f"an attempt of step {name} took longer than its timeout of {humanised(timeout)}",
            hint="raise timeout= if the step needs more, or make what it calls answer sooner",
        ) from None


def _cancelling() -> bool:
    """Whether somebody is cancelling this task, as opposed to a function that raised ``CancelledError`` by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
