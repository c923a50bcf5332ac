"""The life of one run in this process: start the body, end its branches, store the end."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any

from awaitly.errors import AwaitlyError, RunStopped, RunSuspended
from awaitly.execute.branch import Branch
from awaitly.execute.ending import blamed, raised, returned
from awaitly.execute.outcomes import Outcome
from awaitly.execute.run import Run
from awaitly.execute.tracking import tracked
from awaitly.model.facts import Ending, RunFinished
from awaitly.model.state import STATUS_OF


class Supervision(asyncio.Task[Outcome]):
    """The task that supervises a run.

    Who cancels it, as the end of ``asyncio.run`` does with every task, stops the run: at once, before any task of the
    body can take its own cancellation for one that the workflow asked for. A second time it is cancelled like any task.
    """

    def __init__(
        self,
        run: Run,
        supervision: Coroutine[Any, Any, Outcome],
        *,
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        super().__init__(supervision, loop=loop, name=run.id, context=context)
        self._of = run

    def cancel(self, msg: Any = None) -> bool:
        """Stop the run, or cancel its supervision if it has been stopped before."""
        if self._of.stopped is None:
            self._of.interrupted = True
            self._of.stop(RunStopped(f"run {self._of.id!r} was interrupted", hint="it can be resumed"))
            return True
        return super().cancel(msg)


async def supervise(run: Run, args: tuple[Any, ...], kwargs: dict[str, Any], *, store_end: bool = True) -> Outcome:
    """Execute a run to its end and return its outcome, which is stored (unless this is a rehearsal).

    Raises:
        AwaitlyError: If the run stopped here without ending; it can be resumed.
    """
    loop = asyncio.get_running_loop()
    root = Branch(run, "", None)
    context = copy_context()
    context.run(run.services.host.set, root)
    # Made directly: through the loop's factory it would become a child of a branch that does not exist.
    body: Any = run.program.fn(*args, **kwargs)
    run.body = asyncio.Task(tracked(body, root), loop=loop, name=run.id, context=context)
    root.bind(run.body, body, context)
    run.delivery.begin()
    if not run.delivery.replaying:
        run.went_live()

    await run.until_ended()
    if run.stopped is None and run.delivery.replaying:
        run.mismatched(run.recorded.facts[run.delivery.position])
    run.timers.ended()
    if run.stopped is not None:
        _retrieve(run.body)
        if run.interrupted:
            raise asyncio.CancelledError
        raise run.stopped
    return await _finish(run, run.body) if store_end else Outcome(Ending.VALUE)


async def _finish(run: Run, body: "asyncio.Task[Any]") -> Outcome:
    program = run.program
    error = _error(body)
    if isinstance(error, RunSuspended):  # raised by the body itself: by a child that stopped
        raise AwaitlyError(f"run {run.id} stopped: {error}")
    if error is None:
        outcome, payload = returned(program, body.result())
        blame = None
    else:
        asked = run.request
        outcome, payload = raised(program, error, asked.ending, asked.reason, [known for known, _ in run.blames])
        blame = blamed(error, run.blames)
    fact = RunFinished(at=run.services.clock.time(), ending=outcome.ending, payload=payload, blame=blame)
    run.log.end(fact, STATUS_OF[outcome.ending])
    await run.log.barrier()
    run.observe(fact, outcome.raised if error is None else error)  # not before: what is not stored has not ended
    return outcome


def _error(task: "asyncio.Task[Any]") -> BaseException | None:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Look at the task's error, so that the loop does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
