"""Collections as annotations: `list[X]`, `Mapping[K, V]`, and bare ones, whose parts may be anything."""

import typing
from collections import Counter, OrderedDict, abc, deque
from typing import Any, get_args, get_origin

import typing_extensions

from awaitly.persist.codec import containers
from awaitly.persist.codec.annotations import name_of
from awaitly.persist.codec.making import Making
from awaitly.persist.codec.node import Node

_ORDERED = (list, tuple)
_ANY_ORDER = (set, frozenset)
_ANY = (*_ORDERED, *_ANY_ORDER)

# Which classes values of an abstract annotation may have.
_ABSTRACT: dict[type, tuple[type, ...]] = {
    abc.Sequence: _ORDERED,
    abc.MutableSequence: (list,),
    abc.Set: _ANY_ORDER,
    abc.MutableSet: (set,),
    abc.Iterable: _ANY,
    abc.Collection: _ANY,
    abc.Container: _ANY,
    abc.Reversible: _ORDERED,
}
_BARE_TUPLES = (tuple, typing.Tuple)  # noqa: UP006 - the old spelling is a different object
_CONCRETE = (list, set, frozenset, deque)
_MAPPINGS = (dict, OrderedDict, Counter, abc.Mapping, abc.MutableMapping)


def collection_node(making: Making, annotation: Any) -> Node | None:
    """Return the node of a collection, or None if the annotation is something else.

    Raises:
        UnstorableType: if what it contains cannot be stored.
    """
    cls: Any = get_origin(annotation) or annotation
    arguments, label = get_args(annotation), name_of(annotation)
    if cls is tuple:
        return _tuple(making, annotation, arguments, label)
    if cls in _CONCRETE or cls in _ABSTRACT:
        return _sequence(making, cls, arguments, label)
    return _mapping(making, cls, arguments, label) if cls in _MAPPINGS else None


def _sequence(making: Making, cls: type, arguments: tuple[Any, ...], label: str) -> Node:
    item = making.within(label, arguments[0] if arguments else Any)
    if cls is list:
        return containers.listing(item, label)
    if cls is deque:
        return containers.queue(item, label)
    if cls in _ANY_ORDER:
        return containers.unordered(item, cls, label)
    return containers.either(item, _ABSTRACT[cls], label)


def _tuple(making: Making, annotation: Any, arguments: tuple[Any, ...], label: str) -> Node:
    if annotation in _BARE_TUPLES:  # tuple[()] has no arguments either
        return containers.variadic(making.node(Any), label)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return containers.variadic(making.within(label, arguments[0]), label)
    if any(_is_unpacked(each) for each in arguments):
        raise making.refuse(annotation, "how long it is cannot be told", "Annotate tuple[X, ...], or nest the tuples")
    return containers.fixed(tuple(making.within(label, each) for each in arguments), label)


def _is_unpacked(annotation: Any) -> bool:
    return get_origin(annotation) is typing_extensions.Unpack or getattr(annotation, "__unpacked__", False)


def _mapping(making: Making, cls: type, arguments: tuple[Any, ...], label: str) -> Node:
    key, item = (*arguments, Any, Any)[:2]
    if cls is Counter:
        item = int
    concrete = cls if cls in (OrderedDict, Counter) else dict
    return containers.mapping(
        making.within(label, key), making.within(label, item), concrete, label, sort=making.canonical
    )
