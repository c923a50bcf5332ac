"""The states of a circuit and what leads from one to another: synchronous, without waiting and without timers.

```text
            too many calls failed, or were slow             the reset timeout is over
  closed ────────────────────────────────────────▶ open ────────────────────────────▶ half-open
     ▲                                                ▲        a probe failed            │  │
     │                                                └──────────────────────────────────┘  │
     └──────────────────────────────────── enough probes succeeded ─────────────────────────┘
```

After Nygard, "Release It!" (2007, chapter "Stability Patterns").
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

from awaitly.errors import CircuitOpen
from awaitly.model.clock import Clock
from awaitly.model.counts import counted
from awaitly.model.durations import humanised
from awaitly.model.facts import BreakerClosed, BreakerHalfOpened, BreakerOpened
from awaitly.policies.window import GRAIN, Latest, Recent, Window

State: TypeAlias = Literal["closed", "open", "half-open"]
Listener: TypeAlias = Callable[[State, State], object]

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a circuit opens and closes. Times are in seconds; None says that a rule is not in force."""

    failure_threshold: int | None
    failure_ratio: float | None
    slow_call: float | None
    slow_ratio: float | None
    window: float
    window_calls: int | None
    minimum_calls: int
    reset_timeout: float
    reset_growth: float
    reset_max: float
    half_open_max: int
    success_threshold: int

    @property
    def of_shares(self) -> bool:
        """Whether a success may open the circuit too: by being slow, or as the last call that was missing."""
        return self.failure_ratio is not None or self.slow_ratio is not None

    @property
    def span(self) -> str:
        """The window as text."""
        return humanised(self.window) if self.window_calls is None else f"the last {counted(self.window_calls, 'call')}"

    def verdict(self, seen: Window) -> str | None:
        """Return why a circuit that has seen these calls opens; None if it stays closed."""
        if self.failure_threshold is not None and seen.failures >= self.failure_threshold:
            return f"{counted(seen.failures, 'failure')} in {self.span}"
        if seen.calls < self.minimum_calls:
            return None
        if self.failure_ratio is not None and seen.failures / seen.calls >= self.failure_ratio:
            return f"{seen.failures} of {seen.calls} calls failed in {self.span}"
        if self.slow_ratio is not None and seen.slow / seen.calls >= self.slow_ratio:
            return f"{seen.slow} of {seen.calls} calls were slow in {self.span}"
        return None


@dataclass(slots=True, eq=False)
class Closed:
    """Calls pass, and are counted."""


@dataclass(slots=True, eq=False)
class Open:
    """Calls are turned away until a time on the monotonic clock."""

    until: float
    reason: str


@dataclass(slots=True, eq=False)
class Forced:
    """Calls are turned away until somebody resets the circuit."""


@dataclass(slots=True, eq=False)
class HalfOpen:
    """Some calls pass as probes; so many have succeeded."""

    successes: int = 0


Phase: TypeAlias = Closed | Open | Forced | HalfOpen


