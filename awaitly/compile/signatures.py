"""What a function's annotations say: its parameters, the value that is stored, and the errors that it declares."""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Signature, signature, unwrap
from types import FunctionType
from typing import Any, Literal, Never, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from awaitly.compile.members import name_of, plain
from awaitly.result import Err, Ok

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """A return annotation taken apart: ``Result[T, E]`` stores a ``T`` and declares ``E``."""

    value: Any
    errors: tuple[type[BaseException], ...] = ()
    plain_errors: tuple[Any, ...] = ()  # annotations of error values that are no exceptions, as in Err("NOT_FOUND")
    is_result: bool = False
    mixed: bool = False  # Ok or Err beside something else: nobody could tell which is meant


@dataclass(frozen=True, slots=True, eq=False)
class TypedSignature:
    """A function's signature with its annotations resolved; one that cannot be is ``Any`` and ``unresolved``."""

    signature: Signature
    hints: Mapping[str, Any]
    returns: Returns
    unresolved: Mapping[str, str]  # parameter, or "return" -> why


def typed_signature(fn: Callable[..., Any]) -> TypedSignature:
    """Return the signature of ``fn``; read once for each function."""
    if (known := _known.get(fn)) is None:
        _known[fn] = known = _read(fn)
    return known


_known: WeakKeyDictionary[Callable[..., Any], TypedSignature] = WeakKeyDictionary()


def _read(fn: Callable[..., Any]) -> TypedSignature:
    names = _captured(fn)
    try:
        hints, unresolved = get_type_hints(fn, localns=names, include_extras=True), _NOTHING
    except Exception:  # noqa: BLE001 - evaluating an annotation runs whatever was written there
        hints, unresolved = _one_by_one(fn, names)
    return TypedSignature(signature(fn), hints, returned(hints.get("return", Any)), unresolved)


def _captured(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the values of enclosing functions that ``fn`` uses: its annotations may name them too."""
    inner = unwrap(fn)
    if not isinstance(inner, FunctionType):
        return {}
    names = {}
    for name, cell in zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # a name that is not bound yet
            continue
    return names


def _one_by_one(fn: Any, names: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    hints: dict[str, Any] = {}
    unresolved: dict[str, str] = {}
    for name, annotation in fn.__annotations__.items():
        try:
            alone = types.SimpleNamespace(__annotations__={name: annotation})
            hints[name] = get_type_hints(alone, globalns=fn.__globals__, localns=names, include_extras=True)[name]
        except Exception as error:  # noqa: BLE001 - as above
            hints[name] = Any
            unresolved[name] = str(error)
    return hints, unresolved


def returned(annotation: Any) -> Returns:
    """Take a return annotation apart."""
    choices = _choices(plain(annotation))
    values = [_argument(choice) for choice in choices if _is(choice, Ok)]
    errors = [error for choice in choices if _is(choice, Err) for error in _choices(_argument(choice))]
    others = [choice for choice in choices if not _is(choice, Ok) and not _is(choice, Err)]
    if not values and not errors:
        return Returns(annotation)
    declared = tuple(error for error in errors if _is_exception(error))
    return Returns(
        Union[tuple(values)] if values else None,  # noqa: UP007 - made of values
        declared,
        tuple(error for error in errors if not _is_exception(error) and error not in (Never, NoReturn)),
        is_result=True,
        mixed=bool(others),
    )


def _choices(annotation: Any) -> tuple[Any, ...]:
    annotation = plain(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(choice for member in get_args(annotation) for choice in _choices(member))
    return (annotation,)


def _is(annotation: Any, kind: type) -> bool:
    return annotation is kind or get_origin(annotation) is kind


def _argument(annotation: Any) -> Any:
    arguments = get_args(annotation)
    return arguments[0] if arguments and not isinstance(arguments[0], TypeVar) else Any


def _is_exception(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseException)


def text_of(annotation: Any) -> str:
    """Return an annotation as the graph shows it."""
    if annotation is None or annotation is type(None):
        return "None"
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(text_of(choice) for choice in get_args(annotation))
    if get_origin(annotation) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if arguments := get_args(annotation):
        origin = getattr(annotation, "__name__", None) or name_of(get_origin(annotation))
        return f"{origin}[{', '.join('...' if a is Ellipsis else text_of(a) for a in arguments)}]"
    return name_of(annotation)
