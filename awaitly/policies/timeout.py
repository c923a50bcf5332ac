"""A limit on the time that an awaitable may take."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from awaitly.model.clock import Clock

T = TypeVar("T")


async def within(awaitable: Awaitable[T], seconds: float, clock: Clock) -> T:
    """Return what ``awaitable`` gives, or cancel it once ``seconds`` of ``clock`` have passed.

    Raises:
        Expired: If the time was over first. A ``TimeoutError`` of the awaitable itself passes through.
    """
    limit = asyncio.timeout(None)
    loop = asyncio.get_running_loop()
    timer = clock.call_later(seconds, lambda: limit.reschedule(loop.time()))
    try:
        async with limit:
            return await awaitable
    except TimeoutError as error:
        if limit.expired():
            raise Expired(seconds) from error.__cause__
        raise
    finally:
        timer.cancel()


class Expired(Exception):
    """The time was over; ``seconds`` is how much there was."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
