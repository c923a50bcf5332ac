"""Every setting there is, tried in every source with what does not fit: one message each, that says where and what."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from awaitly.flags.rules import Rule
from awaitly.settings import Settings, provenance, read_settings
from awaitly.settings.knobs import PATHS
from awaitly.settings.paths import Knob
from awaitly.settings.sources import Place, spelling
from tests.settings.writing import FILES, TEXTS, forget, refused, tree, write

SCHEMA = Settings.model_json_schema()
SOURCES = list(Place)
KNOBS = [knob for knob in PATHS.knobs if knob.path != ("secrets_dir",)]  # where a source is, no source can say
TEXT = (str, str | None)  # what any text fits
RULES = [knob for knob in PATHS.knobs if knob.annotation is Rule]
CLAIMED = [  # a file among the secrets that is named like no setting is somebody else's
    (knob, place)
    for knob in KNOBS
    if knob not in RULES
    for place in SOURCES
    if place is not Place.SECRETS or len(knob.path) > 1
]


def named(knob: Knob) -> str:
    """Return a knob's path as text."""
    return ".".join(knob.path)


def path_of(knob: Knob) -> tuple[str, ...]:
    """Return a knob's path with a name in it."""
    return tuple("payments" if part.startswith("<") else part for part in knob.path)


def schemas(knob: Knob) -> list[dict[str, Any]]:
    """Return what a knob may be, as the JSON Schema says it."""
    node: Any = SCHEMA
    for part in path_of(knob):
        if "$ref" in node:
            node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
        node = node["properties"].get(part) if "properties" in node else node["additionalProperties"]
    return [each for each in node.get("anyOf", [node]) if each.get("type") != "null"]


def fitting(knob: Knob, other: bool = False) -> Any:
    """Return a value, or another one, that a knob may have."""
    first = schemas(knob)[0]
    if "$ref" in first:  # a flag's rule
        return 0.5 if other else 0.25
    if "enum" in first:
        return first["enum"][int(other)]
    match first["type"]:
        case "boolean":
            return other
        case "integer" | "number":
            return min(4 if other else 3, first.get("maximum", 4)) / (1 if other or first.get("maximum") != 1 else 2)
        case _:
            return "other.db" if other else "one.db"


def wrong(knob: Knob) -> Iterator[object]:
    """Yield values of wrong types, the texts first."""
    kind = schemas(knob)[0].get("type")
    if knob in RULES:
        yield from ("-1", "{", '{"value": [1]}', [1], {"value": [1]}, 7, -1)
    else:
        yield from () if knob.annotation in TEXT else ("sideways", "")
        yield from ([1], True) if kind in ("integer", "number") else ([1], 7)


def out_of_range(knob: Knob) -> Iterator[float]:
    """Yield numbers just outside of what is allowed."""
    first = schemas(knob)[0]
    if "minimum" in first:
        yield first["minimum"] - 1
    if "exclusiveMinimum" in first:
        yield first["exclusiveMinimum"]
    if "maximum" in first:
        yield first["maximum"] + 0.5


def each(values: Callable[[Knob], Iterable[object]]) -> list[Any]:
    """Return every knob with every one of its values in every source that can hold it."""
    return [
        pytest.param(knob, value, place, id=f"{'.'.join(knob.path)}={value}-{place.name}")
        for knob in KNOBS
        for value in values(knob)
        for place in SOURCES
        if place in FILES or (isinstance(value, str | float) and value is not True and value != 7)
    ]


def check_refusal(message: str, knob: Knob, place: Place) -> None:
    """Check that a message is one line about a setting: its path, its source, and what is allowed."""
    first, *lines = message.splitlines()
    assert first == "awaitly's settings do not fit:"
    assert len(lines) == 1, message
    assert spelling(path_of(knob), place) in lines[0]
    assert f"({place})" in lines[0]
    assert lines[0].endswith(f"; allowed is {knob.allowed}")


@pytest.mark.parametrize(("knob", "value", "place"), each(wrong))
def test_a_value_of_a_wrong_type(knob: Knob, value: object, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refusal(refused(write(place, path_of(knob), value, monkeypatch)), knob, place)


@pytest.mark.parametrize(("knob", "value", "place"), each(out_of_range))
def test_a_number_out_of_range(knob: Knob, value: float, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refusal(refused(write(place, path_of(knob), value, monkeypatch)), knob, place)


@pytest.mark.parametrize(("knob", "place"), CLAIMED, ids=[f"{named(knob)}-{place.name}" for knob, place in CLAIMED])
def test_a_name_that_is_none(knob: Knob, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was meant is named as its source would write it."""
    *above, last = path_of(knob)
    misspelt = (*above, f"{last}x")

    message = refused(write(place, misspelt, "3", monkeypatch))

    assert f"{spelling(misspelt, place)} ({place}): there is no such setting" in message
    assert message.endswith(f"; did you mean {spelling(path_of(knob), place)}?")


@pytest.mark.parametrize("stronger", range(len(SOURCES) - 1), ids=lambda at: SOURCES[at].name)
@pytest.mark.parametrize("knob", KNOBS, ids=named)
def test_of_two_sources_the_stronger_one_counts(knob: Knob, stronger: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(knob)
    given = write(SOURCES[stronger + 1], path, fitting(knob), monkeypatch)
    given |= write(SOURCES[stronger], path, fitting(knob, other=True), monkeypatch)

    settings = read_settings(**given)

    assert found_at(settings, path) == found_at(Settings(**tree(path, fitting(knob, other=True))), path)
    assert provenance(settings)[path].place is SOURCES[stronger]


@pytest.mark.parametrize("stronger", range(len(SOURCES) - 1), ids=lambda at: SOURCES[at].name)
@pytest.mark.parametrize("knob", [knob for knob in KNOBS if knob.annotation not in TEXT], ids=named)
def test_of_a_right_and_a_wrong_value_the_stronger_one_decides(
    knob: Knob, stronger: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = str(next(iter(wrong(knob))))
    path, strong, weak = path_of(knob), SOURCES[stronger], SOURCES[stronger + 1]
    with monkeypatch.context() as patch:
        given = write(weak, path, bad, patch)
        read_settings(**(given | write(strong, path, fitting(knob), patch)))
    forget()

    given = write(weak, path, fitting(knob), monkeypatch)
    check_refusal(refused(given | write(strong, path, bad, monkeypatch)), knob, strong)


def found_at(node: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path."""
    for part in path:
        node = node[part] if isinstance(node, dict) else getattr(node, part)
    return node


def test_texts_and_files_are_all_sources() -> None:
    assert {*FILES, *TEXTS} == set(SOURCES)
