"""Values without parts: numbers, text, bytes, paths, addresses."""

import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from os import fsdecode, fsencode
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID

from awaitly.persist.codec.node import Misfit, Node, Tree, wrong

# Parsers of JSON give up on integers of more than 4,300 digits; these bounds leave room.
_LARGE = 1 << 8192
_TEXT = frozenset({str})
# What JSON has no notation for is an object with one key, which no other scalar is.
_FLOAT = "$float"
_INT = "$int"


def scalar(
    cls: type, encode: Callable[[Any], Tree], decode: Callable[[Any], Any], kind: type = str, immutable: bool = True
) -> Node:
    """Return the node of a class whose values are one string or number each."""
    name = cls.__name__

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(name, value, _plain_hint(cls, value))
        return encode(value)

    def from_tree(tree: Tree) -> Any:
        if type(tree) is not kind:
            raise wrong(f"a stored {name}", tree)
        try:
            return decode(tree)
        except (ValueError, ArithmeticError) as error:
            raise Misfit(f"expected a stored {name}, found {tree!r}") from error

    return Node(name, (cls,), frozenset({kind}), to_tree, from_tree, immutable=immutable)


def _plain_hint(cls: type, value: object) -> str | None:
    if isinstance(value, cls):
        return f"Return a plain {cls.__name__}, or annotate the class itself if it can be stored"
    return None


def _own_tree(cls: type) -> Node:
    name = cls.__name__

    def same(value: Any) -> Any:
        if type(value) is not cls:
            raise wrong(name, value, _plain_hint(cls, value))
        return value

    guard = f"type({{x}}) is not {name}"
    superset = frozenset({cls}).issuperset
    return Node(
        name,
        (cls,),
        frozenset({cls}),
        same,
        same,
        immutable=True,
        guard=guard,
        unguard=guard,
        bulk=lambda values: superset(map(type, values)),
    )


def integers() -> Node:
    """Return the node of `int`; as in Python, True and False are integers, and stay what they are."""

    def to_tree(value: Any) -> Tree:
        if type(value) is int:
            return value if -_LARGE < value < _LARGE else {_INT: hex(value)}
        if value is True or value is False:
            return value
        raise wrong("int", value, _plain_hint(int, value))

    def from_tree(tree: Tree) -> Any:
        if type(tree) is int or type(tree) is bool:
            return tree
        return _large(tree)

    def bulk(values: Any) -> bool:
        return superset(map(type, values)) and (not values or (min(values) > -_LARGE and max(values) < _LARGE))

    superset = frozenset({int, bool}).issuperset
    return Node(
        "int",
        (int, bool),
        frozenset({int, bool, dict}),
        to_tree,
        from_tree,
        immutable=True,
        guard=f"type({{x}}) is not int or not -{1 << 62} < {{x}} < {1 << 62}",
        unguard="type({x}) is not int",
        bulk=bulk,
    )


def _large(tree: Tree) -> int:
    if type(tree) is dict and len(tree) == 1 and type(text := tree.get(_INT)) is str:
        try:
            return int(text, 16)
        except ValueError:
            pass
    raise wrong("a stored int", tree)


def floats() -> Node:
    """Return the node of `float`; as in Python's typing, an int will do, and stays an int."""
    whole = integers()

    def to_tree(value: Any) -> Tree:
        if type(value) is float:
            return value if math.isfinite(value) else {_FLOAT: str(value)}
        if type(value) is int or type(value) is bool:
            return whole.to_tree(value)
        raise wrong("float", value, _plain_hint(float, value))

    def from_tree(tree: Tree) -> Any:
        if type(tree) is float:
            return tree
        if type(tree) is dict and len(tree) == 1 and _FLOAT in tree:
            return _non_finite(tree[_FLOAT])
        return whole.from_tree(tree)

    return Node(
        "float",
        (float, int, bool),
        frozenset({float, int, bool, dict}),
        to_tree,
        from_tree,
        immutable=True,
        guard="type({x}) is not float or {x} - {x} != 0.0",
        unguard="type({x}) is not float",
        bulk=lambda values: superset(map(type, values)) and all(map(math.isfinite, values)),
    )


