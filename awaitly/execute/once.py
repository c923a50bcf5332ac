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
    happened = False if earlier is None or call.binding.on_ambiguous == "retry" else await _happened(call)
    if earlier is None or happened is False:
        attempt = 1 if earlier is None else earlier.attempt + 1
        started = StepStarted(at=run.services.clock.time(), call=call.identity, step=call.binding.name, attempt=attempt)
        run.log.append(started)
        await run.log.barrier()
        return True
    outcome, payload = failed(call.binding, _ambiguous(run, call, happened))
    fact = StepFinished(
        at=run.services.clock.time(), call=call.identity, step=call.binding.name, arguments=call.arguments,
        ending=outcome.ending, payload=payload, attempts=earlier.attempt,
    )  # fmt: skip
    run.performer.settled(call, fact, outcome)
    return False


async def _happened(call: Call) -> bool | None:
    """Ask the step's own verification, where there is one; None if nobody can tell."""
    verify = call.binding.verify
    return None if verify is None else bool(await verify(*call.args, **call.kwargs))


def _ambiguous(run: "Run", call: Call, happened: bool | None) -> AmbiguousEffect:
    name, verify = call.binding.name, f"@{call.binding.fn.__name__}.verify"
    if happened:
        return AmbiguousEffect(
            f"step {name} began before run {run.id} was interrupted, and {verify} says that it happened: "
            "only its outcome is not known",
            hint="finish by hand, or catch this and look the outcome up in another step; a fork would do it again",
        )
    return AmbiguousEffect(
        f"step {name} began before run {run.id} was interrupted, and nobody knows whether it happened",
        hint=f"register a function with {verify} that finds out",
    )
