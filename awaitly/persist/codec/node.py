"""What every codec is made of: a `Node` for one type, and the `Misfit` of a value that does not fit it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic_core import PydanticSerializationError, to_json

from awaitly.texts import valid

# JSON as Python has it: None, bool, int, float, str, list and dict with str keys, of exactly these classes.
Tree: TypeAlias = Any

_SHOWN = (bool, int, float, str, bytes)
_WIDTH = 60


class Misfit(Exception):
    """A value, or a stored tree, that is not what its annotation says.

    Each container that it passes on its way out adds where inside it was.

    Attributes:
        reason: what was expected and what was found.
        hint: what to do instead, when there is more to say than the reason.
        expected: what the annotation says, and
        found: what was there instead, when the reason is that they differ.
        path: the way to it, innermost first.
    """

    def __init__(
        self, reason: str, hint: str | None = None, *, expected: str | None = None, found: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.expected = expected
        self.found = found
        self.path: list[str] = []

    def at(self, segment: str) -> "Misfit":
        """Note that this happened at `segment` of a container."""
        self.path.append(segment)
        return self

    def located(self, root: str) -> str:
        """Return the reason behind the way to it, as in `result.items[3].price: expected ...`."""
        return f"{self.place(root)}: {self.reason}"

    def place(self, root: str) -> str:
        """Return the way to it, as in `result.items[3].price`."""
        return root + "".join(reversed(self.path))


def wrong(expected: str, found: object, hint: str | None = None) -> Misfit:
    """Return the misfit of finding something else than what was expected."""
    shown = describe(found)
    return Misfit(f"expected {expected}, found {shown}", hint, expected=expected, found=shown)


def describe(value: object) -> str:
    """Return the class of a value, and the value too if showing it runs no foreign code."""
    if value is None:
        return "None"
    if type(value) not in _SHOWN:
        return class_name(type(value))
    if isinstance(value, int) and value.bit_length() > 200:
        return f"int of {value.bit_length()} bits"
    text = repr(value[:_WIDTH] if isinstance(value, str | bytes) else value)
    return f"{class_name(type(value))} {text}"


def class_name(cls: type) -> str:
    """Return the name of a class, with its module unless it is a builtin."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


@dataclass(slots=True, eq=False)
class Node:
    """How values of one type become trees and come back.

    Attributes:
        label: its short name, which tags it in unions.
        classes: the exact classes of the values it takes.
        kinds: the classes that its trees can have; None if that is not known.
        to_tree: makes a fresh tree; raises `Misfit`.
        from_tree: makes a value, and may keep parts of the tree in it; raises `Misfit`.
        accepts: takes values of further classes, if it says so.
        immutable: whether the value itself can stand for what would be restored.
        deep: whether nothing but the value limits how deep its trees are.
        guard: a Python condition on `{x}` that is false for values which are their own tree.
        unguard: the same for trees which are their own value.
        bulk: whether all values of a collection are their own trees, and the other way round.
    """

    label: str
    classes: tuple[type, ...]
    kinds: frozenset[type] | None
    to_tree: Callable[[Any], Tree]
    from_tree: Callable[[Tree], Any]
    accepts: Callable[[type], bool] | None = None
    immutable: bool = False
    deep: bool = False
    guard: str | None = None
    unguard: str | None = None
    bulk: Callable[[Collection[Any]], bool] | None = None

    @property
    def made(self) -> bool:
        """Whether it has its functions."""
        return self.to_tree is not _never


def sort_key(tree: Tree) -> bytes:
    """Return bytes that order trees the same in every process."""
    return written(tree)


def written(tree: Tree) -> bytes:
    """Return the JSON of a tree.

    Raises:
        Misfit: if text in it cannot be encoded, as ``os.fsdecode`` makes it of bytes that are no text; it says where.
    """
    try:
        return to_json(tree)
    except PydanticSerializationError:
        misfit = _unwritable(tree)
        if misfit is None:
            raise
        raise misfit from None


def _unwritable(tree: Tree) -> Misfit | None:
    """Return the misfit of the first text that cannot be encoded; what only marks a value is no place."""
    if type(tree) is str:
        return _no_text(tree)
    if type(tree) is list:
        inside = ((f"[{index}]", each) for index, each in enumerate(tree))
    elif type(tree) is dict:
        if (misfit := next(filter(None, map(_no_text, tree)), None)) is not None:
            return misfit
        inside = (("" if key.startswith("$") else f".{key}", each) for key, each in tree.items())
    else:
        return None
    found = ((place, misfit) for place, each in inside if (misfit := _unwritable(each)) is not None)
    place, misfit = next(found, ("", None))
    return misfit.at(place) if misfit is not None else None


def _no_text(text: str) -> Misfit | None:
    if valid(text) == text:
        return None
    return Misfit(
        f"text in it is not valid Unicode: {describe(text)}",
        'Decode it with errors="replace", or use bytes, or a Path for a file',
    )


def unmade(label: str, classes: tuple[type, ...], kinds: frozenset[type] | None) -> Node:
    """Return a node without its two functions, which follow when what they consist of is made."""
    return Node(label, classes, kinds, _never, _never)


def _never(value: Any) -> Any:
    raise AssertionError("a recursive type was used before it was compiled")


def reference(node: Node) -> Node:
    """Return a node that does what an unmade `node` will do: how a type contains itself."""
    return Node(
        node.label,
        node.classes,
        node.kinds,
        lambda value: node.to_tree(value),
        lambda tree: node.from_tree(tree),
        accepts=None if node.classes else (lambda cls: True),
        deep=True,
    )
