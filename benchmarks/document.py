"""Figures as Markdown tables, and the Markdown into a document between its two markers."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

START, END = "<!-- benchmark:start -->", "<!-- benchmark:end -->"


def around(document: Path) -> tuple[str, str]:
    """The text of the document before the section and after it.

    Raises:
        ValueError: the document has not exactly one of each marker, in order.
    """
    text = document.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"benchmark-markers: {document} needs one {START} and, after it, one {END}; add them")
    return text.partition(START)[0], text.partition(END)[2]


def write(document: Path, section: str) -> None:
    """Replace what is between the markers.

    Raises:
        ValueError: see `around`.
    """
    before, after = around(document)
    document.write_text(f"{before}{START}\n{section}\n{END}{after}", encoding="utf-8")


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median, with the lowest and the highest where there are several."""
    if not values:
        return "-"
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers; nothing if it has no rows."""
    if not rows:
        return ""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])
