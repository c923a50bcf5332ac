"""What has become of the latest calls: counted over a time, or over a number of calls."""

from collections import deque
from math import inf
from typing import Protocol

from awaitly.model.clock import Clock

SLICES = 64  # of a window of time
GRAIN = 1e-6  # seconds: times that are nearer are the same, as a clock's last digits are noise


class Window(Protocol):
    """The calls that count: how many there are, how many failed, how many were slow."""

    calls: int
    failures: int
    slow: int

    def add(self, failed: bool, slow: bool) -> None:
        """Count a call that has ended."""

    def tidy(self) -> None:
        """Forget what counts no more."""


class Latest:
    """A window of the latest ``size`` calls."""

    __slots__ = ("_calls", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self.calls = self.failures = self.slow = 0
        self._size = size
        self._calls: deque[tuple[bool, bool]] = deque()

    def add(self, failed: bool, slow: bool) -> None:
        """Count a call that has ended; the oldest one makes room for it."""
        if self.calls == self._size:
            first_failed, first_slow = self._calls.popleft()
            self.failures -= first_failed
            self.slow -= first_slow
        else:
            self.calls += 1
        self._calls.append((failed, slow))
        self.failures += failed
        self.slow += slow

    def tidy(self) -> None:
        """Nothing is forgotten as time passes."""


class Recent:
    """A window of the last ``seconds``, in which memory does not grow with the number of calls.

    Calls that end within one 64th of the window after another one share its slice, and are forgotten together with it.
    So a call counts for the whole window if calls are rare, and at most a 64th shorter if they are not.
    """

    __slots__ = ("_clock", "_full", "_seconds", "_slices", "_stale", "calls", "failures", "slow")

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.calls = self.failures = self.slow = 0
        self._seconds = seconds
        self._clock = clock
        self._slices: deque[_Slice] = deque()
        self._full = -inf  # when the newest slice takes no more calls
        self._stale = inf  # when the oldest slice is forgotten

    def add(self, failed: bool, slow: bool) -> None:
        """Count a call that has ended."""
        now = self._clock.monotonic()
        if now >= self._stale:
            self._forget(now)
        if now >= self._full:
            self._begin(now)
        newest = self._slices[-1]
        newest.calls += 1
        self.calls += 1
        if failed:
            newest.failures += 1
            self.failures += 1
        if slow:
            newest.slow += 1
            self.slow += 1

    def tidy(self) -> None:
        """Forget what is older than the window."""
        now = self._clock.monotonic()
        if now >= self._stale:
            self._forget(now)

    def _begin(self, now: float) -> None:
        self._slices.append(_Slice(now + self._seconds - GRAIN))
        self._full = now + self._seconds / SLICES - GRAIN
        self._stale = self._slices[0].until

    def _forget(self, now: float) -> None:
        while self._slices and now >= self._slices[0].until:
            oldest = self._slices.popleft()
            self.calls -= oldest.calls
            self.failures -= oldest.failures
            self.slow -= oldest.slow
        self._stale = self._slices[0].until if self._slices else inf


class _Slice:
    """The calls of a short time, counted until a time."""

    __slots__ = ("calls", "failures", "slow", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.calls = self.failures = self.slow = 0
