"""Child runs: a workflow called in another's body is a call whose function is a run of its own."""

import asyncio
from typing import TYPE_CHECKING, Any

from awaitly.errors import (
    AwaitlyError,
    ChangedArguments,
    CorruptCheckpoint,
    LeaseLost,
    Mismatch,
    NotSupported,
    RunSuspended,
    StoreError,
    StuckRun,
    UnexpectedError,
)
from awaitly.execute.services import ChildRun
from awaitly.model.effects import Effect
from awaitly.model.program import StepBinding
from awaitly.policies.clock import pause
from awaitly.result import Err

if TYPE_CHECKING:
    from awaitly.execute.run import Run

AGAIN = 1.0  # seconds until a store that was away is asked again
NO_ANSWER = (StoreError, LeaseLost, Mismatch, ChangedArguments, CorruptCheckpoint, StuckRun)
"""What says nothing of how a child ends: it can be continued, and so can its parent."""


def child_binding(run: "Run", workflow: Any, options: Any, identity: str, wanted: str) -> tuple[StepBinding, Any]:
    """Return how a child run is called like a step, and what asks it to end.

    Its id is the parent's id and the identity of the call, unless its key or the options give one.

    Raises:
        NotSupported: If a handle is wanted.
        ConfigurationError: For flags of the child that it does not have.
    """
    if wanted == "handle":
        raise NotSupported(
            f"{workflow.name}.start() was called in the body of run {run.id}",
            hint=f"await {workflow.name}(...) there, or several in gather(...)",
        )
    program = run.services.program(workflow)
    if options.flags:
        run.services.check_flags(program, options.flags)
    child = ChildCall(run, workflow, options, identity)
    binding = StepBinding(
        name=program.graph.workflow,
        fn=child.execute,
        blocking=False,
        effect=Effect.WRITE,
        timeout=None,
        errors=(),
        returns_result=True,
        key=None,
        arguments=program.arguments,
        result=program.result,
        failure=program.failure,
        fingerprint=program.graph.fingerprint,
    )
    return binding, child.stop


class ChildCall:
    """Executes one child run, and asks it to end when its parent no longer wants it."""

    __slots__ = ("_asked", "_asking", "_child", "_ended", "_identity", "_options", "_run", "_workflow")

    def __init__(self, run: "Run", workflow: Any, options: Any, identity: str) -> None:
        self._run = run
        self._workflow = workflow
        self._options = options
        self._identity = identity
        self._child: ChildRun | None = None
        self._asked = False  # to end, maybe before it was started
        self._asking: asyncio.Task[None] | None = None
        self._ended = False

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Start the child, or find it, and return its result."""
        try:
            flags = await self._run.choices.settled()
            child = self._child = await self._run.services.start_child(
                self._workflow, self._options, args, kwargs, parent=self._run.id, identity=self._identity,
                retried=self._run.recorded.retried, flags=flags, due=self._run.deadline,
            )  # fmt: skip
        except NO_ANSWER as error:
            raise RunSuspended(f"a child run of {self._workflow.name} could not be started: {error}") from error
        if self._asked:
            self.stop()
        try:
            result = await child.result()
        except AwaitlyError as error:
            raise RunSuspended(f"child run {child.id} has stopped: {error}") from error
        finally:
            self._ended = True
        if isinstance(result, Err) and isinstance(result.error, UnexpectedError):
            raise result.error
        return result

    def stop(self) -> None:
        """Ask the child to end, once it exists, until that is stored."""
        self._asked = True
        if self._child is not None and self._asking is None:
            asking = self._ask(self._child)
            self._asking = asyncio.get_running_loop().create_task(asking, context=self._run.services.context)

    async def _ask(self, child: ChildRun) -> None:
        while not self._ended and self._run.stopped is None:
            try:
                await child.cancel("its parent was cancelled")
            except StoreError:
                await pause(self._run.services.clock, AGAIN)
            except AwaitlyError:  # it has been removed
                break
            else:
                break
