"""From an annotation to its node: which family a type belongs to, and what cannot be stored at all."""

import dataclasses
import sys
import typing
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import PurePath
from typing import Any, ForwardRef, NewType, TypeVar, get_args, get_origin

import typing_extensions

from awaitly.errors import UnstorableType
from awaitly.persist.codec.annotations import UNIONS, WRAPPERS, alias_value, is_alias, name_of, resolve
from awaitly.persist.codec.choices import literal
from awaitly.persist.codec.classes import class_node, exception_fields
from awaitly.persist.codec.dynamic import Dynamic
from awaitly.persist.codec.exceptions import Exceptions, Fields
from awaitly.persist.codec.generics import collection_node
from awaitly.persist.codec.moments import MOMENTS
from awaitly.persist.codec.node import Misfit, Node, Tree, reference, unmade, wrong
from awaitly.persist.codec.refusals import reason
from awaitly.persist.codec.scalars import PATHS, SCALARS, paths, scalar
from awaitly.persist.codec.unions import union

_DICT = frozenset({dict})
# Tuples, not sets: an annotation need not be hashable.
_NEVER = (typing.Never, typing.NoReturn, typing_extensions.Never, typing_extensions.NoReturn)
_ANYTHING = (Any, object, typing_extensions.Any)
_TEXT = (typing.LiteralString, typing_extensions.LiteralString)
_SELF = (typing.Self, typing_extensions.Self)
# What pydantic writes for a plain type with a condition, without an Annotated around it.
_PYDANTIC: dict[str, Any] = {
    "EmailStr": str,
    "AwareDatetime": datetime,
    "NaiveDatetime": datetime,
    "PastDatetime": datetime,
    "FutureDatetime": datetime,
    "PastDate": date,
    "FutureDate": date,
}


class Compiler:
    """Makes the nodes of annotations, each once.

    Args:
        canonical: whether trees are for comparing arguments, rather than for restoring them: the order of the
            entries of a mapping and which fields of a model were set explicitly do not count.
    """

    def __init__(self, *, canonical: bool) -> None:
        self.canonical = canonical
        self.dynamic = Dynamic(sort=canonical)
        self.nodes: dict[Any, Node] = {}
        self._fields: dict[type, Fields] = {}
        builtin = Exceptions(self.dynamic, self.fields_of, ())
        self.dynamic.read("$error", builtin.from_tree)
        self.dynamic.otherwise.append(
            lambda value: (
                ("$error", builtin.to_tree(value))
                if isinstance(value, BaseException) and builtin.knows(type(value))
                else None
            )
        )
        if canonical:
            self.dynamic.otherwise.append(self._by_class)

    def node(self, annotation: Any, where: str, namespace: Mapping[str, Any] | None = None) -> Node:
        """Return the node of an annotation.

        Raises:
            UnstorableType: if its values cannot be stored; the message begins with `where`.
        """
        try:
            found = self.nodes.get(annotation)
        except TypeError:  # Annotated[int, {}]: the annotation cannot be hashed
            return _Compilation(self, where, namespace).node(annotation)
        if found is None:
            compilation = _Compilation(self, where, namespace)
            found = compilation.node(annotation)
            if not compilation.local:
                self.nodes.update(compilation.nodes)
                self.nodes[annotation] = found
        return found

    def fields_of(self, cls: type[BaseException]) -> Fields:
        """Return the nodes of the annotated attributes of an exception class."""
        return self._make_fields(cls, cls.__qualname__)

    def exceptions(self, classes: tuple[type[BaseException], ...], where: str) -> Exceptions:
        """Return what encodes exceptions of these classes.

        Raises:
            UnstorableType: if a field of one of them cannot be stored.
        """
        for cls in classes:
            self._make_fields(cls, where)
        return Exceptions(self.dynamic, self.fields_of, classes)

    def _make_fields(self, cls: type[BaseException], where: str) -> Fields:
        if cls in self._fields:
            return self._fields[cls]
        fields = self._fields[cls] = {}  # in place before it is filled: a class may have a field of itself
        try:
            fields.update(exception_fields(_Compilation(self, where, None), cls))
        except UnstorableType:
            del self._fields[cls]
            raise
        return fields

    def _by_class(self, value: Any) -> tuple[str, Tree] | None:
        """To compare arguments, the class of a value is as good as an annotation."""
        cls = type(value)
        try:
            node = self.node(cls, cls.__qualname__)
        except UnstorableType as error:
            raise Misfit(error.message, error.hint) from error
        if cls not in node.classes:
            return None
        return f"${cls.__module__}:{cls.__qualname__}", node.to_tree(value)


