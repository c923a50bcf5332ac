"""Execute one run in this process and show it, until it ends, stops or is interrupted."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from awaitly.cli.consoles import stderr
from awaitly.cli.failing import tells_of
from awaitly.cli.interrupts import Interrupted, Interrupts
from awaitly.cli.screen import Screen
from awaitly.cli.stores import existing_runtime, runtime_on, shown_store
from awaitly.cli.targets import AnyWorkflow
from awaitly.declare.workflow import RunHandle
from awaitly.errors import AwaitlyError
from awaitly.result import Err, Ok
from awaitly.runtime import Runtime

Begin = Callable[[Runtime], Awaitable[RunHandle[Any, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command's run ended; without a result it was interrupted."""

    id: str
    workflow: str
    result: Ok[Any] | Err[Any] | None
    status: int = 0
    durable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What is to be executed, on what, and how much of it is shown.

    Attributes:
        again: gives the command that continues a run of this id.
        existing: whether the store must be there already.
    """

    workflows: Sequence[AnyWorkflow]
    begin: Begin
    again: Callable[[str], str]
    store: str | None = None
    quiet: bool = False
    existing: bool = False


async def conducted(conduct: Conduct) -> Ended:
    """Execute a run to its end.

    Raises:
        AwaitlyError: If it cannot begin, or stops without ending; the message says how to continue it.
    """
    screen = Screen((workflow.graph for workflow in conduct.workflows), quiet=conduct.quiet)
    make = existing_runtime if conduct.existing else runtime_on
    stopping = _Stopping()
    # Signals are heeded until the runtime is shut down, which takes as long as the step that is under way.
    with screen.showing(), Interrupts(stopping.say).heeded() as interrupts:
        async with make(conduct.store, [screen.notice], conduct.workflows) as runtime:
            handle = await interrupts.until(conduct.begin(runtime))
            stopping.again = conduct.again(handle.id)
            return await _followed(conduct, runtime, handle, screen, interrupts)


async def _followed(
    conduct: Conduct, runtime: Runtime, handle: RunHandle[Any, Any], screen: Screen, interrupts: Interrupts
) -> Ended:
    tells_of(handle.id)
    facts = await runtime.facts(handle.id)
    workflow = getattr(facts[0], "workflow", "?") if facts else "?"
    screen.follow(handle.id, workflow, shown_store(runtime), facts)
    try:
        result = await interrupts.until(handle.result())
    except Interrupted as interrupted:
        return Ended(id=handle.id, workflow=workflow, result=None, status=interrupted.status)
    except AwaitlyError as error:
        error.add_note(conduct.again(handle.id))
        raise
    return Ended(id=handle.id, workflow=workflow, result=result)


class _Stopping:
    """What is said when somebody stops the command."""

    def __init__(self) -> None:
        self.again = ""  # until the run has an id

    def say(self, twice: bool) -> None:
        """Say what happens now."""
        if not twice:
            stderr().print("stopping: what is under way is finished and stored (Ctrl-C again stops at once)")
        elif self.again:
            stderr().print(f"stopped at once; continue with: {self.again}")
