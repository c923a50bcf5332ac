"""``awaitly run``: execute a workflow, or continue one of its runs, and show it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from awaitly.cli.conducting import Conduct, Ended, conducted
from awaitly.cli.effective import graphs_in_force
from awaitly.cli.ends import finished
from awaitly.cli.flagging import flags_option
from awaitly.cli.graphs import warn_of
from awaitly.cli.inputs import Arguments, arguments_of, read_input
from awaitly.cli.interrupts import Interrupts
from awaitly.cli.stores import runtime_on, store_option
from awaitly.cli.targets import AnyWorkflow, workflow_of
from awaitly.cli.ways import Ways
from awaitly.declare.workflow import RunHandle
from awaitly.errors import RunIdConflict, RunNotFound
from awaitly.flags.provider import FlagValue
from awaitly.result import Err, Ok
from awaitly.runtime import Runtime
from awaitly.settings import read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """How a run is begun: a new one, or the one that has the id."""

    workflow: AnyWorkflow
    id: str | None
    arguments: Arguments | None  # None: whatever the run was started with

    async def __call__(self, runtime: Runtime) -> RunHandle[Any, Any]:
        if self.id is not None and self.arguments is None:
            return await self._continued(runtime, self.id)
        given = self.arguments or arguments_of(self.workflow, {})
        return await runtime.start(self.workflow, *given.args, **given.kwargs)

    async def _continued(self, runtime: Runtime, run_id: str) -> RunHandle[Any, Any]:
        try:
            record = await runtime.facts(run_id)
        except RunNotFound:
            given = arguments_of(self.workflow, {})
            return await runtime.start(self.workflow, *given.args, **given.kwargs)
        there = getattr(record[0], "workflow", None) if record else None
        if there is not None and there != self.workflow.name:
            raise RunIdConflict(
                f"the id {run_id!r} belongs to a run of {there}, not of {self.workflow.name}",
                hint="give another --id, or name that workflow as TARGET",
            )
        return await runtime.resume(run_id)


@click.command()
@click.argument("target")
@click.option(
    "--input", "given", metavar="JSON|@FILE|-", help="The arguments by name, as JSON; - reads standard input."
)
@click.option("--id", "run_id", metavar="ID", help="The run's id. One that exists is continued, not begun again.")
@click.option("--deadline", metavar="TIME", help="The time that a new run may take, as in 90s or 1h30m.")
@flags_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document with the run's id.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but the result.")
@store_option
def run(
    target: str,
    given: str | None,
    run_id: str | None,
    deadline: str | None,
    flags: dict[str, FlagValue],
    as_json: bool,
    quiet: bool,
    store: str | None,
) -> int:
    """Run a workflow and print its result.

    The exit status is 0 if it succeeds, 1 if it fails, 2 if it cannot be called like this, 130 after Ctrl-C.
    """
    found = workflow_of(target)
    arguments = arguments_of(found, read_input(given)) if given is not None or run_id is None else None
    workflow = found.options(id=run_id, deadline=deadline, flags=flags)

    ways = Ways(targets=(target,), store=store, began=True)
    settings = read_settings()
    warn_of(graphs_in_force({target: workflow}, settings, flags)[target], settings, quiet=quiet)

    if not workflow.declared.durable:
        work = _locally(workflow, arguments or arguments_of(found, {}), store, flags)
    else:
        begin = _Start(workflow=workflow, id=run_id, arguments=arguments)
        conduct = Conduct(
            workflows=[workflow], begin=begin, ways=ways, continues=run_id, store=store, quiet=quiet, flags=flags
        )
        work = conducted(conduct)
    return finished(asyncio.run, work, ways, as_json)


async def _locally(workflow: AnyWorkflow, given: Arguments, store: str | None, flags: Iterable[str]) -> Ended:
    async with runtime_on(store, flags=flags) as runtime:
        with Interrupts(lambda twice: None).heeded() as interrupts:
            result: Ok[Any] | Err[Any] = await interrupts.until(runtime.run(workflow, *given.args, **given.kwargs))
    return Ended(id=workflow.per_run.id or "", workflow=workflow.name, result=result, durable=False)
