"""Rows of progress as something that rich prints."""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from awaitly.model.durations import humanised
from awaitly.model.plain import brief, value_of
from awaitly.render.payloads import failure_of
from awaitly.render.rows import Kind, Phase, Row

_MARKS = {Phase.DONE: ("✓", "green"), Phase.FAILED: ("✗", "bold red"), Phase.CANCELLED: ("⊘", "yellow")}
_WIDEST = 48  # columns that labels get even if the notes are cut for it
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WORDS = {Phase.DONE: "ok", Phase.FAILED: "failed", Phase.CANCELLED: "cancelled", Phase.OPEN: "open"}


def picture(row: Row, now: float, *, live: bool = False, values: bool = False) -> Table:
    """Return a run's tree.

    Args:
        row: The run.
        now: The time, for what is open.
        live: Whether somebody executes it: what is open turns.
        values: Whether to show what the steps returned.
    """
    labels, times, notes = [], [], []
    for guide, each in _guided(row):
        mark, style = _mark(each, now, live)
        labels.append(Text.assemble((guide, "dim"), (f"{mark} ", style), (each.label, _style(each))))
        times.append(Text(_time(each, now, live), "dim"))
        notes.append(_note(each, now, values))

    table = Table.grid(padding=(0, 2))
    # What is too long for the screen is cut in the notes, not in the labels.
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=min(_WIDEST, max(map(cell_len, map(str, labels)))))
    table.add_column(no_wrap=True, justify="right", min_width=max(map(len, times)))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for cells in zip(labels, times, notes, strict=True):
        table.add_row(*cells)
    return table


def line(row: Row, path: tuple[str, ...]) -> Text:
    """Return one finished step as a line: how it ended, where it is, how long it took, and why it failed."""
    _, style = _MARKS.get(row.phase, ("", ""))
    text = Text.assemble((f"{_WORDS[row.phase]:11}", style), " / ".join(path))
    if row.seconds is not None:
        text.append(f"  {humanised(row.seconds)}", "dim")
    if row.attempts > 1:
        text.append(f"  {row.attempts} attempts", "yellow")
    for remark in row.remarks:
        text.append(f"  {remark}", "dim")
    if (note := _told(row)) is not None:
        text.append("  ").append(note)
    return text


def waiting_line(row: Row, path: tuple[str, ...], now: float) -> Text:
    """Return a step that waits for its next attempt as a line."""
    text = Text.assemble((f"{'waiting':11}", "yellow"), " / ".join(path), "  ")
    return text.append(_paused(row, now))


def _guided(row: Row, indent: str = "", guide: str = "") -> Iterator[tuple[str, Row]]:
    yield indent + guide, row
    if guide:
        indent += "│  " if guide.startswith("├") else "   "
    for index, inner in enumerate(row.rows):
        yield from _guided(inner, indent, "└─ " if index == len(row.rows) - 1 else "├─ ")


def _mark(row: Row, now: float, live: bool) -> tuple[str, str]:
    if row.kind is Kind.REST:
        return " ", ""
    if row.phase is not Phase.OPEN:
        return _MARKS[row.phase]
    return (_SPINNER[int(now * 10) % len(_SPINNER)], "cyan") if live else ("·", "cyan")


def _style(row: Row) -> str:
    if row.kind in (Kind.GROUP, Kind.BRANCH, Kind.REST) or row.stored:
        return "dim" if row.kind is not Kind.GROUP else "bold" if not row.stored else "dim"
    return "bold" if row.kind is Kind.RUN else ""


def _time(row: Row, now: float, live: bool) -> str:
    if row.kind is Kind.REST:
        return ""
    if row.seconds is not None:
        return humanised(row.seconds)
    return humanised(max(0.0, round(now - row.began, 1))) if live and row.began is not None else ""


def _note(row: Row, now: float, values: bool) -> RenderableType:
    if row.kind is Kind.GROUP:
        return _counted(row)
    notes = Text()
    if row.pause is not None:
        notes.append(_paused(row, now)).append("  ")
    elif row.attempts > 1:
        notes.append(f"attempt {row.attempts}  " if row.phase is Phase.OPEN else f"{row.attempts} attempts  ", "yellow")
    for remark in row.remarks:
        notes.append(f"{remark}  ", "dim")
    told = _told(row)
    if told is not None:
        return notes.append(told)
    if values and row.phase is Phase.DONE and row.payload is not None and row.kind in (Kind.STEP, Kind.RUN):
        return notes.append(brief(value_of(row.payload)), "dim")
    if row.stored and row.kind in (Kind.STEP, Kind.TIMER) and not values:
        notes.append("stored", "dim")
    return notes


def _paused(row: Row, now: float) -> Text:
    """Return which attempt failed, and in which time there will be another."""
    assert row.pause is not None
    left = humanised(max(0.0, round(row.pause.due - now, 1)))
    return Text.assemble((f"attempt {row.attempts}, retry in {left}", "yellow"), (f"  {row.pause.error}", "dim red"))


def _told(row: Row) -> Text | None:
    if row.payload is None or row.phase is not Phase.FAILED:
        return None
    return Text(" ".join(str(failure_of(row.payload)).split()), "red")


def _counted(row: Row) -> RenderableType:
    """Return a bar for an ``each``, and a count for other groups."""
    found = row.count
    if found is None:
        return ""
    count = Text(f"{found.finished}/{found.total}" if found.total is not None else f"{found.finished} done", "dim")
    if found.failed:
        count.append(f"  {found.failed} failed", "red")
    if not row.label.startswith("each") or found.total == 0:
        return count
    bar = ProgressBar(total=found.total, completed=found.finished, width=24)
    both = Table.grid(padding=(0, 1))
    both.add_row(bar, count)
    return both
