"""Retry: which errors are worth another attempt, when it begins, and how the last error tells of those before."""

import asyncio
import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from traceback import extract_tb
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitly.errors import CircuitOpen, ConfigurationError, Failure, RunSuspended, StepTimeout
from awaitly.model.facts import Fact, StepRetrying
from awaitly.policies.budget import Budget
from awaitly.policies.course import Course
from awaitly.policies.retry import Retry, RetryNotice
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock

T = TypeVar("T")

STEADY = Retry(backoff="fixed", initial="1s", jitter=False)
NOT_RETRIED = "this error is not retried"


class Declined(Failure):
    reason: str = "no"


class Busy(Failure, retryable=True):
    after: float = 1.0


class Limited(Exception):
    def __init__(self, retry_after: object) -> None:
        super().__init__("slow down")
        self.retry_after = retry_after


class Script:
    """A function that fails as it is told and then returns "done", in a course of its own in virtual time."""

    def __init__(
        self, *errors: BaseException, expected: tuple[type[BaseException], ...] = (), lasts: float = 0
    ) -> None:
        self.clock = VirtualClock(auto=True)
        self.shared = Shared(self.clock)
        self.errors = list(errors)
        self.lasts = lasts
        self.facts: list[Fact] = []
        self.began: list[float] = []  # seconds after the start
        self.course = Course(self.clock, "charge", expected, observe=self.facts.append)

    async def function(self) -> str:
        self.began.append(round(self.clock.monotonic() - 1000, 6))
        if self.lasts:
            self.clock.now += self.lasts
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def call(self, retry: Retry) -> str:
        around = retry.bound(self.shared, "charge")
        return await around(lambda: self.course.attempt(self.function), self.course)

    def play(self, retry: Retry) -> str:
        return self.clock.run(self.call(retry))

    def fail(self, retry: Retry) -> BaseException:
        """Return what the call raises."""
        try:
            answer = self.play(retry)
        except BaseException as error:  # noqa: BLE001 - it is what the test asks for
            return error
        raise AssertionError(f"it gave {answer!r}")


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


# Which errors


def test_a_call_that_succeeds_is_made_once() -> None:
    script = Script()
    assert script.play(Retry()) == "done"
    assert script.began == [0]
    assert script.facts == []


def test_an_error_that_nobody_declared_is_retried() -> None:
    script = Script(ValueError("a"), OSError("b"))
    assert script.play(STEADY) == "done"
    assert script.began == [0, 1, 2]


def test_a_declared_error_is_not_retried_and_keeps_no_note() -> None:
    script = Script(KeyError("k"), expected=(KeyError,))
    assert notes(script.fail(STEADY)) == []
    assert script.began == [0]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Declined(), False),
        (Busy(), True),
        (StepTimeout("slow"), True),
        (CircuitOpen("open", breaker="payments"), False),
    ],
)
def test_an_errors_own_word_decides(error: Exception, again: bool) -> None:
    """Declared or not."""
    for expected in ((), (type(error),)):
        script = Script(error, expected=expected)
        assert (script.play(STEADY) if again else script.fail(STEADY)) == ("done" if again else error)


def test_classes_in_on_decide_alone() -> None:
    assert Script(Declined()).play(replace(STEADY, on=Declined)) == "done"
    assert Script(KeyError(), expected=(KeyError,)).play(replace(STEADY, on=(LookupError, OSError))) == "done"
    assert isinstance(Script(Busy()).fail(replace(STEADY, on=OSError)), Busy)
    assert isinstance(Script(OSError()).fail(replace(STEADY, on=())), OSError)


def test_a_predicate_in_on_decides_alone() -> None:
    retry = replace(STEADY, on=lambda error: "again" in str(error))
    script = Script(ValueError("again"), ValueError("enough"))
    assert str(script.fail(retry)) == "enough"
    assert script.began == [0, 1]


def test_a_predicate_is_asked_once_for_each_error() -> None:
    asked: list[str] = []

    def always(error: Exception) -> bool:
        asked.append(str(error))
        return True

    Script(ValueError("a"), ValueError("b"), ValueError("c")).fail(replace(STEADY, on=always))
    assert asked == ["a", "b", "c"]


def test_a_predicate_that_raises_does_not_hide_the_error() -> None:
    def broken(error: Exception) -> bool:
        raise AttributeError("no status")

    script = Script(ValueError("original"))
    error = script.fail(replace(STEADY, on=broken))
    assert str(error) == "original"
    assert notes(error) == ["not retried, as the predicate of Retry(on=...) raised AttributeError: no status"]


