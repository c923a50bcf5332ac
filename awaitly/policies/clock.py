"""The clock of the machine."""

import asyncio
import time
from collections.abc import Callable

from awaitly.model.clock import Clock, Timer


class SystemClock:
    """Time as the operating system tells it; timers belong to the running event loop."""

    def time(self) -> float:
        """Return the wall-clock time in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run ``callback`` on the running loop after ``delay`` seconds."""
        return asyncio.get_running_loop().call_later(delay, callback)


async def pause(clock: Clock, seconds: float) -> None:
    """Wait until ``seconds`` of ``clock`` have passed."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.call_later(seconds, end)
    try:
        await over
    finally:
        timer.cancel()
