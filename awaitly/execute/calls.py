"""A call of a step in a body: made at the call, begun when the run's order allows it, delivered once."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from enum import Enum, auto
from typing import Any

from awaitly.execute.outcomes import Outcome
from awaitly.model.facts import Delivered
from awaitly.model.program import StepBinding


class Phase(Enum):
    """Where a call is in its life."""

    MADE = auto()  # nothing has begun; on replay, the outcome may be recorded
    WAITING = auto()  # for everything before an effect to be stable, a flag, a thread, a limiter, the next attempt
    BEGUN = auto()  # its function is being executed
    ENDED = auto()  # delivered, or cancelled before that


class Call:
    """One piece of work of a run and those who wait for it: several, where a key names it more than once."""

    __slots__ = (
        "args", "arguments", "attempt", "attempts", "began", "binding", "chosen", "context", "due", "guarded",
        "identity", "kwargs", "outcome", "phase", "replayed", "stop", "waiters", "withdrawn",
    )  # fmt: skip

    def __init__(self, identity: str, binding: StepBinding, args: Any, kwargs: Any, arguments: str) -> None:
        self.identity = identity
        self.binding = binding
        self.chosen = binding  # what is executed: the step's own, or a variant
        self.guarded = binding.effect.guarded
        self.args = args
        self.kwargs = kwargs
        self.arguments = arguments  # their fingerprint
        self.phase = Phase.MADE
        self.context: Context | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.attempts = 0  # that have begun
        self.began: float | None = None  # when it was launched
        self.due: float | None = None  # likewise of the wall clock: when its next attempt is, while it waits for that
        self.outcome: Outcome | None = None
        self.replayed = False  # it was made before anything happened here: it may have been under way elsewhere
        self.withdrawn = False  # the body does not want it any more: no other attempt begins
        self.stop: Callable[[], object] | None = None  # asks what runs to end soon: a child run
        self.waiters: list[asyncio.Future[Outcome]] = []

    def waiter(self) -> "asyncio.Future[Outcome]":
        """Return a future that the outcome will be given to."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.waiters.append(future)
        return future

    def receive(self, fact: Delivered, outcome: Outcome | None) -> None:
        """Take the outcome at its place in the run's order, and wake the waiters."""
        self.phase = Phase.ENDED
        self.outcome = outcome
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(outcome)  # type: ignore[arg-type]

    def abandon(self, error: BaseException) -> None:
        """Wake the waiters with an error: the run stops."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
