"""A deadline ends waits, and never what has begun."""

import asyncio

import pytest

from awaitly.errors import StepDeadline
from awaitly.policies.course import Course
from awaitly.policies.timeout import Deadline
from awaitly.testing.clock import VirtualClock


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
