"""The clock of the machine."""

import asyncio
from collections.abc import Callable
from time import monotonic, time

from awaitly.model.clock import Clock, Timer


class SystemClock:
    """Time as the operating system tells it; timers belong to the running event loop."""

    # The functions themselves: they are asked several times a step.
    time = staticmethod(time)
    monotonic = staticmethod(monotonic)

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
