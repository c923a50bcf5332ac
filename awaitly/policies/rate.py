"""Limits on how many calls begin in a time: a token bucket, and an exact sliding window."""

from collections import deque
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from functools import partial

from awaitly.model.clock import Clock
from awaitly.model.durations import Duration, humanised, seconds
from awaitly.policies.options import check_duration
from awaitly.policies.sharing import Shared
from awaitly.policies.turns import (
    EARLY,
    Costing,
    Limiter,
    LimiterSnapshot,
    Mode,
    Turn,
    Turns,
    check_amount,
    check_common,
)

REPLAN = 1.0  # seconds: turns come a little later than planned, so plans age


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RateLimit(Limiter):
    """So many calls in a time, on average, with bursts: a token bucket.

    The bucket starts full with ``burst`` tokens and earns ``limit`` tokens per ``per``, but never holds more than
    ``burst``. A call takes one when it begins, or waits for it; none is given back. So in any time ``t`` at most
    ``burst + t * limit / per`` begin. Where a server counts windows, use
    [`SlidingWindow`][awaitly.policies.rate.SlidingWindow]. The algorithm is J. Turner's ("New directions in
    communications", 1986).

    Args:
        name: What steps share it by; without one it belongs to one step.
        limit: The tokens that are earned in ``per``.
        per: That time; ``"1s"`` by default.
        burst: The most tokens that it holds, at least 1; the default is ``limit``, or 1 if that is less.
        mode: ``"wait"`` (the default), in order of asking, or ``"reject"``.
        max_wait: Turn a call away at once if it would wait longer; by default it waits as long as it takes.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    name: str | None = None
    _: KW_ONLY
    limit: float
    per: Duration = "1s"
    burst: float | None = None
    mode: Mode = "wait"
    max_wait: Duration | None = None

    def __post_init__(self) -> None:
        check_common(self)
        check_amount(self.limit, "RateLimit(limit=)", whole=False)
        check_duration(self.per, "RateLimit(per=)")
        if self.burst is not None:
            check_amount(self.burst, "RateLimit(burst=)", whole=False, least=1)

    @property
    def capacity(self) -> float:
        """The most tokens that it holds."""
        return max(1, self.limit) if self.burst is None else self.burst

    def check(self, cost: float) -> None:
        """Refuse a cost above the burst.

        Raises:
            ConfigurationError: ``invalid-option``.
        """
        check_amount(cost, "the cost of a RateLimit", whole=False, most=self.capacity)

    def costing(self, cost: float) -> Costing:
        """Return the same limiter for calls that take ``cost`` tokens each.

        Raises:
            ConfigurationError: ``invalid-option``, if the bucket never holds so many.
        """
        return Costing(self, cost)

    def state(self, shared: Shared) -> "Bucket":
        """Return the bucket that ``shared`` has for it.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        return shared.state(Bucket, self, partial(Bucket, clock=shared.clock))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SlidingWindow(Limiter):
    """At most so many calls begin in any window of a time, wherever it starts.

    It keeps the time of each of the last ``limit`` calls, which takes memory in proportion. Two calls that begin
    exactly ``per`` apart are not in one window.

    Args:
        name: What steps share it by; without one it belongs to one step.
        limit: The calls in a window.
        per: The length of the window; ``"1s"`` by default.
        mode: ``"wait"`` (the default), in order of asking, or ``"reject"``.
        max_wait: Turn a call away at once if it would wait longer; by default it waits as long as it takes.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    name: str | None = None
    _: KW_ONLY
    limit: int
    per: Duration = "1s"
    mode: Mode = "wait"
    max_wait: Duration | None = None

    def __post_init__(self) -> None:
        check_common(self)
        check_amount(self.limit, "SlidingWindow(limit=)", whole=True)
        check_duration(self.per, "SlidingWindow(per=)")

    def check(self, cost: float) -> None:
        """Refuse a cost above the limit.

        Raises:
            ConfigurationError: ``invalid-option``.
        """
        check_amount(cost, "the cost of a SlidingWindow", whole=True, most=self.limit)

    def costing(self, cost: int) -> Costing:
        """Return the same limiter for calls that count as ``cost`` calls each.

        Raises:
            ConfigurationError: ``invalid-option``, if a window never holds so many.
        """
        return Costing(self, cost)

    def state(self, shared: Shared) -> "Window":
        """Return the window that ``shared`` has for it.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        return shared.state(Window, self, partial(Window, clock=shared.clock))


