"""Functions made to measure for one record class, which know its fields by heart.

A checkpoint passes here for every field of every object in it: a loop over the fields costs three times as much.
Whatever is not as usual is left to the general functions that each is given.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from awaitly.persist.codec.node import Misfit, Node, Tree


class Part(Protocol):
    """A field, as far as it matters here."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def node(self) -> Node:
        """What it holds."""
        ...


def writer(
    cls: type,
    fields: tuple[Part, ...],
    general: Callable[[Any], Tree],
    *,
    slots: bool,
    remembers: bool = False,
) -> Callable[[Any], Tree]:
    """Return the function that makes the tree of an object of `cls`.

    Args:
        cls: the class.
        fields: its fields.
        general: does the same, for whatever is not as usual.
        slots: whether the fields are attributes, rather than entries of `__dict__`.
        remembers: whether the tree says which fields of a pydantic model were set explicitly.
    """
    names = {
        "cls": cls, "general": general, "Misfit": Misfit, "every": tuple(field.name for field in fields),
        **_numbered(field.node.to_tree for field in fields),
    }  # fmt: skip
    lines = [
        "def write(value):",
        "    if type(value) is not cls: return general(value)",
        *(() if slots else _entries(len(fields))),
        *_converted(fields, "value.{}" if slots else "held[{!r}]", [field.node.guard for field in fields]),
        f"    except {'AttributeError' if slots else 'KeyError'}: return general(value)",
        f"    tree = {_object(fields)}",
        *(_remembered(len(fields)) if remembers else ()),
        "    return tree",
    ]
    made: Callable[[Any], Tree] = _made(lines, names, "write")
    return made


def reader(
    cls: type,
    fields: tuple[Part, ...],
    general: Callable[[Tree], Any],
    *,
    slots: bool,
    finish: Callable[..., None] | None = None,
    calls: bool = False,
) -> Callable[[Tree], Any]:
    """Return the function that restores an object of `cls` from its tree.

    Args:
        cls: the class.
        fields: its fields.
        general: does the same, for whatever is not as usual.
        slots: whether the fields are attributes, rather than entries of `__dict__`.
        finish: for a pydantic model, sets the rest of its state, given the names of the fields that were set.
        calls: whether the rest is unusual, so that `finish` is called and not its work done here.
    """
    names = {
        "cls": cls, "general": general, "Misfit": Misfit, "every": frozenset(field.name for field in fields),
        "finish": finish, "new": object.__new__, "put": object.__setattr__, **_setters(cls),
        **_numbered(field.node.from_tree for field in fields),
    }  # fmt: skip
    lines = [
        "def read(tree):",
        "    if type(tree) is not dict: return general(tree)",
        *(_whole(len(fields)) if finish is None else _remembering(len(fields))),
        *_converted(fields, "tree[{!r}]", [field.node.unguard for field in fields]),
        "    except KeyError: return general(tree)",
        "    made = new(cls)",
        *(_attributes(fields) if slots else [f"    put___dict__(made, {_object(fields)})"]),
        *(() if finish is None else _FINISHED if calls else _PYDANTIC_STATE),
        "    return made",
    ]
    made: Callable[[Tree], Any] = _made(lines, names, "read")
    return made


_FINISHED = ("    finish(made, set(fields))",)
_PYDANTIC_STATE = (
    "    put___pydantic_fields_set__(made, set(fields))",
    "    put___pydantic_extra__(made, None)",
    "    put___pydantic_private__(made, None)",
)


def _entries(count: int) -> list[str]:
    """Return lines that look into an object if it has what was declared, and nothing else."""
    return ["    held = value.__dict__", f"    if len(held) != {count}: return general(value)"]


def _whole(count: int) -> list[str]:
    """Return lines that leave a tree to others which lacks a field, or has more."""
    return [f"    if len(tree) != {count}: return general(tree)"]


def _remembered(count: int) -> list[str]:
    """Return lines that say in the tree which fields were set, unless all were."""
    return [
        "    fields = value.__pydantic_fields_set__",
        f"    if len(fields) != {count}: tree['#set'] = [name for name in every if name in fields]",
    ]


def _remembering(count: int) -> list[str]:
    """Return lines that find out which fields were set, and leave a tree to others which is otherwise not whole."""
    return [
        "    fields = every",
        f"    if len(tree) != {count}:",
        "        fields = tree.get('#set')",
        f"        if type(fields) is not list or len(tree) != {count + 1}: return general(tree)",
    ]


def _converted(fields: tuple[Part, ...], found: str, guards: list[str | None]) -> list[str]:
    """Return lines that convert each field from where it is found, and say which one does not fit."""
    lines = ["    at = ''", "    try:", "        pass"]
    for index, (field, guard) in enumerate(zip(fields, guards, strict=True)):
        lines += [f"        at = {field.name!r}", *_step(index, found.format(field.name), guard)]
    return [*lines, "    except Misfit as misfit: raise misfit.at('.' + at) from None"]


def _step(index: int, found: str, guard: str | None) -> list[str]:
    if guard is None:
        return [f"        x{index} = f{index}({found})"]
    condition = guard.replace("{x}", f"x{index}")
    return [f"        x{index} = {found}", f"        if {condition}: x{index} = f{index}(x{index})"]


def _object(fields: tuple[Part, ...]) -> str:
    return "{" + ", ".join(f"{field.name!r}: x{index}" for index, field in enumerate(fields)) + "}"


def _attributes(fields: tuple[Part, ...]) -> list[str]:
    return [f"    put(made, {field.name!r}, x{index})" for index, field in enumerate(fields)]


def _numbered(converters: Iterable[Callable[[Any], Any]]) -> dict[str, Any]:
    return {f"f{index}": converter for index, converter in enumerate(converters)}


def _setters(cls: type) -> dict[str, Any]:
    """Return what sets the state that no field is, a third faster than `object.__setattr__` does."""
    places = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    found = {name: vars(base)[name] for base in reversed(cls.__mro__) for name in places if name in vars(base)}
    return {f"put_{name}": each.__set__ for name, each in found.items() if hasattr(each, "__set__")}


def _made(lines: list[str], names: dict[str, Any], name: str) -> Any:
    # The text consists of reprs of field names and of our own guards; values only come in through `names`.
    exec("\n".join(lines), names)
    return names[name]
