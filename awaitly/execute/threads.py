"""Worker threads for plain steps, and the seats in them: who has none waits where it can still be called off.

A call that waits in an executor's queue would begin whatever had happened meanwhile: its lease lapsed, its time over,
its run stopped. And an executor's threads are waited for when the process ends, for as long as they may take.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import cache, partial
from itertools import count
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any

from awaitly.policies.belongings import Belongings

THREADS = 64  # plain steps that an event loop executes at once


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
        """Begin a plain function in the thread, in a copy of the context; who cancels it has to shield it."""
        loop = asyncio.get_running_loop()
        self._thread = loop.create_future()
        call = partial(copy_context().run, fn, *args, **kwargs)
        _workers().begin(partial(_report, call, self._thread, loop))
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


class _Workers:
    """Threads that end with the process, as many as are needed at once."""

    __slots__ = ("_idle", "_jobs", "_numbers")

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = Semaphore(0)
        self._numbers = count(1)

    def begin(self, job: Callable[[], None]) -> None:
        """Let a thread do it now."""
        if not self._idle.acquire(blocking=False):
            Thread(target=self._work, name=f"awaitly-step-{next(self._numbers)}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            self._idle.release()


def _report(call: Callable[[], Any], thread: "asyncio.Future[Any]", loop: asyncio.AbstractEventLoop) -> None:
    try:
        settle = partial(thread.set_result, call())
    except StopIteration as error:  # which no future takes
        unfit = RuntimeError("a plain step raised StopIteration")
        unfit.__cause__ = error
        settle = partial(thread.set_exception, unfit)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the function's outcome
        settle = partial(thread.set_exception, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(settle)


@cache
def _workers() -> _Workers:
    return _Workers()


os.register_at_fork(after_in_child=_workers.cache_clear)  # threads do not come along
