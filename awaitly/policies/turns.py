"""Turns in order of asking: what all limiters share, as a state and as a declaration.

A subclass of [`Turns`][awaitly.policies.turns.Turns] decides without waiting whether there is room; the waiting
around that is here, once. Who comes first is served first: a cheap call does not overtake an expensive one that
waits, so that the expensive one is served at all.
"""

import asyncio
import dataclasses
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar

from awaitly.errors import LimitReached
from awaitly.model.clock import Clock, Timer
from awaitly.model.durations import Duration, humanised, seconds
from awaitly.model.facts import Fact, LimiterRejected, LimiterWaited
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import check_choice, check_duration, check_name, refuse
from awaitly.policies.sharing import Shared, shared
from awaitly.policies.single import Single

T = TypeVar("T")
Mode: TypeAlias = Literal["wait", "reject"]

EARLY = 1e-6  # seconds: clocks round, so what is due in less is due now


@dataclass(frozen=True, slots=True)
class LimiterSnapshot:
    """How a limiter stands, for health pages.

    Attributes:
        name: its name.
        limit: the permits of a period, or the places.
        per: the period in seconds; None where places are given back instead.
        available: the permits or places that are free now; those who wait come first.
        waiting: the calls that wait for their turn.
    """

    name: str
    limit: float
    per: float | None
    available: float
    waiting: int


class Turn:
    """A place in the line. ``granted`` is what the turn counts from; None while it waits."""

    __slots__ = ("cost", "due", "future", "granted")

    def __init__(self, cost: float, due: float, future: "asyncio.Future[bool]") -> None:
        self.cost = cost
        self.due = due
        self.future = future
        self.granted: float | None = None

    @property
    def gone(self) -> bool:
        """Whether nobody waits here any more: cancelled, or the event loop ended around it."""
        return self.future.done() or self.future.get_loop().is_closed()