def test_what_unless_names_is_never_retried() -> None:
    retry = replace(STEADY, on=LookupError, unless=KeyError)
    assert Script(IndexError()).play(retry) == "done"
    assert isinstance(Script(KeyError()).fail(retry), KeyError)
    assert isinstance(Script(Busy()).fail(replace(STEADY, unless=(OSError, Busy))), Busy)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RunSuspended("shutdown"), GeneratorExit()])
def test_what_is_no_exception_is_never_retried(error: BaseException) -> None:
    for script in (Script(error), Script(ValueError("first"), error)):
        assert script.fail(STEADY) is error
        assert notes(error) == []


def test_an_error_that_is_not_retried_ends_it_at_any_attempt() -> None:
    script = Script(ValueError("first"), Declined(), expected=(Declined,))
    error = script.fail(STEADY)
    assert isinstance(error, Declined)
    assert notes(error) == [
        "this error is not retried",
        "gave up after 2 attempts in 1s",
        "attempt 1: ValueError: first",
    ]


# Delays


def test_delays_grow_as_declared() -> None:
    errors = [ValueError()] * 4
    assert _begun(Retry(5, initial="1s", jitter=False), errors) == [0, 1, 3, 7, 15]
    assert _begun(Retry(5, initial="1s", jitter=False, multiplier=3, max="10s"), errors) == [0, 1, 4, 13, 23]
    assert _begun(Retry(5, initial="1s", jitter=False, backoff="linear"), errors) == [0, 1, 3, 6, 10]
    assert _begun(Retry(5, initial=0, jitter=False), errors) == [0, 0, 0, 0, 0]


def test_a_longest_delay_below_the_default_of_the_first_one_lowers_that() -> None:
    errors = [ValueError()] * 2
    assert _begun(Retry(max="50ms", jitter=False), errors) == [0, 0.05, 0.1]
    assert _begun(replace(Retry(jitter=False), max=0.025), errors) == [0, 0.025, 0.05]
    assert max(_begun(Retry(max="50ms", jitter="decorrelated"), errors)) <= 0.1


def _begun(retry: Retry, errors: list[Exception]) -> list[float]:
    script = Script(*errors)
    script.play(retry)
    return script.began


@given(st.sampled_from(["full", "equal", "decorrelated", "none", True, False]), st.integers(1, 8))
def test_no_delay_passes_its_longest(jitter: Any, fails: int) -> None:
    script = Script(*[ValueError()] * fails)
    script.play(Retry(9, initial="1s", max="4s", jitter=jitter))
    delays = [fact.delay for fact in script.facts if isinstance(fact, StepRetrying)]
    assert len(delays) == fails
    assert all(0 <= delay <= 4 for delay in delays)


def test_a_server_that_asks_for_longer_is_obeyed() -> None:
    script = Script(Limited(5), Limited("7"), Limited(timedelta(seconds=2)))
    script.play(replace(STEADY, attempts=4))
    assert script.began == [0, 5, 12, 14]


def test_a_server_that_asks_for_less_does_not_shorten_the_delay() -> None:
    script = Script(Limited(0.25))
    script.play(STEADY)
    assert script.began == [0, 1]


def test_a_server_may_name_a_date() -> None:
    script = Script(Limited("Tue, 14 Nov 2023 22:13:30 GMT"))  # ten seconds after the virtual clock began
    script.play(STEADY)
    assert script.began == [0, 10]


def test_the_header_of_a_response_is_read() -> None:
    class Response:
        headers = {"Retry-After": "3"}  # noqa: RUF012

    error = ValueError("429")
    error.response = Response()  # type: ignore[attr-defined]
    script = Script(error)
    script.play(STEADY)
    assert script.began == [0, 3]


def test_a_server_that_asks_for_longer_than_the_longest_delay_is_obeyed() -> None:
    script = Script(Limited(120))
    assert script.play(STEADY) == "done"
    assert script.began == [0, 120]


