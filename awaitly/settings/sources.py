"""Where settings come from: each source as a list of what it says, the stronger ones first."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path as File
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from awaitly.settings.paths import BETWEEN, Path, Paths

PREFIX = "AWAITLY_"
NOT_SETTINGS = frozenset({"debug"})  # AWAITLY_DEBUG is the command line's

T = TypeVar("T")

_BETWEEN = re.compile(f"{BETWEEN}(?!_)")
_DOTENV = File(".env")
_TOML = File("awaitly.toml")
_PYPROJECT = File("pyproject.toml")


class Place(StrEnum):
    """A source, in the words of messages; the stronger ones first."""

    ARGUMENT = "given as an argument"
    ENVIRONMENT = "in the environment"
    DOTENV = "in .env"
    SECRETS = "in the secrets directory"
    TOML = "in awaitly.toml"
    PYPROJECT = "in [tool.awaitly] of pyproject.toml"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was found: ``AWAITLY_STORE``, in the environment."""

    name: str
    place: Place

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"


@dataclass(frozen=True, slots=True)
class Found:
    """One value that a source has for a setting, or for something that is none."""

    path: Path
    value: Any
    origin: Origin


class Unreadable(Exception):
    """A source cannot be read; its text says which one, and why."""


def spelling(path: Path, place: Place) -> str:
    """Return a setting's name as a source writes it."""
    match place:
        case Place.ENVIRONMENT | Place.DOTENV:
            return f"{PREFIX}{BETWEEN.join(path).upper()}"
        case Place.SECRETS:
            return BETWEEN.join(path)
        case _:
            return ".".join(path)


def sources(settings: type[BaseSettings], paths: Paths, given: Mapping[str, Any]) -> list[list[Found]]:
    """Return what every source says about settings, the stronger ones first.

    Raises:
        Unreadable: If one cannot be read.
    """
    written = [
        [*_flat(given, Place.ARGUMENT, paths)],
        [*_variables(EnvSettingsSource(settings, case_sensitive=True).env_vars, Place.ENVIRONMENT, paths)],
        [*_variables(_dotenv(settings), Place.DOTENV, paths)],
        [*_flat(_toml(_TOML), Place.TOML, paths)],
        [*_flat(_toml(_PYPROJECT, "tool", "awaitly"), Place.PYPROJECT, paths)],
    ]
    directory = next((found for source in written for found in source if found.path == ("secrets_dir",)), None)
    written.insert(3, [*_secrets(directory, paths)])
    return written


def nested(found: Iterable[Found]) -> dict[str, Any]:
    """Return values as tables in tables."""
    tree: dict[str, Any] = {}
    for one in found:
        *above, last = one.path
        table = tree
        for name in above:
            table = table.setdefault(name, {})
        if one.value != {} or last not in table:
            table[last] = one.value
    return tree


def strongest(sources: Iterable[Iterable[Found]], paths: Paths) -> list[Found]:
    """Return what is in force: a table is merged from all sources, of two values at one place the stronger is taken.

    A flag's rule is one value, however many lines it is written in.
    """
    held: list[Found] = []
    for source in sources:
        stronger = {paths.whole(found.path) for found in held if found.value != {}}
        own: set[Path] = set()
        for found in sorted(source, key=lambda one: len(one.path)):
            if found.value == {} or not (_clashes(paths.whole(found.path), stronger) or _clashes(found.path, own)):
                held.append(found)
                own |= {found.path} if found.value != {} else set()
    return held


def _clashes(path: Path, taken: Iterable[Path]) -> bool:
    return any(path[: len(other)] == other[: len(path)] for other in taken)


def twice(source: Iterable[Found]) -> Iterator[tuple[Found, Found]]:
    """Yield what one source says twice, and not the same."""
    said: list[Found] = []
    for found in sorted(source, key=lambda one: len(one.path)):
        for earlier in said:
            same = earlier.path == found.path[: len(earlier.path)] and earlier.value != {}
            if same and (earlier.path != found.path or earlier.value != found.value):
                yield earlier, found
        said.append(found)


def _flat(tree: object, place: Place, paths: Paths, above: Path = (), under: str = "") -> Iterator[Found]:
    """Yield the values in tables in tables."""
    entries = None if paths.knob(above) is not None else _entries(tree)  # a flag's rule is one value
    if entries is None or (not entries and above):
        name = under or spelling(above, place)
        yield Found(paths.normal(above), {} if entries is not None else tree, Origin(name, place))
        return
    for name, value in entries.items():
        yield from _flat(value, place, paths, (*above, str(name)), f"{under}.{name}" if under else "")


def _entries(tree: object) -> Mapping[str, Any] | None:
    if isinstance(tree, BaseModel):
        return {name: getattr(tree, name) for name in tree.model_fields_set}
    return tree if isinstance(tree, Mapping) else None


def _variables(variables: Mapping[str, str | None], place: Place, paths: Paths) -> Iterator[Found]:
    for name, text in variables.items():
        key = name[len(PREFIX) :].lower()
        if name.upper().startswith(PREFIX) and key not in NOT_SETTINGS and text is not None:
            yield from _flat(_value(key, text, paths), place, paths, _path(key), name)


def _path(key: str) -> Path:
    """Return the path that a variable's name spells. Of three underscores the first belongs to the name before them."""
    first, *rest = key.split(BETWEEN, 1)
    return (first, *(part for below in rest for part in _BETWEEN.split(below)))


def _value(key: str, text: str, paths: Paths) -> Any:
    """Return a text, or the table that it is where a table may stand."""
    path = _path(key)
    knob = paths.knob(path)
    if (knob is None and not paths.below(path)) or (knob is not None and knob.annotation is str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _dotenv(settings: type[BaseSettings]) -> Mapping[str, str | None]:
    if not _DOTENV.is_file():  # a virtual environment may have the name, too
        return {}
    return _read(_DOTENV, lambda: DotEnvSettingsSource(settings, env_file=_DOTENV, case_sensitive=True)).env_vars


def _toml(file: File, *header: str) -> object:
    if not file.is_file():
        return {}
    table = _read(file, lambda: tomllib.loads(file.read_text(encoding="utf-8")))
    for name in header:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    return table


def _secrets(directory: Found | None, paths: Paths) -> Iterator[Found]:
    """Yield a secret for each file that is named like a setting; others are somebody else's."""
    if directory is None or not isinstance(directory.value, str):
        return
    folder = File(directory.value)
    if not folder.is_dir():
        raise Unreadable(f"{directory.origin} is {directory.value!r}; allowed is a folder that exists")
    for file in sorted(_read(folder, lambda: [*folder.iterdir()])):
        ours = file.name.upper().startswith(PREFIX)
        key = (file.name[len(PREFIX) :] if ours else file.name).lower()
        if file.is_file() and (ours or paths.knob(_path(key)) or paths.below(_path(key)[:1])):
            text = _read(file, partial(file.read_text, encoding="utf-8")).strip()
            yield from _flat(_value(key, text, paths), Place.SECRETS, paths, _path(key), str(file))


def _read(file: File, read: Callable[[], T]) -> T:
    try:
        return read()
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"{file} is no TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{file} is no UTF-8 text: {error}") from error
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from error
