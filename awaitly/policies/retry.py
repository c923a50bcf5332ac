"""Attempts after the first one: which errors are worth one, when it begins, and when there is none any more.

The first attempt knows nothing of all this. Once it has failed, tenacity's loop asks: its ``retry``, ``wait`` and
``stop`` are answered here, as its own would read the system's clock.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_args

from awaitly.errors import StepDeadline, StepTimeout
from awaitly.model.counts import counted
from awaitly.model.durations import Duration, humanised, seconds
from awaitly.model.facts import StepRetrying
from awaitly.policies.backoff import Backoff, Jitter, Shape, asked
from awaitly.policies.budget import Budget, Tokens
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import check_choice, check_count, check_duration, check_number, error_classes, refuse
from awaitly.policies.sharing import Shared
from awaitly.policies.single import Single, called

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

T = TypeVar("T")

Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

INITIAL = "100ms"
LISTED = 5  # earlier errors that a last one names
WIDEST = 200  # characters of each

_log = logging.getLogger("awaitly")


@dataclass(frozen=True, slots=True)
class RetryNotice:
    """What ``before_sleep`` is told before each delay.

    Attributes:
        name: The name of the step or function.
        attempt: How many attempts have begun so far: the number of the one that failed. An open circuit or a full
            limiter may have refused the last one before it began.
        delay: The seconds until the next one begins.
        error: What the attempt failed with.
    """

    name: str
    attempt: int
    delay: float
    error: Exception


def transient(error: BaseException) -> bool:
    """Return whether an error is likely to pass: its own ``retryable`` says so, or it is of time or of a connection."""
    own = getattr(error, "retryable", None)
    return isinstance(error, (TimeoutError, ConnectionError, StepTimeout)) if own is None else bool(own)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Retry(Single):
    """Tries again what failed.

    ```python
    @Retry(attempts=5, on=ConnectionError)
    async def fetch(url: str) -> bytes: ...

    page = await Retry.patient().call(fetch, "https://example.com")
    ```

    Without ``on``, an error's own ``retryable`` decides (failures and awaitly's errors have one); without that,
    errors that a step declares are not retried, and all others are. Only subclasses of ``Exception`` ever are: a
    cancellation ends a call at once, in a delay too.

    When there is no further attempt the last error is raised as it is, with notes about the attempts.

    Args:
        attempts: How often to try in all, the first attempt included; 3 by default. None tries until the time
            of ``within`` is over. Every beginning of the function counts, a hedge too, and a refusal by a circuit or a
            limiter, where ``on`` lets that be tried again.
        backoff: How delays grow: ``"fixed"`` (``initial`` each time), ``"linear"`` (by ``initial`` each time) or
            ``"exponential"`` (by ``multiplier`` each time), the default.
        initial: The delay after the first attempt, before jitter; 100 ms by default, or ``max`` if that is shorter.
        max: The longest delay, unless a server asks for a longer one; 30 s by default.
        multiplier: The factor of exponential growth, at least 1; 2 by default.
        jitter: ``"full"`` (or True, the default) draws each delay from zero up to what the backoff says, ``"equal"``
            from half of that, ``"decorrelated"`` from ``initial`` up to three times the delay before (in place of
            exponential growth by ``multiplier``), ``"none"`` (or False) draws nothing. The formulas are those of
            "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
        on: The errors to retry: a class, a tuple of classes, or a function that gets the error and returns whether to.
        unless: Classes that are never retried, whatever else says so.
        within: The time in which the last attempt has to begin, from the beginning of the first one (before a
            restart, too); no limit by default. It does not end an attempt: that is what ``timeout`` and
            ``deadline`` are for.
        retry_after: Whether an error's ``retry_after`` or its response's ``Retry-After`` lengthens the delay, beyond
            ``max`` too. One that is longer than the time that is left ends the retrying: earlier, the server would
            refuse again.
        before_sleep: Called with a ``RetryNotice`` before each delay. What it raises is logged once and ignored.
        budget: Limits the retries of all calls that share it.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    attempts: int | None = 3
    _: KW_ONLY
    backoff: Shape = "exponential"
    initial: Duration = INITIAL
    max: Duration = "30s"
    multiplier: float = 2.0
    jitter: bool | Jitter = True
    on: Errors | Callable[[Exception], bool] | None = None
    unless: Errors = ()
    within: Duration | None = None
    retry_after: bool = True
    before_sleep: Callable[[RetryNotice], object] | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        self._check_limits()
        self._check_delays()
        self._check_errors()
        _check_hook(self.before_sleep, "before_sleep")
        if self.budget is not None and not isinstance(self.budget, Budget):
            raise refuse("budget of Retry", self.budget, 'give a Budget, such as Budget("stripe")')

    @classmethod
    def none(cls) -> "Retry":
        """Never try again: 1 attempt."""
        return cls(1)

    @classmethod
    def transient(cls) -> "Retry":
        """Get over a hiccup: 4 attempts, at most 200 ms, 400 ms and 800 ms apart.

        Only for ``TimeoutError``, ``ConnectionError``, ``StepTimeout`` and errors whose ``retryable`` is true.
        """
        return cls(4, initial="200ms", on=transient)

    @classmethod
    def aggressive(cls) -> "Retry":
        """Do not wait for long: 10 attempts, from 50 ms to 1 s apart, at most 5.6 s in all.

        For what is near and has room; give it a budget.
        """
        return cls(10, initial="50ms", max="1s")

    @classmethod
    def patient(cls) -> "Retry":
        """Outlast an outage: 10 attempts, from 1 s to 256 s apart, half of it by chance: from 4 to 8.5 min in all."""
        return cls(10, initial="1s", max="5m", jitter="equal")

    @property
    def delays(self) -> Backoff:
        """The delays between attempts."""
        jitter: Jitter = ("full" if self.jitter else "none") if isinstance(self.jitter, bool) else self.jitter
        return Backoff(self.backoff, seconds(self.initial), seconds(self.max), self.multiplier, jitter)

    def bound(self, shared: Shared, owner: str) -> Around:
        """Return the policy with the state that it shares."""
        return Retrying(self, None if self.budget is None else self.budget.bound(shared))

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return states.kept(self, states.owner(fn), lambda: self.bound(states, called(fn)))

    def allows(self, attempts: int, elapsed: float) -> bool:
        """Return whether another attempt may begin after so many, and so many seconds after the first one began."""
        if self.attempts is not None and attempts >= self.attempts:
            return False
        return self.within is None or elapsed < seconds(self.within)

    def wants(self, error: Exception, expected: Errors) -> bool:
        """Return whether another attempt is worth it after this error, where those of some classes are expected."""
        if isinstance(error, self.unless):
            return False
        if self.on is not None:
            return isinstance(error, self.on) if isinstance(self.on, (type, tuple)) else bool(self.on(error))
        own = getattr(error, "retryable", None)
        return not isinstance(error, expected) if own is None else bool(own)

    def _check_limits(self) -> None:
        if self.attempts is not None:
            check_count(self.attempts, "attempts of Retry")
        elif self.within is None:
            raise refuse("attempts of Retry", None, "give a number, or say with within= how long to go on trying")
        if self.within is not None:
            check_duration(self.within, "within of Retry")

    def _check_delays(self) -> None:
        check_choice(self.backoff, get_args(Shape), "backoff of Retry")
        check_duration(self.initial, "initial of Retry", positive=False)
        check_duration(self.max, "max of Retry")
        if seconds(self.initial) > seconds(self.max) and self.initial != INITIAL:
            raise refuse("initial of Retry", self.initial, f"give at most max, which is {self.max!r}, or raise that")
        check_number(self.multiplier, "multiplier of Retry", least=1.0)
        if not isinstance(self.jitter, bool):
            check_choice(self.jitter, get_args(Jitter), "jitter of Retry")
        if self.jitter == "decorrelated" and self.backoff != "exponential":
            raise refuse("backoff of Retry", self.backoff, 'with jitter="decorrelated" only "exponential" makes sense')
        if not isinstance(self.retry_after, bool):
            raise refuse("retry_after of Retry", self.retry_after, "give True or False")

    def _check_errors(self) -> None:
        error_classes(self.unless, "unless of Retry")
        if not isinstance(self.on, (type, tuple)):
            _check_hook(self.on, "on")
            return
        for cls in error_classes(self.on, "on of Retry"):
            if not issubclass(cls, Exception):
                raise refuse("on of Retry", cls, "give subclasses of Exception: nothing else is ever retried")


