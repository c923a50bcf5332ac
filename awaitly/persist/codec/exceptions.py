"""Exceptions: class, fields, arguments, attributes, notes, causes, and the members of groups.

They are restored without running `__init__`, whose parameters need not be their `args`. Stored names of classes
are looked up among the classes that may occur, and never imported.
"""

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from awaitly.errors import AwaitlyError, UnexpectedError
from awaitly.persist.codec.dynamic import Dynamic
from awaitly.persist.codec.node import Misfit, Node, Tree, class_name, describe, written, wrong
from awaitly.texts import valid

# The annotated attributes of an exception class, by name.
Fields = dict[str, Node]

_BUILTIN = {
    name: cls for name, cls in vars(builtins).items() if isinstance(cls, type) and issubclass(cls, BaseException)
}
# State of builtin exceptions that is neither in `args` nor in `__dict__`.
_NATIVE: dict[type[BaseException], tuple[str, ...]] = {
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}
_LONGEST_CHAIN = 12
_MOST = 100
_HINT = "Raise a Failure with the fields that its callers need"


class Exceptions:
    """Makes trees of the exceptions of certain classes and reads them.

    Args:
        dynamic: encodes arguments and attributes without an annotation.
        fields: returns the annotated attributes of a class.
        declared: the classes that may occur, with their subclasses, beside builtin ones and awaitly's own.
    """

    def __init__(
        self, dynamic: Dynamic, fields: Callable[[type[BaseException]], Fields], declared: Iterable[type[BaseException]]
    ) -> None:
        self.dynamic = dynamic
        self.fields = fields
        self.declared = (*declared, AwaitlyError)
        self._classes: dict[str, type[BaseException]] = {}

    def node(self, cls: type[BaseException]) -> Node:
        """Return the node of `cls` and its subclasses."""

        def to_tree(value: Any) -> Tree:
            if not isinstance(value, cls):
                raise wrong(class_name(cls), value)
            return self.to_tree(value)

        def from_tree(tree: Tree) -> Any:
            restored = self.from_tree(tree)
            if not isinstance(restored, cls):
                raise wrong(f"a stored {class_name(cls)}", restored)
            return restored

        def accepts(found: type) -> bool:
            return issubclass(found, cls)

        return Node(cls.__name__, (cls,), frozenset({dict}), to_tree, from_tree, accepts=accepts, deep=True)

    def knows(self, cls: type[BaseException]) -> bool:
        """Whether a stored exception of this class would be found again."""
        return self._class(_tag(cls)) is cls

    def to_tree(self, error: BaseException) -> Tree:
        """Return the tree of an exception and its causes.

        Raises:
            Misfit: if its class is not known here, or something that it carries cannot be stored.
        """
        if not self.knows(type(error)):
            raise Misfit(
                f"found {class_name(type(error))}, which is neither declared nor builtin",
                "Declare the class, at the top of its module, in errors=",
            )
        return self._tree(error, _Budget())

    def _tree(self, error: BaseException, budget: "_Budget") -> Tree:
        budget.enter(error)
        tree = self._parts(error)
        if notes := getattr(error, "__notes__", None):
            tree["notes"] = [valid(str(note)) for note in notes]
        if isinstance(error, BaseExceptionGroup):
            tree["message"] = valid(error.message)
            tree["members"] = [self._related(each, budget) or _description(each) for each in error.exceptions]
        if error.__cause__ is not None and (cause := self._related(error.__cause__, budget)):
            tree["cause"] = cause
        if error.__context__ is not None:
            same = error.__context__ is error.__cause__
            tree["context"] = None if same else self._related(error.__context__, budget)
        if error.__suppress_context__:
            tree["suppress"] = True
        budget.leave()
        return tree

    def _related(self, error: BaseException, budget: "_Budget") -> Tree:
        """Return the tree of a cause or a member; what cannot be stored is described."""
        if not budget.allows(error):
            return None
        if self.knows(type(error)):
            depth = budget.depth
            try:
                tree = self._tree(error, budget)
                self.from_tree(tree)  # some classes cannot be made without their own __new__
            except Exception:  # noqa: BLE001 - whatever it carries must not keep its effect from being stored
                budget.depth = depth
            else:
                return tree
        return _description(error)

    def _parts(self, error: BaseException) -> dict[str, Tree]:
        tree: dict[str, Tree] = {"class": _tag(type(error))}
        nodes = self.fields(type(error))
        state = {name: value for name, value in vars(error).items() if name != "__notes__"}
        fields = {name: _at(node, name, state) for name, node in nodes.items() if name in state}
        if fields:
            tree["fields"] = fields
        if args := self._args(error, {name: state[name] for name in fields}):
            tree["args"] = args
        if attributes := self._attributes(error, state, known=fields):
            tree["state"] = attributes
        return tree

    def _args(self, error: BaseException, fields: dict[str, object]) -> list[Tree]:
        if isinstance(error, BaseExceptionGroup):
            return []
        # Only its pickle knows the file names of an OSError.
        args = OSError.__reduce__(error)[1] if isinstance(error, OSError) else error.args
        made: list[Tree] = []
        for index, value in enumerate(args):
            name = next((name for name, held in fields.items() if held is value), None)
            try:
                made.append({"$field": name} if name is not None else _checked(self.dynamic.to_tree(value)))
            except Misfit as misfit:
                misfit.hint = _HINT
                raise misfit.at(f".args[{index}]") from None
        return made

    def _attributes(self, error: BaseException, state: dict[str, object], known: Iterable[str]) -> dict[str, Tree]:
        native = {
            name: value
            for cls, names in _NATIVE.items()
            if isinstance(error, cls)
            for name in names
            if (value := getattr(error, name, None)) is not None
        }
        made: dict[str, Tree] = {}
        for name, value in {**native, **state}.items():
            if name in known:
                continue
            try:
                made[name] = _checked(self.dynamic.to_tree(value))
            except Misfit as misfit:
                if not name.startswith("_"):
                    misfit.hint = _HINT
                    raise misfit.at(f".{name}") from None
        return made

    def from_tree(self, tree: Tree) -> BaseException:
        """Restore an exception and its causes.

        Raises:
            Misfit: if the tree is not that of an exception whose class is known here.
        """
        if type(tree) is not dict:
            raise wrong("a stored exception", tree)
        if "unknown" in tree:
            return _described(tree)
        error = self._restored(tree)
        for note in tree.get("notes", ()):
            error.add_note(note)
        if (cause := tree.get("cause")) is not None:
            error.__cause__ = self.from_tree(cause)
        if "context" in tree:
            context = tree["context"]
            error.__context__ = error.__cause__ if context is None else self.from_tree(context)
        error.__suppress_context__ = "suppress" in tree
        return error

    def _restored(self, tree: dict[str, Tree]) -> BaseException:
        cls = self._class(tree.get("class"))
        if cls is None:
            raise Misfit(f"the stored class {tree.get('class')!r} is not declared here")
        nodes = self.fields(cls)
        fields = {}
        for name, held in tree.get("fields", {}).items():
            if name not in nodes:
                raise Misfit(f"{class_name(cls)} has no field {name!r}")
            fields[name] = nodes[name].from_tree(held)
        if issubclass(cls, BaseExceptionGroup):
            members = [self.from_tree(each) for each in tree["members"]]
            error: BaseException = BaseExceptionGroup.__new__(cls, tree["message"], members)
        else:
            error = _new(cls, tuple(self._arg(each, fields) for each in tree.get("args", ())))
        vars(error).update(fields)
        for name, held in tree.get("state", {}).items():
            value = self.dynamic.from_tree(held)
            if _is_native(cls, name):
                setattr(error, name, value)
            else:
                vars(error)[name] = value
        return error

    def _arg(self, tree: Tree, fields: dict[str, object]) -> object:
        if type(tree) is dict and "$field" in tree:
            return fields[tree["$field"]]
        return self.dynamic.from_tree(tree)

    def _class(self, tag: Tree) -> type[BaseException] | None:
        if type(tag) is not str:
            return None
        if tag in _BUILTIN:
            return _BUILTIN[tag]
        if tag not in self._classes:  # classes may have been defined since
            # The declared last: where several were made by one function, they are the ones that are meant.
            self._classes = {_tag(cls): cls for cls in (*_family(self.declared), *self.declared)}
        return self._classes.get(tag) or self._moved(tag)

    def _moved(self, tag: str) -> type[BaseException] | None:
        """Find the one class of this name, which was stored when its module was called otherwise, as `__main__` is."""
        name = tag.partition(":")[2]
        # Awaitly's own modules keep their names, and people may use the names of its errors for theirs.
        theirs = (cls for cls in self._classes.values() if cls.__module__ != AwaitlyError.__module__)
        found = [cls for cls in theirs if name and cls.__qualname__ == name]
        return found[0] if len(found) == 1 else None


