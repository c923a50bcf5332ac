"""How late an event loop is: a timer that comes late says how long something kept the loop from everything else."""

import asyncio
from collections import deque
from contextvars import Context

TICK = 0.1  # seconds: what blocks the loop for less may go unnoticed
TICKS = 10  # that are remembered: who was kept waiting still learns why when it is over


class Lag:
    """Measures an event loop by the loop's own clock: however time passes for runs, this is about the machine."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._late: deque[float] = deque(maxlen=TICKS)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure this loop from now on; harmless if that is so already."""
        if self._timer is None:
            self._loop = loop
            self._late.clear()
            self._set(loop)

    def end(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    @property
    def seconds(self) -> float | None:
        """How late the loop is, or was at worst in the last second; None while nobody measures. For any thread."""
        if self._timer is None or self._loop is None:
            return None
        return max(0.0, self._loop.time() - self._due, *list(self._late))

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + TICK
        self._timer = loop.call_later(TICK, self._tick, loop, context=Context())  # who began it is nobody's business

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._late.append(loop.time() - self._due)
        self._set(loop)