superset = frozenset({float}).issuperset


def _non_finite(text: Tree) -> float:
    if text in ("nan", "inf", "-inf"):
        return float(text)
    raise wrong("a stored float", text)


def _complexes() -> Node:
    part = floats()

    def encode(value: complex) -> Tree:
        return [part.to_tree(value.real), part.to_tree(value.imag)]

    def decode(tree: Tree) -> complex:
        if len(tree) != 2:
            raise wrong("a stored complex", tree)
        real, imag = (float(part.from_tree(half)) for half in tree)
        # Arithmetic would lose the signs of zeros and what stands beside a nan.
        return complex(real, imag)

    return scalar(complex, encode, decode, list)


def _base64(value: bytes | bytearray) -> str:
    return b64encode(value).decode("ascii")


def _unbase64(text: str) -> bytes:
    return b64decode(text, validate=True)


def _fraction(text: str) -> Fraction:
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _network(cls: type) -> Node:
    return scalar(cls, str, cls)


def paths(cls: type[PurePath]) -> Node:
    """Return the node of a class of paths; `Path` and `PurePath` take those of their own platform too."""
    native = (type(cls()),)
    classes = native if cls is not PurePath else (*native, *_PURE, type(Path()))
    by_name = {each.__name__: each for each in classes}
    tagged = len(by_name) > 1

    def to_tree(value: Any) -> Tree:
        if type(value) not in classes:
            raise wrong(cls.__name__, value, _plain_hint(cls, value))
        text = _storable(str(value))
        return [type(value).__name__, text] if tagged else text

    def from_tree(tree: Tree) -> Any:
        name, text = tree if tagged and type(tree) is list and len(tree) == 2 else (native[0].__name__, tree)
        if type(name) is not str or name not in by_name:
            raise wrong(f"a stored {cls.__name__}", tree)
        return by_name[name](_restored(text))

    kinds = frozenset({str, dict, list} if tagged else {str, dict})
    return Node(cls.__name__, tuple(by_name.values()), kinds, to_tree, from_tree, immutable=True)


def _storable(text: str) -> Tree:
    try:
        text.encode()
    except UnicodeEncodeError:  # file names are bytes, and need not be text
        return {"$bytes": _base64(fsencode(text))}
    return text


def _restored(tree: Tree) -> str:
    if type(tree) is str:
        return tree
    if type(tree) is dict and len(tree) == 1 and type(text := tree.get("$bytes")) is str:
        return fsdecode(_unbase64(text))
    raise wrong("a stored path", tree)


_PURE = (PurePosixPath, PureWindowsPath)
PATHS = (PurePath, PurePosixPath, PureWindowsPath, Path, PosixPath, WindowsPath)


def _nothing() -> Node:
    def same(value: Any) -> None:
        if value is not None:
            raise wrong("None", value)

    return Node(
        "None",
        (type(None),),
        frozenset({type(None)}),
        same,
        same,
        immutable=True,
        guard="{x} is not None",
        unguard="{x} is not None",
        bulk=lambda values: all(value is None for value in values),
    )


SCALARS: dict[type, Node] = {
    type(None): _nothing(),
    str: _own_tree(str),
    bool: _own_tree(bool),
    int: integers(),
    float: floats(),
    complex: _complexes(),
    Decimal: scalar(Decimal, str, Decimal),
    Fraction: scalar(Fraction, lambda value: f"{value.numerator:x}/{value.denominator:x}", _fraction),
    UUID: scalar(UUID, str, UUID),
    bytes: scalar(bytes, _base64, _unbase64),
    bytearray: scalar(bytearray, _base64, lambda text: bytearray(_unbase64(text)), immutable=False),
    **{
        cls: _network(cls) for cls in (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface)
    },
}
