"""Ctrl-C: the first stops cleanly, the second at once. Either way nothing that is stored is lost."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """Somebody asked the command to stop."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Interrupts:
    """Turns signals into :class:`Interrupted`, raised where the command waits.

    Args:
        say: called with the first signal (``False``) and with the second (``True``), after which the process ends.
    """

    def __init__(self, say: Callable[[bool], None]) -> None:
        self._say = say
        self._asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @contextmanager
    def heeded(self) -> Iterator["Interrupts"]:
        """Heed signals while the block lasts."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        with suppress(NotImplementedError, RuntimeError):  # Windows; another thread than the main one
            for number in signals:
                loop.add_signal_handler(number, self._heed, number)
        try:
            yield self
        finally:
            with suppress(NotImplementedError, RuntimeError):
                for number in signals:
                    loop.remove_signal_handler(number)

    async def until(self, work: Awaitable[T]) -> T:
        """Return what ``work`` gives.

        Raises:
            Interrupted: If a signal comes first; ``work`` is cancelled.
        """
        task = asyncio.ensure_future(work)
        both: list[asyncio.Future[Any]] = [task, self._asked]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task])
        raise Interrupted(self._asked.result())

    def _heed(self, number: int) -> None:
        again = self._asked.done()
        self._say(again)
        if again:
            os._exit(128 + number)  # as good as a crash, which every run survives
        self._asked.set_result(128 + number)
