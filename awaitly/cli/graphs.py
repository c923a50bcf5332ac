"""``awaitly graph``: the shape of a workflow."""

from collections.abc import Iterable

import click
from rich.text import Text

from awaitly.cli.consoles import stderr, stdout
from awaitly.cli.positions import shortened
from awaitly.cli.targets import workflow_of
from awaitly.model.graph import Diagnostic, Graph, Severity
from awaitly.render.mermaid import graph_mermaid
from awaitly.render.tree import drawn, graph_lines

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


@click.command()
@click.argument("target")
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "json"]), default="tree", show_default=True,
    help="A tree for the terminal, a Mermaid flowchart, or everything that the compiler found out.",
)  # fmt: skip
def graph(target: str, form: str) -> int:
    """Show the steps of a workflow and what the compiler has to say about them."""
    found = workflow_of(target).graph
    if form == "tree":
        console = stdout()
        for guide, text, note in drawn(graph_lines(found)):
            console.print(Text.assemble((guide, "dim"), text, (note, "dim")))
    else:
        text = graph_mermaid(found) if form == "mermaid" else found.model_dump_json(indent=2) + "\n"
        click.echo(text, nl=False)
    print_diagnostics(found.diagnostics)
    return 0


def warn_of(graph: Graph) -> None:
    """Print what the compiler warns of, if it does not refuse the workflow altogether."""
    if all(found.severity is Severity.WARNING for found in graph.diagnostics):
        print_diagnostics(graph.diagnostics)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print what the compiler objects to: place, strength, message, code and hint."""
    for found in diagnostics:
        stderr().print(diagnosis(found))


def diagnosis(found: Diagnostic) -> Text:
    """Return a diagnostic as a message."""
    where = f"{found.position}: " if found.position else ""
    return Text.assemble(
        shortened(where),
        (found.severity.value, _COLOURS[found.severity]),
        shortened(f" [{found.code}]: {found.message}\n  hint: {found.hint}"),
    )
