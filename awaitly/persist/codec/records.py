"""Objects with fields: pydantic models, dataclasses, named tuples, typed dictionaries.

Restoring sets the fields and runs no validator, no `__init__` and no `__post_init__`. As in pydantic's
`model_construct`, `model_post_init` does run, and private attributes get their defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import getattr_static
from typing import Any

from pydantic import BaseModel

from awaitly.persist.codec.compose import reader, writer
from awaitly.persist.codec.node import Misfit, Node, Tree, class_name, wrong

# No field is called so: what is stored beside the fields, and only when it differs from what is usual.
SET = "#set"
EXTRA = "#extra"
UNSET = "#unset"
BARE = "#bare"

_DICT = frozenset({dict})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    Attributes:
        name: what it is called.
        node: what it holds.
        default: makes its value when the field is younger than what was stored; None if it has no default.
    """

    name: str
    node: Node
    default: Callable[[], object] | None = None


def fill_record(node: Node, cls: type, fields: tuple[Field, ...], *, slots: bool) -> None:
    """Give the node of a dataclass its functions."""
    record = _Record(cls, fields)
    attribute = getattr if slots else None
    node.to_tree = writer(cls, fields, record.write, slots=slots)
    node.from_tree = reader(cls, fields, record.read, slots=slots)
    node.deep = any(field.node.deep for field in fields)
    record.attribute = attribute


def fill_model(node: Node, cls: type[BaseModel], fields: tuple[Field, ...], extra: Node, *, canonical: bool) -> None:
    """Give the node of a pydantic model its functions.

    Args:
        node: the node of the class.
        cls: the class.
        fields: its fields.
        extra: the node of a mapping of its extra values.
        canonical: whether which fields were set explicitly is forgotten.
    """
    record = _Model(cls, fields, extra, canonical)
    allows = cls.model_config.get("extra") == "allow"
    if record.origin is not None:
        node.classes = (cls, record.origin)
    if allows:
        node.to_tree, node.from_tree = record.write, record.read
    else:
        node.to_tree = writer(cls, fields, record.write, slots=False, remembers=not canonical)
        calls = record.root or record.initialises
        node.from_tree = reader(cls, fields, record.read, slots=False, finish=record.finish, calls=calls)
    node.deep = any(field.node.deep for field in fields) or (allows and extra.deep)


class _Record:
    """The long way round, for whatever is not as usual: absent or additional attributes, misfits, old trees."""

    def __init__(self, cls: type, fields: tuple[Field, ...]) -> None:
        self.cls = cls
        self.fields = {field.name: field for field in fields}
        self.attribute: Callable[..., object] | None = None

    def write(self, value: Any) -> Tree:
        if type(value) is not self.cls:
            raise wrong(class_name(self.cls), value, _class_hint(self.cls, value))
        held = self._held(value)
        tree: dict[str, Tree] = {}
        for name, field in self.fields.items():
            if name in held:
                try:
                    tree[name] = field.node.to_tree(held[name])
                except Misfit as misfit:
                    raise misfit.at(f".{name}") from None
        if absent := [name for name in self.fields if name not in held]:
            tree[UNSET] = absent
        self._refuse_additional(held)
        return tree

    def _held(self, value: Any) -> Mapping[str, object]:
        if self.attribute is None:
            return dict(value.__dict__)
        missing = object()
        held = {name: self.attribute(value, name, missing) for name in self.fields}
        return {name: each for name, each in held.items() if each is not missing}

    def _refuse_additional(self, held: Mapping[str, object]) -> None:
        for name in held:
            if name not in self.fields and not _is_derived(self.cls, name):
                raise Misfit(
                    f"{class_name(self.cls)} has no field {name!r}, which was set on this object",
                    "Declare it as a field",
                ).at(f".{name}")

    def read(self, tree: Tree) -> Any:
        held = self._values(tree, known=(UNSET,))
        made: Any = object.__new__(self.cls)
        for name, value in held.items():
            object.__setattr__(made, name, value)
        return made

    def _values(self, tree: Tree, known: tuple[str, ...]) -> dict[str, object]:
        if type(tree) is not dict:
            raise wrong(f"a stored {class_name(self.cls)}", tree)
        for name in tree:
            if name not in self.fields and name not in known:
                raise Misfit(f"{class_name(self.cls)} has no field {name!r}", "Keep a field that is stored")
        unset = tree.get(UNSET, ())
        if type(unset) not in (list, tuple):
            raise wrong("a list of fields", unset)
        return {name: self._value(field, tree) for name, field in self.fields.items() if name not in unset}

    def _value(self, field: Field, tree: dict[str, Tree]) -> object:
        if field.name in tree:
            try:
                return field.node.from_tree(tree[field.name])
            except Misfit as misfit:
                raise misfit.at(f".{field.name}") from None
        if field.default is not None:  # a field that was added after this was stored
            return field.default()
        raise Misfit(f"the field is not stored, and {class_name(self.cls)} has no default for it").at(f".{field.name}")


