"""``awaitly runs watch``: a run that somebody else executes, as it grows."""

import asyncio

import click

from awaitly.cli.failing import FAILED, INTERRUPTED
from awaitly.cli.interrupts import Interrupted, Interrupts
from awaitly.cli.screen import Screen
from awaitly.cli.stores import existing_runtime, shown_store, store_option
from awaitly.cli.ways import command
from awaitly.model.facts import RunFinished
from awaitly.model.state import Status
from awaitly.runtime import Runtime

_INTERVAL = 0.25  # seconds between two looks


@click.command()
@click.argument("run_id", metavar="ID")
@store_option
def watch(run_id: str, store: str | None) -> int:
    """Watch a run until it ends, wherever it is executed. Ctrl-C stops watching, not the run."""
    return asyncio.run(_watch(store, run_id))


async def _watch(store: str | None, run_id: str) -> int:
    screen = Screen()
    with screen.showing():
        async with existing_runtime(store) as runtime:
            with Interrupts(lambda twice: None).heeded() as interrupts:
                try:
                    return await interrupts.until(_until_ended(screen, runtime, run_id))
                except Interrupted:
                    click.echo(f"the run goes on; watch it again with: {command('runs', 'watch', run_id)}", err=True)
                    return INTERRUPTED


async def _until_ended(screen: Screen, runtime: Runtime, run_id: str) -> int:
    record = await runtime.record(run_id)
    facts = await runtime.facts(run_id)
    screen.follow(run_id, record.workflow, shown_store(runtime), facts)
    seen = len(facts)
    while not (facts and isinstance(facts[-1], RunFinished)):
        await asyncio.sleep(_INTERVAL)
        facts = await runtime.facts(run_id, after=seen - 1)
        screen.add(run_id, record.workflow, facts)
        seen += len(facts)
    record = await runtime.record(run_id)
    click.echo(f"{run_id} has {record.status}" if record.status is not Status.CANCELLED else f"{run_id} was cancelled")
    return 0 if record.status is Status.SUCCEEDED else FAILED