class _Compilation:
    """Of one annotation: what is being made, so that a type may contain itself."""

    def __init__(self, compiler: Compiler, where: str, namespace: Mapping[str, Any] | None) -> None:
        self.compiler = compiler
        self.where = where
        self.names: tuple[Mapping[str, Any], ...] = () if namespace is None else (namespace,)
        self.named: dict[str, Node] = {}
        self.local = False  # whether a name in quotes meant something only here
        self.nodes: dict[Any, Node] = {}
        self.trail: list[str] = []
        self.owners: list[Any] = []  # the classes around, innermost last: what Self means

    def node(self, annotation: Any) -> Node:
        if isinstance(annotation, str | ForwardRef):
            return self._named(annotation)
        try:
            known = self.compiler.nodes.get(annotation)
            unfinished = self.nodes.get(annotation)
        except TypeError:
            return self._made(annotation)
        if known is not None:
            return known
        if unfinished is None:
            return self._made(annotation)
        return unfinished if unfinished.made else reference(unfinished)

    @property
    def canonical(self) -> bool:
        return self.compiler.canonical

    def begin(self, annotation: Any, cls: type, label: str) -> Node:
        node = self.nodes[annotation] = unmade(label, (cls,), _DICT)
        return node

    def exceptions(self, cls: type[BaseException]) -> Node:
        return self.compiler.exceptions((cls,), self.place()).node(cls)

    def within(self, step: str, annotation: Any) -> Node:
        self.trail.append(step)
        node = self.node(annotation)
        self.trail.pop()
        return node

    def refuse(self, annotation: Any, why: str | None = None, hint: str | None = None) -> UnstorableType:
        given = reason(annotation)
        trail = f" (in {' → '.join(self.trail)})" if self.trail else ""
        return UnstorableType(
            f"{self.where}: {name_of(annotation)}{trail} cannot be stored: {why or given.why}", hint=hint or given.hint
        )

    def _named(self, written: str | ForwardRef) -> Node:
        key = written if isinstance(written, str) else written.__forward_arg__
        if key in self.named:
            return self.named[key] if self.named[key].made else reference(self.named[key])
        self.local = True
        node = self.named[key] = unmade(key, (), None)
        return self._become(node, resolve(written, dict(ChainMap(*reversed(self.names))), self.place()))

    def place(self) -> str:
        return f"{self.where} (in {' → '.join(self.trail)})" if self.trail else self.where

    def _recursive(self, key: Any, label: str, meaning: Any) -> Node:
        """Make what a name means, inside of which the name may occur again."""
        node = self.nodes[key] = unmade(label, (), None)
        return self._become(node, meaning)

    def _become(self, node: Node, meaning: Any) -> Node:
        made = self.node(meaning)
        for attribute in dataclasses.fields(Node):
            if attribute.name != "label":
                setattr(node, attribute.name, getattr(made, attribute.name))
        return node

    def _made(self, annotation: Any) -> Node:
        if annotation is None:
            return SCALARS[type(None)]
        if isinstance(annotation, type) and (annotation in SCALARS or annotation in MOMENTS):
            return SCALARS.get(annotation) or MOMENTS[annotation]
        if is_alias(annotation):
            return self._alias(annotation)
        if isinstance(annotation, NewType):
            return self.node(annotation.__supertype__)
        if isinstance(annotation, TypeVar):
            return self.node(_meaning(annotation))
        if isinstance(annotation, dataclasses.InitVar):
            raise self.refuse(annotation, "an InitVar is not kept by the object, so it cannot be restored")
        return self._special(annotation) or self._generic(annotation) or self._class(annotation)

    def _alias(self, annotation: Any) -> Node:
        with self._inside(annotation):
            return self._recursive(annotation, name_of(annotation), alias_value(annotation, self.place()))

    @contextmanager
    def _inside(self, owner: Any) -> Iterator[None]:
        """Let names in quotes mean what they mean in the module of a class or an alias."""
        names, named, local = self.names, self.named, self.local
        module = sys.modules.get(getattr(owner, "__module__", None) or "")
        self.names, self.named = (*names, vars(module) if module else {}), {}
        yield
        self.names, self.named = names, named
        self.local = local or (self.local and bool(names))

    def _special(self, annotation: Any) -> Node | None:
        if annotation in _ANYTHING:
            return self.compiler.dynamic.node("Any")
        if annotation in _NEVER:
            return _never()
        if annotation in _TEXT:
            return SCALARS[str]
        if annotation in _SELF and self.owners:
            return self.node(self.owners[-1])
        if type(annotation).__name__ == "PydanticRecursiveRef":
            return self.node(self._owner(annotation))
        return None

    def _owner(self, annotation: Any) -> Any:
        """Return the generic model, among those around, that pydantic means where one contains itself."""
        for owner in reversed(self.owners):
            metadata = getattr(owner, "__pydantic_generic_metadata__", None)
            origin = metadata and metadata["origin"]
            if origin and annotation.type_ref.startswith(f"{origin.__module__}.{origin.__qualname__}:"):
                return owner
        raise self.refuse(annotation, "pydantic does not say which class it is", "Name the class without parameters")

    def _generic(self, annotation: Any) -> Node | None:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in UNIONS:
            return self._union(annotation, arguments)
        if origin in WRAPPERS:
            return self.node(arguments[0])
        if origin is typing.Literal or origin is typing_extensions.Literal:
            return literal(arguments, name_of(annotation))
        return collection_node(self, annotation)

    def _union(self, annotation: Any, arguments: tuple[Any, ...]) -> Node:
        chosen = [each for each in arguments if not (each in (int, bool) and float in arguments)]
        chosen = [each for each in chosen if not (each is bool and int in arguments)]
        chosen = [each for each in chosen if each not in _NEVER] or [typing.Never]
        labels = [name_of(each) for each in chosen]
        members = []
        for each, label in zip(chosen, labels, strict=True):
            tag = label if labels.count(label) == 1 else name_of(each, qualified=True)
            members.append(dataclasses.replace(self.node(each), label=tag))
        if len({member.label for member in members}) < len(members):
            raise self.refuse(annotation, "two of its classes have the same name and module", "Rename one of them")
        return union(members, name_of(annotation)) if len(members) > 1 else members[0]

    def _class(self, annotation: Any) -> Node:
        cls = get_origin(annotation) or annotation
        if not isinstance(cls, type):
            raise self.refuse(annotation)
        if cls in PATHS:
            return self._path(cls)
        if cls.__module__.startswith("pydantic."):
            return self._pydantic(cls)
        with self._inside(cls):
            self.owners.append(annotation)
            node = class_node(self, cls, annotation)
            self.owners.pop()
        if node is not None:
            return node
        raise self.refuse(annotation)

    def _path(self, cls: type[PurePath]) -> Node:
        try:
            return paths(cls)
        except NotImplementedError:
            raise self.refuse(cls, "this platform has no such paths", "Annotate Path or PurePath") from None

    def _pydantic(self, cls: Any) -> Node:
        if cls.__name__ in _PYDANTIC:
            return self.node(_PYDANTIC[cls.__name__])
        if cls.__name__ == "ByteSize":
            return scalar(cls, int, cls, int)
        if cls.__module__ == "pydantic.networks" and hasattr(cls, "unicode_string"):
            return scalar(cls, str, cls)
        if (node := class_node(self, cls, cls)) is not None:
            return node
        raise self.refuse(cls)


def _never() -> Node:
    def refuse(value: Any) -> Any:
        raise wrong("no value at all", value)

    return Node("Never", (), frozenset(), refuse, refuse)


def _meaning(variable: TypeVar) -> Any:
    default = getattr(variable, "__default__", typing_extensions.NoDefault)
    if default is not typing_extensions.NoDefault and default is not None:
        return default
    if variable.__constraints__:
        return typing.Union[variable.__constraints__]  # noqa: UP007 - of a tuple
    return Any if variable.__bound__ is None else variable.__bound__
