"""A branch of a durable body: the host that gives every call made in it an identity no timing can change.

A branch is where a task was created and as which child of its parent; calls are counted per call site within it.
Identities read ``gather#0.2/charge#1.3``: the branches, the call site, the occurrence (left out when it is the first).
A call with a key is ``charge[order:7]``, wherever it is made. See ``docs/design/identity.md``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sized
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from awaitly.errors import UsageError
from awaitly.execute.outcomes import Outcome
from awaitly.execute.parallel import drop
from awaitly.model.context import StepContext, Whereabouts
from awaitly.model.facts import EachStarted
from awaitly.model.identity import keyed, place

if TYPE_CHECKING:
    from awaitly.execute.run import Run

Answer = Coroutine[object, None, Any]


class Branch:
    """The calls of one task of a body."""

    __slots__ = ("_counts", "_prefix", "children", "parent", "run", "task", "waiting")

    tracks_tasks = True

    def __init__(self, run: "Run", prefix: str, parent: "Branch | None") -> None:
        self.run = run
        self.parent = parent
        self.children = 0  # tasks created here that have not ended
        self.task: asyncio.Future[Any] | None = None
        self.waiting = False  # for something of ours, as opposed to a foreign future
        self._prefix = prefix
        self._counts: dict[str, int] = {}
        run.entered(self)

    def identity(self, frame: FrameType, what: str) -> str:
        """Return the identity of the call that ``frame`` is making."""
        label = self.run.sites.label(frame, what, within=self._prefix)
        return self._counted(label)

    def _counted(self, label: str) -> str:
        count = self._counts.get(label, 0)
        self._counts[label] = count + 1
        return place(self._prefix, label, count)

    def spawn(self, frame: FrameType) -> "Branch":
        """Return the branch of a task that is being created at ``frame``."""
        return Branch(self.run, self.identity(frame, "task") + "/", self)

    def ran(self) -> None:
        """Count the activity: the body has not settled."""
        self.run.delivery.activity += 1

    def blocked(self) -> None:
        """Hand over what has been delivered; with a single task, the body has settled."""
        self.run.blocked()

    def bind(self, task: "asyncio.Future[Any]", coro: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """Know the task, and leave the run when it ends."""
        self.task = task

        def left(ended: "asyncio.Future[Any]") -> None:
            coro.close()  # of a task that was cancelled before it ran
            if self.parent is not None:
                self.parent.children -= 1
            if self.run.stopped is not None and not ended.cancelled():
                ended.exception()  # looked at: the loop need not report it
            self.run.left(self)

        task.add_done_callback(left, context=context)

    @property
    def interrupted(self) -> bool:
        """Whether the loop ends under the run: then its tasks end as cancelled, which nobody reports."""
        return self.run.interrupted

    def _check(self) -> None:
        self.run.check_open()
        if asyncio.current_task() is not self.task:
            raise UsageError(
                f"a call was made in run {self.run.id} from a task that awaitly does not know",
                hint="create tasks with asyncio.create_task or gather, and leave the loop's task factory as it is",
                code="other-task",
            )

    def _check_with(self, awaitables: Iterable[Awaitable[Any]]) -> None:
        """Check; where the call is refused, what it was given is closed: nobody forgot to await it."""
        try:
            self._check()
        except BaseException:
            drop(awaitables)
            raise

    def step(self, step: Any, args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Answer:
        """Make the call; it begins when it is awaited."""
        run = self.run
        self._check()
        binding = run.binding(step)
        if binding.key is None:
            identity = self.identity(frame, binding.name)
        else:
            identity = keyed(binding.name, binding.key(args, kwargs))
        call = run.make(identity, binding, args, kwargs)
        answer: Answer = run.awaited(call, self, Outcome.result if attempt else Outcome.take)
        answer.__qualname__ = binding.name  # type: ignore[attr-defined]  # named when it is never awaited
        return answer

    def workflow(self, workflow: Any, options: Any, args: Any, kwargs: Any, frame: FrameType, *, wanted: Any) -> Answer:
        """Make the call of a child run."""
        self._check()
        identity = self.identity(frame, workflow.name)
        return self.run.child(workflow, options, args, kwargs, identity, self, wanted=wanted)

    def gather(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all; the first failure delivered cancels the others."""
        self._check_with(awaitables)
        return self.run.combine.gather(awaitables)

    def settle(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all, each to its own result."""
        self._check_with(awaitables)
        return self.run.combine.settle(awaitables)

    def race(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await the first delivered; the winner is recorded."""
        self._check_with(awaitables)
        return self.run.combine.race(awaitables, self.identity(frame, "race"))

    def each(
        self, function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], concurrency: int, frame: FrameType
    ) -> Answer:
        """Map over items."""
        self._check()
        if isinstance(items, Sized) and self.run.observed:
            label = self.run.sites.label(frame, "each", within=self._prefix)
            call = place(self._prefix, label, 0)
            self.run.tell(EachStarted(at=self.run.services.clock.time(), call=call, items=len(items)))
        return self.run.combine.each(function, items, concurrency)

    def sleep(self, seconds: float, frame: FrameType) -> Answer:
        """Wait until a recorded time."""
        self._check()
        return self.run.timers.sleep(self.identity(frame, "sleep"), seconds, self)

    def timeout(self, seconds: float, frame: FrameType) -> AbstractAsyncContextManager[None]:
        """Limit the time of a block; that it was over is recorded."""
        self._check()
        return self.run.timers.limit(self.identity(frame, "timeout"), seconds)

    def now(self, frame: FrameType) -> float:
        """Read the clock, or what was read."""
        self._check()
        return self.run.time_read(self.identity(frame, "now"))

    def random(self, frame: FrameType) -> float:
        """Return the number that this call always gets in this run."""
        self._check()
        return self.run.entropy(self.identity(frame, "random")).random()

    def uuid4(self, frame: FrameType) -> UUID:
        """Return the UUID that this call always gets in this run."""
        self._check()
        return UUID(int=self.run.entropy(self.identity(frame, "uuid4")).getrandbits(128), version=4)

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        run = self.run
        return Whereabouts(run.id, run.program.graph.workflow, replaying=run.delivery.replaying)

    def current(self) -> StepContext:
        """Refuse: the body is not a step."""
        raise UsageError(
            "current() was called in a workflow's body",
            hint="call it inside a step's function: it describes the step's call",
            code="not-in-step",
        )
