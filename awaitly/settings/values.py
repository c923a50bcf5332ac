"""The kinds of values that settings have: what is accepted, and how that is said."""

import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, BaseModel, BeforeValidator, WithJsonSchema

from awaitly.errors import ConfigurationError
from awaitly.model.durations import Duration, humanised, seconds


def _seconds(value: Duration) -> float:
    try:
        return seconds(value)
    except ConfigurationError as error:
        raise ValueError(f"{error.hint}") from error


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a switch is no number")
    return value


def _whole_if_it_is(value: object) -> object:
    """Return a number without its fraction if that is zero, as there may be no fractions where it is used."""
    number = _no_switch(value)
    try:
        parsed = float(number) if isinstance(number, str | int | float) else number
    except ValueError:
        return number
    return int(parsed) if isinstance(parsed, float) and parsed.is_integer() else parsed


def _schema(kind: str, **bounds: float) -> WithJsonSchema:
    """Return the JSON Schema of a number, which may be written as text, as variables are."""
    return WithJsonSchema({"anyOf": [{"type": kind, **bounds}, {"type": "string"}]})


_SECONDS = BeforeValidator(_seconds)
_NUMBER = BeforeValidator(_no_switch)
_AMOUNT = BeforeValidator(_whole_if_it_is)

Span: TypeAlias = Annotated[float, _SECONDS, Ge(0), _schema("number", minimum=0)]
Period: TypeAlias = Annotated[float, _SECONDS, Gt(0), _schema("number", exclusiveMinimum=0)]
Lease: TypeAlias = Annotated[float, _SECONDS, Gt(0.05), _schema("number", exclusiveMinimum=0.05)]
Count: TypeAlias = Annotated[int, _NUMBER, Ge(1), _schema("integer", minimum=1)]
Whole: TypeAlias = Annotated[int, _NUMBER, Ge(0), _schema("integer", minimum=0)]
Port: TypeAlias = Annotated[int, _NUMBER, Ge(0), Le(65535), _schema("integer", minimum=0, maximum=65535)]
Share: TypeAlias = Annotated[
    float, _NUMBER, AllowInfNan(False), Gt(0), Le(1), _schema("number", exclusiveMinimum=0, maximum=1)
]
Factor: TypeAlias = Annotated[float, _NUMBER, AllowInfNan(False), Ge(1), _schema("number", minimum=1)]
Growth: TypeAlias = Annotated[float, _NUMBER, Ge(1), Le(100), _schema("number", minimum=1, maximum=100)]
Amount: TypeAlias = Annotated[int | float, _AMOUNT, Gt(0), Lt(math.inf), _schema("number", exclusiveMinimum=0)]
Burst: TypeAlias = Annotated[int | float, _AMOUNT, Ge(1), Lt(math.inf), _schema("number", minimum=1)]

_BOUNDS = {Ge: ("ge", "of at least"), Gt: ("gt", "above"), Le: ("le", "up to")}


def is_duration(annotation: Any, metadata: object = ()) -> bool:
    """Return whether a setting is in seconds."""
    return _SECONDS in _plain(annotation, metadata)[1]


def table_in(annotation: Any) -> type[BaseModel] | None:
    """Return the table that a setting is, if it is one."""
    base, _ = _plain(annotation)
    return base if isinstance(base, type) and issubclass(base, BaseModel) else None


def named_in(annotation: Any) -> Any:
    """Return what a table by name holds, or None if a setting is no such table."""
    base, _ = _plain(annotation)
    return get_args(base)[1] if get_origin(base) is dict else None


def allowed(annotation: Any, metadata: object = (), examples: tuple[Any, ...] = ()) -> str:
    """Return in words what a setting may be.

    Args:
        annotation: Of the setting's field.
        metadata: Of the field, if its annotation was taken apart.
        examples: For text.
    """
    base, marks = _plain(annotation, metadata)
    duration = _SECONDS in marks
    bounds = " and ".join(_bounds(marks, duration))
    if get_origin(base) is Literal:
        return either(get_args(base))
    if base is bool:
        return "true or false"
    if duration:
        return f'a duration {bounds}, such as 5, "250ms" or "1h30m"'
    if base in (int, float, int | float):
        return f"a {'whole ' if base is int else ''}number {bounds}"
    return f"text{' such as ' if examples else ''}{either(examples)}"


def either(words: tuple[Any, ...]) -> str:
    """Return words as the ways that there are: ``"wait" or "reject"``."""
    quoted = [f'"{word}"' for word in words]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), *quoted[-1:])))


def _plain(annotation: Any, metadata: object = ()) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without ``None``, and what it is annotated with."""
    marks: tuple[Any, ...] = tuple(metadata) if isinstance(metadata, list | tuple) else ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            marks = (*more, *marks)
        elif get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation):
            rest = [each for each in get_args(annotation) if each is not type(None)]
            if len(rest) != 1:
                return annotation, marks
            annotation = rest[0]
        else:
            return annotation, marks


def _bounds(marks: tuple[Any, ...], duration: bool) -> Iterator[str]:
    for mark in marks:
        if type(mark) in _BOUNDS:
            name, word = _BOUNDS[type(mark)]
            bound = getattr(mark, name)
            yield f"{word} {humanised(bound) if duration else f'{bound:g}'}"
