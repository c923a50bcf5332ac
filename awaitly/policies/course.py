"""One call on its way through its policies: what they ask about it, and tell of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from awaitly.errors import StepDeadline, StepTimeout
from awaitly.model.clock import Clock
from awaitly.model.facts import Fact, FallbackTaken
from awaitly.policies.clock import pause

T = TypeVar("T")
Call: TypeAlias = Callable[[], Awaitable[T]]


class Course:
    """A call as its policies see it. This plain form serves steps outside of runs, and policies used by hand.

    Args:
        clock: What all its times are of.
        name: The step's, or what else messages call it.
        expected: The classes of errors that are declared: they are not retried, and no breaker counts them.
        observe: Told what happens; the default is nobody.
        call: The identity of the call in its run.
    """

    __slots__ = (
        "args", "attempting", "attempts", "began", "call", "clock", "due", "expected", "horizon", "kwargs", "lingering",
        "name", "observe", "once", "source", "unknown",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        name: str = "",
        expected: tuple[type[BaseException], ...] = (),
        *,
        observe: Callable[[Fact], object] | None = None,
        call: str = "",
    ) -> None:
        self.clock = clock
        self.name = name
        self.expected = expected
        self.observe = observe
        self.call = call
        self.args: tuple[Any, ...] = ()  # what the step was called with
        self.kwargs: dict[str, Any] = {}
        self.attempts = 0  # that have begun
        self.began = clock.monotonic()
        self.attempting = 0  # attempts that are under way: several, where a call is hedged
        self.due: float | None = None  # on the monotonic clock: when the call has to be over
        self.horizon: float | None = None  # likewise: when what it belongs to has to be; no wait begins beyond it
        self.lingering: asyncio.Future[Any] | None = None  # the thread that the last attempt left, while it still runs
        self.once = False  # whether its effect happens at most once: then nothing follows one that may have happened
        self.unknown = False  # whether what the last attempt did to the world is not known
        self.source = ""  # "cache" or "fallback" if the outcome came from there

    async def attempt(self, function: Call[T]) -> T:
        """Begin an attempt: the innermost layer."""
        self.attempts += 1
        self.attempting += 1
        try:
            return await function()
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.attempting -= 1

    def failed(self, error: BaseException) -> None:
        """Note what the last attempt failed with."""
        # One that ran out of time may have done it, even where that is a declared failure.
        self.unknown = isinstance(error, (StepTimeout, StepDeadline)) or not isinstance(error, self.expected)

    async def pause(self, delay: float, error: BaseException) -> None:
        """Wait between two attempts; ``error`` is what the earlier one failed with."""
        await pause(self.clock, delay)

    async def substitute(self, answer: Call[T], error: Exception) -> T:
        """Let an answer take the place of the call, which failed with ``error``: the outermost layer.

        Raises:
            Exception: The call's error, if its effect may have happened and must not happen twice.
        """
        if self.once and self.unknown:
            raise error
        self.source = "fallback"
        self.notice(FallbackTaken, error=type(error).__name__)
        return await answer()

    def remaining(self) -> float | None:
        """Return the seconds that are left for waiting; None if it may take for ever."""
        due, horizon = self.due, self.horizon
        if due is None:
            due = horizon
        elif horizon is not None:
            due = min(due, horizon)
        return None if due is None else due - self.clock.monotonic()

    def limit(self, seconds: float) -> None:
        """Let the call be over within so many seconds from now, if it did not have to be sooner."""
        due = self.clock.monotonic() + seconds
        self.due = due if self.due is None else min(self.due, due)

    def notice(self, kind: Callable[..., Fact], **fields: Any) -> None:
        """Tell the observer, if there is one, of a fact of this call."""
        if self.observe is not None:
            self.observe(kind(at=self.clock.time(), call=self.call, step=self.name, **fields))


class Around(Protocol):
    """A policy with its state, bound to one step: it begins the next layer with ``call()``, once or more or never."""

    async def __call__(self, call: Call[T], course: Course, /) -> T:
        """Return what the call gives, or raise its failure."""
