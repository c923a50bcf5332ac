"""The families of classes that consist of fields or members, and how a class of each becomes a node."""

import dataclasses
import typing
from collections.abc import Callable
from enum import Enum
from inspect import get_annotations, getattr_static
from types import MemberDescriptorType
from typing import Any, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

from awaitly.persist.codec import records
from awaitly.persist.codec.annotations import WRAPPERS, attributes, fill_in, hints, parameters_of
from awaitly.persist.codec.choices import enumeration
from awaitly.persist.codec.containers import mapping
from awaitly.persist.codec.exceptions import Fields
from awaitly.persist.codec.making import Making
from awaitly.persist.codec.node import Node
from awaitly.persist.codec.records import Field
from awaitly.persist.codec.scalars import SCALARS

_HEAP = 1 << 9  # set for classes written in Python: Py_TPFLAGS_HEAPTYPE


def class_node(making: Making, cls: Any, annotation: Any) -> Node | None:
    """Return the node of a class, or None if it belongs to no family here; `annotation` may give it parameters.

    Raises:
        UnstorableType: if something in it cannot be stored.
    """
    for belongs, build in _FAMILIES:
        if belongs(cls):
            return build(making, cls, annotation)
    return None


def exception_fields(making: Making, cls: type[BaseException]) -> Fields:
    """Return the nodes of what an exception class annotates; not of what Python's classes and ours do."""
    annotated = attributes(cls, {}, making.place())
    for base in cls.__mro__:
        if base.__module__ == "builtins" or base.__module__.startswith("awaitly."):
            for name in get_annotations(base):
                annotated.pop(name, None)
    return {
        name: making.within(f"{cls.__name__}.{name}", each)
        for name, each in annotated.items()
        if get_origin(each) is not typing.ClassVar and each is not typing.ClassVar
    }


def _enumeration(making: Making, cls: type[Enum], annotation: Any) -> Node:
    if not cls.__members__:
        raise making.refuse(cls, "it has no members", "Annotate the enumeration that the value belongs to")
    return enumeration(cls)


def _exception(making: Making, cls: type[BaseException], annotation: Any) -> Node:
    node = making.begin(annotation, cls, cls.__name__)
    made = making.exceptions(cls)
    node.to_tree, node.from_tree, node.accepts, node.deep = made.to_tree, made.from_tree, made.accepts, True
    return node


def _model(making: Making, cls: Any, annotation: Any) -> Node:
    if cls is BaseModel:
        raise making.refuse(cls)
    if not cls.__pydantic_complete__ and not cls.model_rebuild(raise_errors=False):
        hints(cls, making.place())  # which finds the name that is missing
        raise making.refuse(cls, "pydantic could not resolve its annotations", "Call model_rebuild() once it can")
    node = making.begin(annotation, cls, cls.__name__)
    fields = tuple(
        Field(name, making.within(f"{cls.__name__}.{name}", info.annotation), _model_default(info))
        for name, info in cls.model_fields.items()
    )
    extra: Any = Any
    if cls.model_config.get("extra") == "allow":
        written = attributes(cls, {}, making.place()).get("__pydantic_extra__")
        extra = (get_args(written) or (str, Any))[-1]
    holder = mapping(SCALARS[str], making.node(extra), dict, "the extra values", sort=making.canonical)
    records.fill_model(node, cls, fields, holder, canonical=making.canonical)
    return node


def _model_default(info: Any) -> Callable[[], object] | None:
    if info.is_required() or getattr(info, "default_factory_takes_validated_data", False):
        return None
    return lambda: info.get_default(call_default_factory=True)


def _dataclass(making: Making, cls: Any, annotation: Any) -> Node:
    for base in cls.__mro__:
        if not base.__flags__ & _HEAP and base is not object:
            raise making.refuse(cls, f"it is also a {base.__name__}, whose contents are not fields")
    annotated = _attributes(making, cls, annotation)
    if pseudo := [name for name, each in annotated.items() if _is_init_var(each)]:
        raise making.refuse(cls, f"{pseudo[0]} is an InitVar, which the object does not keep")
    node = making.begin(annotation, cls, cls.__name__)
    fields = tuple(
        Field(each.name, making.within(f"{cls.__name__}.{each.name}", annotated[each.name]), _default(each))
        for each in dataclasses.fields(cls)
    )
    slots = cls.__dictoffset__ == 0 or any(_is_slot(cls, each.name) for each in fields)
    records.fill_record(node, cls, fields, slots=slots)
    return node


def _is_slot(cls: type, name: str) -> bool:
    # A class with slots may derive from one without, and then has a __dict__ too.
    return isinstance(getattr_static(cls, name, None), MemberDescriptorType)


def _attributes(making: Making, cls: Any, annotation: Any) -> dict[str, Any]:
    return attributes(cls, dict(zip(parameters_of(cls), get_args(annotation), strict=False)), making.place())


def _is_init_var(annotation: Any) -> bool:
    return annotation is dataclasses.InitVar or isinstance(annotation, dataclasses.InitVar)


def _default(field: "dataclasses.Field[Any]") -> Callable[[], object] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    return None if field.default is dataclasses.MISSING else lambda: field.default


def _named_tuple(making: Making, cls: Any, annotation: Any) -> Node:
    annotated = _attributes(making, cls, annotation)
    node = making.begin(annotation, cls, cls.__name__)
    fields = tuple(
        Field(name, making.within(f"{cls.__name__}.{name}", annotated.get(name, Any)), _tuple_default(cls, name))
        for name in cls._fields
    )
    records.fill_tuple(node, cls, fields)
    return node


def _tuple_default(cls: Any, name: str) -> Callable[[], object] | None:
    defaults: dict[str, object] = cls._field_defaults
    return (lambda: defaults[name]) if name in defaults else None


def _typed_dict(making: Making, cls: Any, annotation: Any) -> Node:
    given = dict(zip(parameters_of(cls), get_args(annotation), strict=False))
    annotated = {name: fill_in(each, given) for name, each in hints(cls, making.place()).items()}
    required = frozenset(name for name, each in annotated.items() if _is_required(cls, name, each))
    node = making.begin(annotation, dict, cls.__name__)
    fields = tuple(Field(name, making.within(f"{cls.__name__}.{name}", each)) for name, each in annotated.items())
    records.fill_dictionary(node, cls.__name__, fields, required, sort=making.canonical)
    return node


def _is_required(cls: Any, name: str, annotation: Any) -> bool:
    # Not __required_keys__ alone: under `from __future__ import annotations` Python does not see NotRequired.
    origin = get_origin(annotation)
    while origin in WRAPPERS:
        if origin in (typing.Required, typing.NotRequired):
            return origin is typing.Required
        annotation = get_args(annotation)[0]
        origin = get_origin(annotation)
    return name in cls.__required_keys__


_FAMILIES: tuple[tuple[Callable[[type], bool], Callable[[Making, Any, Any], Node]], ...] = (
    (lambda cls: issubclass(cls, Enum), _enumeration),
    (lambda cls: issubclass(cls, BaseException), _exception),
    (lambda cls: issubclass(cls, BaseModel), _model),
    (dataclasses.is_dataclass, _dataclass),
    (lambda cls: issubclass(cls, tuple) and hasattr(cls, "_fields"), _named_tuple),
    (lambda cls: typing_extensions.is_typeddict(cls) or typing.is_typeddict(cls), _typed_dict),
)
