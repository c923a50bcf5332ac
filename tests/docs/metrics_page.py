"""Writes the reference in docs/metrics.md: every instrument, what it counts and what tells its series apart.

    python -m tests.docs.metrics_page

All of it comes from the table in awaitly/observe/instruments.py; the rest of the page is written by hand.
"""

from collections.abc import Iterator

from awaitly.observe.instruments import INSTRUMENTS, Instrument, Kind
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- reference -->\n", "<!-- end of reference -->\n"
ENDS = {Kind.COUNTER: "_total", Kind.ASKED_COUNTER: "_total"}


def written(page: str) -> str:
    """Return the page with an up-to-date reference between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end
    return before + BEGIN + "\n".join(_lines()) + "\n" + END + after


def in_prometheus(row: Instrument) -> str:
    """Return what Prometheus calls an instrument."""
    return row.name.replace(".", "_") + ("_seconds" if row.unit == "s" else "") + ENDS.get(row.kind, "")


def _lines() -> Iterator[str]:
    yield "<!-- Written by tests/docs/metrics_page.py: change awaitly/observe/instruments.py, then run it. -->\n"
    yield "| metric | in Prometheus | kind | unit | attributes | means |"
    yield "|---|---|---|---|---|---|"
    for row in INSTRUMENTS:
        attributes = ", ".join(f"`{name}`" for name in row.attributes)
        name, unit = f"`{row.name}`", row.unit.strip("{}")
        yield f"| {name} | `{in_prometheus(row)}` | {row.kind} | {unit} | {attributes} | {row.description} |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
