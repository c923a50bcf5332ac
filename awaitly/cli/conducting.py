"""Execute one run in this process and show it, until it ends, stops or is interrupted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from awaitly.cli.consoles import stderr
from awaitly.cli.failing import tells_of
from awaitly.cli.interrupts import Interrupted, Interrupts
from awaitly.cli.screen import Screen
from awaitly.cli.stores import existing_runtime, runtime_on, settings_with, shown_store
from awaitly.cli.targets import AnyWorkflow
from awaitly.cli.ways import Ways
from awaitly.declare.workflow import RunHandle
from awaitly.errors import AwaitlyError, ChangedArguments, Mismatch
from awaitly.model.state import Status
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
        ways: the commands that go on from here.
        continues: the id of the run that may be there already, if it is known.
        existing: whether the store must be there already.
        flags: the names of those that a new run is given.
    """

    workflows: Sequence[AnyWorkflow]
    begin: Begin
    ways: Ways
    continues: str | None = None
    store: str | None = None
    quiet: bool = False
    existing: bool = False
    flags: Collection[str] = ()


async def conducted(conduct: Conduct) -> Ended:
    """Execute a run to its end.

    Raises:
        AwaitlyError: If it cannot begin, or stops without ending; the message says how to continue it.
    """
    logged = settings_with(conduct.store).logs.format is not None
    screen = Screen((workflow.graph for workflow in conduct.workflows), quiet=conduct.quiet, logged=logged)
    make = existing_runtime if conduct.existing else runtime_on
    stopping = _Stopping()
    # Signals are heeded until the runtime is shut down, which takes as long as the step that is under way.
    with screen.showing(), Interrupts(stopping.say).heeded() as interrupts:
        async with make(conduct.store, [screen.notice], conduct.workflows, conduct.flags) as runtime:
            began = time.time()
            handle = await interrupts.until(_begun(conduct, runtime))
            stopping.again = conduct.ways.again(handle.id)
            return await _followed(conduct, runtime, handle, screen, interrupts, began)


async def _begun(conduct: Conduct, runtime: Runtime) -> RunHandle[Any, Any]:
    try:
        return await conduct.begin(runtime)
    except Mismatch as error:
        if conduct.continues is not None:
            await _add_ways(error, conduct, runtime, conduct.continues)
        raise


async def _followed(
    conduct: Conduct,
    runtime: Runtime,
    handle: RunHandle[Any, Any],
    screen: Screen,
    interrupts: Interrupts,
    began: float,
) -> Ended:
    tells_of(handle.id)
    facts = await runtime.facts(handle.id)
    workflow = getattr(facts[0], "workflow", "?") if facts else "?"
    # By their time: when the facts are read, the run is under way already.
    before = sum(fact.at < began for fact in facts)
    elsewhere = await _elsewhere(conduct.ways, runtime, handle.id)
    screen.follow(handle.id, workflow, shown_store(runtime), facts[:before], facts[before:], elsewhere)
    try:
        result = await interrupts.until(handle.result())
    except Interrupted as interrupted:
        await runtime.shutdown(go_on=0)
        return Ended(id=handle.id, workflow=workflow, result=None, status=interrupted.status)
    except asyncio.CancelledError:  # the process ends: a step has called sys.exit()
        stderr().print(f"{handle.id} is suspended; continue with: {conduct.ways.again(handle.id)}")
        raise
    except (Mismatch, ChangedArguments) as error:  # the same command would fail again
        await _add_ways(error, conduct, runtime, handle.id)
        raise
    except AwaitlyError as error:
        error.add_note(f"the run has not ended; continue with: {conduct.ways.again(handle.id)}")
        raise
    return Ended(id=handle.id, workflow=workflow, result=result)


async def _elsewhere(ways: Ways, runtime: Runtime, run_id: str) -> str:
    """Return what to say of a run that this command only waits for, as another process executes it."""
    record = await runtime.record(run_id)
    if record.status.ended or record.owner in (None, runtime.owner):
        return ""
    has = "has queued" if record.status is Status.QUEUED else "executes"
    return f", which another process {has}: waiting for its result (its steps: {ways.watch(run_id)})"


async def _add_ways(error: AwaitlyError, conduct: Conduct, runtime: Runtime, run_id: str) -> None:
    before = None
    with suppress(AwaitlyError):
        before = (await runtime.plan_fork(run_id)).before
    error.add_note("\n".join(conduct.ways.unfit(run_id, before)))


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