class _Budget:
    """Bounds how far the chain of causes is followed, which may be long, and may even be a circle."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.depth = 0

    def allows(self, error: BaseException) -> bool:
        return id(error) not in self.seen and self.depth < _LONGEST_CHAIN and len(self.seen) < _MOST

    def enter(self, error: BaseException) -> None:
        self.seen.add(id(error))
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1


def _at(node: Node, name: str, state: dict[str, object]) -> Tree:
    try:
        return _checked(node.to_tree(state[name]))
    except Misfit as misfit:
        raise misfit.at(f".{name}") from None


def _checked(tree: Tree) -> Tree:
    """Return a tree of which JSON can be written, which is found out here, where it can be said what it belongs to."""
    written(tree)
    return tree


def _tag(cls: type) -> str:
    if _BUILTIN.get(cls.__name__) is cls:
        return cls.__name__
    return f"{cls.__module__}:{cls.__qualname__}"


def _family(classes: Iterable[type[BaseException]]) -> Iterator[type[BaseException]]:
    seen: set[type[BaseException]] = set()
    waiting = list(classes)
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            yield cls
            waiting.extend(cls.__subclasses__())


def _new(cls: type[BaseException], args: tuple[object, ...]) -> BaseException:
    native = next(base for base in cls.__mro__ if _BUILTIN.get(base.__name__) is base)
    try:
        error: BaseException = native.__new__(cls, *args)
        native.__init__(error, *args)
    except (TypeError, ValueError) as failure:
        raise Misfit(f"{class_name(cls)} cannot be made of the arguments {describe(args)}: {failure}") from failure
    if not isinstance(error, OSError):
        error.args = args
    return error


def _is_native(cls: type[BaseException], name: str) -> bool:
    return any(issubclass(cls, base) and name in names for base, names in _NATIVE.items())


def _description(error: BaseException) -> Tree:
    described = UnexpectedError.of(error)
    tree = {"unknown": described.type_name, "message": described.message, "notes": list(described.notes)}
    return tree | ({"code": described.cause_code} if described.cause_code else {})


def _described(tree: dict[str, Tree]) -> BaseException:
    return UnexpectedError(
        str(tree["message"]), type_name=str(tree["unknown"]), notes=tree["notes"], cause_code=tree.get("code")
    )