def test_after_a_server_was_obeyed_delays_are_as_declared_again() -> None:
    script = Script(Limited(120), ValueError())
    script.play(Retry(initial="1s", max="4s", jitter=False))
    assert script.began == [0, 120, 122]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("deadline", "the deadline is in 1m"),
        ("horizon", "the deadline is in 1m"),
        ("within", "1m are left of within='1m'"),
    ],
)
def test_a_server_that_asks_for_more_than_the_time_that_is_left_ends_the_retrying(limit: str, message: str) -> None:
    script, retry = Script(Limited(60)), STEADY
    match limit:
        case "deadline":
            script.course.limit(60)
        case "horizon":
            script.course.horizon = script.course.began + 60
        case _:
            retry = replace(STEADY, within="1m")
    error = script.fail(retry)
    assert script.began == [0]
    assert notes(error) == [f"no time for attempt 2: {message}, the server asks to wait 1m"]


def test_what_a_server_asks_for_can_be_ignored() -> None:
    script = Script(Limited(120))
    script.play(replace(STEADY, retry_after=False))
    assert script.began == [0, 1]


def test_a_cancellation_during_a_delay_ends_it_at_once() -> None:
    script = Script(ValueError())
    script.clock.auto = False

    async def story() -> None:
        task = asyncio.create_task(script.call(replace(STEADY, initial="20s")))
        await script.clock.advance("5s")
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__context__ is None

    script.clock.run(story())
    assert script.began == [0]
    assert script.clock.monotonic() == 1005


def test_a_cancellation_of_a_further_attempt_passes_through() -> None:
    script = Script(ValueError())
    script.clock.auto = False

    async def call() -> None:
        if script.errors:
            raise script.errors.pop()
        await asyncio.Event().wait()

    async def story() -> None:
        around = STEADY.bound(script.shared, "charge")
        task = asyncio.create_task(around(call, script.course))
        await script.clock.advance("5s")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    script.clock.run(story())


# The end


def test_the_last_error_is_the_original_with_its_attempts_as_notes() -> None:
    last = ValueError("third")
    script = Script(ValueError("first"), ConnectionError("second"), last, lasts=0.5)
    assert script.fail(STEADY) is last
    assert notes(last) == [
        "gave up after 3 attempts in 3.5s",
        "attempt 1: ValueError: first",
        "attempt 2: ConnectionError: second",
    ]
    assert last.__cause__ is None
    assert last.__context__ is None
    assert extract_tb(last.__traceback__)[-1].name == "function"


def refusing(script: Script, *refused: int) -> Callable[[], Awaitable[str]]:
    """Return calls of which these, counted from 1, are refused before the function begins."""
    numbers = count(1)

    async def call() -> str:
        if next(numbers) in refused:
            raise CircuitOpen("the circuit is open", breaker="bank")
        return await script.course.attempt(script.function)

    return call


@pytest.mark.parametrize(
    ("refused", "on", "expected"),
    [
        ((3,), None, [NOT_RETRIED, "gave up after 2 attempts and 1 refusal in 2s", "attempt 1: OSError"]),
        ((1, 3), Exception, ["gave up after 1 attempt and 2 refusals in 2s", "attempt 1: OSError"]),
        (
            (1,),
            Exception,
            ["gave up after 2 attempts and 1 refusal in 2s", "refused: CircuitOpen"],
        ),
        ((1, 2, 3), Exception, ["gave up after 3 refusals in 2s"]),
    ],
)
def test_what_is_refused_before_it_begins_is_no_attempt(
    refused: tuple[int, ...], on: type[Exception] | None, expected: list[str]
) -> None:
    script = Script(*[OSError()] * 9)
    call = refusing(script, *refused)

    with pytest.raises((OSError, CircuitOpen)) as caught:
        script.clock.run(replace(STEADY, on=on).bound(script.shared, "charge")(call, script.course))

    assert [note.partition(": the circuit is open")[0] for note in notes(caught.value)] == expected
    assert script.course.attempts == len(script.began) == 3 - len(refused)


def test_who_is_told_of_a_retry_is_told_how_many_attempts_began() -> None:
    script = Script(OSError())
    told: list[int] = []
    retry = replace(STEADY, attempts=4, on=Exception, before_sleep=lambda notice: told.append(notice.attempt))

    script.clock.run(retry.bound(script.shared, "charge")(refusing(script, 1, 3), script.course))

    assert told == [0, 1, 1]
    assert [fact.attempt for fact in script.facts if isinstance(fact, StepRetrying)] == told


def test_equal_errors_are_told_once() -> None:
    same = [ValueError("down") for _ in range(4)]
    assert notes(Script(*same).fail(replace(STEADY, attempts=4))) == ["gave up after 4 attempts in 3s"]
    error = Script(*[OSError("away")] * 2, *same[:2]).fail(replace(STEADY, attempts=4))
    assert notes(error)[-1] == "attempt 1: OSError: away"


