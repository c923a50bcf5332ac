"""Lists, tuples, sets and mappings of other values."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from awaitly.persist.codec.node import Misfit, Node, Tree, sort_key, wrong

_LIST: frozenset[type] = frozenset({list})
_DICT: frozenset[type] = frozenset({dict})
_TUPLE = "$tuple"


def _encoder(item: Node) -> Callable[[Any], list[Tree]]:
    encode, bulk = item.to_tree, item.bulk

    def trees(values: Any) -> list[Tree]:
        if bulk is not None and bulk(values):
            return list(values)
        made: list[Tree] = []
        add = made.append
        try:
            for value in values:
                add(encode(value))
        except Misfit as misfit:
            raise misfit.at(f"[{len(made)}]") from None
        return made

    return trees


def _decoder(item: Node) -> Callable[[Any], list[Any]]:
    decode, bulk = item.from_tree, item.bulk

    def values(trees: Any) -> list[Any]:
        if type(trees) is not list:
            raise wrong("a stored list", trees)
        if bulk is not None and bulk(trees):
            return trees
        made: list[Any] = []
        add = made.append
        try:
            for tree in trees:
                add(decode(tree))
        except Misfit as misfit:
            raise misfit.at(f"[{len(made)}]") from None
        return made

    return values


def listing(item: Node, label: str) -> Node:
    """Return the node of `list[item]`."""
    encode = _encoder(item)

    def to_tree(value: Any) -> Tree:
        if type(value) is not list:
            raise wrong(label, value, "Return list(...) of it" if isinstance(value, Iterable) else None)
        return encode(value)

    return Node(label, (list,), _LIST, to_tree, _decoder(item), deep=item.deep)


def variadic(item: Node, label: str) -> Node:
    """Return the node of `tuple[item, ...]`."""
    encode, decode = _encoder(item), _decoder(item)

    def to_tree(value: Any) -> Tree:
        if type(value) is not tuple:
            raise wrong(label, value)
        return encode(value)

    def from_tree(tree: Tree) -> Any:
        return tuple(decode(tree))

    return Node(label, (tuple,), _LIST, to_tree, from_tree, deep=item.deep, immutable=item.immutable)


def fixed(items: tuple[Node, ...], label: str) -> Node:
    """Return the node of `tuple[a, b, c]`, or of `tuple[()]`."""
    size = len(items)
    encoders = tuple(item.to_tree for item in items)
    decoders = tuple(item.from_tree for item in items)

    def apply(functions: tuple[Callable[[Any], Any], ...], values: Any) -> list[Any]:
        made: list[Any] = []
        try:
            for function, value in zip(functions, values, strict=True):
                made.append(function(value))
        except Misfit as misfit:
            raise misfit.at(f"[{len(made)}]") from None
        return made

    def to_tree(value: Any) -> Tree:
        if type(value) is not tuple:
            raise wrong(label, value)
        if len(value) != size:
            raise Misfit(f"expected {label}, found a tuple of {len(value)}")
        return apply(encoders, value)

    def from_tree(tree: Tree) -> Any:
        if type(tree) is not list or len(tree) != size:
            raise wrong(f"a stored {label}", tree)
        return tuple(apply(decoders, tree))

    deep = any(item.deep for item in items)
    return Node(label, (tuple,), _LIST, to_tree, from_tree, deep=deep, immutable=all(item.immutable for item in items))


def unordered(item: Node, cls: type, label: str) -> Node:
    """Return the node of `set[item]` or `frozenset[item]`: stored in an order of their own, always the same."""
    encode, decode = _encoder(item), _decoder(item)

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(label, value)
        trees = encode(value)
        if len(trees) > 1:
            trees.sort(key=sort_key)
        return trees

    def from_tree(tree: Tree) -> Any:
        return cls(decode(tree))

    return Node(label, (cls,), _LIST, to_tree, from_tree, deep=item.deep)


def queue(item: Node, label: str) -> Node:
    """Return the node of `deque[item]`, whose longest length is kept."""
    encode, decode = _encoder(item), _decoder(item)

    def to_tree(value: Any) -> Tree:
        if type(value) is not deque:
            raise wrong(label, value)
        return {"maxlen": value.maxlen, "items": encode(value)}

    def from_tree(tree: Tree) -> Any:
        match tree:
            case {"maxlen": int() | None as longest, "items": list(items)}:
                return deque(decode(items), longest)
        raise wrong(f"a stored {label}", tree)

    return Node(label, (deque,), _DICT, to_tree, from_tree, deep=item.deep)


def mapping(key: Node, item: Node, cls: type, label: str, *, sort: bool = False) -> Node:
    """Return the node of `dict[key, item]` and its likes: an object if keys are text, else a list of pairs.

    Args:
        key: what keys are.
        item: what values are.
        cls: `dict`, `OrderedDict` or `Counter`.
        label: how messages and tags call it.
        sort: whether the order of the entries is forgotten.
    """
    sort = sort and cls is not OrderedDict
    build = None if cls is dict else cls
    if key.kinds == frozenset({str}):
        encode, decode = _object_encoder(key, item, sort), _object_decoder(key, item)
        kinds = _DICT
    else:
        encode, decode = _pair_encoder(key, item, sort), _pair_decoder(key, item)
        kinds = _LIST

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(label, value, "Return dict(...) of it" if isinstance(value, dict) else None)
        return encode(value)

    def from_tree(tree: Tree) -> Any:
        restored = decode(tree)
        return restored if build is None else build(restored)

    return Node(label, (cls,), kinds, to_tree, from_tree, deep=key.deep or item.deep)


def _object_encoder(key: Node, item: Node, sort: bool) -> Callable[[Any], Tree]:
    encode_key, encode, bulk = key.to_tree, item.to_tree, item.bulk
    same_keys = key.bulk

    def trees(value: dict[Any, Any]) -> Tree:
        if bulk is not None and same_keys is not None and same_keys(value) and bulk(value.values()):
            return dict(sorted(value.items())) if sort else dict(value)
        made = {}
        for each, held in value.items():
            try:
                made[encode_key(each)] = encode(held)
            except Misfit as misfit:
                raise misfit.at(f"[{_shown(each)}]") from None
        return dict(sorted(made.items())) if sort else made

    return trees


def _object_decoder(key: Node, item: Node) -> Callable[[Any], dict[Any, Any]]:
    decode_key, decode, bulk = key.from_tree, item.from_tree, item.bulk
    same_keys = key.bulk is not None

    def values(tree: Tree) -> dict[Any, Any]:
        if type(tree) is not dict:
            raise wrong("a stored mapping", tree)
        if same_keys and bulk is not None and bulk(tree.values()):
            return tree
        made = {}
        for each, held in tree.items():
            try:
                made[decode_key(each)] = decode(held)
            except Misfit as misfit:
                raise misfit.at(f"[{_shown(each)}]") from None
        return made

    return values


def _pair_encoder(key: Node, item: Node, sort: bool) -> Callable[[Any], Tree]:
    encode_key, encode = key.to_tree, item.to_tree

    def trees(value: dict[Any, Any]) -> Tree:
        made = []
        for each, held in value.items():
            try:
                made.append([encode_key(each), encode(held)])
            except Misfit as misfit:
                raise misfit.at(f"[{_shown(each)}]") from None
        if sort:
            made.sort(key=_first)
        return made

    return trees


def _pair_decoder(key: Node, item: Node) -> Callable[[Any], dict[Any, Any]]:
    decode_key, decode = key.from_tree, item.from_tree

    def values(tree: Tree) -> dict[Any, Any]:
        if type(tree) is not list:
            raise wrong("a stored mapping", tree)
        made = {}
        for pair in tree:
            if type(pair) is not list or len(pair) != 2:
                raise wrong("a stored pair of key and value", pair)
            made[decode_key(pair[0])] = decode(pair[1])
        return made

    return values


def _first(pair: Any) -> bytes:
    return sort_key(pair[0])


def _shown(key: object) -> str:
    return repr(key) if type(key) in (str, int, bool) else f"<{type(key).__name__}>"


def either(item: Node, classes: tuple[type, ...], label: str) -> Node:
    """Return the node of an abstract collection: a value of any of `classes`, told apart by a tag."""
    forms: dict[type, Node] = {
        list: listing(item, label),
        tuple: variadic(item, label),
        set: unordered(item, set, label),
        frozenset: unordered(item, frozenset, label),
    }
    tags = {f"${cls.__name__}": forms[cls] for cls in classes if cls is not list}
    accepted = " or ".join(cls.__name__ for cls in classes)

    def to_tree(value: Any) -> Tree:
        cls = type(value)
        if cls not in classes:
            raise wrong(label, value, f"Return a {accepted}")
        tree = forms[cls].to_tree(value)
        return tree if cls is list else {f"${cls.__name__}": tree}

    def from_tree(tree: Tree) -> Any:
        if type(tree) is list and list in classes:
            return forms[list].from_tree(tree)
        if type(tree) is dict and len(tree) == 1:
            (tag,) = tree
            if tag in tags:
                return tags[tag].from_tree(tree[tag])
        raise wrong(f"a stored {label}", tree)

    return Node(label, classes, frozenset({list, dict}), to_tree, from_tree, deep=item.deep)
