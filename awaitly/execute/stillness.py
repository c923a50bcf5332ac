"""Knowing that a body cannot move by itself any more: nothing of it is left in the event loop's queue.

What one event sets off runs through the loop's queue of ready callbacks, a turn a hop: a task's wake-up, the callbacks
of ``gather`` and ``shield`` futures, however deep they are nested. Every such callback carries the context it was
registered in, and in that context the host is a branch of the run. asyncio's own loops let us look at the queue, which
answers exactly. Other loops (uvloop) do not: there, several turns in which no task of the body ran must do.
"""

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Protocol

CALM = 12  # turns: one more than the deepest chain of gather and shield that is expected


class Stillness(Protocol):
    """Asked once a turn of the loop."""

    def reached(self, activity: int) -> bool:
        """Whether the body cannot move; ``activity`` counts deliveries, and how often its tasks have run."""


class EmptyQueue:
    """Still when no callback in the loop's queue belongs to the run."""

    __slots__ = ("_host", "_ready", "_run")

    def __init__(self, ready: Iterable[Any], host: ContextVar[Any], run: object) -> None:
        self._ready = ready
        self._host = host
        self._run = run

    def reached(self, activity: int) -> bool:
        """Look at what is queued."""
        host, run = self._host, self._run
        for handle in self._ready:
            if getattr(handle._context.get(host), "run", None) is run and not handle._cancelled:
                return False
        return True


class CalmTurns:
    """Still after :data:`CALM` turns without activity."""

    __slots__ = ("_calm", "_seen")

    def __init__(self) -> None:
        self._seen = -1
        self._calm = 0

    def reached(self, activity: int) -> bool:
        """Count the turn."""
        self._calm = self._calm + 1 if activity == self._seen else 0
        self._seen = activity
        return self._calm >= CALM


def stillness(loop: asyncio.AbstractEventLoop, host: ContextVar[Any], run: object) -> Stillness:
    """Return the best way that ``loop`` offers."""
    ready = getattr(loop, "_ready", None)
    return CalmTurns() if ready is None else EmptyQueue(ready, host, run)
