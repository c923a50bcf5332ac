"""Every path that leads to a setting, and the setting that a path means."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from awaitly.flags.rules import Rule
from awaitly.model.names import nearest, spelt
from awaitly.settings.values import allowed, is_duration, named_in, table_in

Path: TypeAlias = tuple[str, ...]

BETWEEN = "__"


@dataclass(frozen=True)
class Knob:
    """A setting. ``<step>`` in its path stands for any step's name."""

    path: Path
    field: FieldInfo
    annotation: Any

    @cached_property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.annotation is Rule:
            return f"true or false, a share of the runs from 0 to 1, text, or a table of {', '.join(Rule.model_fields)}"
        return allowed(self.annotation, self.field.metadata, tuple(self.field.examples or ()))

    @property
    def description(self) -> str:
        """What it means."""
        return self.field.description or ""

    @property
    def default(self) -> Any:
        """What it is where nobody says anything; None: as declared."""
        return None if self.named else self.field.get_default()

    @property
    def named(self) -> bool:
        """Whether it belongs to something with a name."""
        return any(part.startswith("<") for part in self.path)

    @property
    def duration(self) -> bool:
        """Whether it is in seconds."""
        return is_duration(self.annotation, self.field.metadata)


class Paths:
    """The paths of all settings of a model."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.knobs = tuple(_knobs(model))

    def knob(self, path: Path) -> Knob | None:
        """Return the setting that a path leads to. What is below a flag belongs to the flag."""
        return next((knob for knob in self.knobs if _leads(path, knob)), None)

    def below(self, path: Path) -> list[str]:
        """Return what a table has, or nothing if there is no table at this path."""
        found = (knob.path[len(path)] for knob in self.knobs if len(knob.path) > len(path) and _fits(path, knob.path))
        return list(dict.fromkeys(found))

    def normal(self, path: Path) -> Path:
        """Return a path with its names as they are compared."""
        if len(path) < 2 or not any(part.startswith("<") for part in self.below(path[:1])):
            return path
        return path[0], spelt(path[1]), *path[2:]

    def whole(self, path: Path) -> Path:
        """Return the path of the setting that a path is a part of: what is below a flag is part of one rule."""
        knob = self.knob(path)
        return path if knob is None else path[: len(knob.path)]

    def allowed(self, path: Path) -> str:
        """Return what may be at a path, in words."""
        knob = self.knob(path)
        if knob is not None:
            return knob.allowed
        return f"a table of {', '.join(self.below(path))}"

    def meant(self, path: Path) -> Path | None:
        """Return the setting that is named most like this one, or else the first of the group that is."""
        names: dict[str, Path] = {}
        here = bool(self.below(path[:1]))
        for knob in self.knobs:
            known = _filled(knob.path, path)
            if not knob.path[-1].startswith("<") and (known[0] == path[0] or not here):
                names[BETWEEN.join(known)] = known
            names.setdefault(known[0], known)
        return names.get(nearest(BETWEEN.join(path), names) or nearest(path[0], names) or "")


def _knobs(model: type[BaseModel], above: Path = ()) -> Iterator[Knob]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        annotation: Any = field.annotation
        if (inner := named_in(annotation)) is not None:
            path = (*path, f"<{name.removesuffix('s')}>")
            annotation = inner
        if (table := table_in(annotation)) is not None and table is not Rule:  # a rule is one value
            yield from _knobs(table, path)
        else:
            yield Knob(path, field, annotation)


def _leads(path: Path, knob: Knob) -> bool:
    if len(path) > len(knob.path) and knob.path[-1].startswith("<"):
        path = path[: len(knob.path)]
    return len(path) == len(knob.path) and _fits(path, knob.path)


def _fits(path: Path, pattern: Path) -> bool:
    return all(part == wanted or wanted.startswith("<") for part, wanted in zip(path, pattern, strict=False))


def _filled(pattern: Path, path: Path) -> Path:
    """Return a pattern with the names that a path has in their places."""
    filled = (
        path[at] if part.startswith("<") and at < len(path) and path[at] else part for at, part in enumerate(pattern)
    )
    return tuple(filled)
