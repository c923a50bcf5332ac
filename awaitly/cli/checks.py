"""``awaitly check``: before a deployment, does the code compile, and can it continue the runs that are unfinished?"""

import asyncio
from collections.abc import Sequence

import click
from rich.text import Text

from awaitly.cli.consoles import stdout
from awaitly.cli.effective import graphs_in_force
from awaitly.cli.failing import diagnosis, tells_of
from awaitly.cli.positions import shortened
from awaitly.cli.stores import looking_runtime
from awaitly.cli.targets import AnyWorkflow, workflows_of
from awaitly.execute.history import Verdict
from awaitly.model.counts import counted
from awaitly.model.graph import Graph, Severity
from awaitly.settings import read_settings

_COLOURS = {"fits": "green", "does-not-fit": "bold red", "unknown": "yellow"}


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--store", metavar="URL", help="Check the unfinished runs of this store too, without effects.")
def check(targets: tuple[str, ...], store: str | None) -> int:
    """Compile workflows with all settings, and with --store see whether they can continue their unfinished runs.

    A module or file without :name stands for all of its workflows. The exit status is 1 if something does not compile
    or some run does not fit, and 2 if settings do not fit the workflows.
    """
    workflows = {name: workflow for target in targets for name, workflow in workflows_of(target).items()}
    graphs = graphs_in_force(workflows, read_settings())
    sound = [_compiles(name, graph) for name, graph in graphs.items()]
    if not all(sound):
        return 1
    return _checked(asyncio.run(_verdicts(store, list(workflows.values())))) if store is not None else 0


def _compiles(target: str, graph: Graph) -> bool:
    errors = [found for found in graph.diagnostics if found.severity is Severity.ERROR]
    console = stdout()
    for found in graph.diagnostics:
        console.print(diagnosis(found))
        tells_of(found.message)
    warnings = len(graph.diagnostics) - len(errors)
    count = ", ".join(counted(n, what) for n, what in ((len(errors), "error"), (warnings, "warning")) if n)
    verdict = ("does not compile", "bold red") if errors else ("compiles", "green")
    console.print(Text.assemble(f"{target}: ", verdict, f" ({count})" if count else ""))
    return not errors


async def _verdicts(store: str, workflows: Sequence[AnyWorkflow]) -> Sequence[Verdict]:
    async with looking_runtime(store, workflows=workflows) as runtime:
        return await runtime.check()


def _checked(verdicts: Sequence[Verdict]) -> int:
    console = stdout()
    for verdict in verdicts:
        reason = f"\n  {shortened(verdict.reason)}" if verdict.reason else ""
        console.print(
            Text.assemble(
                (f"{verdict.answer:13}", _COLOURS[verdict.answer]), f"{verdict.run}  {verdict.workflow}{reason}"
            )
        )
    counts = ", ".join(f"{sum(v.answer == a for v in verdicts)} {a}" for a in _COLOURS)
    console.print(f"{counted(len(verdicts), 'unfinished run')}: {counts}" if verdicts else "no unfinished runs")
    return 1 if any(verdict.answer == "does-not-fit" for verdict in verdicts) else 0
