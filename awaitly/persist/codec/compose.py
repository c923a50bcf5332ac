"""Functions made to measure for one record class, which know its fields by heart.

A checkpoint passes here for every field of every object in it: a loop over the fields costs three times as much.
Whatever is not as usual is left to the general functions that each is given.
"""

from collections.abc import Callable
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
    fields: tuple[Any, ...],
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
    names: dict[str, Any] = {"cls": cls, "general": general, "Misfit": Misfit}
    lines = ["def write(value):", "    if type(value) is not cls: return general(value)"]
    if not slots:
        lines += ["    held = value.__dict__", f"    if len(held) != {len(fields)}: return general(value)"]
    lines += ["    at = ''", "    try:", "        pass"]
    for index, field in enumerate(fields):
        found = f"value.{field.name}" if slots else f"held[{field.name!r}]"
        lines += [f"        at = {field.name!r}", *_step(index, found, field.node.guard)]
        names[f"f{index}"] = field.node.to_tree
    lines += [
        "    except Misfit as misfit: raise misfit.at('.' + at) from None",
        f"    except {'AttributeError' if slots else 'KeyError'}: return general(value)",
        f"    tree = {_object(fields)}",
    ]
    if remembers:
        every = tuple(field.name for field in fields)
        names["every"] = every
        lines += [
            "    fields = value.__pydantic_fields_set__",
            f"    if len(fields) != {len(every)}: tree['#set'] = [name for name in every if name in fields]",
        ]
    lines += ["    return tree"]
    made: Callable[[Any], Tree] = _made(lines, names, "write")
    return made


def reader(
    cls: type,
    fields: tuple[Any, ...],
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
    every = frozenset(field.name for field in fields)
    names: dict[str, Any] = {
        "cls": cls,
        "general": general,
        "Misfit": Misfit,
        "every": every,
        "finish": finish,
        "new": object.__new__,
        "put": object.__setattr__,
    }
    lines = ["def read(tree):", "    if type(tree) is not dict: return general(tree)"]
    if finish is None:
        lines += [f"    if len(tree) != {len(fields)}: return general(tree)"]
    else:
        lines += [
            "    fields = every",
            f"    if len(tree) != {len(fields)}:",
            "        fields = tree.get('#set')",
            f"        if type(fields) is not list or len(tree) != {len(fields) + 1}: return general(tree)",
        ]
    lines += ["    at = ''", "    try:", "        pass"]
    for index, field in enumerate(fields):
        lines += [f"        at = {field.name!r}", *_step(index, f"tree[{field.name!r}]", field.node.unguard)]
        names[f"f{index}"] = field.node.from_tree
    lines += [
        "    except Misfit as misfit: raise misfit.at('.' + at) from None",
        "    except KeyError: return general(tree)",
        "    made = new(cls)",
    ]
    if slots:
        lines += [f"    put(made, {field.name!r}, x{index})" for index, field in enumerate(fields)]
    else:
        names |= _setters(cls)
        lines += [f"    put___dict__(made, {_object(fields)})"]
    if finish is not None:
        lines += ["    finish(made, set(fields))"] if calls else [f"    {line}" for line in _PYDANTIC_STATE]
    lines += ["    return made"]
    made: Callable[[Tree], Any] = _made(lines, names, "read")
    return made


_PYDANTIC_STATE = (
    "put___pydantic_fields_set__(made, set(fields))",
    "put___pydantic_extra__(made, None)",
    "put___pydantic_private__(made, None)",
)


def _setters(cls: type) -> dict[str, Any]:
    """Return what sets the state that no field is, a third faster than `object.__setattr__` does."""
    places = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    found = {name: vars(base)[name] for base in reversed(cls.__mro__) for name in places if name in vars(base)}
    return {f"put_{name}": each.__set__ for name, each in found.items() if hasattr(each, "__set__")}


def _step(index: int, found: str, guard: str | None) -> list[str]:
    if guard is None:
        return [f"        x{index} = f{index}({found})"]
    condition = guard.replace("{x}", f"x{index}")
    return [f"        x{index} = {found}", f"        if {condition}: x{index} = f{index}(x{index})"]


def _object(fields: tuple[Any, ...]) -> str:
    return "{" + ", ".join(f"{field.name!r}: x{index}" for index, field in enumerate(fields)) + "}"


def _made(lines: list[str], names: dict[str, Any], name: str) -> Any:
    # The text consists of reprs of field names and of our own guards; values only come in through `names`.
    exec("\n".join(lines), names)
    return names[name]
