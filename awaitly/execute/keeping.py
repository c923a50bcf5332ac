"""One of something for each event loop: opened when it is first asked for, shut down with the loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from awaitly.policies.belongings import Belongings


class Openable(Protocol):
    """What is kept."""

    async def open(self) -> None:
        """Begin."""

    async def shutdown(self) -> object:
        """End."""


O = TypeVar("O", bound=Openable)  # noqa: E741 - of Openable


@dataclass(slots=True)
class _Kept(Generic[O]):
    """What one event loop has."""

    own: O
    keeper: AsyncGenerator[None, None]
    opening: "asyncio.Task[None] | None" = None  # until it is open


class PerLoop(Generic[O]):
    """Gives every event loop its own.

    Args:
        make: Makes one for a loop.
        context: Makes the context in which it is opened.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], O], context: Callable[[], Context]) -> None:
        self._make = make
        self._context = context
        self._kept: Belongings[_Kept[O]] = Belongings()

    async def own(self) -> O:
        """Return the one of this event loop, once it is open.

        It is shut down with the loop: ``asyncio.run`` closes the asynchronous generators that are left.

        Raises:
            Exception: What opening it raises. The next call tries again.
        """
        loop = asyncio.get_running_loop()
        held = self._kept.get(loop)
        if held is None:
            own = self._make(loop)
            held = _Kept(own, _lifetime(own))
            self._kept.put(loop, held)
            held.opening = loop.create_task(_begun(held.keeper), context=self._context())
            held.opening.add_done_callback(partial(self._opened, loop, held))
        if held.opening is not None:
            await asyncio.shield(held.opening)  # everybody's: whoever came first may be cancelled
        return held.own

    def _opened(self, loop: asyncio.AbstractEventLoop, held: _Kept[O], opening: "asyncio.Task[None]") -> None:
        held.opening = None
        if opening.cancelled() or opening.exception() is not None:
            self._kept.drop(loop)


async def _begun(keeper: AsyncGenerator[None, None]) -> None:
    await anext(keeper)


async def _lifetime(own: Openable) -> AsyncGenerator[None, None]:
    await own.open()
    try:
        yield
    finally:
        await own.shutdown()
