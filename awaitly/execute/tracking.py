"""Knowing the tasks of a body: a task factory gives each its branch, a driver notices when it runs and blocks."""

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import FrameType
from typing import Any, Protocol

from awaitly.errors import RunSuspended, UsageError


class Tracked(Protocol):
    """A branch of a body, as its task's driver sees it."""

    def ran(self) -> None:
        """The task runs."""

    def blocked(self) -> None:
        """The task has given control back to the loop."""

    @property
    def interrupted(self) -> bool:
        """Whether the loop ends under the run."""

    def bind(self, task: "asyncio.Future[Any]", coro: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """The task exists; it may end without ever running."""

    def spawn(self, frame: FrameType) -> "Tracked":
        """Return the branch of a child that is being created at ``frame``."""


Factory = Callable[..., "asyncio.Future[Any]"]


class BranchFactory:
    """A loop's task factory: tasks that a body creates become branches of its run, all others stay as they are.

    It chains to the factory that was there before. That may in turn chain to one of ours, which then has nothing to do.
    """

    __slots__ = ("_host", "_previous")

    def __init__(self, previous: Factory | None, host: ContextVar[Any]) -> None:
        self._previous = previous
        self._host = host

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Future[Any]":
        """Create a task, of a branch if a body creates it."""
        context: Context | None = options.get("context")
        host: Any = self._host.get() if context is None else context.get(self._host)
        if getattr(type(host), "tracks_tasks", False) and getattr(coro, "cr_code", None) is not tracked.__code__:
            child = host.spawn(sys._getframe(1))
            context = copy_context() if context is None else context.copy()
            context.run(self._host.set, child)
            options["context"] = context
            task = self._made(loop, tracked(coro, child), options)
            child.bind(task, coro)
            return task
        return self._made(loop, coro, options)

    def _made(self, loop: asyncio.AbstractEventLoop, coro: Any, options: dict[str, Any]) -> "asyncio.Future[Any]":
        if self._previous is not None:
            return self._previous(loop, coro, **options)
        return asyncio.Task(coro, loop=loop, **options)


def watch(loop: asyncio.AbstractEventLoop, host: ContextVar[Any]) -> None:
    """Install the branch factory on ``loop`` unless it is there: anybody may have replaced it meanwhile.

    Raises:
        UsageError: ``eager-tasks``, if the loop starts tasks eagerly: a task that runs before it exists has no branch.
    """
    current = loop.get_task_factory()
    if isinstance(current, BranchFactory):
        return
    if "create_eager_task_factory" in getattr(current, "__qualname__", ""):  # what it returns has no other mark
        raise UsageError(
            "the event loop has an eager task factory",
            hint="remove asyncio.eager_task_factory from the loop that runs workflows",
            code="eager-tasks",
        )
    loop.set_task_factory(BranchFactory(current, host))


async def tracked(coro: Coroutine[Any, Any, Any], branch: Tracked) -> Any:
    """Run ``coro`` and tell ``branch`` whenever it runs and blocks."""
    try:
        return await _drive(coro, branch)
    except RunSuspended:
        if branch.interrupted:
            raise asyncio.CancelledError from None
        raise


@types.coroutine
def _drive(coro: Coroutine[Any, Any, Any], branch: Tracked) -> Generator[Any, Any, Any]:
    ran, blocked = branch.ran, branch.blocked
    error: BaseException | None = None
    while True:
        ran()
        try:
            awaited = coro.send(None) if error is None else coro.throw(error)
        except StopIteration as stop:
            return stop.value
        blocked()
        try:
            yield awaited
            error = None
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's to handle
            error = thrown
