"""``effect="once"``: the start is stored before the effect begins, so that a crash leaves a trace of it."""

from typing import TYPE_CHECKING

from awaitly.errors import AmbiguousEffect
from awaitly.execute.calls import Call
from awaitly.execute.outcomes import failed
from awaitly.model.facts import StepFinished, StepStarted

if TYPE_CHECKING:
    from awaitly.execute.run import Run


async def resolved_start(run: "Run", call: Call) -> bool:
    """Record the start of a call, or decide what becomes of one whose start is recorded and whose outcome is not.

    Returns:
        Whether the effect may begin now. Otherwise its outcome has arrived: nobody may begin it again.
    """
    earlier = run.recorded.started(call.identity)
    if earlier is None or call.binding.on_ambiguous == "retry" or await _did_not_happen(call):
        attempt = 1 if earlier is None else earlier.attempt + 1
        started = StepStarted(at=run.services.clock.time(), call=call.identity, step=call.binding.name, attempt=attempt)
        run.log.append(started)
        await run.log.barrier()
        return True
    outcome, payload = failed(
        call.binding,
        AmbiguousEffect(
            f"step {call.binding.name} began before run {run.id} was interrupted, and nobody knows whether it happened",
            hint=f"register a function with @{call.binding.fn.__name__}.verify that finds out",
        ),
    )
    fact = StepFinished(
        at=run.services.clock.time(), call=call.identity, step=call.binding.name, arguments=call.arguments,
        ending=outcome.ending, payload=payload, attempts=earlier.attempt,
    )  # fmt: skip
    run.performer.settled(call, fact, outcome)
    return False


async def _did_not_happen(call: Call) -> bool:
    """Ask the step's own verification, where there is one, whether the effect is known not to have happened."""
    verify = call.binding.verify
    return verify is not None and not await verify(*call.args, **call.kwargs)
