"""Hands facts to watchers at once and to sinks at their own pace; neither can harm a run, or one another."""

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from typing import TypeAlias

from awaitly.model.facts import Fact
from awaitly.model.notice import Notice, Watcher

__all__ = ["CAPACITY", "Bus", "Notice", "Sink"]

CAPACITY = 10_000  # notices that one sink may lag behind

_log = logging.getLogger("awaitly")


Sink: TypeAlias = Callable[[Notice], Awaitable[None] | None]
"""Anybody's: a plain function is called in a thread of its own, a coroutine function awaited on the loop."""


class Bus:
    """Distributes notices: watchers are called at once; each sink has a bounded queue and a thread of its own."""

    def __init__(self, sinks: Sequence[Sink] = (), watchers: Sequence[Watcher] = ()) -> None:
        self._feeds = [_Feed(sink) for sink in sinks]
        self._watchers = tuple(watchers)
        self._failed: set[int] = set()

    def publish(self, run: str, workflow: str, fact: Fact, error: BaseException | None = None) -> None:
        """Tell everybody; never blocks, never raises."""
        notice = Notice(run, workflow, fact, error)
        for watcher in self._watchers:
            try:
                watcher(notice)
            except Exception:  # noqa: BLE001 - whoever watches must not harm a run
                self._complain(watcher)
        for feed in self._feeds:
            feed.put(notice)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many notices were lost, by the sink that lagged too far behind."""
        return {feed.name: feed.dropped for feed in self._feeds}

    async def close(self, timeout: float) -> None:
        """Give the sinks up to ``timeout`` seconds to take what is queued."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, feed.close, timeout) for feed in self._feeds))

    def _complain(self, watcher: Watcher) -> None:
        if id(watcher) not in self._failed:
            self._failed.add(id(watcher))
            _log.exception("%s failed to watch a run; further failures of it are not logged", _name(watcher))


class _Feed:
    """One sink's queue and thread."""

    def __init__(self, sink: Sink) -> None:
        self.name = _name(sink)
        self.dropped = 0
        self._sink = sink
        self._queue: queue.Queue[Notice | None] = queue.Queue(CAPACITY)
        self._loop = asyncio.get_running_loop() if _is_async(sink) else None
        self._failed = False
        # In no run's context: what a sink logs or awaits belongs to nobody's branch.
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="awaitly-sink", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float) -> None:
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _work(self) -> None:
        while (notice := self._queue.get()) is not None:
            try:
                done = self._sink(notice)
                if done is not None and self._loop is not None:
                    asyncio.run_coroutine_threadsafe(_awaited(done), self._loop).result()
            except Exception:  # noqa: BLE001 - a sink is foreign code, and must not harm a run
                if not self._failed:
                    _log.exception("sink %s failed; further failures of it are not logged", self.name)
                self._failed = True


async def _awaited(done: Awaitable[None]) -> None:
    await done


def _is_async(sink: Sink) -> bool:
    return inspect.iscoroutinefunction(sink) or inspect.iscoroutinefunction(getattr(sink, "__call__", None))  # noqa: B004 - objects with an async __call__


def _name(called: object) -> str:
    name = getattr(called, "__qualname__", None)
    return name if isinstance(name, str) else type(called).__qualname__