class Turns(ABC):
    """Hands out turns in the order of asking. It belongs to one thread, and may outlive its event loop.

    Args:
        declared: The limiter as it was declared, whose name is used in messages and facts.
        clock: What all times are of.
    """

    __slots__ = ("_line", "_loop", "_owed", "_timer", "clock", "max_wait", "mode", "name")

    def __init__(self, declared: "Declared", clock: Clock) -> None:
        self.clock = clock
        self.name = declared.name or type(declared).__name__
        self.mode = declared.mode
        self.max_wait = None if declared.max_wait is None else seconds(declared.max_wait)
        self._line: OrderedDict[Turn, None] = OrderedDict()
        self._owed = 0.0  # what those in the line cost together
        self._timer: Timer | None = None  # for the first in the line
        self._loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    def take(self, cost: float) -> float | None:
        """Take ``cost`` if there is room now, whoever waits; return the time that it counts from, or None."""

    @abstractmethod
    def give(self, cost: float, granted: float) -> None:
        """Undo a :meth:`take` that nobody made use of."""

    @abstractmethod
    def until(self, cost: float) -> float:
        """Return the seconds until :meth:`take` finds room; infinite if nobody can know."""

    @abstractmethod
    def wait_for(self, cost: float) -> float:
        """Return the seconds that somebody who comes now will wait behind all others, or infinity as above."""

    @abstractmethod
    def check(self, cost: float) -> None:
        """Refuse a cost for which there will never be room.

        Raises:
            ConfigurationError: ``invalid-option``.
        """

    @abstractmethod
    def rule(self) -> str:
        """Return what is allowed, for messages."""

    @abstractmethod
    def snapshot(self) -> LimiterSnapshot:
        """Return how it stands now."""

    async def __call__(self, call: Call[T], course: Course, cost: float = 1) -> T:
        """Begin the next layer as soon as it is this call's turn.

        Raises:
            LimitReached: If the call may not wait, or not so long.
        """
        granted = None if self._line else self.take(cost)
        if granted is None:
            granted = await self.wait(cost, course)
        begun = course.attempts
        try:
            return await call()
        except BaseException:
            if course.attempts == begun:  # it was cancelled, or refused further inside, before it began
                self.give(cost, granted)
                self._serve()
            raise

    async def acquire(self, cost: float = 1, observe: Callable[[Fact], object] | None = None) -> None:
        """Return as soon as it is the caller's turn; ``observe`` is told of waiting.

        Raises:
            LimitReached: If the caller may not wait, or not so long.
            ConfigurationError: ``invalid-option``, if there will never be room for so much.
        """
        if cost != 1:
            self.check(cost)
        if self._line or self.take(cost) is None:
            await self.wait(cost, Course(self.clock, self.name, observe=observe))

    def try_acquire(self, cost: float = 1) -> bool:
        """Take a turn if there is room and nobody waits for it; tell whether that was so."""
        return not self._line and self.take(cost) is not None

    async def wait(self, cost: float, course: Course) -> float:
        """Join the line, and return when it is this call's turn what that counts from.

        Raises:
            LimitReached: If the call may not wait, or not so long.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._serve()
            granted = None if self._line else self.take(cost)
            if granted is not None:  # only the dead stood in the line
                return granted
        self._admit(cost, course)
        began = self.clock.monotonic()
        turn = Turn(cost, self.lapses(began), loop.create_future())
        self._join(turn)

        try:
            if not await turn.future:
                raise self._refused(course, f"had no room within max_wait={humanised(self.max_wait or 0)}")
            course.notice(LimiterWaited, limiter=self.name, seconds=self.clock.monotonic() - began)
            assert turn.granted is not None
            return turn.granted
        except BaseException:
            self._forsake(turn)
            raise

    @property
    def waiting(self) -> int:
        """The number of calls that wait; may be asked from another thread."""
        return sum(not turn.gone for turn in list(self._line))

    def lapses(self, began: float) -> float:
        """Return when a wait that begins now is given up; never, if its length is known beforehand."""
        return math.inf

    def full(self) -> str | None:
        """Return why nobody else may wait, if that is so."""
        return None

    def _admit(self, cost: float, course: Course) -> None:
        if self.mode == "reject":
            raise self._refused(course, "has no room now", self.until(cost))
        if (reason := self.full()) is not None:
            raise self._refused(course, reason, hint="Try again later, or allow a longer queue")
        remaining = course.remaining()
        if self.max_wait is None and remaining is None:
            return

        wait = self.wait_for(cost)
        if wait == math.inf:
            return
        if self.max_wait is not None and wait > self.max_wait + EARLY:
            reason = f"has its next turn in {humanised(wait)}, and max_wait is {humanised(self.max_wait)}"
            raise self._refused(course, reason, wait, hint="Try again later, or allow a longer max_wait")
        if remaining is not None and remaining < wait:
            left = humanised(max(0.0, remaining))
            reason = f"has its next turn in {humanised(wait)}, and the call must be over in {left}"
            raise self._refused(course, reason, wait, hint="Try again later, or give the call a longer deadline")

    def _refused(
        self, course: Course, reason: str, retry_after: float = math.inf, *, hint: str | None = None
    ) -> LimitReached:
        course.notice(LimiterRejected, limiter=self.name)
        known = None if retry_after == math.inf else retry_after
        return LimitReached(
            f"limiter {self.name!r} ({self.rule()}) {reason}", limiter=self.name, retry_after=known, hint=hint
        )

    def _join(self, turn: Turn) -> None:
        self._line[turn] = None
        self._owed += turn.cost
        if len(self._line) == 1:
            self._arm()

    def _remove(self, turn: Turn) -> None:
        del self._line[turn]
        self._owed = self._owed - turn.cost if self._line else 0.0

    def _part(self, turn: Turn) -> None:
        """Remove one that leaves without having been served."""
        self._remove(turn)

    def _forsake(self, turn: Turn) -> None:
        """Go without having had the turn; it may have been granted in the instant of the cancellation."""
        if turn in self._line:
            first = turn is next(iter(self._line))
            self._part(turn)
            if first:
                self._serve()
        elif turn.granted is not None:
            self.give(turn.cost, turn.granted)
            self._serve()

    def _serve(self) -> None:
        """Give the first ones their turns as long as there is room, and see to the next one's."""
        while self._line:
            turn = next(iter(self._line))
            if turn.gone:
                self._part(turn)
                continue
            turn.granted = self.take(turn.cost)
            if turn.granted is None and turn.due > self.clock.monotonic() + EARLY:
                break
            self._remove(turn)
            turn.future.set_result(turn.granted is not None)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line:
            turn = next(iter(self._line))
            delay = min(self.until(turn.cost), turn.due - self.clock.monotonic())
            if delay < math.inf:
                self._timer = self.clock.call_later(delay, self._serve)


