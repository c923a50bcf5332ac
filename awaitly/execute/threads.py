"""Worker threads for plain steps, and the seats in them: who has none waits where it can still be called off.

A call that waits in the executor's own queue would begin whatever had happened meanwhile: its lease lapsed, its time
over, its run stopped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import Any

from awaitly.policies.belongings import Belongings

THREADS = 64  # plain steps that this process executes at once


class Seats:
    """The threads that one event loop may use at once."""

    __slots__ = ("_free", "_queue")

    def __init__(self, number: int) -> None:
        self._free = number
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        """Whether there is one now."""
        return self._free > 0

    async def take(self) -> "Seat":
        """Return a seat, in the order in which they were asked for."""
        if self._free:
            self._free -= 1
            return Seat(self)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # called off when it was already given
                self.give()
            raise
        return Seat(self)

    def give(self) -> None:
        """Take one back: it is the next one's."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Seat:
    """The right to one thread, until :meth:`leave` and the end of what runs in it."""

    __slots__ = ("_left", "_seats", "_thread")

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._thread: asyncio.Future[Any] | None = None
        self._left = False

    def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> "asyncio.Future[Any]":
        """Begin a plain function in the thread, in a copy of the context."""
        call = partial(copy_context().run, fn, *args, **kwargs)
        self._thread = asyncio.get_running_loop().run_in_executor(_pool(), call)
        return self._thread

    def leave(self) -> None:
        """Give the seat back; a thread cannot be stopped, so not before it has ended."""
        if self._left:
            return
        self._left = True
        if self._thread is None or self._thread.done():
            self._seats.give()
        else:
            self._thread.add_done_callback(lambda _: self._seats.give())


def seats() -> Seats:
    """Return the seats of the running loop."""
    loop = asyncio.get_running_loop()
    found = _seats.get(loop)
    if found is None:
        found = Seats(THREADS)
        _seats.put(loop, found)
    return found


_seats: Belongings[Seats] = Belongings()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="awaitly-step")
