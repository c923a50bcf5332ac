"""Values without an annotation: builtin classes, each of which says in the stored text what it is."""

from collections.abc import Callable
from typing import Any

from awaitly.persist.codec.moments import MOMENTS
from awaitly.persist.codec.node import Misfit, Node, Tree, class_name, describe, sort_key
from awaitly.persist.codec.scalars import PATHS, SCALARS, paths

_NATIVE = frozenset({type(None), bool, str})
_HINT = "Annotate what the function returns, so that values of this class can be stored"

# What to do with a value of a class that has no place of its own here: its tag and its tree, or None.
Otherwise = Callable[[Any], "tuple[str, Tree] | None"]


class Dynamic:
    """Makes and reads trees that describe themselves.

    Lists, text, numbers and mappings with text as keys are what they are in JSON; everything else is an object
    whose one key starts with a dollar.

    Args:
        sort: whether the order of the entries of mappings is forgotten.
    """

    def __init__(self, *, sort: bool = False) -> None:
        self.sort = sort
        self.otherwise: list[Otherwise] = []
        scalars = {**SCALARS, **MOMENTS, **{type(cls()): paths(type(cls())) for cls in PATHS if _exists(cls)}}
        self._scalars = {
            cls: (f"${cls.__name__}", node)
            for cls, node in scalars.items()
            if cls not in _NATIVE and cls not in (int, float)
        }
        self._numbers = {int: SCALARS[int], float: SCALARS[float]}
        self._readers: dict[str, Callable[[Tree], Any]] = {
            tag: node.from_tree for tag, node in self._scalars.values()
        } | {
            "$int": lambda tree: SCALARS[int].from_tree({"$int": tree}),
            "$float": lambda tree: SCALARS[float].from_tree({"$float": tree}),
            "$tuple": lambda tree: tuple(self._list(tree)),
            "$set": lambda tree: set(self._list(tree)),
            "$frozenset": lambda tree: frozenset(self._list(tree)),
            "$dict": self._pairs,
        }
        self._writers: dict[type, Callable[[Any], Tree]] = {
            list: self._items,
            dict: self._mapping,
            tuple: lambda value: {"$tuple": self._items(value)},
            set: lambda value: {"$set": sorted(self._items(value), key=sort_key)},
            frozenset: lambda value: {"$frozenset": sorted(self._items(value), key=sort_key)},
        }

    def node(self, label: str) -> Node:
        """Return the node of anything."""
        return Node(label, (), None, self.to_tree, self.from_tree, accepts=lambda cls: True, deep=True)

    def read(self, tag: str, reader: Callable[[Tree], Any]) -> None:
        """Let `reader` restore what is stored under `tag`."""
        self._readers[tag] = reader

    def to_tree(self, value: Any) -> Tree:
        """Return the tree of a value of a builtin class.

        Raises:
            Misfit: if its class is no such class, or one inside it.
        """
        cls = type(value)
        if cls in _NATIVE:
            return value
        if cls in self._numbers:
            return self._numbers[cls].to_tree(value)
        if cls in self._writers:
            return self._writers[cls](value)
        if cls in self._scalars:
            tag, node = self._scalars[cls]
            return {tag: node.to_tree(value)}
        for otherwise in self.otherwise:
            if (found := otherwise(value)) is not None:
                return {found[0]: found[1]}
        raise Misfit(f"found {describe(value)} where no annotation says what it is", _HINT)

    def _items(self, values: Any) -> list[Tree]:
        made: list[Tree] = []
        try:
            for value in values:
                made.append(self.to_tree(value))  # noqa: PERF401 - how many were made says which one did not fit
        except Misfit as misfit:
            raise misfit.at(f"[{len(made)}]") from None
        return made

    def _mapping(self, value: dict[Any, Any]) -> Tree:
        if all(type(key) is str and not key.startswith("$") for key in value):
            made = {}
            for key in sorted(value) if self.sort else value:
                try:
                    made[key] = self.to_tree(value[key])
                except Misfit as misfit:
                    raise misfit.at(f"[{key!r}]") from None
            return made
        pairs = []
        for key, held in value.items():
            try:
                pairs.append([self.to_tree(key), self.to_tree(held)])
            except Misfit as misfit:
                raise misfit.at(f"[<{class_name(type(key))}>]") from None
        if self.sort:
            pairs.sort(key=sort_key)
        return {"$dict": pairs}

    def from_tree(self, tree: Tree) -> Any:
        """Restore a value.

        Raises:
            Misfit: if the tree has a tag that nothing here writes.
        """
        if type(tree) is list:
            return self._list(tree)
        if type(tree) is not dict:
            return tree
        if len(tree) == 1:
            ((tag, held),) = tree.items()
            if tag.startswith("$"):
                if tag not in self._readers:
                    raise Misfit(f"nothing is stored under {tag!r}")
                return self._readers[tag](held)
        return {key: self.from_tree(held) for key, held in tree.items()}

    def _list(self, tree: Tree) -> list[Any]:
        if type(tree) is not list:
            raise Misfit(f"expected a stored list, found {describe(tree)}")
        return [self.from_tree(each) for each in tree]

    def _pairs(self, tree: Tree) -> dict[Any, Any]:
        return {self.from_tree(key): self.from_tree(held) for key, held in tree}


def _exists(cls: type) -> bool:
    try:
        cls()
    except NotImplementedError:  # PosixPath on Windows, and the other way round
        return False
    return True
