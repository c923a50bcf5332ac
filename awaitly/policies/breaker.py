"""Circuit breakers: calls to what fails too often are turned away, or wait, until it has recovered."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, replace
from math import inf
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from awaitly.errors import CircuitOpen, StepDeadline, StepTimeout, UsageError
from awaitly.model.clock import Clock, Timer
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import BreakerRejected
from awaitly.policies.circuit import Closed, Forced, Listener, Open, Permit, Rules, State, Switch
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import (
    check_choice,
    check_count,
    check_duration,
    check_name,
    check_number,
    check_ratio,
    error_classes,
    refuse,
)
from awaitly.policies.sharing import Shared, shared
from awaitly.policies.single import Single

T = TypeVar("T")

Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
WhenOpen: TypeAlias = Literal["fail", "wait"]

FAILURES = 5  # that open a circuit for which no rule is given
MINIMUM = 10  # calls without which a share says nothing
UNNAMED = "without a name"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Breaker(Single):
    """Turns calls away for a while when too many have failed, so that what they need can recover.

    ```python
    payments = Breaker("payments", failure_threshold=5, reset_timeout="30s")

    @payments
    async def charge(order: Order) -> Payment: ...

    async with payments:
        ...
    ```

    The circuit of a breaker is *closed* at first. It opens by any rule that is given. While it is *open*, calls raise
    :class:`~awaitly.errors.CircuitOpen`. After ``reset_timeout`` it is *half-open*: a few calls pass as probes, and
    decide whether it closes or opens again.

    Every exception is a failure, except those that the step declares in ``errors``: these are answers, and count as
    successes. A cancelled call, or one that is ended by the deadline of its step, counts as nothing.

    This is the declaration; breakers of one name share one circuit in a runtime (outside of any: in an event loop).

    Args:
        name: What it is shared by. Without one, it belongs to its step, or to whoever holds it.
        failure_threshold: So many failures in the window open the circuit. 5 unless a ratio is given.
        failure_ratio: Such a share of failures in the window opens it, from ``minimum_calls`` on.
        slow_call: A call that takes longer is slow, whether it succeeds or not. Needs ``slow_ratio``.
        slow_ratio: Such a share of slow calls in the window opens the circuit, from ``minimum_calls`` on. A probe
            that is slow opens it again.
        window: For how long a call counts; a 64th less where calls are many.
        window_calls: Count the latest calls instead, whenever they were.
        minimum_calls: The calls in the window without which no share is judged. 10, or all of ``window_calls`` if
            these are fewer.
        reset_timeout: How long it stays open.
        reset_growth: The factor by which that grows with each time that it opens again without having closed, from
            1 to 100.
        reset_max: What it grows to at most; no limit by default.
        half_open_max: How many probes are under way at once. Those who waited are let in at this rate, too.
        success_threshold: How many probes have to succeed before it closes; one that fails opens it again.
        on: Only such exceptions are failures, declared or not. By default, what a step does not declare and, declared
            or not, ``StepTimeout``.
        unless: Such exceptions are none, whatever else they are.
        when_open: ``"fail"`` raises at once. ``"wait"`` lets callers wait in the order in which they came, and raises
            only if their time would be over before the next probe. They are let in as probes are; after the circuit
            has closed those who still wait go on being let in ``half_open_max`` at a time, so that they do not
            all arrive at once, while new calls pass.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    name: str | None = None
    _: KW_ONLY
    failure_threshold: int | None = None
    failure_ratio: float | None = None
    slow_call: Duration | None = None
    slow_ratio: float | None = None
    window: Duration = "60s"
    window_calls: int | None = None
    minimum_calls: int | None = None
    reset_timeout: Duration = "30s"
    reset_growth: float = 1.0
    reset_max: Duration | None = None
    half_open_max: int = 1
    success_threshold: int = 1
    on: Errors | None = None
    unless: Errors = ()
    when_open: WhenOpen = "fail"

    def __post_init__(self) -> None:
        check_name(self.name, "name of a breaker")
        self._check_opening()
        self._check_window()
        self._check_reset()
        self._check_errors()
        check_choice(self.when_open, get_args(WhenOpen), self._what("when_open"))

    @property
    def rules(self) -> Rules:
        """The numbers in force, defaults included."""
        by_share = self.failure_ratio is not None or self.slow_ratio is not None
        fewest = min(MINIMUM, self.window_calls or MINIMUM)
        return Rules(
            failure_threshold=FAILURES if self.failure_threshold is None and not by_share else self.failure_threshold,
            failure_ratio=self.failure_ratio,
            slow_call=None if self.slow_call is None else seconds(self.slow_call),
            slow_ratio=self.slow_ratio,
            window=seconds(self.window),
            window_calls=self.window_calls,
            minimum_calls=fewest if self.minimum_calls is None else self.minimum_calls,
            reset_timeout=seconds(self.reset_timeout),
            reset_growth=self.reset_growth,
            reset_max=inf if self.reset_max is None else seconds(self.reset_max),
            half_open_max=self.half_open_max,
            success_threshold=self.success_threshold,
        )

    def bound(self, shared: Shared, owner: str) -> "Circuit":
        """Return the circuit for the calls of one step, which has it alone if the breaker has no name."""
        breaker = self if self.name is not None else replace(self, name=f"step {owner}")
        return breaker._circuit(shared)

    def state(self) -> State:
        """Return ``"closed"``, ``"open"`` or ``"half-open"``."""
        return self._circuit(shared()).state()

    def force_open(self) -> None:
        """Turn all calls away until :meth:`reset`."""
        self._circuit(shared()).force_open()

    def reset(self) -> None:
        """Close the circuit and forget everything that it has seen."""
        self._circuit(shared()).reset()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with the old and the new state after each change; what it raises is logged.

        Returns:
            What ends the subscription.
        """
        return self._circuit(shared()).subscribe(listener)

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return self._circuit(states)

    async def __aenter__(self) -> None:
        """Begin a call through the circuit.

        Raises:
            CircuitOpen: If the circuit turns it away.
        """
        states = shared()
        circuit = self._circuit(states)
        permit = await circuit.enter(Course(states.clock, observe=states.observe))
        _entered.set((*_entered.get(), _Entry(self, circuit, permit, circuit.since(0.0))))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the call.

        Raises:
            UsageError: ``other-task``, if it did not begin in this task.
        """
        entered = _entered.get()
        entry = next((entry for entry in reversed(entered) if entry.breaker is self), None)
        if entry is None:
            raise UsageError(
                f"`async with` of breaker {self.name!r} ends in another task than it began in",
                hint="leave it where it was entered, or use `await breaker.call(...)`",
                code="other-task",
            ) from error
        _entered.set(tuple(other for other in entered if other is not entry))
        entry.circuit.settle(entry.permit, error, entry.circuit.since(entry.began))

    def _circuit(self, states: Shared) -> "Circuit":
        return states.state(Circuit, self, lambda declared: Circuit(declared, states.clock, states.notice))

    def _what(self, option: str) -> str:
        return f"{option} of a breaker" if self.name is None else f"{option} of breaker {self.name!r}"

    def _check_opening(self) -> None:
        for count in ("failure_threshold", "window_calls", "minimum_calls"):
            if getattr(self, count) is not None:
                check_count(getattr(self, count), self._what(count))
        for ratio in ("failure_ratio", "slow_ratio"):
            if getattr(self, ratio) is not None:
                check_ratio(getattr(self, ratio), self._what(ratio))
        if self.slow_call is not None:
            check_duration(self.slow_call, self._what("slow_call"))
        if self.slow_call is None and self.slow_ratio is not None:
            raise refuse(self._what("slow_ratio"), self.slow_ratio, 'say what is slow, such as slow_call="2s"')
        if self.slow_call is not None and self.slow_ratio is None:
            raise refuse(self._what("slow_call"), self.slow_call, "say what share may be slow, such as slow_ratio=0.5")

    def _check_window(self) -> None:
        check_duration(self.window, self._what("window"))
        for count in ("failure_threshold", "minimum_calls"):
            value = getattr(self, count)
            if self.window_calls is not None and value is not None and value > self.window_calls:
                allowed = f"give at most {self.window_calls}, as window_calls lets no more calls count"
                raise refuse(self._what(count), value, allowed)

    def _check_reset(self) -> None:
        check_duration(self.reset_timeout, self._what("reset_timeout"))
        check_number(self.reset_growth, self._what("reset_growth"), least=1, most=100)
        check_count(self.half_open_max, self._what("half_open_max"))
        check_count(self.success_threshold, self._what("success_threshold"))
        if self.reset_max is None:
            return
        check_duration(self.reset_max, self._what("reset_max"))
        if seconds(self.reset_max) < seconds(self.reset_timeout):
            raise refuse(self._what("reset_max"), self.reset_max, f"give at least reset_timeout, {self.reset_timeout}")

    def _check_errors(self) -> None:
        error_classes(self.unless, self._what("unless"))
        for cls in () if self.on is None else error_classes(self.on, self._what("on")):
            if not issubclass(cls, Exception):
                raise refuse(self._what("on"), cls, "give subclasses of Exception, as nothing else is ever a failure")


