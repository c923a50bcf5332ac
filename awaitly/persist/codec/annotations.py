"""Annotations as objects: their names in Python's own notation, their names resolved, their parameters filled in."""

import sys
import typing
from collections.abc import Iterator, Mapping
from inspect import get_annotations
from types import GenericAlias, UnionType
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

import typing_extensions

from awaitly.errors import UnstorableType

WRAPPERS = {
    typing.Annotated,
    typing.Required,
    typing.NotRequired,
    typing.ClassVar,
    typing.Final,
    typing_extensions.ReadOnly,
    getattr(typing, "ReadOnly", typing_extensions.ReadOnly),
}
UNIONS = (typing.Union, UnionType)
ALIASES = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))


def name_of(annotation: Any, *, qualified: bool = False) -> str:
    """Return an annotation as Python writes it; classes with their modules if `qualified`."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in UNIONS:
        # Sorted, for `int | str` equals `str | int`, and the names of equal types are tags that are stored.
        names = sorted(name_of(each, qualified=qualified) for each in arguments if each is not type(None))
        return " | ".join([*names, "None"] if type(None) in arguments else names)
    if origin is typing.Annotated:
        return name_of(arguments[0], qualified=qualified)
    if origin is typing.Literal:
        return f"Literal[{', '.join(sorted(map(_value_name, arguments)))}]"
    if origin is not None and origin is not annotation:
        inner = ", ".join(
            f"[{', '.join(map(name_of, each))}]" if isinstance(each, list) else name_of(each, qualified=qualified)
            for each in arguments
        )
        name = name_of(origin, qualified=qualified)
        return f"{name}[{inner}]" if inner else name
    name = getattr(annotation, "__qualname__" if qualified else "__name__", None) or str(annotation)
    module = getattr(annotation, "__module__", "builtins")
    return f"{module}.{name}" if qualified and module != "builtins" else name


def _value_name(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if hasattr(value, "name") else repr(value)


def fill_in(annotation: Any, given: Mapping[Any, Any]) -> Any:
    """Return `annotation` with type variables replaced by what they stand for."""
    if isinstance(annotation, TypeVar):
        return given.get(annotation, annotation)
    parameters = parameters_of(annotation)
    if not parameters or (isinstance(annotation, type) and not _is_model(annotation)):
        return annotation
    return annotation[tuple(given.get(each, each) for each in parameters)]


def _is_model(annotation: Any) -> bool:
    return hasattr(annotation, "__pydantic_generic_metadata__")


def parameters_of(annotation: Any) -> tuple[Any, ...]:
    """Return the type variables that an annotation leaves open."""
    metadata = getattr(annotation, "__pydantic_generic_metadata__", None)
    found = getattr(annotation, "__parameters__", ()) if metadata is None else metadata["parameters"]
    return tuple(found) if isinstance(found, tuple) else ()


def attributes(cls: type, arguments: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return the annotations of a class and its bases, resolved where each was written.

    Raises:
        UnstorableType: if a name in one means nothing in its module.
    """
    found: dict[str, Any] = {}
    filled = dict(_inherited(cls, dict(arguments)))
    for base in reversed(cls.__mro__):
        own = get_annotations(base)
        if own:
            resolved = hints(base, where)
            given = filled.get(base, {})
            found.update({name: fill_in(resolved[name], given) for name in own if name in resolved})
    return found


def _inherited(cls: Any, given: dict[Any, Any]) -> Iterator[tuple[type, dict[Any, Any]]]:
    """Yield what the type variables of a class and of each of its bases stand for."""
    yield cls, given
    for alias in getattr(cls, "__orig_bases__", ()):
        base = get_origin(alias)
        parameters = getattr(base, "__parameters__", ())
        if isinstance(base, type) and base is not typing.Generic and parameters:
            arguments = (fill_in(each, given) for each in get_args(alias))
            yield from _inherited(base, dict(zip(parameters, arguments, strict=False)))
    for base in cls.__bases__:
        if base.__dict__.get("__orig_bases__") and not getattr(base, "__parameters__", ()):
            yield from _inherited(base, {})


def hints(cls: Any, where: str) -> dict[str, Any]:
    """Return the annotations of a class with their names resolved.

    Raises:
        UnstorableType: if a name means nothing in the module of the class.
    """
    # Python 3.12 itself does not find the type parameters of `class Box[T]` for names in quotes.
    names = {each.__name__: each for base in reversed(cls.__mro__) for each in getattr(base, "__type_params__", ())}
    try:
        return typing_extensions.get_type_hints(cls, localns={**names, cls.__name__: cls}, include_extras=True)
    except NameError as error:
        raise UnstorableType(
            f"{where}: {cls.__qualname__} is annotated with {error.name!r}, which {cls.__module__} does not define",
            hint="Import it in the module, outside of `if TYPE_CHECKING`, or define the class at the top of the module",
        ) from error


def resolve(reference: Any, namespace: Mapping[str, Any], where: str) -> Any:
    """Return what a name in quotes stands for.

    Raises:
        UnstorableType: if it means nothing.
    """
    if isinstance(reference, ForwardRef):
        text, module = reference.__forward_arg__, reference.__forward_module__
    else:
        text, module = reference, None
    names: dict[str, Any] = {}
    if isinstance(module, str):
        module = sys.modules.get(module)
    if module is not None:
        names.update(vars(module))
    names.update(namespace)
    try:
        return eval(text, names)
    except NameError as error:
        raise UnstorableType(
            f"{where}: the annotation {text!r} has the name {error.name!r}, which is not defined there",
            hint="Import it outside of `if TYPE_CHECKING`, or define it before",
        ) from error
    except SyntaxError as error:
        raise UnstorableType(f"{where}: the annotation {text!r} is no Python expression") from error


def is_alias(annotation: Any) -> bool:
    """Whether it is `type Name = ...`, or such a one with its parameters given."""
    return isinstance(annotation, ALIASES) or isinstance(get_origin(annotation), ALIASES)


def alias_value(annotation: Any, where: str) -> Any:
    """Return what an alias stands for.

    Raises:
        UnstorableType: if a name in it means nothing.
    """
    alias = annotation if isinstance(annotation, ALIASES) else get_origin(annotation)
    assert alias is not None
    try:
        value = alias.__value__
    except NameError as error:
        raise UnstorableType(f"{where}: {alias.__name__} uses {error.name!r}, which is not defined") from error
    if isinstance(annotation, GenericAlias) or get_args(annotation):
        return fill_in(value, dict(zip(alias.__type_params__, get_args(annotation), strict=False)))
    return value
