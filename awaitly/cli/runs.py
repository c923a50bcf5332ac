"""``awaitly runs``: the runs of a store, without the code that they run."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from awaitly.cli.consoles import print_json, stdout
from awaitly.cli.continuing import fork, resume, retry
from awaitly.cli.histories import History, read_history
from awaitly.cli.pictures import picture
from awaitly.cli.stores import looking_runtime, store_option
from awaitly.cli.watching import watch
from awaitly.cli.ways import Ways, command
from awaitly.model.durations import humanised
from awaitly.model.facts import Ending, Fact, RetryScheduled, RunFinished, RunStarted, StepFinished
from awaitly.model.plain import brief, value_of
from awaitly.model.state import RunRecord, Status
from awaitly.render.payloads import failure_of
from awaitly.render.rows import fitted
from awaitly.render.tracebacks import without_own_frames
from awaitly.runtime import Runtime

_COLOURS = {
    Status.SUCCEEDED: "green", Status.FAILED: "bold red", Status.CANCELLED: "yellow",
    Status.RUNNING: "cyan", Status.QUEUED: "blue", Status.PENDING: "blue",
}  # fmt: skip
_INTERRUPTED = "interrupted"  # as a status: what counts as running or queued, and its process is gone
_UNDER_WAY = (Status.RUNNING, Status.QUEUED)
_PAGE = 1000
_LONGEST = 400  # lines
_TIMES = ("due", "since", "deadline")  # fields of facts that are times


@click.group()
def runs() -> None:
    """Look at the runs of a store, and continue them."""


@runs.command("list")
@click.option("--workflow", "-w", metavar="NAME", help="Only runs of this workflow.")
@click.option(
    "--status",
    "-s",
    type=click.Choice([*(status.value for status in Status), _INTERRUPTED]),
    help="Only runs in this state; those that are interrupted count as running or queued, too.",
)
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@store_option
def list_runs(workflow: str | None, status: str | None, limit: int, as_json: bool, store: str | None) -> int:
    """List runs, newest first."""
    found, interrupted = asyncio.run(_list(store, workflow, status, limit))
    if as_json:
        print_json([_document(record, record.id in interrupted) for record in found])
    elif found:
        stdout().print(_listing(found, interrupted), soft_wrap=False)
    else:
        stdout().print("no runs")
    return 0


async def _list(
    store: str | None, workflow: str | None, status: str | None, limit: int
) -> tuple[Sequence[RunRecord], frozenset[str]]:
    async with looking_runtime(store) as runtime:
        if status == _INTERRUPTED:
            found = await _interrupted(runtime, workflow, limit)
        else:
            found = await runtime.runs(workflow=workflow, status=Status(status) if status else None, limit=limit)
        return found, await runtime.interrupted(found)


async def _interrupted(runtime: Runtime, workflow: str | None, limit: int) -> Sequence[RunRecord]:
    """Return the runs whose process is gone, newest first: a store does not know that, so each is asked about."""
    found: list[RunRecord] = []
    for status in _UNDER_WAY:
        before, left = None, limit
        while left > 0 and (page := await runtime.runs(workflow=workflow, status=status, limit=_PAGE, before=before)):
            gone = await runtime.interrupted(page)
            found += [record for record in page if record.id in gone][:left]
            before, left = page[-1].id, left - len(gone)
    return sorted(found, key=lambda record: record.created, reverse=True)[:limit]


def _listing(records: Sequence[RunRecord], interrupted: frozenset[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("ID", overflow="fold")
    for name in ("WORKFLOW", "STATUS", "STARTED", "TOOK"):
        table.add_column(name, no_wrap=True)
    for record in records:
        status = _state(record, record.id in interrupted)
        took = humanised(record.updated - record.created) if record.status.ended else ""
        table.add_row(record.id, record.workflow, status, _moment(record.created), took)
    return table


def _state(record: RunRecord, interrupted: bool) -> Text:
    status, colour = (_INTERRUPTED, "yellow") if interrupted else (record.status.value, _COLOURS[record.status])
    cancelling = record.cancel_requested is not None and not record.status.ended
    return Text(f"{status}{', to be cancelled' if cancelling else ''}", colour)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _document(record: RunRecord, interrupted: bool) -> dict[str, Any]:
    times = {name: datetime.fromtimestamp(getattr(record, name)).astimezone() for name in ("created", "updated")}
    return {**asdict(record), **times, "interrupted": interrupted}


@runs.command()
@click.argument("run_id", metavar="ID")
@click.option("--facts", "with_facts", is_flag=True, help="Show the journal, fact by fact.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@store_option
def show(run_id: str, with_facts: bool, as_json: bool, store: str | None) -> int:
    """Show what happened in a run: its steps, their results and errors."""
    history = asyncio.run(_history(store, run_id))
    if as_json:
        print_json(_shown(history))
    elif with_facts:
        for number, fact in enumerate(history.facts):
            stdout().print(_fact_line(number, fact))
    else:
        _print_history(history)
    return 0


async def _history(store: str | None, run_id: str) -> History:
    async with looking_runtime(store) as runtime:
        return await read_history(runtime, run_id)


def _print_history(history: History) -> None:
    console, record, started = stdout(), history.record, history.started
    console.print(Text.assemble((record.id, "bold"), f"  {record.workflow}  ", _state(record, history.interrupted)))
    took = f", took {humanised(record.updated - record.created)}" if record.status.ended else ""
    console.print(f"started {_moment(record.created)}{took}")
    for name, value in (value_of(started.arguments) or {}).items():
        console.print(f"  {name} = {brief(value, 110)}")
    for name, value in started.flags.items():
        console.print(f"  flag {name} is {brief(value)} (given)")
    console.print(picture(fitted(history.tree, _LONGEST), time.time(), values=True), soft_wrap=False)
    end = history.facts[-1]
    if isinstance(end, RunFinished) and record.status is not Status.SUCCEEDED:
        _print_failure(record, end)
    if record.status in _UNDER_WAY and not history.interrupted:
        queued = ": it is queued until its process has room" if record.status is Status.QUEUED else ""
        console.print(f"not ended{queued}; watch it with: {command('runs', 'watch', record.id)}")
    elif not record.status.ended:
        console.print(f"not ended; continue with: {command('runs', 'resume', record.id)} --target TARGET")


def _print_failure(record: RunRecord, end: RunFinished) -> None:
    told = failure_of(end.payload)
    stdout().print(Text(f"{told.step} raised {told}" if told.step and told.unexpected else str(told), "red"))
    if told.traceback:
        stdout().print(Text(without_own_frames(told.traceback), "dim"))
    if end.ending is Ending.UNEXPECTED:
        stdout().print(Ways(targets=("TARGET",), store=None).mended(record.id))


def _shown(history: History) -> dict[str, Any]:
    return {
        **_document(history.record, history.interrupted),
        "arguments": value_of(history.started.arguments),
        "facts": [_fact_document(fact) for fact in history.facts],
    }


def _fact_document(fact: Fact) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": type(fact).__name__, **asdict(fact)}
    for name in ("payload", "arguments"):
        if isinstance(document.get(name), bytes):
            document[name] = value_of(document[name])
    return document


def _fact_line(number: int, fact: Fact) -> Text:
    document = _legible(fact)
    kind, at = document.pop("kind"), document.pop("at")
    text = Text.assemble((f"{number:4}  {_moment(at)}  ", "dim"), (f"{kind:16}", "bold"))
    if isinstance(fact, RunStarted):
        document = {name: document[name] for name in ("workflow", "arguments", "parent", "forked_from")}
    shown = (f"  {name}={brief(value)}" for name, value in document.items() if _telling(fact, name, value))
    return text.append("".join(shown))


def _legible(fact: Fact) -> dict[str, Any]:
    """Return the fields of a fact as people read them: times, durations, and what an error says."""
    document = _fact_document(fact)
    document |= {name: _moment(value) for name, value in document.items() if name in _TIMES and value is not None}
    if isinstance(fact, StepFinished):
        document["seconds"] = humanised(fact.seconds)
    if isinstance(fact, RetryScheduled) or getattr(fact, "ending", Ending.VALUE) is not Ending.VALUE:
        document["payload"] = str(failure_of(fact.payload))  # type: ignore[attr-defined]  # all of these have one
    return document


def _telling(fact: Fact, name: str, value: Any) -> bool:
    """Whether a field of a fact says anything: most are empty, and most calls take one attempt."""
    once = name in ("attempt", "attempts") and value == 1 and not isinstance(fact, RetryScheduled)
    return value not in (None, "", {}) and not once


@runs.command()
@click.argument("run_id", metavar="ID")
@click.option("--reason", default="", help="Stored with the request and shown with the run.")
@store_option
def cancel(run_id: str, reason: str, store: str | None) -> int:
    """Ask for the cancellation of a run.

    Whoever executes it sees the request within a second; a run that nobody executes sees it when it is continued.
    """
    asked, record, executed = asyncio.run(_cancel(store, run_id, reason))
    if asked and executed:
        stdout().print(f"{run_id} will be cancelled")
    elif asked:
        stdout().print(f"{run_id} will be cancelled when it is continued: nobody executes it now")
    else:
        stdout().print(f"{run_id} has ended already: {record.status}")
    return 0 if asked else 1


async def _cancel(store: str | None, run_id: str, reason: str) -> tuple[bool, RunRecord, bool]:
    async with looking_runtime(store) as runtime:
        asked = await runtime.cancel(run_id, reason)
        record = await runtime.record(run_id)
        return asked, record, record.owner is not None and not await runtime.interrupted([record])


for _command in (watch, resume, retry, fork):
    runs.add_command(_command)
