"""A deadline ends waits, and never what has begun."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from awaitly import Policies, Retry
from awaitly.errors import StepDeadline
from awaitly.policies.clock import pause
from awaitly.policies.course import Course
from awaitly.policies.pipeline import compose, layers
from awaitly.policies.sharing import Shared
from awaitly.policies.timeout import Deadline, Timeout
from awaitly.testing.clock import VirtualClock

T = TypeVar("T")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_nothing_begins_any_more_when_a_wait_and_the_deadline_end_in_one_turn_of_a_busy_loop(
    clock: VirtualClock,
) -> None:
    async def story() -> None:
        course = Course(clock, "charge")
        begun: list[str] = []

        async def function() -> None:
            begun.append("charge")
            await asyncio.sleep(0)

        async def call() -> None:
            await course.pause(9.5, OSError())
            await course.attempt(function)

        task = asyncio.create_task(Deadline(10)(call, course))
        await clock.settle()
        clock._fire()  # the wait is over
        clock._fire()  # and so is all the time, before its task had its turn
        await clock.settle()
        assert isinstance(task.exception(), StepDeadline)
        assert begun == []

    clock.run(story())


def test_what_is_under_way_at_the_deadline_is_left_to_its_own_limit(clock: VirtualClock) -> None:
    async def story() -> None:
        course = Course(clock, "charge")

        async def function() -> str:
            await course.pause(30, OSError())
            return "charged"

        task = asyncio.create_task(Deadline(10)(lambda: course.attempt(function), course))
        await clock.advance("29s")
        assert not task.done()
        await clock.advance("2s")
        assert task.result() == "charged"

    clock.run(story())


def test_who_is_cancelled_at_the_deadline_stays_cancelled(clock: VirtualClock) -> None:
    async def story() -> None:
        course = Course(clock, "charge")
        task = asyncio.create_task(Deadline(10)(lambda: course.pause(60, OSError()), course))
        await clock.settle()
        task.cancel()
        clock.now += 10
        clock._fire()
        await clock.settle()
        assert task.cancelled()

    clock.run(story())


async def called(policies: Policies, clock: VirtualClock, function: Callable[[], Awaitable[None]]) -> None:
    """Call a function with policies around it."""
    course = Course(clock, "charge")
    around = compose([*layers(policies, Shared(clock), "charge"), Timeout(None)])
    await around(lambda: course.attempt(function), course)


def test_the_error_of_the_last_attempt_is_the_cause_of_a_deadline_that_ends_the_next_one(clock: VirtualClock) -> None:
    async def story() -> None:
        async def fails_then_hangs() -> None:
            if not attempts:
                attempts.append(1)
                raise first
            await pause(clock, 60)

        attempts: list[int] = []
        policies = Policies(retry=Retry(5, initial="10ms"), deadline="1s")
        task = asyncio.create_task(called(policies, clock, fails_then_hangs))
        await clock.advance("2s")
        error = task.exception()
        assert isinstance(error, StepDeadline)
        assert error.__cause__ is first

    first = ConnectionError("down")
    clock.run(story())


def test_so_it_is_of_one_that_ends_the_wait_for_the_next_turn(clock: VirtualClock) -> None:
    async def story() -> None:
        async def fails() -> None:
            raise first

        async def turn(call: Callable[[], Awaitable[T]], course: Course) -> T:
            await pause(clock, 60 if course.attempts else 0)
            return await call()

        course = Course(clock, "charge")
        retry = Retry(5, initial="10ms").bound(Shared(clock), "charge")
        task = asyncio.create_task(compose([Deadline(1), retry, turn])(lambda: course.attempt(fails), course))
        await clock.advance("2s")
        error = task.exception()
        assert isinstance(error, StepDeadline)
        assert error.__cause__ is first

    first = ConnectionError("down")
    clock.run(story())


def test_a_deadline_without_an_attempt_before_it_has_no_cause(clock: VirtualClock) -> None:
    async def story() -> None:
        task = asyncio.create_task(called(Policies(retry=5, deadline="1s"), clock, lambda: pause(clock, 60)))
        await clock.advance("2s")
        error = task.exception()
        assert isinstance(error, StepDeadline)
        assert error.__cause__ is None

    clock.run(story())
