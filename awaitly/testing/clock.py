"""Time that only the test moves: nothing sleeps, and what is due happens in order.

```python
clock = VirtualClock()

async def story() -> None:
    async with Runtime(store="memory://", clock=clock) as rt:
        handle = await reminder.start("bob")
        await clock.advance("24h")
        assert await handle.result() == Ok("sent")

clock.run(story())
```

`run` uses an event loop that tells the clock when it is idle, so settling is exact. With `VirtualClock(auto=True)` an
idle loop moves the clock to the next timer by itself: a day of waiting takes no time, and nobody needs to advance.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

from awaitly.model.durations import Duration, seconds

T = TypeVar("T")

EPOCH = 1_700_000_000.0
SETTLING = 64  # turns of a loop that cannot say when it is idle
SHORT = 0.05  # real seconds: a loop that waits no longer than this is not idle
LONGEST = 60.0  # real seconds that one test may take


class VirtualTimer:
    """A callback that is due at a virtual time."""

    __slots__ = ("callback", "cancelled", "due")

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Make sure that the callback does not run any more."""
        self.cancelled = True


class VirtualClock:
    """A clock for tests.

    Args:
        auto: Whether an idle loop (of :meth:`run`) moves the clock to the next timer.
        start: The wall-clock time at the beginning, in seconds since the epoch.
    """

    def __init__(self, *, auto: bool = False, start: float = EPOCH) -> None:
        self.auto = auto
        self.now = start
        self._start = start
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._numbers = count()
        self._idlers: list[asyncio.Future[None]] = []
        self._busy = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def time(self) -> float:
        """Return the wall-clock time in seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self.now - self._start + 1000.0

    def call_later(self, delay: float, callback: Callable[[], object]) -> VirtualTimer:
        """Run ``callback`` once ``delay`` virtual seconds have passed."""
        timer = VirtualTimer(self.now + max(0.0, delay), callback)
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

    async def advance(self, duration: Duration) -> None:
        """Let time pass: everything that becomes due happens in order, and the loop settles after each."""
        until = self.now + seconds(duration, what="the duration of advance()")
        await self.settle()
        while (due := self._next_due()) is not None and due <= until:
            self._fire()
            await self.settle()
        self.now = max(self.now, until)

    async def settle(self) -> None:
        """Wait until the loop has nothing to do before the clock moves."""
        if asyncio.get_running_loop() is not self._loop:
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            return
        idle: asyncio.Future[None] = self._loop.create_future()
        self._idlers.append(idle)
        await idle

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold the clock while something is under way that the loop cannot see, such as work in a thread."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def run(self, main: Coroutine[Any, Any, T], *, longest: float = LONGEST) -> T:
        """Run a coroutine in a new event loop that tells this clock when it is idle.

        Raises:
            TimeoutError: If it takes more than ``longest`` real seconds.
        """

        async def bounded() -> T:
            async with asyncio.timeout(longest):
                return await main

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(bounded())

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop that tells this clock when it is idle. Timers of an earlier loop are dropped."""
        self._timers.clear()
        self._idlers.clear()
        self._busy = 0
        self._loop = asyncio.SelectorEventLoop(_IdleSelector(self))
        return self._loop

    def idle(self) -> bool:
        """Do what waits for an idle loop; False if there is nothing of the kind."""
        if self._busy:
            return False
        if self._idlers:
            idlers, self._idlers = self._idlers, []
            for idler in idlers:
                if not idler.done():
                    idler.set_result(None)
            return True
        if self.auto and self._next_due() is not None:
            self._fire()
            return True
        return False

    def _next_due(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _fire(self) -> None:
        due, _, timer = heapq.heappop(self._timers)
        self.now = max(self.now, due)
        timer.callback()


class _IdleSelector(selectors.DefaultSelector):
    """Asked to wait for long, a selector knows that its loop has nothing to do."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; before waiting, let the clock move."""
        if timeout is not None and timeout <= SHORT:
            return super().select(timeout)
        return super().select(0) or (() if self._clock.idle() else super().select(timeout))
