"""A second attempt beside one that is slow: whichever succeeds first is taken.

After Dean and Barroso, "The Tail at Scale" (Communications of the ACM 56, 2013): a request is repeated only once it
takes longer than most do, which costs few requests more and cuts the slowest ones.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, TypeVar

from awaitly.errors import StepDeadline
from awaitly.model.clock import Timer
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import StepHedged
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import check_count, check_duration
from awaitly.policies.sharing import Shared
from awaitly.policies.single import Single

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hedge(Single):
    """Begins another attempt beside one that is slow; the first success wins, the others are cancelled.

    Only for calls that may happen more than once, such as reads. An attempt that fails does not end the call while
    another is under way, unless the call's deadline is over; none is begun because of a failure.

    Args:
        after: How long the attempt begun last may take before another one begins: seconds or text such as
            ``"200ms"``. A good choice is what 95 of 100 calls take.
        extra: How many attempts may be begun beside the first one.

    Raises:
        ConfigurationError: ``invalid-duration`` or ``invalid-option``.
    """

    after: Duration
    _: KW_ONLY
    extra: int = 1

    def __post_init__(self) -> None:
        check_duration(self.after, "after= of a hedge")
        check_count(self.extra, "extra= of a hedge")

    def bound(self, shared: Shared, owner: str) -> Around:
        """Return what wraps the calls of one step; a hedge has no state."""
        return self._raced

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return self._raced

    async def _raced(self, call: Call[T], course: Course) -> T:
        race = _Race(call, course, seconds(self.after), self.extra)
        try:
            return (await race.decided()).result()
        finally:
            await race.end()


class _Race(Generic[T]):
    """The attempts of one call."""

    __slots__ = ("_after", "_begun", "_call", "_course", "_extra", "_news", "_timer")

    def __init__(self, call: Call[T], course: Course, after: float, extra: int) -> None:
        self._call = call
        self._course = course
        self._after = after
        self._extra = extra
        self._begun: list[asyncio.Task[T]] = []
        self._timer: Timer | None = None
        # Attempts in the order in which they end; None when the one begun last is slow.
        self._news: asyncio.Queue[asyncio.Task[T] | None] = asyncio.Queue()

    async def decided(self) -> asyncio.Task[T]:
        """Begin attempts until one of them decides the call, and return that one."""
        failed: list[asyncio.Task[T]] = []
        self._begin()
        while len(failed) < len(self._begun):
            task = await self._news.get()
            if task is None:
                self._hedge()
            elif _decides(task) or self._out_of_time():
                return task
            else:
                failed.append(task)
        return failed[0]

    async def end(self) -> None:
        """Cancel what is under way and wait until it is over, whoever is cancelled meanwhile."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            await _over(self._begun)
        finally:
            self._begun.clear()  # an error that leaves holds this race, by its traceback

    def _begin(self) -> None:
        task = asyncio.create_task(_awaited(self._call))
        task.add_done_callback(self._news.put_nowait)
        self._begun.append(task)
        if len(self._begun) <= self._extra:
            self._timer = self._course.clock.call_later(self._after, self._slow)

    def _hedge(self) -> None:
        if not self._out_of_time():
            self._course.notice(StepHedged, attempt=self._course.attempts + 1)
            self._begin()

    def _out_of_time(self) -> bool:
        left = self._course.remaining()
        return left is not None and left <= 0

    def _slow(self) -> None:
        self._news.put_nowait(None)


async def _awaited(call: Call[T]) -> T:
    return await call()


def _decides(task: asyncio.Task[Any]) -> bool:
    """Whether no other attempt is to be awaited: this one succeeded, was cancelled from inside, or has no time left."""
    if task.cancelled():
        return True
    error = task.exception()
    return not isinstance(error, Exception) or isinstance(error, StepDeadline)


async def _over(tasks: Sequence[asyncio.Task[Any]]) -> None:
    interruption: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            interruption = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # so that asyncio does not report it as one that nobody saw
    if interruption is not None:
        raise interruption
