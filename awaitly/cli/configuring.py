"""``awaitly config``: which settings are in force, where they come from, and which there are."""

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from awaitly.cli.consoles import print_json, stdout
from awaitly.cli.failing import USAGE, say
from awaitly.cli.pipelines import Pipelines, misfitting_rules, pipelines_of
from awaitly.cli.targets import workflows_of
from awaitly.errors import StoreError
from awaitly.persist.urls import store_from_url
from awaitly.settings import Settings, read_settings
from awaitly.settings.effective import Row, rows
from awaitly.settings.template import template

_COLUMNS = ("SETTING", "VALUE", "SOURCE", "DEFAULT")


@click.command("config")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="A table, or one JSON document.",
)  # fmt: skip
@click.option("--env", "as_env", is_flag=True, help="Print a commented template of all environment variables instead.")
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON Schema of the settings instead.")
def config(targets: tuple[str, ...], form: str, as_env: bool, as_schema: bool) -> int:
    """Show every setting in force, where it comes from, and its default. Passwords and secrets are not shown.

    With TARGETs also what lies around each step of these workflows, from the outside in, after all settings. Then the
    exit status is 2 if settings name what none of them has, or decide flags in a way that they do not know.
    """
    if as_env or as_schema:
        _refuse_more(targets, as_env and as_schema)
        _print_whole(as_env)
        return 0
    workflows = {name: workflow for target in targets for name, workflow in workflows_of(target).items()}
    settings = read_settings()
    pipelines, unknown = pipelines_of(workflows, settings)
    if form == "json":
        print_json({"settings": [_document(row) for row in rows(settings)], "workflows": pipelines})
    else:
        _print_listing(rows(settings))
        _print_pipelines(pipelines)
    for name in unknown:
        say(f"nothing of these workflows has this name: {name}", code="invalid-setting")
    wrong = misfitting_rules(workflows, settings)
    for problem in wrong:
        say(f"a rule does not fit its flag: {problem}", code="invalid-setting")
    return USAGE if unknown or wrong or not _store_known(settings) else 0


def _store_known(settings: Settings) -> bool:
    try:
        store_from_url(settings.store)
    except StoreError as error:
        say(error.message, code=error.code, hint=error.hint)
        return False
    return True


def _refuse_more(targets: Sequence[str], both: bool) -> None:
    if targets or both:
        raise click.UsageError(
            "--env and --schema print all settings that there are: give one of them and nothing else"
        )


def _print_whole(as_env: bool) -> None:
    if as_env:
        click.echo(template(), nl=False)
    else:
        print_json(Settings.model_json_schema())


def _document(row: Row) -> dict[str, str]:
    return {"path": ".".join(row.path), "value": row.value, "source": row.source, "default": row.default}


def _print_listing(rows: Sequence[Row]) -> None:
    console = stdout()
    if console.is_terminal:
        console.print(_listing(rows), soft_wrap=False)
    else:
        _print_plain([_COLUMNS, *(_cells(row) for row in rows)])


def _listing(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        styles = ("", "", "dim", "dim") if row.origin is None else ("", "bold", "", "dim")
        table.add_row(*(Text(cell, style) for cell, style in zip(_cells(row), styles, strict=True)))
    return table


def _print_plain(lines: Sequence[Sequence[str]]) -> None:
    """Print one line for each setting, however long it is: for files, and for grep."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cells(row: Row) -> tuple[str, ...]:
    return ".".join(row.path), row.value, row.source, row.default


def _print_pipelines(pipelines: Pipelines) -> None:
    console = stdout()
    for workflow, steps in pipelines.items():
        console.print(Text.assemble("\n", (workflow, "bold")))
        for step, lines in steps.items():
            console.print(f"  {step}")
            for line in lines or ["nothing lies around it"]:
                console.print(Text(f"    {line}", "dim"))
