"""What can be read from a value of an annotated type, without having one: attributes and items.

``Any`` is the answer to every question that annotations leave open.
"""

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from inspect import getattr_static
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

from pydantic import BaseModel

from awaitly.model.counts import counted

_ABSENT = object()
_SAMPLES: Mapping[type, object] = {
    str: "",
    int: 0,
    float: 0.0,
    bool: False,
    Decimal: Decimal(0),
    UUID: UUID(int=0),
    datetime: datetime(2000, 1, 1),
    date: date(2000, 1, 1),
    timedelta: timedelta(0),
}


@dataclass(frozen=True, slots=True)
class Access:
    """One reading of a value: ``.name``, or ``[name]``."""

    name: str | int
    attribute: bool

    def __str__(self) -> str:
        return f".{self.name}" if self.attribute else f"[{self.name}]"


@dataclass(frozen=True, slots=True)
class Missing:
    """A type that has no such member, and those that it has."""

    owner: str
    known: frozenset[str] = frozenset()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why values of a type cannot be part of a key."""

    reason: str
    hint: str


def name_of(annotation: Any) -> str:
    """Return an annotation as people write it."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def member(annotation: Any, access: Access) -> Any | Missing:
    """Return the annotation of what ``access`` reads from values of ``annotation``."""
    annotation = plain(annotation)
    choices = _choices(annotation)
    if choices is not None:
        found = [member(choice, access) for choice in choices]
        missing = next((answer for answer in found if isinstance(answer, Missing)), None)
        return missing or (Union[tuple(found)] if found else Any)  # noqa: UP007 - made of values
    return _attribute(annotation, str(access.name)) if access.attribute else _item(annotation, access.name)


def plain(annotation: Any) -> Any:
    """Return ``annotation`` without ``Annotated``, ``NewType`` and alias around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _choices(annotation: Any) -> list[Any] | None:
    """Return the members of a union but for None: a part that is None is refused when the key is made."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for choice in get_args(annotation) if choice is not type(None)]
    return None


def _class(annotation: Any) -> type | None:
    """Return the class of an annotation, if it says more than that there is a value."""
    found = type(None) if annotation is None else get_origin(annotation) or annotation
    return found if isinstance(found, type) and found is not object and found is not Any else None


def _attribute(annotation: Any, name: str) -> Any | Missing:
    owner = _class(annotation)
    if owner is None or _dynamic(owner):
        return Any
    if is_typeddict(owner) or issubclass(owner, Mapping):
        return Missing(name_of(owner), hint=f"read an item with brackets: [{name}]")
    fields = _fields(owner)
    if name in fields:
        return fields[name]
    declared = getattr_static(owner, name, _ABSENT)
    if declared is not _ABSENT:
        return _declared(owner, declared)
    if _open(owner) or name in _assigned(owner):
        return Any
    return Missing(name_of(owner), frozenset(_public(owner, fields)))


def _dynamic(owner: type) -> bool:
    """Whether any attribute may exist: extra fields of a model, or a class that answers for itself."""
    if issubclass(owner, BaseModel):
        return owner.model_config.get("extra") == "allow"
    return hasattr(owner, "__getattr__") or isinstance(owner.__getattribute__, types.FunctionType)


def _fields(owner: type) -> dict[str, Any]:
    """Return the annotated attributes of a class; the type of one that cannot be resolved is left open."""
    if issubclass(owner, BaseModel):
        return {name: field.annotation for name, field in owner.model_fields.items()}
    try:
        return get_type_hints(owner)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {name: Any for base in owner.__mro__ for name in _annotated(base)}


def _declared(owner: type, declared: Any) -> Any | Missing:
    match declared:
        case property(fget=getter) if getter is not None:
            return _returned(getter)
        case cached_property(func=getter):
            return _returned(getter)
        case types.FunctionType() | staticmethod() | classmethod() | types.MethodDescriptorType():
            return Missing(
                f"{name_of(owner)} as data (it is a method)",
                hint="a key calls nothing; read an attribute, or compute the text and pass it as an argument",
            )
        case _:
            return Any


def _returned(getter: Any) -> Any:
    try:
        return get_type_hints(getter).get("return", Any)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any