def test_at_most_five_earlier_errors_are_told() -> None:
    error = Script(*[ValueError(f"number {n}") for n in range(1, 11)]).fail(replace(STEADY, attempts=10))
    assert notes(error)[1:] == [*(f"attempt {n}: ValueError: number {n}" for n in range(1, 6)), "and others"]


def test_long_errors_are_told_in_one_line() -> None:
    error = Script(ValueError("many\nlines " * 100), ValueError()).fail(replace(STEADY, attempts=2))
    assert len(notes(error)[1]) < 220
    assert "\n" not in notes(error)[1]


def test_an_error_without_text_is_told_by_its_class() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    error = Script(OSError(), Mute(), ValueError("last")).fail(STEADY)
    assert notes(error)[1] == "attempt 1: OSError"
    assert notes(error)[2].endswith("Mute: <no text: its __str__ failed>")


def test_an_error_that_takes_no_notes_is_raised_all_the_same() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    assert Script(Frozen(1), Frozen(2)).fail(replace(STEADY, attempts=2)) == Frozen(2)


def test_one_attempt_is_no_retrying_and_leaves_no_note() -> None:
    script = Script(ValueError("once"))
    assert notes(script.fail(Retry.none())) == []
    assert script.began == [0]


def test_no_error_is_kept_once_a_later_attempt_succeeded() -> None:
    error = Limited(None)  # weak references need a class of one's own
    kept = weakref.ref(error)
    script = Script(error)
    del error
    gc.disable()
    try:
        script.play(STEADY)
        assert kept() is None
    finally:
        gc.enable()


# Time


def test_no_delay_begins_that_would_end_after_the_deadline() -> None:
    script = Script(*[ValueError("down")] * 9)
    script.course.limit(4.2)
    error = script.fail(replace(STEADY, attempts=9, backoff="linear"))
    assert script.began == [0, 1, 3]
    assert script.clock.monotonic() == 1003
    assert notes(error) == [
        "no time for attempt 4: the deadline is in 1.2s, the delay would be 3s",
        "gave up after 3 attempts in 3s",
    ]


def test_a_first_error_after_the_deadline_is_the_last() -> None:
    script = Script(ValueError("late"), lasts=5)
    script.course.limit(4)
    error = script.fail(STEADY)
    assert notes(error) == ["no time for attempt 2: the deadline is in 0s, the delay would be 1s"]


def test_within_limits_all_attempts_together() -> None:
    script = Script(*[ValueError("down")] * 99)
    error = script.fail(Retry(None, within="5s", initial="2s", backoff="fixed", jitter=False))
    assert script.began == [0, 2, 4]
    assert notes(error) == [
        "no time for attempt 4: 1s are left of within='5s', the delay would be 2s",
        "gave up after 3 attempts in 4s",
    ]


def test_without_a_number_of_attempts_it_goes_on_until_it_succeeds() -> None:
    script = Script(*[ValueError("down")] * 200)
    assert script.play(Retry(None, within="1h", initial="1s", backoff="fixed", jitter=False)) == "done"
    assert len(script.began) == 201


# A call that goes on after a restart


def test_attempts_before_a_restart_count() -> None:
    script = Script(*[ValueError("down")] * 9)
    script.course.attempts = 3
    error = script.fail(Retry(5, initial="1s", jitter=False))
    assert script.began == [0, 8]  # the fourth and the fifth, and the delay of the fourth between
    assert notes(error) == ["gave up after 5 attempts in 8s"]


def test_a_call_that_used_up_its_attempts_before_a_restart_has_the_one_that_was_due() -> None:
    script = Script(*[ValueError("down")] * 9)
    script.course.attempts = 3
    assert notes(script.fail(STEADY)) == ["gave up after 4 attempts in 0s"]
    assert script.began == [0]


def test_within_counts_from_before_a_restart() -> None:
    script = Script(*[ValueError("down")] * 9)
    script.course.attempts, script.course.began = 2, script.clock.monotonic() - 58
    error = script.fail(replace(STEADY, attempts=99, within="1m"))
    assert script.began == [0, 1]
    assert notes(error)[1] == "gave up after 4 attempts in 59s"


def test_an_attempt_that_a_limiter_turned_away_counts_although_it_did_not_begin() -> None:
    script = Script()
    tried: list[int] = []

    async def turned_away() -> None:
        tried.append(1)
        raise CircuitOpen("open", breaker="payments", retry_after=2)

    async def story() -> None:
        await replace(STEADY, on=CircuitOpen).bound(script.shared, "charge")(turned_away, script.course)

    with pytest.raises(CircuitOpen):
        script.clock.run(story())
    assert len(tried) == 3
    assert script.clock.monotonic() == 1004


