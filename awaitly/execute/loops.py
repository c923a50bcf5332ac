"""Asking a runtime from another event loop: what is asked happens in the runtime's own, where its futures belong."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from awaitly.errors import RunStopped

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Bound(Protocol):
    """Something that belongs to one event loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop; None before it is known."""


B = TypeVar("B", bound=Bound)


def at_home(
    method: Callable[Concatenate[B, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[B, P], Coroutine[Any, Any, R]]:
    """Let a method run in the loop that its object belongs to, whichever loop calls it."""

    @wraps(method)
    async def called(self: B, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await on(self.loop, method, self, *args, **kwargs)

    return called


async def on(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[P, Coroutine[Any, Any, R]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Return what ``work`` gives when it runs in ``loop``.

    Raises:
        RunStopped: If that is not this loop, and does not run any more.
    """
    if loop is None or loop is asyncio.get_running_loop():
        return await work(*args, **kwargs)
    if not loop.is_running():
        raise RunStopped(
            "the runtime belongs to an event loop that does not run any more",
            hint="open a runtime where the loop runs: async with Runtime(...) as rt",
        )
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(*args, **kwargs), loop))


async def each_on(loop: asyncio.AbstractEventLoop, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what a generator yields that lives in ``loop``."""
    ended = object()

    async def following() -> object:
        return await anext(items, ended)

    try:
        while (item := await on(loop, following)) is not ended:
            yield item  # type: ignore[misc]
    finally:
        if isinstance(items, AsyncGenerator):
            with suppress(RunStopped):
                await on(loop, items.aclose)