class _Model(_Record):
    cls: type[BaseModel]

    def __init__(self, cls: type[BaseModel], fields: tuple[Field, ...], extra: Node, canonical: bool) -> None:
        super().__init__(cls, fields)
        self.extra = extra
        self.canonical = canonical
        self.root = cls.__pydantic_root_model__
        # In pydantic's own words: the method that runs after validation, if there is anything to do.
        self.initialises = bool(cls.__pydantic_post_init__)

        self.origin: Any = cls.__pydantic_generic_metadata__["origin"]

    def write(self, value: Any) -> Tree:
        if type(value) is self.origin:  # `Box(...)` where `Box[int]` is annotated
            return {**self._bare().write(value), BARE: True}
        tree = super().write(value)
        extra = value.__pydantic_extra__
        if extra:
            try:
                tree[EXTRA] = self.extra.to_tree(extra)
            except Misfit as misfit:
                raise misfit.at(" (extra)") from None
        names = value.__pydantic_fields_set__
        if not self.canonical and names != self._every(extra):
            tree[SET] = sorted(names)
        return tree

    def _bare(self) -> "_Model":
        return _Model(self.origin, tuple(self.fields.values()), self.extra, self.canonical)

    def _every(self, extra: Mapping[str, object] | None) -> set[str]:
        return {*self.fields, *(extra or ())}

    def read(self, tree: Tree) -> Any:
        if self.origin is not None and type(tree) is dict and BARE in tree:
            rest = {name: each for name, each in tree.items() if name != BARE}
            return self._bare().read(rest)
        held = self._values(tree, known=(UNSET, SET, EXTRA))
        allows = self.cls.model_config.get("extra") == "allow"
        extra = self.extra.from_tree(tree.get(EXTRA, {})) if allows else None
        made = object.__new__(self.cls)
        object.__setattr__(made, "__dict__", held)
        # A default that was filled in for an old tree was not set explicitly.
        names = tree.get(SET, None)
        self.finish(made, set(names) if type(names) is list else {*tree, *(extra or ())} - {UNSET, EXTRA, SET}, extra)
        return made

    def finish(self, made: Any, names: set[str], extra: dict[str, object] | None = None) -> None:
        object.__setattr__(made, "__pydantic_fields_set__", names)
        if self.root:
            if self.initialises:
                made.model_post_init(None)
            return
        object.__setattr__(made, "__pydantic_extra__", extra)
        if self.initialises:
            made.model_post_init(None)
        else:
            object.__setattr__(made, "__pydantic_private__", None)


def _is_derived(cls: type, name: str) -> bool:
    return isinstance(getattr_static(cls, name, None), cached_property)


def _class_hint(cls: type, value: object) -> str | None:
    found = type(value)
    if issubclass(found, cls):
        return (
            f"{found.__name__} is a subclass of {cls.__name__}, and its own fields would be lost: "
            f"annotate {found.__name__}, or the union of the classes that there are"
        )
    if found in cls.__mro__:
        return f"Make a {cls.__name__}, as the annotation says"
    return None


def fill_tuple(node: Node, cls: Any, fields: tuple[Field, ...]) -> None:
    """Give the node of a named tuple its functions."""
    names = tuple(field.name for field in fields)
    encoders = tuple((field.name, field.node.to_tree) for field in fields)

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(class_name(cls), value)
        tree: dict[str, Tree] = {}
        try:
            for (name, encode), held in zip(encoders, value, strict=True):
                tree[name] = encode(held)
        except Misfit as misfit:
            raise misfit.at(f".{names[len(tree)]}") from None
        return tree

    record = _Record(cls, fields)

    def from_tree(tree: Tree) -> Any:
        return tuple.__new__(cls, record._values(tree, known=()).values())

    node.to_tree, node.from_tree = to_tree, from_tree
    node.deep = any(field.node.deep for field in fields)
    node.immutable = not node.deep and all(field.node.immutable for field in fields)


def fill_dictionary(
    node: Node, name: str, fields: tuple[Field, ...], required: frozenset[str], *, sort: bool = False
) -> None:
    """Give the node of a `TypedDict` its functions; the order of the keys is kept unless `sort`."""
    nodes = {field.name: field.node for field in fields}

    def check(keys: Any, found: str) -> None:
        for key in keys:
            if key not in nodes:
                raise Misfit(f"{name} has no key {key!r}", "Declare it in the TypedDict")
        if missing := required.difference(keys):
            raise Misfit(f"{name} needs the key {min(missing)!r}, which the {found} lacks")

    def to_tree(value: Any) -> Tree:
        if type(value) is not dict:
            raise wrong(name, value)
        check(value, "value")
        tree = {}
        for key in nodes if sort else value:
            if key in value:
                try:
                    tree[key] = nodes[key].to_tree(value[key])
                except Misfit as misfit:
                    raise misfit.at(f"[{key!r}]") from None
        return tree

    def from_tree(tree: Tree) -> Any:
        if type(tree) is not dict:
            raise wrong(f"a stored {name}", tree)
        check(tree, "stored value")
        value = {}
        for key, each in tree.items():
            try:
                value[key] = nodes[key].from_tree(each)
            except Misfit as misfit:
                raise misfit.at(f"[{key!r}]") from None
        return value

    node.to_tree, node.from_tree = to_tree, from_tree
    node.deep = any(each.deep for each in nodes.values())
