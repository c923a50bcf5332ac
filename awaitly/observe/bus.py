"""Hands facts to watchers at once and to sinks at their own pace; neither can harm a run, or one another."""

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import TypeAlias

from awaitly.model.facts import Fact
from awaitly.model.notice import Choosy, Notice, Sorting, Watcher
from awaitly.observe.aside import aside
from awaitly.observe.surviving import survive

__all__ = ["CAPACITY", "Bus", "Notice", "Sink"]

CAPACITY = 10_000  # notices that one sink may lag behind
GATHERING = 0.01  # seconds in which notices gather before a sink is told of them

_log = logging.getLogger("awaitly")
_new = tuple.__new__  # a Notice is made for every fact; its own constructor takes twice as long


Sink: TypeAlias = Callable[[Notice], Awaitable[None] | None]
"""Anybody's: it is called in a thread of its own; what it returns, if that can be awaited, is awaited on the loop.

One that has a method ``close()``, async or not, is closed in the end; one that has ``facts``, a collection of kinds, is
told of these only, and what nobody is told of costs nothing. One that has a ``name`` is called so in metrics, in health
and in logs; others are called as their function, method or class is.
"""


class Bus:
    """Distributes notices: watchers are called at once; each sink has a bounded queue and a thread of its own."""

    def __init__(self, sinks: Sequence[Sink] = (), watchers: Sequence[Watcher] = ()) -> None:
        self._feeds = [_Feed(sink, name) for sink, name in zip(sinks, _names(sinks), strict=True)]
        self._watchers = tuple(watchers)
        self._told: dict[type[Fact], _Told] = {}  # by kind of facts
        self._whose: dict[type[Fact], list[Watcher]] = {}  # is what is told, in the same order
        self._failed: set[int] = set()

    def publish(self, run: str, workflow: str, fact: Fact, error: BaseException | None = None) -> None:
        """Tell everybody who wants to know; never blocks, never raises."""
        kind = type(fact)
        told = self._told.get(kind)
        handlers, feeds = self._told_of(kind) if told is None else told
        about = (run, workflow, fact, error)
        if handlers:
            notice = _new(Notice, about)
            for tell in handlers:
                try:
                    tell(notice)
                except BaseException as error:  # noqa: BLE001 - whoever watches must not harm a run
                    if survive(error):
                        self._complain_of(kind, tell)
        for feed in feeds:  # in place: a call of a function takes as long as all of this
            if len(feed.waiting) >= CAPACITY:
                feed.dropped += 1
                continue
            feed.waiting.append(about)
            if feed.is_asleep:  # asked after it is there, as the thread looks for something after it has said so
                feed.wake()

    def wants(self, kind: type[Fact]) -> bool:
        """Return whether anybody is told of facts of a kind; otherwise they need not be made."""
        return any(self._told_of(kind))

    def _told_of(self, kind: type[Fact]) -> "_Told":
        known = self._told.get(kind)
        if known is not None:
            return known
        asked = [(self._handler(watcher, kind), watcher) for watcher in self._watchers]
        self._whose[kind] = [watcher for handler, watcher in asked if handler is not None]
        handlers = tuple(handler for handler, _ in asked if handler is not None)
        told = self._told[kind] = (handlers, tuple(feed for feed in self._feeds if self._takes(feed.sink, kind)))
        return told

    def _handler(self, watcher: Watcher, kind: type[Fact]) -> Watcher | None:
        """Return what is told of facts of a kind, if a watcher wants to know of them."""
        if not isinstance(watcher, Sorting):
            return watcher if self._takes(watcher, kind) else None
        try:
            return watcher.told_of(kind)
        except Exception:  # noqa: BLE001 - as above
            self._complain(watcher)
            return None

    def _takes(self, observer: Callable[[Notice], object], kind: type[Fact]) -> bool:
        try:
            return not isinstance(observer, Choosy) or kind in observer.facts
        except Exception:  # noqa: BLE001 - as above
            self._complain(observer)
            return False

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many notices were lost, by the sink that lagged too far behind."""
        return {feed.name: feed.dropped for feed in self._feeds}

    @property
    def failures(self) -> Mapping[str, int]:
        """How many calls failed, by the sink that raised."""
        return {feed.name: feed.failures for feed in self._feeds}

    async def close(self, timeout: float) -> None:
        """Give the sinks ``timeout`` seconds in all to take what is queued, and to close if they have ``close()``."""
        until = monotonic() + timeout
        for feed in self._feeds:
            feed.end()
        await aside("awaitly-sinks", partial(self._ended, until))

    def _ended(self, until: float) -> None:
        for feed in self._feeds:
            feed.join(until)

    def _complain_of(self, kind: type[Fact], tell: Watcher) -> None:
        """Complain of whoever is told through this."""
        for watcher, handler in zip(self._whose[kind], self._told[kind][0], strict=True):
            if handler is tell:
                self._complain(watcher)

    def _complain(self, observer: Callable[[Notice], object]) -> None:
        if id(observer) not in self._failed:
            self._failed.add(id(observer))
            _log.exception("%s failed to watch a run; further failures of it are not logged", _name(observer))


class _Feed:
    """One sink's queue and thread.

    A thread that is woken for each notice takes turns with the event loop for each, which costs a step more than all
    else that is done for its observers. So it lets some gather before it takes them.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self.name = name
        self.dropped = 0
        self.failures = 0
        self.sink = sink
        self._close: Callable[[], Awaitable[None] | None] | None = getattr(sink, "close", None)
        self.waiting: deque[_About] = deque()
        self._loop = asyncio.get_running_loop()
        self.is_asleep = False  # the thread has to be woken
        self._woken = threading.Event()  # there are notices, or there will be none any more
        self._ends = threading.Event()  # when nothing is left
        self._over = False  # whatever is left
        # In no run's context: what a sink logs or awaits belongs to nobody's branch.
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="awaitly-sink", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look for what waits."""
        self.is_asleep = False
        self._woken.set()

    def end(self) -> None:
        """Let the thread end when nothing is left."""
        self._ends.set()
        self._woken.set()

    def join(self, until: float) -> None:
        """Wait for the thread, up to a time of the monotonic clock; what it then has not taken is lost."""
        self._thread.join(max(0.0, until - monotonic()))
        if self._thread.is_alive():
            self._over = True
            lost = len(self.waiting)
            self.dropped += lost
            _log.warning("sink %s is not done: it is not waited for any longer, %d notices are lost", self.name, lost)

    def _work(self) -> None:
        while not (self._over or (self._ends.is_set() and not self.waiting)):
            self.is_asleep = True
            if not self.waiting:
                self._woken.wait()
            self.is_asleep = False
            self._woken.clear()
            self._ends.wait(GATHERING)
            self._hand_over()
        if self._close is not None and not self._over:
            self._call(self._close)

    def _hand_over(self) -> None:
        waiting, call, sink = self.waiting, self._call, self.sink
        while waiting and not self._over:
            call(sink, _new(Notice, waiting.popleft()))

    def _call(self, call: Callable[..., Awaitable[None] | None], *arguments: Notice) -> None:
        try:
            done = call(*arguments)
            if done is not None and inspect.isawaitable(done):
                asyncio.run_coroutine_threadsafe(_awaited(done), self._loop).result()
        except BaseException:  # noqa: BLE001 - a sink is foreign code: also sys.exit() in it must not end its thread
            self.failures += 1
            if self.failures == 1:
                _log.exception("sink %s failed; further failures of it are counted, and not logged", self.name)


_About: TypeAlias = tuple[str, str, Fact, BaseException | None]
"""What a notice is made of, which costs less where it is read."""

_Told: TypeAlias = tuple[tuple[Watcher, ...], tuple[_Feed, ...]]


async def _awaited(done: Awaitable[None]) -> None:
    await done


def _names(sinks: Sequence[Sink]) -> Iterator[str]:
    """Yield a name for each sink, with a number if another one has it already."""
    taken: set[str] = set()
    for sink in sinks:
        name, number = _name(sink), 1
        while name in taken:
            number += 1
            name = f"{_name(sink)} {number}"
        taken.add(name)
        yield name


def _name(called: object) -> str:
    name = getattr(called, "name", None)
    if isinstance(name, str) and name:
        return name
    if isinstance(called, partial):
        return _name(called.func)
    name = getattr(called, "__qualname__", type(called).__qualname__)
    return str(name).rpartition("<locals>.")[2].replace("<lambda>", "lambda")
