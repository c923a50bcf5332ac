"""Work that goes on when who asked for it goes away."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

from awaitly.errors import RunStopped

R = TypeVar("R")


class Errands:
    """The tasks of a runtime that belong to no run: claims, releases, looks at the store."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def begin(self, work: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
        """Do work in nobody's branch; nobody has to look at how it ends."""
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wholly(self, work: Coroutine[Any, Any, R]) -> R:
        """Do work to its end even when who asked for it goes away: a run that is claimed is executed.

        Raises:
            RunStopped: If the runtime was shut down meanwhile.
        """
        task = self.begin(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed and task.cancelled():
                raise RunStopped("the runtime is shutting down", hint="the run continues where it is resumed") from None
            raise

    def close(self) -> None:
        """Cancel what is under way."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()

    async def settle(self) -> None:
        """Wait until nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: who asked for the work gets it, or is gone
