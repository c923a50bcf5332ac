"""Writes the reference in docs/observability.md: attributes and events of spans, lines of logs and their names.

    python -m tests.docs.observability_page

All of it comes from awaitly/model/attributes.py, awaitly/observe/tracing.py and awaitly/observe/logs.py; the rest of
the page is written by hand.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from awaitly.model import facts
from awaitly.model.attributes import MEANINGS
from awaitly.model.facts import Ending, Fact
from awaitly.observe.logs import NAMES, described
from awaitly.observe.tracing import EVENTS
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "observability.md"
BEGIN, END = "<!-- reference -->\n", "<!-- end of reference -->\n"

_VALUES: dict[object, Any] = {str: "x", int: 1, float: 1.0, bool: True, bytes: b"", Mapping: {}}

Line = tuple[str, str, tuple[str, ...], str]
"""Level, text, names, and the fact."""


def written(page: str) -> str:
    """Return the page with an up-to-date reference between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end
    return before + BEGIN + "\n".join(_lines()) + "\n" + END + after


def kinds() -> list[type[Fact]]:
    """Return every kind of fact."""
    return [kind for kind in vars(facts).values() if isinstance(kind, type) and issubclass(kind, Fact)]


def logged() -> list[Line]:
    """Return the lines that facts are logged as, once each."""
    lines: dict[Line, None] = {}
    for kind in kinds():
        for fact in _facts(kind):
            if (line := described(fact)) is not None:
                lines[logging.getLevelName(line[0]).lower(), line[1], tuple(line[2]), kind.__name__] = None
    return list(lines)


def _facts(kind: type[Fact]) -> Iterator[Fact]:
    """Yield a fact of a kind for every way to end, if it has one; all else has some value."""
    hints = get_type_hints(kind)
    values = {field.name: _value(hints[field.name]) for field in fields(kind)}
    for ending in Ending if "ending" in values else (None,):
        yield kind(**(values if ending is None else values | {"ending": ending}))


def _value(hint: Any) -> Any:
    return _VALUES.get(get_origin(hint) or hint)


def _lines() -> Iterator[str]:
    yield (
        "<!-- Written by tests/docs/observability_page.py: change awaitly/model/attributes.py,"
        " awaitly/observe/tracing.py or awaitly/observe/logs.py, then run it. -->\n"
    )
    yield "### Attributes of spans\n"
    yield from _table(("attribute", "means"), ((f"`{name}`", meaning) for name, meaning in MEANINGS.items()))
    yield "\n### Events of spans\n"
    yield from _table(("event", "fact", "attributes"), _events())
    yield "\n### Names in log lines\n"
    yield from _table(("name", "means"), ((f"`{name}`", meaning) for name, meaning in NAMES.items()))
    yield "\n### Lines of the logger `awaitly.runs`\n"
    yield from _table(
        ("level", "line", "fact", "names"),
        ((level, event, f"`{kind}`", _listed(names)) for level, event, names, kind in logged()),
    )


def _events() -> Iterator[tuple[str, ...]]:
    for kind, (name, named) in EVENTS.items():
        yield f"`{name}`", f"`{kind.__name__}`", _listed(named.values())
    yield "`exception`", "`StepFinished`, `RunFinished`", _listed(n for n in MEANINGS if n.startswith("exception."))


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
