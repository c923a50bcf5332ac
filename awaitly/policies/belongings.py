"""What belongs to an event loop: it lives exactly as long as the loop, even where it knows the loop."""

import asyncio
from typing import Any, Generic, TypeVar

V = TypeVar("V")

_NAME = "_awaitly"  # of the attribute of a loop


class Belongings(Generic[V]):
    """One value for each event loop.

    It is kept on the loop itself: the values of a ``WeakKeyDictionary`` that know their key keep it for ever.
    """

    __slots__ = ()

    def get(self, loop: asyncio.AbstractEventLoop) -> V | None:
        """Return what the loop has; None if it has nothing."""
        found: V | None = getattr(loop, _NAME, {}).get(self)
        return found

    def put(self, loop: asyncio.AbstractEventLoop, value: V) -> None:
        """Let the loop have it from now on."""
        kept: dict[Belongings[Any], Any] | None = getattr(loop, _NAME, None)
        if kept is None:
            kept = {}
            setattr(loop, _NAME, kept)
        kept[self] = value

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop have nothing any more."""
        getattr(loop, _NAME, {}).pop(self, None)
