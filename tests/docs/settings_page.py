"""Writes the reference in docs/settings.md: every setting, what is allowed, its default and what it means.

    python -m tests.docs.settings_page

All of it comes from the settings' models; the rest of the page is written by hand.
"""

from collections.abc import Iterator
from itertools import groupby

from awaitly.flags.rules import Rule
from awaitly.settings.effective import UNSET, default
from awaitly.settings.knobs import PATHS
from awaitly.settings.paths import Knob
from awaitly.settings.template import variable
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- reference -->\n", "<!-- end of reference -->\n"

TITLES = {
    "": "The runtime",
    "steps": "Steps",
    "breakers": "Circuit breakers",
    "limiters": "Limiters",
    "workflows": "Workflows",
    "flags": "Flags",
}


def written(page: str) -> str:
    """Return the page with an up-to-date reference between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end
    return before + BEGIN + reference() + END + after


def reference() -> str:
    """Return the reference."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "<!-- Written by tests/docs/settings_page.py: change awaitly/settings/tables.py, then run it. -->\n"
    for table, knobs in groupby(PATHS.knobs, key=lambda knob: knob.path[0] if knob.named else ""):
        yield f"### {TITLES[table]}\n"
        yield from _table(list(knobs), table)
        yield ""


def _table(knobs: list[Knob], table: str) -> Iterator[str]:
    if table:
        yield f"In files the table `[{table}.NAME]`; everything that is not given stays as declared.\n"
    yield "| variable | allowed | means |" if table else "| variable | allowed | default | means |"
    yield "|---|---|---|" if table else "|---|---|---|---|"
    for knob in knobs:
        cells = [f"`{variable(knob)}`", _cell(knob.allowed), *([] if table else [_default(knob)]), knob.description]
        yield f"| {' | '.join(cells)} |"
    if table == "flags":
        yield from _rule()


def _rule() -> Iterator[str]:
    yield "\nA rule may be a table:\n"
    yield "| name | means |"
    yield "|---|---|"
    for name, field in Rule.model_fields.items():
        yield f"| `{name}` | {field.description} |"


def _default(knob: Knob) -> str:
    return "" if default(knob) == UNSET else f"`{default(knob)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
