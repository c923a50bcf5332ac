"""One of several types. Which one is stored, unless the JSON says it by itself; nothing is ever guessed."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from awaitly.persist.codec.node import Misfit, Node, Tree, wrong

_NONE = type(None)
_PLAIN = frozenset({str, bool, int, float, dict})


def union(members: Sequence[Node], label: str) -> Node:
    """Return the node of a union; `members` have different labels.

    Trees of None, and of text and numbers that no other member looks like, stand for themselves. All others
    become `[label, tree]`.
    """
    values = [member for member in members if member.classes != (_NONE,)]
    nullable = len(values) < len(members)
    if len(values) == 1 and nullable and values[0].kinds is not None and _NONE not in values[0].kinds:
        return _optional(values[0], label)
    # Labels, not the order written, decide which of two equal-looking members is tried first: `A | B == B | A`.
    return _Union(sorted(values, key=lambda member: member.label), nullable, label).node()


def _optional(member: Node, label: str) -> Node:
    encode, decode, bulk = member.to_tree, member.from_tree, member.bulk
    assert member.kinds is not None

    def to_tree(value: Any) -> Tree:
        return None if value is None else encode(value)

    def from_tree(tree: Tree) -> Any:
        return None if tree is None else decode(tree)

    return Node(
        label,
        (*member.classes, _NONE),
        member.kinds | {_NONE},
        to_tree,
        from_tree,
        accepts=member.accepts,
        immutable=member.immutable,
        deep=member.deep,
        guard=member.guard and f"{{x}} is not None and ({member.guard})",
        unguard=member.unguard and f"{{x}} is not None and ({member.unguard})",
        bulk=bulk,
    )


class _Union:
    def __init__(self, members: list[Node], nullable: bool, label: str) -> None:
        self.members = members
        self.nullable = nullable
        self.label = label
        self.bare = _untagged(members)
        self.tagged = {member.label: member for member in members}
        self.by_class: dict[type, list[Node]] = {}
        for member in members:
            for cls in member.classes:
                self.by_class.setdefault(cls, []).append(member)
        # Who takes exactly a class goes first, who takes anything last.
        self.open = sorted((member for member in members if member.accepts is not None), key=_is_for_anything)
        for cls, exact in self.by_class.items():
            exact += [member for member in self._takers(cls) if member not in exact]
        self.by_kind = {kind: member for member in self.bare for kind in member.kinds or ()}

    def node(self) -> Node:
        return Node(
            self.label,
            (*self.by_class, *((_NONE,) if self.nullable else ())),
            frozenset({list, *self.by_kind, *((_NONE,) if self.nullable else ())}),
            self.to_tree,
            self.from_tree,
            accepts=self._accepts if self.open else None,
            immutable=all(member.immutable for member in self.members),
            deep=any(member.deep for member in self.members),
        )

    def _accepts(self, cls: type) -> bool:
        return bool(self._takers(cls))

    def _takers(self, cls: type) -> list[Node]:
        return [member for member in self.open if member.accepts is not None and member.accepts(cls)]

    def to_tree(self, value: Any) -> Tree:
        if value is None and self.nullable:
            return None
        cls = type(value)
        candidates = self.by_class.get(cls)
        if candidates is None:
            candidates = self._takers(cls)
        if len(candidates) == 1:
            return self._tree(candidates[0], value)
        for member in candidates:
            try:
                return self._tree(member, value)
            except Misfit:
                continue
        raise wrong(self.label, value, _subclass_hint(self.by_class, cls))

    def _tree(self, member: Node, value: Any) -> Tree:
        tree = member.to_tree(value)
        return tree if member in self.bare else [member.label, tree]

    def from_tree(self, tree: Tree) -> Any:
        kind = type(tree)
        if kind is list:
            if len(tree) == 2 and type(tree[0]) is str and tree[0] in self.tagged:
                return self.tagged[tree[0]].from_tree(tree[1])
        elif tree is None and self.nullable:
            return None
        elif kind in self.by_kind:
            return self.by_kind[kind].from_tree(tree)
        raise wrong(f"a stored {self.label}", tree)


def _is_for_anything(member: Node) -> bool:
    return not member.classes


def _untagged(members: list[Node]) -> list[Node]:
    """Return the members whose trees are told from all others by their class, and are no lists, as tagged ones are."""
    plain = [member for member in members if member.kinds is not None and _is_plain(member)]
    counts = Counter(kind for member in plain for kind in member.kinds or ())
    return [member for member in plain if all(counts[kind] == 1 for kind in member.kinds or ())]


def _is_plain(member: Node) -> bool:
    # Only of numbers is an object one of several kinds: records always carry their tag.
    return member.kinds is not None and member.kinds <= _PLAIN and member.kinds != {dict}


def _subclass_hint(by_class: dict[type, list[Node]], found: type) -> str | None:
    for cls in by_class:
        if issubclass(found, cls):
            return f"{found.__name__} is a subclass of {cls.__name__}: add it to the union"
    return None
