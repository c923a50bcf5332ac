"""A limit on time ends what takes longer, and tells its own cancellation from those of others."""

import asyncio

import pytest

from awaitly.policies.clock import pause
from awaitly.policies.timeout import Expired, within
from awaitly.testing.clock import VirtualClock


class Work:
    """Takes 10 s, and does as it is told when it is cancelled."""

    def __init__(self, clock: VirtualClock, *, then: BaseException | str | None = None) -> None:
        self.clock = clock
        self.then = then
        self.cancelled = 0

    async def done(self) -> str:
        try:
            await pause(self.clock, 10)
        except asyncio.CancelledError:
            self.cancelled += 1
            if isinstance(self.then, str):
                return self.then
            raise self.then or asyncio.CancelledError from None
        return "done"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(auto=True)


def test_what_is_done_in_time_gives_its_value_and_leaves_no_timer(clock: VirtualClock) -> None:
    work = Work(clock)

    assert clock.run(within(work.done(), 11, clock)) == "done"
    assert work.cancelled == 0
    assert clock._next_due() is None


def test_what_takes_longer_is_cancelled_and_the_task_goes_on(clock: VirtualClock) -> None:
    work = Work(clock)

    async def story() -> tuple[float, int]:
        with pytest.raises(Expired) as caught:
            await within(work.done(), 3, clock)
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return caught.value.seconds, task.cancelling()

    assert clock.run(story()) == (3, 0)
    assert work.cancelled == 1


def test_a_value_that_is_given_in_spite_of_the_cancellation_counts(clock: VirtualClock) -> None:
    async def story() -> tuple[str, int]:
        value = await within(Work(clock, then="saved").done(), 3, clock)
        task = asyncio.current_task()
        assert task is not None
        return value, task.cancelling()

    assert clock.run(story()) == ("saved", 0)


def test_an_error_raised_in_answer_to_the_cancellation_is_raised(clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="half done"):
        clock.run(within(Work(clock, then=ValueError("half done")).done(), 3, clock))


def test_a_timeout_error_of_the_work_itself_passes_through(clock: VirtualClock) -> None:
    async def impatient() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        clock.run(within(impatient(), 3, clock))


def test_a_cancellation_that_the_work_raises_by_itself_is_no_expiry(clock: VirtualClock) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        clock.run(within(cancelled(), 3, clock))


def test_a_task_that_others_cancel_too_in_that_moment_is_cancelled(clock: VirtualClock) -> None:
    async def story() -> bool:
        task = asyncio.create_task(within(Work(clock).done(), 3, clock))
        clock.call_later(3, task.cancel)  # before the task has set its own timer
        await asyncio.wait([task])
        return task.cancelled()

    assert clock.run(story())


def test_an_inner_limit_expires_inside_an_outer_one_that_goes_on(clock: VirtualClock) -> None:
    async def inner() -> str:
        with pytest.raises(Expired):
            await within(Work(clock).done(), 3, clock)
        return await Work(clock).done()

    assert clock.run(within(inner(), 14, clock)) == "done"


def test_of_two_limits_that_end_at_once_the_outer_one_ends_the_whole(clock: VirtualClock) -> None:
    async def story() -> float:
        with pytest.raises(Expired) as caught:
            await within(within(Work(clock).done(), 5, clock), 5.0, clock)
        return caught.value.seconds

    assert clock.run(story()) == 5


def test_a_limit_in_a_task_that_is_being_cancelled_still_ends_in_time(clock: VirtualClock) -> None:
    async def tidy() -> str:
        try:
            await Work(clock).done()
        except asyncio.CancelledError:
            with pytest.raises(Expired):
                await within(Work(clock).done(), 3, clock)
            return "tidied"
        return "not cancelled"

    async def story() -> str:
        task = asyncio.create_task(tidy())
        clock.call_later(1, task.cancel)
        return await task

    assert clock.run(story()) == "tidied"