class Bucket(Turns):
    """The tokens of a [`RateLimit`][awaitly.policies.rate.RateLimit]."""

    __slots__ = ("_at", "_capacity", "_monotonic", "_rate", "_slack", "_tokens", "declared")

    def __init__(self, declared: RateLimit, clock: Clock) -> None:
        super().__init__(declared, clock)
        self.declared = declared
        self._monotonic = clock.monotonic
        self._capacity = self._tokens = float(declared.capacity)
        self._rate = declared.limit / seconds(declared.per)
        self._slack = self._rate * EARLY  # taken early is owed: tokens may go below zero by this
        self._at = clock.monotonic()

    def take(self, cost: float) -> float | None:
        """Take tokens if there are enough now."""
        now = self._monotonic()
        tokens = self._tokens + (now - self._at) * self._rate
        if tokens > self._capacity:
            tokens = self._capacity
        self._at = now
        if tokens + self._slack < cost:
            self._tokens = tokens
            return None
        self._tokens = tokens - cost
        return now

    def give(self, cost: float, granted: float) -> None:
        """Put back tokens that nobody made use of, but for those that it may have earned since in their room."""
        unused = cost - (self._monotonic() - granted) * self._rate
        if unused > 0:
            self._tokens = min(self._capacity, self._earned() + unused)

    def until(self, cost: float) -> float:
        """Return the seconds until there are enough tokens."""
        return max(0.0, cost - self._earned()) / self._rate

    def wait_for(self, cost: float) -> float:
        """Return the seconds until there are enough tokens for all who wait, and these."""
        return self.until(self._owed + cost)

    def check(self, cost: float) -> None:
        """Refuse a cost above the burst."""
        self.declared.check(cost)

    def rule(self) -> str:
        """Return what is allowed, for messages."""
        return f"{self.declared.limit:g} per {humanised(seconds(self.declared.per))}"

    def snapshot(self) -> LimiterSnapshot:
        """Return how it stands now."""
        available = max(0.0, self._earned())
        return LimiterSnapshot(self.name, self.declared.limit, seconds(self.declared.per), available, self.waiting)

    def _earned(self) -> float:
        now = self._monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens


class Log:
    """When permits were granted, or will be: as much as matters for a window."""

    __slots__ = ("grants", "limit", "per", "used")

    def __init__(self, limit: int, per: float, grants: Iterable[tuple[float, float]] = ()) -> None:
        self.limit = limit
        self.per = per
        self.grants = deque(grants)
        self.used = sum(cost for _, cost in self.grants)

    def earliest(self, cost: float, now: float) -> float:
        """Return the first time, from ``now`` and the last grant on, at which a window has room for ``cost`` more."""
        if self.grants and self.grants[-1][0] > now:
            now = self.grants[-1][0]
        excess = self.used + cost - self.limit
        if excess <= 0:
            return now
        room = now
        for at, spent in self.grants:
            room = at + self.per
            excess -= spent
            if excess <= 0:
                break
        return max(room, now)

    def add(self, at: float, cost: float) -> None:
        """Grant permits at a time; those that share no window with it are forgotten."""
        self.forget(at)
        self.grants.append((at, cost))
        self.used += cost

    def remove(self, at: float, cost: float) -> None:
        """Take back a grant, if it is not forgotten."""
        if (at, cost) in self.grants:
            self.grants.remove((at, cost))
            self.used -= cost

    def forget(self, now: float) -> None:
        """Drop what shares no window with ``now`` or later."""
        while self.grants and self.grants[0][0] + self.per <= now:
            self.used -= self.grants.popleft()[1]


class Window(Turns):
    """The grants of a [`SlidingWindow`][awaitly.policies.rate.SlidingWindow]."""

    __slots__ = ("_log", "_monotonic", "_plan", "_planned", "declared")

    def __init__(self, declared: SlidingWindow, clock: Clock) -> None:
        super().__init__(declared, clock)
        self.declared = declared
        self._monotonic = clock.monotonic
        self._log = Log(declared.limit, seconds(declared.per))
        self._plan: Log | None = None  # the log as it will be when all in the line have had their turns
        self._planned = 0.0

    def take(self, cost: float) -> float | None:
        """Take permits if there are enough in the window that ends now."""
        now = self._monotonic()
        at = self._log.earliest(cost, now)
        if at > now + EARLY:
            return None
        self._log.add(at, cost)
        return at

    def give(self, cost: float, granted: float) -> None:
        """Take back permits that nobody made use of."""
        self._log.remove(granted, cost)
        self._plan = None

    def until(self, cost: float) -> float:
        """Return the seconds until a window has room."""
        now = self._monotonic()
        return self._log.earliest(cost, now) - now

    def wait_for(self, cost: float) -> float:
        """Return the seconds until a window has room behind all who wait."""
        now = self._monotonic()
        if not self._line:
            return self._log.earliest(cost, now) - now
        if self._plan is None or now - self._planned > REPLAN:
            self._planned = now
            self._plan = Log(self._log.limit, self._log.per, self._log.grants)
            for turn in self._line:
                self._plan.add(self._plan.earliest(turn.cost, now), turn.cost)
        return self._plan.earliest(cost, now) - now

    def check(self, cost: float) -> None:
        """Refuse a cost above the limit."""
        self.declared.check(cost)

    def rule(self) -> str:
        """Return what is allowed, for messages."""
        return f"{self.declared.limit} in any {humanised(seconds(self.declared.per))}"

    def snapshot(self) -> LimiterSnapshot:
        """Return how it stands now."""
        self._log.forget(self._monotonic())
        available = max(0, self._log.limit - self._log.used)
        return LimiterSnapshot(self.name, self._log.limit, self._log.per, available, self.waiting)

    def _join(self, turn: Turn) -> None:
        super()._join(turn)
        if len(self._line) == 1:
            self._plan = None  # of an earlier line
        if self._plan is not None:
            self._plan.add(self._plan.earliest(turn.cost, self._monotonic()), turn.cost)

    def _part(self, turn: Turn) -> None:
        super()._part(turn)
        self._plan = None  # all who stood behind are sooner