def test_hedged_attempts_count() -> None:
    script = Script()

    async def hedged() -> None:
        script.course.attempts += 2
        raise ValueError("both")

    async def story() -> None:
        await replace(STEADY, attempts=4).bound(script.shared, "charge")(hedged, script.course)

    with pytest.raises(ValueError, match="both") as caught:
        script.clock.run(story())
    assert notes(caught.value) == ["gave up after 4 attempts in 1s"]


# What is told


def test_each_delay_is_told_before_it_begins() -> None:
    error, told = ConnectionError("refused"), []
    script = Script(error)
    script.play(replace(STEADY, before_sleep=told.append))
    assert told == [RetryNotice("charge", 1, 1.0, error)]
    assert script.facts == [
        StepRetrying(
            at=1_700_000_000.0,
            call="",
            step="charge",
            attempt=1,
            delay=1.0,
            error="ConnectionError",
            message="refused",
        )
    ]


def test_a_hook_that_raises_is_logged_once_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    def broken(notice: RetryNotice) -> None:
        raise RuntimeError("the hook is broken")

    with caplog.at_level(logging.ERROR, "awaitly"):
        assert Script(ValueError(), ValueError()).play(replace(STEADY, before_sleep=broken)) == "done"
    assert [record.message for record in caplog.records] == [
        "before_sleep of charge failed; further failures of it are not logged"
    ]


# Budgets


def test_a_used_up_budget_ends_the_retrying() -> None:
    script = Script(*[ValueError("down")] * 9)
    error = script.fail(replace(STEADY, attempts=9, budget=Budget("stripe", minimum=0.1)))
    assert script.began == [0, 1]
    assert notes(error) == ["the retry budget 'stripe' is used up", "gave up after 2 attempts in 1s"]


def test_calls_that_share_a_budget_retry_no_more_than_it_allows() -> None:
    script = Script(*[ValueError("down")] * 10_000)
    retry = replace(STEADY, initial=0, attempts=5, budget=Budget("stripe", ratio=0.1, minimum=1))

    async def story() -> None:
        for _ in range(200):
            course = Course(script.clock, "charge")
            with pytest.raises(ValueError, match="down"):
                await retry.bound(script.shared, "charge")(
                    lambda course=course: course.attempt(script.function), course
                )

    script.clock.run(story())
    assert len(script.began) - 200 == 10 + 0.1 * 200


def test_a_budget_is_not_charged_for_a_retry_that_has_no_time() -> None:
    script = Script(ValueError("down"))
    budget = Budget("stripe", minimum=0.1, ratio=0)
    script.course.limit(0.5)
    script.fail(replace(STEADY, budget=budget))
    assert budget.bound(script.shared).left == 1


def test_a_call_that_goes_on_after_a_restart_earns_nothing() -> None:
    script = Script()
    budget = Budget("stripe", minimum=0, ratio=1)
    script.course.attempts = 1
    script.play(replace(STEADY, budget=budget))
    assert budget.bound(script.shared).left == 0


# By hand


def by_hand(main: Callable[[], Awaitable[T]]) -> T:
    clock = VirtualClock(auto=True)

    async def story() -> T:
        SHARED.set(Shared(clock))
        return await main()

    return clock.run(story())


def test_a_function_is_called_with_its_arguments_until_it_succeeds() -> None:
    errors = [ValueError(), ValueError()]

    async def add(a: int, *, b: int) -> int:
        if errors:
            raise errors.pop()
        return a + b

    assert by_hand(lambda: Retry().call(add, 1, b=2)) == 3
    assert errors == []


def test_a_decorated_function_keeps_its_name_and_is_tried_again() -> None:
    errors = [ValueError(), ValueError()]

    @Retry(3)
    async def add(a: int, *, b: int = 2) -> int:
        """Add two numbers."""
        if errors:
            raise errors.pop()
        return a + b

    assert by_hand(lambda: add(1, b=4)) == 5
    assert (add.__name__, add.__doc__) == ("add", "Add two numbers.")


def test_hooks_are_told_the_name_of_a_function() -> None:
    told: list[RetryNotice] = []

    @Retry(2, before_sleep=told.append)
    async def fetch() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        by_hand(fetch)
    assert [notice.name.rpartition(".")[2] for notice in told] == ["fetch"]


