"""Asking whether something answers, without harm to it or to those who want to know."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from awaitly.model.clock import Clock, Timer
from awaitly.model.durations import humanised

FRESH = 1.0  # seconds: an answer serves everybody who asks within this time


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking.

    Attributes:
        seconds: how long it took.
        error: the class of what was raised; empty if all is well.
        message: its text.
    """

    seconds: float
    error: str = ""
    message: str = ""

    @property
    def well(self) -> bool:
        """Whether it answered, and was content."""
        return not self.error


class Probe:
    """Asks one question at a time, however many want to know the answer.

    What takes too long is cancelled. If it goes on all the same, that is the answer until it ends: nothing piles up.

    Args:
        ask: Asks; it raises if something is wrong.
        timeout: The seconds that it may take.
        clock: What these are of.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]], timeout: float, clock: Clock) -> None:
        self.last: Answer | None = None
        self._ask = ask
        self._timeout = timeout
        self._clock = clock
        self._asking: _Asking | None = None

    async def answer(self) -> Answer:
        """Return the answer: the one of a moment ago, or a new one."""
        asking = self._asking
        if asking is None or not asking.pending:
            if asking is not None and self._clock.monotonic() - asking.ended < FRESH:
                return asking.answer
            asking = self._asking = _Asking(self._ask, self._timeout, self._clock)
        self.last = await asking.wait()
        return self.last


class _Asking:
    """One question, from when it is asked until all of it is over."""

    def __init__(self, ask: Callable[[], Awaitable[object]], timeout: float, clock: Clock) -> None:
        self.answer = Answer(0.0)
        self.ended = 0.0
        self._clock = clock
        self._timeout = timeout
        self._began = clock.monotonic()
        self._known = asyncio.Event()  # the answer, which may be that there was none in time
        self._timer: Timer = clock.call_later(timeout, self._late)
        self._task = asyncio.ensure_future(self._asked(ask))

    @property
    def pending(self) -> bool:
        """Whether it goes on."""
        return not self._task.done()

    async def wait(self) -> Answer:
        """Return the answer as soon as there is one."""
        await self._known.wait()
        if self.pending:
            return self._nothing()
        return self.answer

    async def _asked(self, ask: Callable[[], Awaitable[object]]) -> None:
        error, message = "", ""
        try:
            await ask()
        except BaseException as raised:  # noqa: BLE001 - foreign code: whatever it raises is its answer
            error, message = type(raised).__name__, _text(raised)
        if not self._known.is_set():
            self._settle(Answer(self._seconds(), error, message))
        self.ended = self._clock.monotonic()

    def _late(self) -> None:
        self._settle(self._nothing())
        self._task.cancel()

    def _settle(self, answer: Answer) -> None:
        self._timer.cancel()
        self.answer = answer
        self._known.set()

    def _nothing(self) -> Answer:
        return Answer(self._seconds(), TimeoutError.__name__, f"no answer within {humanised(self._timeout)}")

    def _seconds(self) -> float:
        return self._clock.monotonic() - self._began


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - foreign code too
        return ""
