"""``gather``, ``settle``, ``race`` and ``each`` over tasks: structured, nothing is left running behind them.

The parent creates the tasks, in order and at the place of its own call, so their branches are the same on replay.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any

from awaitly.execute.outcomes import carried
from awaitly.result import Err, Ok


class Children:
    """Tasks of one parent, in the order in which they finish."""

    __slots__ = ("_changed", "_given", "errors", "failure", "finished", "tasks", "values")

    def __init__(self) -> None:
        self.tasks: list[asyncio.Future[None]] = []
        self._given: list[Awaitable[Any]] = []
        self.values: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.finished: list[int] = []
        self.failure: BaseException | None = None  # the first
        self._changed: asyncio.Future[None] | None = None

    @property
    def active(self) -> int:
        """How many have not finished."""
        return len(self.tasks) - len(self.finished)

    def spawn(self, awaitable: Awaitable[Any]) -> None:
        """Begin one more."""
        self._given.append(awaitable)
        self.tasks.append(asyncio.ensure_future(self._run(len(self.tasks), awaitable)))

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until ``met`` or until one has failed."""
        while not met() and self.failure is None:
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    async def close(self) -> None:
        """Cancel and await those that have not finished; a cancellation meanwhile is passed on afterwards."""
        for task in self.tasks:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while any(not task.done() for task in self.tasks):
            try:
                await asyncio.wait(self.tasks)
            except asyncio.CancelledError as error:
                cancelled = error
        drop(self._given)
        if cancelled is not None:
            raise cancelled

    async def _run(self, index: int, awaitable: Awaitable[Any]) -> None:
        try:
            self.values[index] = await awaitable
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            self.errors[index] = error
            self.failure = self.failure or error
        finally:
            self.finished.append(index)
            if self._changed is not None and not self._changed.done():
                self._changed.set_result(None)


def drop(awaitables: Iterable[Awaitable[Any]]) -> None:
    """Close what was never awaited, as its task was cancelled before it ran: nobody forgot it."""
    for awaitable in awaitables:
        if isinstance(awaitable, (Coroutine, _Settling)):
            awaitable.close()


async def together(awaitables: Sequence[Awaitable[Any]]) -> tuple[Any, ...]:
    """Return all values in order; the first failure cancels and awaits the others and is raised."""
    children = Children()
    try:
        for awaitable in awaitables:
            children.spawn(awaitable)
        await children.until(lambda: not children.active)
    finally:
        await children.close()
    return tuple(_value(children, index) for index in range(len(awaitables)))


async def settled(awaitables: Sequence[Awaitable[Any]]) -> tuple[Ok[Any] | Err[Any], ...]:
    """Return a ``Result`` for each, in order."""
    return await together([_Settling(awaitable) for awaitable in awaitables])


async def raced(awaitables: Sequence[Awaitable[Any]]) -> tuple[int, Callable[[], Any]]:
    """Return the index of the first to finish and what gives its value or raises its failure; the others end."""
    children = Children()
    try:
        for awaitable in awaitables:
            children.spawn(awaitable)
        await children.until(lambda: bool(children.finished))
        winner = children.finished[0]
    finally:
        await children.close()
    children.failure = children.errors.get(winner)  # what the others did while they ended does not matter
    return winner, lambda: _value(children, winner)


async def mapped(function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], concurrency: int) -> list[Any]:
    """Return ``function`` of every item in order, at most ``concurrency`` at once; the first failure ends all."""
    children = Children()
    try:
        for item in items:
            await children.until(lambda: children.active < concurrency)
            if children.failure is not None:
                break
            children.spawn(function(item))
        await children.until(lambda: not children.active)
    finally:
        await children.close()
    return [_value(children, index) for index in range(len(children.tasks))]


def _value(children: Children, index: int) -> Any:
    if children.failure is not None:
        raise children.failure
    if index not in children.values:  # cancelled from outside: by somebody who holds the awaitable's task
        raise asyncio.CancelledError
    return children.values[index]


class _Settling:
    """An awaitable whose failure is a value."""

    __slots__ = ("_awaitable",)

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, None, Ok[Any] | Err[Any]]:
        return self._result().__await__()

    def close(self) -> None:
        """Close what it stands for."""
        drop([self._awaitable])

    async def _result(self) -> Ok[Any] | Err[Any]:
        try:
            return Ok(await self._awaitable)
        except Exception as error:  # noqa: BLE001 - settle gives every failure as a value
            return Err(carried(error))
