"""``effect="once"``: the start is stored before the effect begins, so that a crash leaves a trace of it."""

from typing import TYPE_CHECKING

from awaitly.errors import AmbiguousEffect
from awaitly.execute.calls import Call
from awaitly.model.facts import StepStarted

if TYPE_CHECKING:
    from awaitly.execute.run import Run


async def record_start(run: "Run", call: Call, attempt: int) -> None:
    """Store that an attempt begins."""
    run.log.append(
        StepStarted(at=run.services.clock.time(), call=call.identity, step=call.binding.name, attempt=attempt)
    )
    await run.log.barrier()


async def left_open(run: "Run", call: Call) -> AmbiguousEffect | None:
    """Return what is wrong with a call whose start an earlier process recorded, and nobody how it ended.

    None if it may begin: it did not begin before, or it is known that nothing happened, or it may be repeated.
    """
    if run.recorded.started(call.identity) is None or call.binding.on_ambiguous == "retry":
        return None
    return await _known(call, f"began before run {run.id} was interrupted")


async def unsettled(call: Call, error: BaseException) -> BaseException:
    """Return what a call failed with after an attempt that may have had its effect.

    It is the attempt's own error if the step says that it may be repeated, or that nothing happened.
    """
    if call.binding.on_ambiguous == "retry":
        return error
    ambiguous = await _known(call, f"failed with {type(error).__name__}: {error}")
    if ambiguous is None:
        return error
    ambiguous.__cause__ = error
    return ambiguous


async def _known(call: Call, what: str) -> AmbiguousEffect | None:
    """Ask the step's own verification, where there is one, what is known of the effect; None if nothing happened."""
    name, verify = call.binding.name, call.binding.verify
    verifier = f"@{call.binding.fn.__name__}.verify"
    if verify is None:
        return AmbiguousEffect(
            f"step {name} {what}, and nobody knows whether it happened",
            hint=f"register a function with {verifier} that finds out",
        )
    if not await verify(*call.args, **call.kwargs):
        return None
    return AmbiguousEffect(
        f"step {name} {what}, and {verifier} says that it happened: only its outcome is not known",
        hint="finish by hand, or catch this and look the outcome up in another step; a fork would do it again",
    )
