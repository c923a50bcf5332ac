"""``awaitly graph``: the shape of a workflow."""

from collections.abc import Iterable

import click
from rich.text import Text

from awaitly.cli.consoles import stderr, stdout
from awaitly.cli.effective import compiles, graph_in_force
from awaitly.cli.failing import diagnosis, tells_of
from awaitly.cli.targets import workflow_of
from awaitly.model.graph import Diagnostic, Graph
from awaitly.render.legend import legend_text, time_text
from awaitly.render.mermaid import graph_mermaid
from awaitly.render.tree import drawn, graph_lines
from awaitly.settings import Settings, read_settings


@click.command()
@click.argument("target")
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "json"]), default="tree", show_default=True,
    help="A tree for the terminal, a Mermaid flowchart, or everything that the compiler found out.",
)  # fmt: skip
def graph(target: str, form: str) -> int:
    """Show the steps of a workflow, what lies around them after all settings, and what the compiler has to say."""
    found = graph_in_force(workflow_of(target), read_settings())
    if form == "tree":
        _print_tree(found)
    else:
        text = graph_mermaid(found) if form == "mermaid" else found.model_dump_json(indent=2) + "\n"
        click.echo(text, nl=False)
    print_diagnostics(found.diagnostics)
    return 0


def _print_tree(graph: Graph) -> None:
    console = stdout()
    for guide, text, note in drawn(graph_lines(graph)):
        console.print(Text.assemble((guide, "dim"), text, (note, "dim")))
    steps, time = list(legend_text(graph)), list(time_text(graph))
    if steps:
        console.print()
    for name, line in steps:
        console.print(Text.assemble(name, "  ", (line, "dim")))
    if time:
        console.print()
    for line in time:
        console.print(Text(line, "dim"))


def warn_of(graph: Graph, settings: Settings, *, quiet: bool = False) -> None:
    """Print what the compiler warns of, if it does not refuse the workflow altogether.

    It is left out when quiet, and where settings have logs written: there it is a line of them.
    """
    if compiles(graph):
        if not quiet and settings.logs.format is None:
            print_diagnostics(graph.diagnostics)
        for found in graph.diagnostics:
            tells_of(found.message)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print what the compiler objects to: place, strength, message, code and hint."""
    for found in diagnostics:
        stderr().print(diagnosis(found))