def _check_hook(hook: object, option: str) -> None:
    if hook is not None and (not callable(hook) or iscoroutinefunction(hook)):
        raise refuse(f"{option} of Retry", hook, "give a plain function, which is called and not awaited")


class Retrying:
    """A declared retry at work.

    Args:
        declared: What is wanted.
        tokens: What is left of its budget, if it has one.
        chance: Gives numbers from 0 up to 1, for the jitter.
    """

    __slots__ = ("_complained", "chance", "declared", "tokens")

    def __init__(self, declared: Retry, tokens: Tokens | None, chance: Callable[[], float] = random.random) -> None:
        self.declared = declared
        self.tokens = tokens
        self.chance = chance
        self._complained = False

    async def __call__(self, call: Call[T], course: Course) -> T:
        """Return what the call gives; once it has failed, see whether to try again."""
        used = course.attempts  # before a restart
        if self.tokens is not None and not used:
            self.tokens.earn()
        try:
            return await call()
        except Exception as error:
            if not self.wants(error, course):
                raise
            first = error
        try:
            return await Again(self, course, refused=course.attempts == used).run(call, first)
        finally:
            del first  # it keeps this frame, which must not keep it

    def wants(self, error: Exception, course: Course) -> bool:
        """Return whether another attempt is worth it after this error."""
        try:
            return self.declared.wants(error, course.expected)
        except Exception as fault:  # noqa: BLE001 - a foreign predicate, which must not hide the error
            _note(error, f"not retried, as the predicate of Retry(on=...) raised {_line(fault)}")
            return False

    def announce(self, notice: RetryNotice) -> None:
        """Tell the hook of a delay."""
        hook = self.declared.before_sleep
        if hook is None:
            return
        try:
            hook(notice)
        except Exception:  # noqa: BLE001 - a foreign hook; whatever it raises is logged
            if not self._complained:
                self._complained = True
                _log.exception("before_sleep of %s failed; further failures of it are not logged", notice.name)


