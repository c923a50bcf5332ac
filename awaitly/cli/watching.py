"""``awaitly runs watch``: a run that somebody else executes, as it grows."""

import asyncio

import click

from awaitly.cli.failing import FAILED, INTERRUPTED
from awaitly.cli.interrupts import Interrupted, Interrupts
from awaitly.cli.screen import Screen
from awaitly.cli.stores import looking_runtime, shown_store, store_option
from awaitly.cli.ways import Ways
from awaitly.model.facts import RunFinished
from awaitly.model.state import Status
from awaitly.runtime import Runtime

_INTERVAL = 0.25  # seconds between two looks


@click.command()
@click.argument("run_id", metavar="ID")
@store_option
def watch(run_id: str, store: str | None) -> int:
    """Watch a run until it ends, wherever it is executed. Ctrl-C stops watching, not the run.

    If its process is gone, watch says so and waits for somebody to continue it.
    """
    return asyncio.run(_watch(store, run_id))


async def _watch(store: str | None, run_id: str) -> int:
    screen, ways = Screen(), Ways(targets=("TARGET",), store=store)
    with screen.showing():
        async with looking_runtime(store) as runtime:
            with Interrupts(lambda twice: None).heeded() as interrupts:
                try:
                    return await interrupts.until(_until_ended(screen, ways, runtime, run_id))
                except Interrupted:
                    goes_on = f"the run goes on; watch it again with: {ways.watch(run_id)}"
                    click.echo(await _forsaken(ways, runtime, run_id) or goes_on, err=True)
                    return INTERRUPTED


async def _until_ended(screen: Screen, ways: Ways, runtime: Runtime, run_id: str) -> int:
    record = await runtime.record(run_id)
    facts = await runtime.facts(run_id)
    screen.follow(run_id, record.workflow, shown_store(runtime), facts)
    seen, said = len(facts), None
    while not (facts and isinstance(facts[-1], RunFinished)):
        idle = await _forsaken(ways, runtime, run_id) or await _queued(runtime, run_id)
        if idle is not None and idle != said:
            screen.say(idle)
        said = idle
        await asyncio.sleep(_INTERVAL)
        facts = await runtime.facts(run_id, after=seen - 1)
        screen.add(run_id, record.workflow, facts)
        seen += len(facts)
    record = await runtime.record(run_id)
    click.echo(f"{run_id} has {record.status}" if record.status is not Status.CANCELLED else f"{run_id} was cancelled")
    return 0 if record.status is Status.SUCCEEDED else FAILED


async def _queued(runtime: Runtime, run_id: str) -> str | None:
    """Return what to say of a run that waits for room; None if it does not."""
    if (await runtime.record(run_id)).status is not Status.QUEUED:
        return None
    return f"{run_id} is queued: its process executes as many runs as it may, and comes to this one when there is room"


async def _forsaken(ways: Ways, runtime: Runtime, run_id: str) -> str | None:
    """Return what to say of a run that nobody executes; None if somebody does, or it has ended."""
    record = await runtime.record(run_id)
    if record.status.ended or (record.owner is not None and not await runtime.interrupted([record])):
        return None
    return f"nobody executes {run_id} now; continue with: {ways.again(run_id)}"