# Who waits, with the time on the monotonic clock at which that ends; a dictionary would search for its first.
Line: TypeAlias = OrderedDict["asyncio.Future[Permit]", float | None]


class _Alarm(NamedTuple):
    """A timer for the end of the open phase, and the loop without which it does not ring."""

    loop: asyncio.AbstractEventLoop
    timer: Timer


class Circuit(Switch):
    """The state of a breaker, and those who wait for it.

    Args:
        breaker: The declaration in force.
        clock: What its times are of.
        notice: Told of each change: the kind of the fact, and its fields.
    """

    __slots__ = ("_alarm", "_on", "_queue", "_ready", "_spare", "_timed", "_unless", "breaker")

    def __init__(self, breaker: Breaker, clock: Clock, notice: Callable[..., object]) -> None:
        super().__init__(breaker.name or UNNAMED, breaker.rules, clock, notice)
        self.breaker = breaker
        self._on = None if breaker.on is None else error_classes(breaker.on, "on")
        self._unless = error_classes(breaker.unless, "unless")
        self._timed = self.rules.slow_call is not None
        # Who waits at the gate, and who has what its limiters gave: these are let in first, as others wait for that.
        self._queue: Line = OrderedDict()
        self._ready: Line = OrderedDict()
        self._spare: dict[object, Permit] = {}  # of probes that are past the gate and not here yet
        self._alarm: _Alarm | None = None

    async def __call__(self, call: Call[T], course: Course, /) -> T:
        """Return what the call gives.

        Raises:
            CircuitOpen: If the circuit turns it away.
        """
        phase = self._phase
        permit = Permit(self, phase) if type(phase) is Closed else await self.enter(course)
        began = self._clock.monotonic() if self._timed else 0.0
        try:
            value = await call()
        except BaseException as error:
            self.settle(permit, error, self.since(began), course.expected)
            raise
        permit.succeeded(self._clock.monotonic() - began if self._timed else 0.0)
        return value

    async def gate(self, call: Call[T], course: Course, /) -> T:
        """Return what the call gives, asking the circuit before anything scarce is taken for it, such as a token.

        A place that it gets as a probe is kept for the circuit's own layer below, unless another call gets there
        first; it goes back if none asks for it.

        Raises:
            CircuitOpen: If the circuit turns the call away.
        """
        if type(self._phase) is Closed:
            return await call()
        mark = object()
        self._spare[mark] = await self._admitted(course, self._queue)
        before = _passed.set(mark)
        try:
            self._attend()
            return await call()
        finally:
            _passed.reset(before)
            if mark in self._spare:
                self._spare.pop(mark).abandoned()

    async def enter(self, course: Course) -> Permit:
        """Return a permit, at once or when it is this caller's turn.

        Raises:
            CircuitOpen: If the circuit turns the call away.
        """
        kept = self._spare.pop(_passed.get(), None)
        if kept is not None and kept.good_for(self):
            return kept
        if kept is not None:
            kept.abandoned()
        return await self._admitted(course, self._ready)

    async def _admitted(self, course: Course, line: "Line") -> Permit:
        try:
            return self.admit()
        except CircuitOpen as refusal:
            left = course.remaining()
            if self.breaker.when_open == "fail" or (left is not None and (refusal.retry_after or 0.0) > left):
                course.notice(BreakerRejected, breaker=self.name)
                raise
        return await self._turn(course, line, None if left is None else self._clock.monotonic() + left)

    def settle(
        self,
        permit: Permit,
        error: BaseException | None,
        seconds: float,
        expected: tuple[type[BaseException], ...] = (),
    ) -> None:
        """Give a permit back after a call that ended with ``error`` or, if that is None, well."""
        if error is None:
            permit.succeeded(seconds)
        elif isinstance(error, StepDeadline) or not isinstance(error, Exception):
            permit.abandoned()  # ended from outside
        elif self._blames(error, expected):
            permit.failed(seconds)
        else:
            permit.succeeded(seconds)

    def since(self, began: float) -> float:
        """Return the seconds since a time on the monotonic clock; 0 if no rule asks for them."""
        return self._clock.monotonic() - began if self._timed else 0.0

    def _blames(self, error: Exception, expected: tuple[type[BaseException], ...]) -> bool:
        if isinstance(error, self._unless):
            return False
        if self._on is not None:
            return isinstance(error, self._on)
        # A step may declare its timeout, so that its callers can handle it; it says the same about the dependency.
        return isinstance(error, StepTimeout) or not isinstance(error, expected)

    async def _turn(self, course: Course, line: "Line", due: float | None) -> Permit:
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        line[turn] = due
        self._attend()
        try:
            return await turn
        except CircuitOpen:
            course.notice(BreakerRejected, breaker=self.name)
            raise
        except BaseException:
            self._leave(turn, line)
            raise

    def _leave(self, turn: "asyncio.Future[Permit]", line: "Line") -> None:
        line.pop(turn, None)
        self._arm()
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            turn.result().abandoned()  # called off in the instant in which it was let in

    def _attend(self) -> None:
        phase = self._phase
        if isinstance(phase, Open):
            self._turn_away(phase)
        elif not isinstance(phase, Forced):
            self._let_in()
        self._arm()

    def _let_in(self) -> None:
        while (turn := _first(self._ready)) is not None and (permit := self._free() or self._borrowed()) is not None:
            del self._ready[turn]
            turn.set_result(permit)
        while (turn := _first(self._queue)) is not None and (permit := self._free()) is not None:
            del self._queue[turn]
            turn.set_result(permit)

    def _free(self) -> Permit | None:
        return self._take() if self._places.taken < self.rules.half_open_max else None

    def _borrowed(self) -> Permit | None:
        """Return the place of a probe that still waits for its limiters, for one that has what that may wait for."""
        while self._spare:
            permit = self._spare.pop(next(iter(self._spare))).renewed()
            if permit is not None:
                return permit
        return None

    def _turn_away(self, phase: Open) -> None:
        """Refuse those who cannot wait until the next probe."""
        for line in (self._ready, self._queue):
            late = [turn for turn, due in line.items() if due is not None and due < phase.until]
            for turn in late:
                del line[turn]
                if not turn.done() and not turn.get_loop().is_closed():
                    turn.set_exception(self._refusal(phase))

    def _arm(self) -> None:
        """Have a timer for the end of an open phase while somebody waits for it, and else none."""
        phase, loop = self._phase, asyncio._get_running_loop()
        until = phase.until if isinstance(phase, Open) and (self._ready or self._queue) else None
        if self._alarm is not None:
            if until is not None and self._alarm.loop is loop:
                return
            self._alarm.timer.cancel()
            self._alarm = None
        if until is not None and loop is not None:
            delay = max(0.0, until - self._clock.monotonic())
            self._alarm = _Alarm(loop, self._clock.call_later(delay, self._ring))

    def _ring(self) -> None:
        self._alarm = None
        self._look()
        self._arm()  # if it was too early


def _first(line: Line) -> "asyncio.Future[Permit] | None":
    while line:
        turn = next(iter(line))
        # Loops end without those who waited in them if they are stopped the hard way.
        if not turn.done() and not turn.get_loop().is_closed():
            return turn
        del line[turn]
    return None


class _Entry(NamedTuple):
    """One ``async with`` that is under way."""

    breaker: Breaker
    circuit: Circuit
    permit: Permit
    began: float


_entered: ContextVar[tuple[_Entry, ...]] = ContextVar("awaitly.breakers", default=())
_passed: ContextVar[object] = ContextVar("awaitly.gates", default=None)  # marks the call that is past a gate
