"""A hedge begins another attempt beside a slow one, takes the first success and leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from awaitly.errors import ConfigurationError, StepDeadline
from awaitly.model.facts import Fact, StepHedged
from awaitly.policies.clock import pause
from awaitly.policies.course import Course
from awaitly.policies.hedge import Hedge
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock


class Down(Exception):
    pass


class Server:
    """Answers each attempt after a time of its own: with a value, or by raising an exception."""

    def __init__(self, *script: tuple[float, object]) -> None:
        self.clock = VirtualClock(auto=True)
        self.facts: list[Fact] = []
        self.course = Course(self.clock, "fetch", observe=self.facts.append)
        self.script = script
        self.began: list[float] = []
        self.ended: list[tuple[int, str]] = []

    @property
    def now(self) -> float:
        return self.clock.monotonic() - self.course.began

    async def asked(self) -> Any:
        number = len(self.began)
        self.began.append(round(self.now, 3))
        delay, answer = self.script[number]
        try:
            await pause(self.clock, delay)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # cleans up
            self.ended.append((number, "cancelled"))
            raise
        self.ended.append((number, "ended"))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def call(self, hedge: Hedge) -> Awaitable[Any]:
        around = hedge.bound(Shared(self.clock), "fetch")
        return around(lambda: self.course.attempt(self.asked), self.course)

    def play(self, hedge: Hedge) -> Any:
        """Return what the call gives, having seen that nothing goes on after it."""

        async def story() -> Any:
            try:
                return await self.call(hedge)
            finally:
                assert asyncio.all_tasks() == {asyncio.current_task()}
                assert self.clock._next_due() is None

        return self.clock.run(story())


def test_a_quick_attempt_stays_alone() -> None:
    server = Server((0.1, "a"), (0.0, "b"))
    assert server.play(Hedge("200ms")) == "a"
    assert server.began == [0]
    assert server.facts == []


def test_a_slow_attempt_gets_another_one_beside_it_and_the_first_success_wins() -> None:
    server = Server((10, "slow"), (0.1, "quick"))
    assert server.play(Hedge("200ms")) == "quick"
    assert server.began == [0, 0.2]
    assert round(server.now, 3) == 0.3


def test_the_one_that_lost_is_cancelled_and_awaited() -> None:
    """What it does when it is cancelled is done before the call returns."""
    server = Server((10, "slow"), (0.1, "quick"))
    server.play(Hedge("200ms"))
    assert server.ended == [(1, "ended"), (0, "cancelled")]


def test_the_first_attempt_may_win_after_all() -> None:
    server = Server((0.3, "first"), (10, "second"))
    assert server.play(Hedge("200ms")) == "first"
    assert server.ended == [(0, "ended"), (1, "cancelled")]


def test_no_more_are_begun_than_allowed_and_each_after_the_time_again() -> None:
    server = Server((10, "a"), (10, "b"), (10, "c"), (0, "d"))
    assert server.play(Hedge(1, extra=2)) == "a"
    assert server.began == [0, 1, 2]


def test_each_extra_attempt_is_told() -> None:
    """With the number that it has among the attempts of the call."""
    server = Server((10, "a"), (10, "b"), (0, "c"))
    server.play(Hedge(1, extra=2))
    assert [(type(fact), fact.attempt) for fact in server.facts if isinstance(fact, StepHedged)] == [
        (StepHedged, 2),
        (StepHedged, 3),
    ]


def test_a_failure_before_the_time_is_the_calls_at_once() -> None:
    """Trying again after failures is what a retry does."""
    server = Server((0.1, Down("first")), (0, "never"))
    with pytest.raises(Down, match="first"):
        server.play(Hedge("200ms"))
    assert server.began == [0]


def test_while_another_is_under_way_a_failure_is_not_the_last_word() -> None:
    server = Server((3, Down("first")), (3, "second"))
    assert server.play(Hedge(1)) == "second"


def test_if_all_fail_the_first_failure_is_raised() -> None:
    """That is the one which came first, whichever attempt it was."""
    server = Server((3, Down("begun first")), (1, Down("failed first")))
    with pytest.raises(Down, match="failed first"):
        server.play(Hedge(1))
    assert server.ended == [(1, "ended"), (0, "ended")]


def test_a_failure_does_not_stop_the_clock_for_the_next_one() -> None:
    server = Server((10, "slow"), (0.5, Down()), (0.5, "third"))
    assert server.play(Hedge(1, extra=2)) == "third"
    assert server.began == [0, 1, 2]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit("ended")])
def test_what_is_no_exception_ends_the_call(error: BaseException) -> None:
    """As it would without a hedge; the others are cancelled."""
    server = Server((10, "slow"), (1, error))
    with pytest.raises(type(error)):
        server.play(Hedge(1))
    assert server.ended == [(1, "ended"), (0, "cancelled")]


def test_cancelling_the_call_cancels_and_awaits_all_attempts() -> None:
    server = Server((10, "a"), (10, "b"))

    async def story() -> None:
        server.clock.auto = False
        call = asyncio.ensure_future(server.call(Hedge(1)))
        await server.clock.advance(2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sorted(server.ended) == [(0, "cancelled"), (1, "cancelled")]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    server.clock.run(story())


def test_a_call_cancelled_while_it_awaits_the_loser_is_cancelled_once_that_is_over() -> None:
    clock = VirtualClock(auto=False)
    course = Course(clock)
    left: list[str] = []

    async def attempt() -> str:
        if course.attempts == 2:
            return "quick"
        with suppress(asyncio.CancelledError):
            await pause(clock, 100)
        with suppress(asyncio.CancelledError):
            await pause(clock, 100)  # cleans up for long
        await pause(clock, 0)
        left.append("loser")
        return "late"

    async def story() -> None:
        around = Hedge(1).bound(Shared(clock), "fetch")
        call = asyncio.ensure_future(around(lambda: course.attempt(attempt), course))
        await clock.advance(2)
        assert not call.done()
        call.cancel()
        await clock.settle()
        assert not call.done()
        await clock.advance(1)
        assert left == ["loser"]
        assert call.cancelled()

    clock.run(story())


def test_no_other_attempt_is_begun_or_awaited_when_there_is_no_time_left() -> None:
    """The deadline of the call holds for all attempts, also for those that still wait to begin."""
    server = Server((2, StepDeadline("out of time")), (100, "never"))
    server.course.limit(2)
    with pytest.raises(StepDeadline):
        server.play(Hedge(1))
    assert round(server.now, 3) == 2

    early = Server((1.999999, StepDeadline("out of time")), (100, "never"))  # as clocks round
    early.course.limit(2)
    with pytest.raises(StepDeadline):
        early.play(Hedge(1))
    assert round(early.now, 3) == 2

    late = Server((2, "in time"), (0, "never"))
    late.course.limit(0.5)
    assert late.play(Hedge(1)) == "in time"
    assert late.began == [0]


def test_it_decorates_and_calls_async_functions() -> None:
    clock = VirtualClock(auto=True)
    asked: list[str] = []

    async def fetch(user: str) -> str:
        """Fetch it."""
        asked.append(user)
        await pause(clock, 10 if len(asked) == 1 else 0)
        return f"{user} from {len(asked)}"

    async def story() -> None:
        SHARED.set(Shared(clock))
        decorated = Hedge("1s")(fetch)
        assert decorated.__doc__ == "Fetch it."
        assert await decorated("bob") == "bob from 2"
        assert await Hedge("1s").call(fetch, "eve") == "eve from 3"

    clock.run(story())


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Hedge(0), "invalid-option"),
        (lambda: Hedge("soon"), "invalid-duration"),
        (lambda: Hedge(1, extra=0), "invalid-option"),
        (lambda: Hedge(1, extra=True), "invalid-option"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Hedge], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.code == code
