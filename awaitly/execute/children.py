"""Child runs: a workflow called in another's body is a call whose function is a run of its own."""

import asyncio
from typing import TYPE_CHECKING, Any

from awaitly.errors import AwaitlyError, NotSupported, RunSuspended, UnexpectedError
from awaitly.execute.services import ChildRun
from awaitly.model.effects import Effect
from awaitly.model.program import StepBinding
from awaitly.result import Err

if TYPE_CHECKING:
    from awaitly.execute.run import Run


def child_binding(run: "Run", workflow: Any, options: Any, identity: str, wanted: str) -> tuple[StepBinding, Any]:
    """Return how a child run is called like a step, and what asks it to end.

    Its id is the parent's id and the identity of the call, unless its key or the options give one.
    """
    if wanted == "handle":
        raise NotSupported(
            f"{workflow.name}.start() was called in the body of run {run.id}",
            hint=f"await {workflow.name}(...) there, or several in gather(...)",
        )
    services = run.services
    program = services.program(workflow)
    begun: list[ChildRun] = []
    asked: list[bool] = []  # to end, maybe before it was started

    async def execute(*args: Any, **kwargs: Any) -> Any:
        child = await services.start_child(
            workflow, options, args, kwargs, parent=run.id, identity=identity, retried=run.recorded.retried
        )
        begun.append(child)
        if asked:
            stop()
        try:
            result = await child.result()
        except AwaitlyError as error:
            raise RunSuspended(f"child run {child.id} has stopped: {error}") from error
        if isinstance(result, Err) and isinstance(result.error, UnexpectedError):
            raise result.error
        return result

    def stop() -> None:
        asked.append(True)
        for child in begun:
            asyncio.get_running_loop().create_task(child.cancel("its parent was cancelled"), context=services.context)

    binding = StepBinding(
        name=program.graph.workflow,
        fn=execute,
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
    return binding, stop
