"""Signals that ask a process to end: the first one shuts a runtime down, another one ends the process at once."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

from awaitly.execute.closing import Closed

HEEDED = (signal.SIGTERM, signal.SIGINT)
TOGETHER = 0.5  # seconds: a terminal and a supervisor may both send one, which are no two wishes
FAILED = 1

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None

_log = logging.getLogger("awaitly")


class Signals:
    """Heeds signals for one runtime, in its event loop.

    Args:
        shut_down: Shuts the runtime down.
        loop: The runtime's.
        context: What to do that in.
    """

    def __init__(
        self,
        shut_down: Callable[[], Coroutine[Any, Any, Closed]],
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        self.awaited = False  # whether somebody waits for the end of the shutdown, and ends the process then
        self._shut_down = shut_down
        self._context = context
        self._loop = loop
        self._before: dict[int, Handler] = {}
        self._first: float | None = None
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Begin; in another thread than the main one, which gets no signals, this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in HEEDED:
            # Ignored are those of a job in the background. With add_signal_handler a blocked loop would not hear any.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)

    def remove(self) -> None:
        """Let those heed them who did before."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._heard:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            self._loop.call_soon_threadsafe(self._begin, number, context=self._context)
        elif now - self._first > TOGETHER:
            os._exit(128 + number)  # as good as a crash, which every run survives

    def _begin(self, number: int) -> None:
        _log.info("%s: shutting down; another signal ends the process at once", signal.Signals(number).name)
        self._task = self._loop.create_task(self._ended(number))

    async def _ended(self, number: int) -> None:
        status = FAILED
        try:
            status = (await self._shut_down()).exit_status
        except Exception:  # noqa: BLE001 - whatever it is: the process shall end all the same
            _log.exception("the runtime could not be shut down in order")
        before = self._before[number]
        if callable(before) and not _ends_the_process(before):
            before(number, None)
        elif not self.awaited:
            self._loop.call_soon(_exit, status)


def _ends_the_process(handler: Handler) -> bool:
    """Whether a handler is what Python or asyncio have for Ctrl-C, which would not heed the exit status."""
    method = handler.func if isinstance(handler, partial) else handler
    return method is signal.default_int_handler or isinstance(getattr(method, "__self__", None), asyncio.Runner)


def _exit(status: int) -> None:
    raise SystemExit(status)  # out of the loop: asyncio.run cancels what is left, and raises it again