def _open(owner: type) -> bool:
    """Whether instances may have attributes of which the class says nothing."""
    if not owner.__dictoffset__ or issubclass(owner, (BaseModel, Enum)) or dataclasses.is_dataclass(owner):
        return False
    return not any(_annotated(base) for base in owner.__mro__)


def _annotated(cls: type) -> Mapping[str, Any]:
    own = vars(cls).get("__annotations__")
    return own if isinstance(own, dict) else {}  # of `type` itself it is a descriptor


def _assigned(owner: type) -> Iterator[str]:
    """Yield the names that the class's own ``__init__`` may assign."""
    for base in owner.__mro__:
        if isinstance(init := vars(base).get("__init__"), types.FunctionType):
            yield from init.__code__.co_names


def _public(owner: type, fields: Iterable[str]) -> Iterator[str]:
    yield from (name for name in fields if not name.startswith("_"))
    for name in dir(owner):
        if not name.startswith(("_", "model_")) and isinstance(
            getattr_static(owner, name, None), (property, cached_property)
        ):
            yield name


def _item(annotation: Any, index: str | int) -> Any | Missing:
    origin = _class(annotation)
    arguments = get_args(annotation)
    if origin is None:
        return Any
    if is_typeddict(origin):
        keys = _fields(origin)
        return keys.get(str(index)) or Missing(name_of(origin), frozenset(keys))
    if issubclass(origin, tuple):
        return _element(origin, arguments, index)
    if issubclass(origin, Mapping):
        return arguments[1] if len(arguments) == 2 else Any
    if issubclass(origin, Sequence):
        if not isinstance(index, int):
            return Missing(name_of(origin), hint="a sequence is indexed by a number, as in [0]")
        return str if issubclass(origin, str) else arguments[0] if arguments else Any
    if hasattr(origin, "__getitem__"):
        return Any
    hint = f"read an attribute with a dot: .{index}" if isinstance(index, str) else "it cannot be indexed"
    return Missing(name_of(origin), hint=hint)


def _element(origin: type, arguments: tuple[Any, ...], index: str | int) -> Any | Missing:
    if not isinstance(index, int):
        return Missing(name_of(origin), hint="a tuple is indexed by a number, as in [0]")
    types_of: Sequence[Any] = arguments
    if hasattr(origin, "_fields"):
        types_of = [_fields(origin).get(name, Any) for name in origin._fields]
    elif not arguments or arguments[-1] is Ellipsis:
        return arguments[0] if arguments else Any
    if index < len(types_of):
        return types_of[index]
    return Missing(name_of(origin), hint=f"it has {counted(len(types_of), 'element')}, counted from 0")


def fitting(annotation: Any, converted: type | None, spec: str) -> Unfit | None:
    """Return why values of ``annotation`` cannot be rendered the same in every process, as far as it tells."""
    annotation = plain(annotation)
    choices = _choices(annotation)
    if choices is not None:
        return next((unfit for choice in choices if (unfit := fitting(choice, converted, spec))), None)
    owner = _class(annotation)
    if owner is None:
        return None
    if owner is type(None):
        return Unfit("it is always None", "name something that has a value")
    if issubclass(owner, (set, frozenset)):
        return Unfit("a set has no order", "name an id, or pass a sorted tuple")
    if all(_inherited(owner, way) for way in ("__format__", "__str__", "__repr__")):
        return Unfit(
            f"a {name_of(owner)} as text is an address in memory", "read an attribute that identifies it, such as .id"
        )
    return _formatted(converted or owner, spec)


def _inherited(owner: type, method: str) -> bool:
    """Whether a class has ``method`` only because every object has it."""
    return bool(getattr(owner, method) is getattr(object, method))


def _formatted(owner: type, spec: str) -> Unfit | None:
    if not spec:
        return None
    try:
        if owner in _SAMPLES:
            format(_SAMPLES[owner], spec)
        elif _inherited(owner, "__format__"):
            return Unfit(f"a {name_of(owner)} takes no format {spec!r}", "convert it first, as in {name!s:>8}")
    except (ValueError, TypeError) as error:
        return Unfit(f"the format {spec!r} does not fit a {name_of(owner)}: {error}", "correct the format")
    return None