class Limiter(Single):
    """What one can do with a declared limiter: bind it to a step, or use it by hand.

    By hand it has the state that the active runtime has for it, or else the event loop's:

    ```python
    stripe = RateLimit("stripe", limit=100, per="1s")

    async with stripe:
        await charge()
    ```
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str | None:
        """What it is shared by; None if it is nobody else's."""

    @abstractmethod
    def state(self, shared: Shared) -> Turns:
        """Return the state that ``shared`` has for it.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """

    @abstractmethod
    def check(self, cost: float) -> None:
        """Refuse a cost for which there will never be room.

        Raises:
            ConfigurationError: ``invalid-option``.
        """

    def named(self, owner: str) -> Self:
        """Return it with a name: its own, or else its step's."""
        if self.name is not None:
            return self
        return dataclasses.replace(self, name=f"step {owner}")  # type: ignore[type-var]

    def bound(self, shared: Shared, owner: str) -> Around:
        """Return what limits the calls of the step ``owner``.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        return self.named(owner).state(shared)

    def snapshot(self) -> LimiterSnapshot:
        """Return how its state in the calling context stands."""
        return self.state(shared()).snapshot()

    async def acquire(self, cost: float = 1) -> None:
        """Wait for the turn of the caller.

        Args:
            cost: What it takes.

        Raises:
            LimitReached: If the caller may not wait, or not so long.
            ConfigurationError: ``invalid-option``, if there will never be room for so much.
        """
        states = shared()
        await self.state(states).acquire(cost, states.observe)

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return self.state(states)

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Leave; what a rate limit granted stays spent."""


class Declared(Protocol):
    """The options that all limiters have."""

    @property
    def name(self) -> str | None:
        """See the limiters."""

    @property
    def mode(self) -> Mode:
        """See the limiters."""

    @property
    def max_wait(self) -> Duration | None:
        """See the limiters."""


def check_common(declared: Declared) -> None:
    """Check the options that all limiters have.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """
    kind = type(declared).__name__
    check_name(declared.name, f"the name of a {kind}")
    check_choice(declared.mode, ("wait", "reject"), f"{kind}(mode=)")
    if declared.max_wait is not None:
        check_duration(declared.max_wait, f"{kind}(max_wait=)", positive=False)
    if declared.max_wait is not None and declared.mode == "reject":
        raise refuse(f"{kind}(max_wait=)", declared.max_wait, 'leave it out: with mode="reject" nobody waits')


def check_amount(value: object, what: str, *, whole: bool, most: float = math.inf, least: float = 0) -> None:
    """Refuse what is not a finite number above zero, at least ``least`` and at most ``most``.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    kind = "a whole number" if whole else "a number"
    bounds = f"of at least {least:g}" if least else "above 0"
    if most < math.inf:
        bounds += f" and at most {most:g}, as there is never room for more"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not 0 < value < math.inf or not least <= value <= most:  # type: ignore[operator]
        raise refuse(what, value, f"give {kind} {bounds}")


@dataclass(frozen=True, slots=True)
class Costing(Limiter):
    """A limiter of which each call takes ``cost`` instead of 1. Made with the limiter's ``costing()``."""

    limiter: Limiter
    cost: float

    def __post_init__(self) -> None:
        self.limiter.check(self.cost)

    @property
    def name(self) -> str | None:
        """The limiter's name."""
        return self.limiter.name

    def state(self, shared: Shared) -> Turns:
        """Return the state of the limiter."""
        return self.limiter.state(shared)

    def check(self, cost: float) -> None:
        """Refuse a cost for which there will never be room."""
        self.limiter.check(cost)

    def costing(self, cost: float) -> Self:
        """Return the same limiter at another cost."""
        return dataclasses.replace(self, cost=cost)

    def named(self, owner: str) -> Self:
        """Return it with a name: its limiter's, or else its step's."""
        return dataclasses.replace(self, limiter=self.limiter.named(owner))

    def bound(self, shared: Shared, owner: str) -> Around:
        """Return what limits the calls of the step ``owner``.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration; ``invalid-option``, if
                the limit in force is lower than the cost.
        """
        state = self.named(owner).state(shared)
        state.check(self.cost)
        return Priced(state, self.cost)

    async def acquire(self, cost: float | None = None) -> None:
        """Wait for the turn of the caller, at this cost unless another one is given."""
        await super(Costing, self).acquire(self.cost if cost is None else cost)

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return Priced(self.state(states), self.cost)


class Priced:
    """A state with a cost: what [`Costing`][awaitly.policies.turns.Costing] binds to a step."""

    __slots__ = ("cost", "state")

    def __init__(self, state: Turns, cost: float) -> None:
        self.state = state
        self.cost = cost

    def __call__(self, call: Call[T], course: Course, /) -> Coroutine[Any, Any, T]:
        """Begin the next layer as soon as there is room for the cost."""
        return self.state(call, course, self.cost)