class Again:
    """What follows when the first attempt in this process has failed, and is known to be worth another.

    Args:
        retrying: The policy.
        course: The call's.
        refused: Whether that one did not begin: something further inside refused it.
    """

    __slots__ = (
        "_asked", "_backoff", "_begun", "_course", "_declared", "_earlier", "_first", "_previous", "_refusals",
        "_refused", "_retrying",
    )  # fmt: skip

    def __init__(self, retrying: Retrying, course: Course, *, refused: bool) -> None:
        self._retrying = retrying
        self._declared = retrying.declared
        self._course = course
        self._backoff = retrying.declared.delays
        self._begun = course.attempts  # when last looked at
        self._refused = refused
        self._refusals = int(refused)  # those of earlier processes are forgotten
        self._first = self._tries
        self._previous: float | None = None  # delay
        self._asked: float | None = None  # by the server
        self._earlier: dict[str, str] = {}  # errors as text, and what first failed with them

    async def run(self, call: Call[T], error: Exception) -> T:
        """Return what a further attempt gives, after one that failed.

        Raises:
            Exception: What the last attempt raised.
        """
        import tenacity  # a call whose first attempt succeeds does without

        loop = tenacity.AsyncRetrying(
            retry=self._wanted,
            wait=self._delay,
            stop=self._over,
            before_sleep=self._announce,
            retry_error_callback=lambda state: None,
        )
        state = tenacity.RetryCallState(retry_object=loop, fn=None, args=(), kwargs={})
        state.attempt_number = self._first
        _keep(state, error)
        del error  # it keeps this frame, which must not keep it
        loop.begin()
        try:
            return await self._attempts(loop, state, call)
        finally:
            state.outcome = None

    async def _attempts(self, loop: "AsyncRetrying", state: "RetryCallState", call: Call[T]) -> T:
        from tenacity import DoAttempt, DoSleep

        last: Exception | None = None
        try:
            while True:
                do = await loop.iter(retry_state=state)
                if isinstance(do, DoSleep):
                    last = _error(state)
                    await self._course.pause(state.upcoming_sleep, last)
                    state.prepare_for_next_attempt()
                elif isinstance(do, DoAttempt):
                    try:
                        return await call()
                    except Exception as error:  # noqa: BLE001 - tenacity asks which are wanted
                        if isinstance(error, StepDeadline):
                            _explain(error, last)
                        _keep(state, error)
                else:
                    raise _error(state)
        except asyncio.CancelledError as interruption:
            _explain(interruption, last)  # by the call's deadline, as may be: that has it as its cause
            raise
        finally:
            last = None  # it keeps this frame, which must not keep it

    def _wanted(self, state: "RetryCallState") -> bool:
        error = _error(state)
        if state.attempt_number == self._first:  # known to be
            return True

        self._refused = self._course.attempts == self._begun
        self._refusals += self._refused
        self._begun = self._course.attempts
        state.attempt_number = self._tries
        wanted = self._retrying.wants(error, self._course)
        if not wanted:
            self._conclude(error, "this error is not retried")
        return wanted

    @property
    def _tries(self) -> int:
        """What is counted against the limit: attempts that began, hedges too, and those that were refused."""
        return self._begun + self._refusals

    def _delay(self, state: "RetryCallState") -> float:
        delay = self._backoff.delay(state.attempt_number, self._retrying.chance, self._previous)
        self._previous = delay
        self._asked = asked(_error(state), self._course.clock.time()) if self._declared.retry_after else None
        return delay if self._asked is None else max(delay, self._asked)

    def _over(self, state: "RetryCallState") -> bool:
        error, limit = _error(state), self._declared.attempts
        if limit is not None and self._tries >= limit:
            self._conclude(error)
            return True

        reason = self._obstacle(self._begun + 1, state.upcoming_sleep)
        if reason is not None:
            self._conclude(error, reason)
        elif len(self._earlier) <= LISTED + 1:  # one of them may be like the last
            self._earlier.setdefault(_line(error), "refused" if self._refused else f"attempt {self._begun}")
        return reason is not None

    def _obstacle(self, following: int, delay: float) -> str | None:
        """Return why there is no following attempt after a delay."""
        reason = self._shortage(delay)
        if reason is not None:
            longer = "the server asks to wait" if delay == self._asked else "the delay would be"
            return f"no time for attempt {following}: {reason}, {longer} {humanised(delay)}"
        tokens = self._retrying.tokens
        if tokens is not None and not tokens.spend():
            return f"the retry budget {tokens.name!r} is used up"
        return None

    def _shortage(self, delay: float) -> str | None:
        """Return which time is over before a delay is."""
        remaining = self._course.remaining()
        if remaining is not None and delay >= remaining:
            return f"the deadline is in {humanised(max(0.0, remaining))}"
        if self._declared.within is None:
            return None
        left = seconds(self._declared.within) - self._elapsed()
        return f"{humanised(max(0.0, left))} are left of within={self._declared.within!r}" if delay >= left else None

    def _announce(self, state: "RetryCallState") -> None:
        error, delay = _error(state), state.upcoming_sleep
        kind, message = type(error).__qualname__, _text(error)
        self._course.notice(StepRetrying, attempt=self._begun, delay=delay, error=kind, message=message)
        self._retrying.announce(RetryNotice(self._course.name, self._begun, delay, error))

    def _conclude(self, error: Exception, reason: str | None = None) -> None:
        """Note on the last error how it came to be the last."""
        if reason is not None:
            _note(error, reason)
        if self._tries > 1:
            _note(error, gave_up(self._begun, self._elapsed(), self._refusals))
        self._earlier.pop(_line(error), None)
        listed = [f"{failed}: {line}" for line, failed in self._earlier.items()]
        for line in listed[:LISTED]:
            _note(error, line)
        if len(listed) > LISTED:
            _note(error, "and others")

    def _elapsed(self) -> float:
        return self._course.clock.monotonic() - self._course.began


def gave_up(attempts: int, elapsed: float, refusals: int = 0) -> str:
    """Return what an error says of a call that is not tried again."""
    counts = [counted(attempts, "attempt")] if attempts or not refusals else []
    if refusals:
        counts.append(counted(refusals, "refusal"))
    return f"gave up after {' and '.join(counts)} in {humanised(elapsed)}"


def _keep(state: "RetryCallState", error: Exception) -> None:
    state.set_exception((type(error), error, error.__traceback__))


def _explain(end: BaseException, last: Exception | None) -> None:
    """Let what ended the attempts tell what the last one of them failed with."""
    if end is not last and end.__cause__ is None:
        end.__cause__ = last


def _error(state: "RetryCallState") -> Exception:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, Exception)
    return error


def _note(error: Exception, note: str) -> None:
    with suppress(Exception):  # one that nobody may write to, such as a frozen dataclass
        error.add_note(note)


def _line(error: Exception) -> str:
    text = " ".join(_text(error).split())
    named = f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
    return named if len(named) <= WIDEST else f"{named[: WIDEST - 1]}…"


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the error's own __str__ is foreign code, and must not hide the error
        return "<no text: its __str__ failed>"
