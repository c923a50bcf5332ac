"""What runs share: the parts of a runtime, handed down once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from awaitly.execute.journal import Committer
from awaitly.execute.leases import Lease
from awaitly.flags.provider import Decision, Flag, FlagContext
from awaitly.model.clock import Clock, Timer
from awaitly.model.facts import Fact, StepStarted
from awaitly.model.program import Program, StepBinding
from awaitly.persist.ports import Store


class ChildRun(Protocol):
    """A child run as its parent sees it."""

    id: str

    async def result(self) -> Any:
        """Wait for the end and return the result.

        Raises:
            AwaitlyError: If the child stopped here without ending.
        """

    async def cancel(self, reason: str = "") -> None:
        """Ask for its cancellation."""


StartChild = Callable[..., Coroutine[Any, Any, ChildRun]]


class Observe(Protocol):
    """Tells observers of a fact; it neither blocks nor raises."""

    def __call__(self, run: str, workflow: str, fact: Fact, error: BaseException | None = None, /) -> None:
        """Tell of a fact; ``error`` is the exception behind it, if one was raised here."""


Decide = Callable[[Flag, FlagContext], Awaitable[Decision]]
"""Returns the value of a flag for a run: it does not raise."""


@dataclass(slots=True, eq=False, kw_only=True)
class Services:
    """The clock, the store, the lease, and how runs reach declarations without knowing them."""

    clock: Clock
    store: Store
    committer: Committer
    lease: Lease
    host: ContextVar[Any]
    context: Context  # of no run: for what belongs to nobody's branch
    bind: Callable[[Any], StepBinding]
    program: Callable[[Any], Program]
    check_flags: Callable[[Program, Mapping[str, Any]], None]
    start_run: Callable[..., Coroutine[Any, Any, Any]]
    check: Callable[[Program, str, Sequence[Fact]], None]
    start_child: StartChild = field(init=False)  # of the engine, which needs these services
    decide: Decide
    observe: Observe | None = None
    wants: Callable[[type[Fact]], bool] = lambda kind: True  # whether observers are told of facts of that kind
    most_runs: int | None = None  # executed here at once
    runs_wait: bool = True  # for room; otherwise they are refused
    trace: Callable[[str, str], str] | None = None  # (run id, workflow) -> the traceparent of the run's first span
    here: Callable[[], Callable[[], object]] | None = None  # -> what puts back what observers find current here
    tells_starts: bool = field(init=False)  # of steps, which nothing but observers needs to know
    _tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tells_starts = self.observe is not None and self.wants(StepStarted)

    def notice(
        self,
        kind: Callable[..., Fact],
        run: str = "",
        workflow: str = "",
        *,
        error: BaseException | None = None,
        **fields: Any,
    ) -> None:
        """Tell the observers, if there are any, of what is only observed; ``error`` is what is behind it."""
        if self.observe is not None:
            self.observe(run, workflow, kind(at=self.clock.time(), **fields), error)

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Hold a task until it is done: the loop alone would not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run ``callback`` after ``delay`` seconds of the clock, in nobody's branch."""
        return self.context.copy().run(self.clock.call_later, delay, callback)