def test_a_hook_that_always_raises_is_logged_once_for_a_function(caplog: pytest.LogCaptureFixture) -> None:
    def broken(notice: RetryNotice) -> None:
        raise RuntimeError("the hook is broken")

    @Retry(2, before_sleep=broken)
    async def fetch() -> None:
        raise ConnectionError

    async def story() -> None:
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await fetch()

    by_hand(story)
    assert len(caplog.records) == 1


def test_functions_that_name_one_budget_share_it() -> None:
    budget = Budget("stripe", minimum=0.1, ratio=0)
    begun: list[str] = []

    async def fetch(name: str) -> None:
        begun.append(name)
        raise ConnectionError

    async def story() -> None:
        for name in "ab":
            with pytest.raises(ConnectionError):
                await Retry(initial=0, budget=budget).call(fetch, name)

    by_hand(story)
    assert begun == ["a", "a", "b"]


# What is declared


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts of Retry is 0. Give a whole number of at least 1"),
        ({"attempts": True}, "attempts of Retry is True"),
        ({"attempts": None}, "attempts of Retry is None. Give a number, or say with within="),
        ({"within": 0}, "within of Retry is 0"),
        ({"backoff": "quadratic"}, "backoff of Retry is 'quadratic'. Choose one of 'fixed', 'linear', 'exponential'"),
        ({"initial": "soon"}, "initial of Retry is 'soon', which is not a duration"),
        ({"max": 0}, "max of Retry is 0"),
        ({"initial": "1m"}, "initial of Retry is '1m'. Give at most max, which is '30s', or raise that"),
        ({"multiplier": 0.5}, "multiplier of Retry is 0.5"),
        ({"multiplier": float("nan")}, "multiplier of Retry is nan"),
        ({"jitter": "some"}, "jitter of Retry is 'some'. Choose one of 'full', 'equal', 'decorrelated', 'none'"),
        ({"jitter": "decorrelated", "backoff": "fixed"}, "backoff of Retry is 'fixed'"),
        ({"on": "ValueError"}, "on of Retry is 'ValueError'"),
        ({"on": (ValueError, 3)}, "on of Retry is 3"),
        ({"on": KeyboardInterrupt}, "on of Retry is .*Give subclasses of Exception"),
        ({"unless": "ValueError"}, "unless of Retry is 'ValueError'"),
        ({"retry_after": "5s"}, "retry_after of Retry is '5s'"),
        ({"before_sleep": 3}, "before_sleep of Retry is 3"),
        ({"before_sleep": asyncio.sleep}, "before_sleep of Retry is .*not awaited"),
        ({"budget": "stripe"}, "budget of Retry is 'stripe'. Give a Budget"),
    ],
)
def test_what_no_retry_can_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i){message}"):
        Retry(**options)


def test_equal_declarations_are_equal() -> None:
    assert Retry.transient() == Retry.transient()
    assert hash(Retry(on=ValueError)) == hash(Retry(on=ValueError))


@pytest.mark.parametrize(
    ("preset", "attempts", "longest"),
    [
        (Retry.none(), 1, 0.0),
        (Retry.transient(), 4, 1.4),
        (Retry.aggressive(), 10, 5.55),
        (Retry.patient(), 10, 511.0),
    ],
)
def test_presets_keep_to_their_numbers(preset: Retry, attempts: int, longest: float) -> None:
    assert preset.attempts == attempts
    assert sum(preset.delays.ceiling(n) for n in range(1, attempts)) == pytest.approx(longest)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (StepTimeout("slow"), True),
        (Busy(), True),
        (Declined(), False),
        (ValueError(), False),
        (OSError(), False),
    ],
)
def test_transient_errors_are_those_of_time_and_connections(error: Exception, again: bool) -> None:
    assert Retry.transient().wants(error, ()) is again


def test_tenacity_is_imported_by_the_first_retry_and_not_before() -> None:
    code = (
        "import asyncio, sys; from awaitly.policies.retry import Retry\n"
        "async def fine(): pass\n"
        "asyncio.run(Retry().call(fine)); assert 'tenacity' not in sys.modules\n"
        "async def failing(): raise ValueError\n"
        "try: asyncio.run(Retry(unless=ValueError).call(failing))\n"
        "except ValueError: assert 'tenacity' not in sys.modules\n"
        "try: asyncio.run(Retry(2, initial=0).call(failing))\n"
        "except ValueError: assert 'tenacity' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
