"""Flags that a function of the program decides."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue

Decider: TypeAlias = Callable[[str, FlagContext], FlagValue | Awaitable[FlagValue | None] | None]


class FunctionFlags:
    """Decides flags by a function.

    Args:
        function: Called with the flag's name and the context; gives the value, or None if it does not know the flag.
            A coroutine function is awaited. A plain one is called on the event loop, so it must not block.
    """

    name = "function"

    def __init__(self, function: Decider) -> None:
        self._function = function

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        """Return what the function says; what it raises passes through."""
        value = self._function(flag.name, context)
        if inspect.isawaitable(value):
            value = await value
        return None if value is None else Decision(value, self.name, reason=f"returned by {self._called}")

    def knows(self, flag: str) -> bool | None:
        """Return None: only calling the function would tell."""

    @property
    def _called(self) -> str:
        return getattr(self._function, "__qualname__", None) or type(self._function).__qualname__
