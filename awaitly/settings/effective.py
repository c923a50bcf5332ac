"""What is in force, setting by setting: the value, where it comes from, and what it would be otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from awaitly.flags.rules import Rule
from awaitly.model.durations import humanised
from awaitly.settings.knobs import PATHS, Settings, provenance
from awaitly.settings.masks import masked
from awaitly.settings.paths import Knob, Path
from awaitly.settings.sources import Origin

DECLARED = "as declared"
UNSET = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting in force. Secrets are masked already."""

    path: Path
    value: str
    default: str
    origin: Origin | None  # None: by default
    name: str = ""  # of the step, breaker, ... that it is for

    @property
    def source(self) -> str:
        """Where the value comes from, in words."""
        if self.origin is None:
            return "default"
        return str(self.origin.place if self.origin.name == ".".join(self.path) else self.origin)


def rows(settings: Settings) -> list[Row]:
    """Return every setting in force, in the order of the model: those with names only if somebody gave them."""
    tables = list(type(settings).model_fields)
    found = [row for knob in PATHS.knobs for row in _rows(settings, knob)]
    return sorted(found, key=lambda row: (tables.index(row.path[0]), row.name))


def shown(knob: Knob, value: Any) -> str:
    """Return a setting's value as people write it."""
    match value:
        case None:
            return UNSET
        case bool():
            return str(value).lower()
        case Rule():
            return _rule(value)
        case int() | float() if knob.duration:
            return humanised(value)
        case _:
            return str(value)


def default(knob: Knob) -> str:
    """Return what a setting is where nobody says anything, as people write it."""
    return DECLARED if knob.named else shown(knob, knob.default)


def _rows(settings: Settings, knob: Knob) -> Iterator[Row]:
    for path, value in _values(settings, knob.path):
        if value is not None or not knob.named:
            origin = _origin(settings, path)
            text = shown(knob, masked(path, value, origin))
            yield Row(path, text, default(knob), origin, path[1] if knob.named else "")


def _values(node: Any, pattern: Path, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the values that a pattern leads to."""
    if not pattern:
        yield above, node
    elif isinstance(node, BaseModel):
        yield from _values(getattr(node, pattern[0]), pattern[1:], (*above, pattern[0]))
    else:
        for name, each in node.items():
            yield from _values(each, pattern[1:], (*above, name))


def _origin(settings: Settings, path: Path) -> Origin | None:
    found = provenance(settings)
    below = (origin for each, origin in found.items() if each[: len(path)] == path)
    return found.get(path) or next(below, None)


def _rule(rule: Rule) -> str:
    given = rule.model_dump(exclude_defaults=True)
    if given.keys() == {"value"}:
        return str(rule.value).lower() if isinstance(rule.value, bool) else str(rule.value)
    if given.keys() == {"share"}:
        return f"{rule.share:g}"
    return to_json(given).decode()
