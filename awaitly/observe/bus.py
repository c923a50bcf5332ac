"""Hands facts to sinks, each at its own pace: a sink that raises, blocks or lags harms nobody but itself."""

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from awaitly.model.facts import Fact

CAPACITY = 10_000

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened in a run, as observers see it."""

    run: str
    workflow: str
    fact: Fact


Sink: TypeAlias = Callable[[Notice], Awaitable[None] | None]


class Bus:
    """Distributes notices to sinks; each has a bounded queue and a thread of its own."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._feeds = [_Feed(sink) for sink in sinks]

    def publish(self, run: str, workflow: str, fact: Fact) -> None:
        """Queue a notice for every sink; never blocks, never raises."""
        notice = Notice(run, workflow, fact)
        for feed in self._feeds:
            feed.put(notice)

    @property
    def dropped(self) -> int:
        """How many notices were lost because a sink lagged too far behind."""
        return sum(feed.dropped for feed in self._feeds)

    async def close(self, timeout: float) -> None:
        """Give the sinks up to ``timeout`` seconds to take what is queued."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, feed.close, timeout) for feed in self._feeds))


class _Feed:
    """One sink's queue and thread."""

    def __init__(self, sink: Sink) -> None:
        self.dropped = 0
        self._sink = sink
        self._queue: queue.Queue[Notice | None] = queue.Queue(CAPACITY)
        self._loop = asyncio.get_running_loop() if inspect.iscoroutinefunction(sink) else None
        self._failed = False
        self._thread = threading.Thread(target=self._work, name="awaitly-sink", daemon=True)
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
                    _log.exception("a sink failed; further failures of it are not logged")
                self._failed = True


async def _awaited(done: Awaitable[None]) -> None:
    await done
