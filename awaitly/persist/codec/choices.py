"""Values out of a closed set: enumerations by name, flags by value, literals as they are."""

from collections.abc import Callable
from enum import Enum, Flag
from typing import Any

from awaitly.persist.codec.node import Node, Tree, class_name, wrong
from awaitly.persist.codec.scalars import SCALARS

_SELF = (str, int, bool, type(None))


def enumeration(cls: type[Enum]) -> Node:
    """Return the node of an enumeration: members by name, combinations of flags by value."""
    if issubclass(cls, Flag):
        return _flags(cls)
    members = dict(cls.__members__)
    classes = tuple({type(member) for member in members.values()}) or (cls,)

    def to_tree(value: Any) -> Tree:
        # Not _name_: an alias has the member's own name, and that is one of the keys.
        if type(value) not in classes:
            raise wrong(class_name(cls), value)
        return value._name_

    def from_tree(tree: Tree) -> Any:
        if type(tree) is str and tree in members:
            return members[tree]
        raise wrong(f"the name of a member of {class_name(cls)}", tree)

    return Node(cls.__name__, classes, frozenset({str}), to_tree, from_tree, immutable=True)


def _flags(cls: type[Flag]) -> Node:
    whole = SCALARS[int]

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(class_name(cls), value)
        return whole.to_tree(value.value)

    def from_tree(tree: Tree) -> Any:
        try:
            return cls(whole.from_tree(tree))
        except ValueError as error:
            raise wrong(f"the value of a {class_name(cls)}", tree) from error

    return Node(cls.__name__, (cls,), whole.kinds, to_tree, from_tree, immutable=True)


def literal(values: tuple[object, ...], label: str) -> Node:
    """Return the node of a `Literal`; every value keeps its class, so that 1 is not True."""
    trees = {(type(value), value): _choice(value) for value in values}
    restored = {(type(tree), _frozen(tree)): value for (_, value), tree in trees.items()}

    def to_tree(value: Any) -> Tree:
        try:
            tree = trees[type(value), value]
        except (KeyError, TypeError):
            raise wrong(label, value) from None
        return list(tree) if type(tree) is list else tree

    def from_tree(tree: Tree) -> Any:
        try:
            return restored[type(tree), _frozen(tree)]
        except (KeyError, TypeError):
            raise wrong(f"a stored {label}", tree) from None

    classes = tuple(dict.fromkeys(type(value) for value in values))
    kinds = frozenset(type(tree) for tree in trees.values())
    return Node(label, classes, kinds, to_tree, from_tree, immutable=True)


def _choice(value: object) -> Tree:
    if type(value) in _SELF:
        return value
    if isinstance(value, Enum):
        return [type(value).__name__, value.name]
    encode: Callable[[Any], Tree] = SCALARS[bytes].to_tree
    return ["bytes", encode(value)]


def _frozen(tree: Tree) -> Tree:
    return tuple(tree) if type(tree) is list else tree
