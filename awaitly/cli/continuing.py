"""``awaitly runs resume|retry|fork``: what needs the code of a run besides its journal."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click
from rich.text import Text

from awaitly.cli.conducting import Conduct, conducted
from awaitly.cli.consoles import stdout
from awaitly.cli.effective import graphs_in_force
from awaitly.cli.ends import finished
from awaitly.cli.flagging import flags_option
from awaitly.cli.graphs import warn_of
from awaitly.cli.inputs import Arguments, arguments_of, read_input
from awaitly.cli.stores import existing_runtime, store_option
from awaitly.cli.targets import AnyWorkflow, workflow_of
from awaitly.cli.ways import Ways
from awaitly.declare.workflow import RunHandle
from awaitly.errors import RunIdConflict
from awaitly.execute.history import ForkPlan
from awaitly.flags.provider import FlagValue
from awaitly.model.effects import Effect
from awaitly.model.facts import Fact, FlagDecided, RunStarted, StepFinished
from awaitly.runtime import Runtime
from awaitly.settings import read_settings

F = TypeVar("F", bound=Callable[..., Any])


def _given(_context: click.Context, _parameter: click.Parameter, targets: tuple[str, ...]) -> tuple[str, ...]:
    if not targets:
        raise click.UsageError(
            "--target is missing: a store holds no code, so say which workflow the run is of,"
            " as in --target module:name or --target path/to/file.py:name"
        )
    return targets


def _run_options(command: F) -> F:
    """Give a command what continuing a run needs."""
    target = click.option(
        "--target", "targets", multiple=True, metavar="TARGET", callback=_given,
        help="The run's workflow, module:name or file.py:name: a store holds no code. May be given several times.",
    )  # fmt: skip
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
    quiet = click.option("--quiet", "-q", is_flag=True, help="Print nothing but the result.")
    return click.argument("run_id", metavar="ID")(target(as_json(quiet(store_option(command)))))


@click.command()
@_run_options
def resume(run_id: str, targets: tuple[str, ...], as_json: bool, quiet: bool, store: str | None) -> int:
    """Continue a run here, also one that is stuck, and show it until it ends."""
    return _conducted("resume", run_id, targets, as_json, quiet, store)


@click.command()
@_run_options
def retry(run_id: str, targets: tuple[str, ...], as_json: bool, quiet: bool, store: str | None) -> int:
    """Continue a failed run from before the failure that ended it."""
    return _conducted("retry", run_id, targets, as_json, quiet, store)


def _conducted(
    action: str, run_id: str, targets: tuple[str, ...], as_json: bool, quiet: bool, store: str | None
) -> int:
    workflows = _workflows(targets, quiet)

    async def begin(runtime: Runtime) -> RunHandle[Any, Any]:
        await _named_by(workflows, runtime, run_id)
        return await (runtime.retry(run_id) if action == "retry" else runtime.resume(run_id))

    return _finished(workflows, targets, begin, as_json, quiet, store, run_id)


@click.command()
@_run_options
@click.option(
    "--at", metavar="STEP", help="Keep what was recorded before this step or call; default: all before the end."
)
@click.option(
    "--input",
    "given",
    metavar="JSON|@FILE|-",
    help="Other arguments; without --at what fits them is kept, with --at all before that has to fit.",
)
@click.option("--id", "new_id", metavar="NEW", help="The new run's id; default: made up.")
@flags_option
@click.option("--plan", is_flag=True, help="Say what would be kept and what done again, and do nothing.")
def fork(
    run_id: str,
    targets: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    store: str | None,
    at: str | None,
    given: str | None,
    new_id: str | None,
    flags: dict[str, FlagValue],
    plan: bool,
) -> int:
    """Start a new run from what another recorded before a step."""
    workflows = _workflows(targets, quiet, flags)
    data = read_input(given) if given is not None else None

    async def arguments(runtime: Runtime) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        workflow = await _named_by(workflows, runtime, run_id)
        if given is None:
            return None
        found: Arguments = arguments_of(workflow, data)
        return found.args, dict(found.kwargs)

    async def begin(runtime: Runtime) -> RunHandle[Any, Any]:
        return await runtime.fork(run_id, at=at, id=new_id, arguments=await arguments(runtime), flags=flags)

    async def planned() -> ForkPlan:
        async with existing_runtime(store, workflows=workflows) as runtime:
            return await runtime.plan_fork(run_id, at=at, arguments=await arguments(runtime), flags=flags)

    if plan:
        found = asyncio.run(planned())
        found.check()
        _print_plan(found, {name: spec.effect for workflow in workflows for name, spec in workflow.graph.steps.items()})
        return 0
    return _finished(workflows, targets, begin, as_json, quiet, store, flags=flags)


def _workflows(targets: tuple[str, ...], quiet: bool, flags: Collection[str] = ()) -> list[AnyWorkflow]:
    """Return the workflows of some targets; what the compiler warns of is said first, as by ``run``."""
    named, settings = {target: workflow_of(target) for target in targets}, read_settings()
    for graph in graphs_in_force(named, settings, flags).values():
        warn_of(graph, settings, quiet=quiet)
    return list(named.values())


async def _named_by(workflows: list[AnyWorkflow], runtime: Runtime, run_id: str) -> AnyWorkflow:
    """Return the target that is the workflow of a run.

    Raises:
        RunNotFound: If there is no run with this id.
        RunIdConflict: If none of the targets is.
    """
    facts = await runtime.facts(run_id)
    name = facts[0].workflow if facts and isinstance(facts[0], RunStarted) else None
    for workflow in workflows:
        if workflow.name == name:
            return workflow
    given = ", ".join(workflow.name for workflow in workflows)
    raise RunIdConflict(f"{run_id!r} is a run of {name}, not of {given}", hint=f"give --target for {name}")


def _finished(
    workflows: list[AnyWorkflow],
    targets: tuple[str, ...],
    begin: Callable[[Runtime], Any],
    as_json: bool,
    quiet: bool,
    store: str | None,
    continues: str | None = None,
    flags: Collection[str] = (),
) -> int:
    ways = Ways(targets=targets, store=store)
    conduct = Conduct(
        workflows=workflows, begin=begin, ways=ways, continues=continues, store=store, quiet=quiet, existing=True,
        flags=flags,
    )  # fmt: skip
    return finished(asyncio.run, conducted(conduct), ways, as_json)


def _print_plan(plan: ForkPlan, effects: Mapping[str, Effect]) -> None:
    console = stdout()
    again = [fact for fact in plan.dropped if isinstance(fact, StepFinished)]
    console.print(Text(f"kept: {len(plan.kept)}", "green"))
    for fact in plan.kept:
        console.print(f"  {_named(fact)}")
    console.print(Text(f"executed again, where the code comes to it: {len(again)}", "yellow"))
    for fact in again:
        console.print(f"  {fact.call}  {effects.get(fact.step, '')}".rstrip())


def _named(fact: Fact) -> str:
    if isinstance(fact, FlagDecided):
        return f"flag {fact.flag} {json.dumps(fact.value)}"
    return f"{type(fact).__name__} {getattr(fact, 'call', '')}".rstrip()