def named(phase: Phase) -> State:
    """Return what people call a phase."""
    match phase:
        case Closed():
            return "closed"
        case Open() | Forced():
            return "open"
        case HalfOpen():
            return "half-open"
        case _:
            assert_never(phase)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A circuit at one moment, for health pages.

    Attributes:
        state: ``"closed"``, ``"open"`` or ``"half-open"``.
        failures: The failures in the window; probes are not part of it.
        calls: The calls in the window, failures included.
        half_open_in: Seconds until an open circuit lets probes through; None if it is not open, or was opened by hand.
    """

    state: State
    failures: int
    calls: int
    half_open_in: float | None


@dataclass(slots=True, eq=False)
class Places:
    """How many of those let in one by one are under way."""

    taken: int = 0


class Permit:
    """The right to one call. It is given back once; what comes after that changes nothing.

    A permit of an earlier state gives back its place, and counts as nothing.
    """

    __slots__ = ("_phase", "_places", "_switch")

    def __init__(self, switch: "Switch", phase: Phase, places: Places | None = None) -> None:
        self._switch = switch
        self._phase: Phase | None = phase
        self._places = places  # of which it takes one
        if places is not None:
            places.taken += 1

    def succeeded(self, seconds: float = 0.0) -> None:
        """Give it back after a success that took so many seconds."""
        self._give_back(False, seconds)

    def failed(self, seconds: float = 0.0) -> None:
        """Give it back after a failure that took so many seconds."""
        self._give_back(True, seconds)

    def abandoned(self) -> None:
        """Give it back as if it had never been: nobody knows how the call would have ended."""
        self._give_back(None, 0.0)

    def good_for(self, switch: "Switch") -> bool:
        """Whether it is one of ``switch`` in the state that it was given in, and not given back."""
        return switch is self._switch and switch._phase is self._phase

    def renewed(self) -> "Permit | None":
        """Return it, unused as it is, as one of the present state; None if its place was lost in a reset."""
        switch, places = self._switch, self._places
        if self._phase is switch._phase:
            return self
        if places is not switch._places:
            return None
        self._phase = None
        places.taken -= 1
        return switch._take()

    def _give_back(self, failed: bool | None, seconds: float) -> None:
        phase, self._phase = self._phase, None
        if phase is None:
            return
        switch, places = self._switch, self._places
        if places is not None:
            places.taken -= 1
        if failed is not None and phase is switch._phase:
            switch._count(failed, seconds)
        if places is not None:
            switch._attend()


class Switch:
    """A circuit without anybody who waits.

    Args:
        name: What messages and facts call it.
        rules: When it opens and closes.
        clock: What its times are of.
        notice: Told of each change: the kind of the fact, and its fields.
    """

    __slots__ = ("_clock", "_listeners", "_notice", "_phase", "_places", "_untold", "_wait", "_window", "name", "rules")

    def __init__(self, name: str, rules: Rules, clock: Clock, notice: Callable[..., object]) -> None:
        self.name = name
        self.rules = rules
        self._clock = clock
        self._notice = notice
        self._listeners: dict[object, Listener] = {}
        self._untold: deque[tuple[State, State]] = deque()
        self._phase: Phase = Closed()
        self._places = Places()
        self._wait = rules.reset_timeout  # for which it opens the next time
        self._window = self._new_window()

    def admit(self) -> Permit:
        """Let a call pass.

        Raises:
            CircuitOpen: If the circuit is open, or half-open with all its probes under way.
        """
        match self._look():
            case Closed() as phase:
                return Permit(self, phase)
            case HalfOpen() if self._places.taken < self.rules.half_open_max:
                return self._take()
            case HalfOpen() | Open() | Forced() as phase:
                raise self._refusal(phase)
            case phase:
                assert_never(phase)

    def state(self) -> State:
        """Return the state: ``"half-open"`` as soon as the reset timeout is over."""
        return named(self._look())

    @property
    def last(self) -> State:
        """The state as of the last change: unlike :meth:`state` it changes nothing, and any thread may ask."""
        return named(self._phase)

    def snapshot(self) -> Snapshot:
        """Return the state and the numbers that led to it."""
        phase = self._look()
        left = phase.until - self._clock.monotonic() if isinstance(phase, Open) else None
        self._window.tidy()
        return Snapshot(named(phase), self._window.failures, self._window.calls, left)

    def force_open(self) -> None:
        """Turn all calls away until :meth:`reset`; harmless if that is so already."""
        if not isinstance(self._look(), Forced):
            self._become(Forced(), BreakerOpened, seconds=0.0, reason="by hand, until it is reset")

    def reset(self) -> None:
        """Close the circuit and forget everything: calls, reopenings, and probes under way."""
        self._look()
        self._places = Places()
        self._close()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with the old and the new state after each change; what it raises is logged.

        An open circuit notices that its reset timeout is over when somebody asks: with a call, by waiting for it, or
        with :meth:`state`.

        Returns:
            What ends the subscription; harmless afterwards.
        """
        key = object()
        self._listeners[key] = listener

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def _attend(self) -> None:
        """See to those who wait, after a change of phase or when a place became free. Here nobody waits."""

    def _take(self) -> Permit:
        return Permit(self, self._phase, self._places)

    def _look(self) -> Phase:
        phase = self._phase
        if isinstance(phase, Open) and self._clock.monotonic() >= phase.until - GRAIN:
            self._half_open()
        return self._phase

    def _count(self, failed: bool, seconds: float) -> None:
        rules = self.rules
        slow = rules.slow_call is not None and seconds > rules.slow_call
        match self._phase:
            case Closed():
                self._window.add(failed, slow)
                if (failed or rules.of_shares) and (reason := rules.verdict(self._window)) is not None:
                    self._open(reason)
            case HalfOpen() as phase:
                self._count_probe(phase, failed, slow)
            case Open() | Forced():
                pass  # no permits are given
            case phase:
                assert_never(phase)

    def _count_probe(self, phase: HalfOpen, failed: bool, slow: bool) -> None:
        if failed or slow:
            self._open("a probe failed" if failed else "a probe was slow")
            return
        phase.successes += 1
        if phase.successes >= self.rules.success_threshold:
            self._close()

    def _open(self, reason: str) -> None:
        seconds = self._wait
        self._wait = min(seconds * self.rules.reset_growth, self.rules.reset_max)
        self._become(Open(self._clock.monotonic() + seconds, reason), BreakerOpened, seconds=seconds, reason=reason)

    def _half_open(self) -> None:
        self._become(HalfOpen(), BreakerHalfOpened)

    def _close(self) -> None:
        self._wait = self.rules.reset_timeout
        self._window = self._new_window()
        self._become(Closed(), BreakerClosed)

    def _become(self, phase: Phase, kind: Callable[..., Any], **fields: Any) -> None:
        before, self._phase = self._phase, phase
        self._attend()
        if type(before) is not type(phase):
            self._notice(kind, breaker=self.name, **fields)
        if named(before) != named(phase):
            self._tell(named(before), named(phase))

    def _tell(self, old: State, new: State) -> None:
        self._untold.append((old, new))
        if len(self._untold) > 1:
            return  # a listener changed the state: everybody hears of the first change first
        while self._untold:
            for listener in tuple(self._listeners.values()):
                try:
                    listener(*self._untold[0])
                except Exception:  # noqa: BLE001 - a listener is foreign code
                    _log.exception("a listener of breaker %s failed", self.name)
            self._untold.popleft()

    def _refusal(self, phase: HalfOpen | Open | Forced) -> CircuitOpen:
        left: float | None = None
        match phase:
            case HalfOpen():
                left, what = 0.0, "is half-open, and all its probes are under way"
            case Open():
                left = max(0.0, phase.until - self._clock.monotonic())
                what = f"is open for another {humanised(left)}: {phase.reason}"
            case Forced():
                what = "was opened by hand, and stays open until it is reset"
            case _:
                assert_never(phase)
        return CircuitOpen(f"breaker {self.name!r} {what}", breaker=self.name, retry_after=left)

    def _new_window(self) -> Window:
        rules = self.rules
        return Recent(rules.window, self._clock) if rules.window_calls is None else Latest(rules.window_calls)
