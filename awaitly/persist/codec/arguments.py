"""The codec of a function's arguments: what a run was started with, and a fingerprint of what a step is called with."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from inspect import Parameter, Signature
from types import GenericAlias
from typing import Any, Literal
from uuid import UUID

from pydantic_core import PydanticSerializationError, from_json, to_json

from awaitly.errors import Unserialisable, UnstorableType
from awaitly.persist.codec.compiler import Compiler
from awaitly.persist.codec.node import Misfit, Node, Tree, written, wrong
from awaitly.persist.codec.typed import CANONICAL, EXACT, cause_of, corrupt, parse, refusal

_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_SHARED = frozenset({type(None), bool, int, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta})
_CODE: Literal["unserialisable-argument"] = "unserialisable-argument"


class ArgumentsCodec:
    """Stores the arguments of calls of one function, and tells calls with different arguments apart.

    Args:
        signature: of the function.
        annotations: of its parameters, resolved; what is missing may be anything.
        exclude: parameters that are neither stored nor compared.
        where: the function, which messages begin with.
        called: its name in what is said of arguments that do not fit the signature, as Python itself says it.
        namespace: what names in quotes mean, as in an alias that contains itself.

    Raises:
        UnstorableType: if a parameter that is not excluded takes values that cannot be stored.
    """

    def __init__(
        self,
        signature: Signature,
        annotations: Mapping[str, Any],
        *,
        exclude: frozenset[str] = frozenset(),
        where: str = "the function",
        called: str = "the function",
        namespace: Mapping[str, Any] | None = None,
    ) -> None:
        self.where = where
        self._parameters = [each for each in signature.parameters.values() if each.name not in exclude]
        self._excluded = exclude
        meanings = {each.name: _meaning(each, annotations) for each in self._parameters}
        self._exact = {name: _node(EXACT, meaning, name, where, namespace) for name, meaning in meanings.items()}
        self._canonical = {
            name: _node(CANONICAL, meaning, name, where, namespace) for name, meaning in meanings.items()
        }
        self._deep = any(node.deep for node in self._exact.values())
        every = list(signature.parameters.values())
        self._names = (
            [each.name for each in every if each.kind in _POSITIONAL],
            next((each.name for each in every if each.kind is Parameter.VAR_POSITIONAL), ""),
            next((each.name for each in every if each.kind is Parameter.VAR_KEYWORD), ""),
        )
        self._named = {each.name for each in every if each.kind in _BY_NAME}
        self._keys = _composed(called, every, self._canonical, inline=True)
        self._bound = _composed(called, every, {}, inline=False)

    def fingerprint(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return a short text that is the same for the same arguments, in every process.

        How they were passed, the order of sets and of mappings, and which fields of a model were set
        explicitly make no difference.

        Raises:
            Unserialisable: if an argument cannot be encoded (`unserialisable-argument`).
            TypeError: if the arguments do not fit the signature.
        """
        try:
            return blake2b(to_json(self._keys(*args, **kwargs)), digest_size=16).hexdigest()
        except (Misfit, PydanticSerializationError):  # looked at again, one argument after another
            return blake2b(self._lenient(args, kwargs), digest_size=16).hexdigest()
        except (ValueError, RecursionError) as error:
            raise self._refusal(error) from error

    def _lenient(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Encode arguments of which one is not exactly what its annotation says, such as an instance of a subclass."""
        trees: dict[str, Tree] = {}
        for name, value in self._bound(*args, **kwargs).items():
            if name not in self._canonical:
                continue
            try:
                trees[name] = self._canonical[name].to_tree(value)
            except Misfit as misfit:
                try:
                    trees[name] = {"$other": CANONICAL.dynamic.to_tree(value)}
                except Misfit:
                    raise self._refusal(misfit.at(name)) from None
        try:
            return _written(trees)
        except (Misfit, ValueError) as error:
            raise self._refusal(error) from cause_of(error)

    def own(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for their function alone: what it changes in them, its caller does not see.

        Excluded arguments and immutable values are passed as they are.
        """
        for value in args:
            if type(value) not in _SHARED:
                return self._owned(args, kwargs)
        if kwargs:
            for value in kwargs.values():
                if type(value) not in _SHARED:
                    return self._owned(args, kwargs)
        return args, kwargs

    def _owned(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names, rest, more = self._names
        owned = tuple(self._copied(name, value) for name, value in zip(names, args, strict=False))
        if len(args) > len(names):
            owned += self._copied(rest, args[len(names) :])
        keywords = {name: self._copied(name, value) for name, value in kwargs.items() if name in self._named}
        if len(keywords) < len(kwargs):
            keywords |= self._copied(more, {name: value for name, value in kwargs.items() if name not in self._named})
        return owned, keywords

    def _copied(self, name: str, value: Any) -> Any:
        if type(value) in _SHARED or name in self._excluded:
            return value
        node = self._exact[name]
        try:
            tree = node.to_tree(value)
            made = value if node.immutable else node.from_tree(tree)
        except Exception:  # noqa: BLE001 - not exactly what the annotation says: such arguments are accepted too
            made = None
        return made if type(made) is type(value) else _duplicate(value)

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the stored form of arguments, defaults included.

        Raises:
            Unserialisable: if an argument is not what its annotation says (`unserialisable-argument`).
            TypeError: if the arguments do not fit the signature.
        """
        bound = self._bound(*args, **kwargs)
        trees: dict[str, Tree] = {}
        try:
            for name, node in self._exact.items():
                try:
                    trees[name] = node.to_tree(bound[name])
                except Misfit as misfit:
                    raise misfit.at(name) from None
            data = _written(trees)
            if self._deep:
                parse(data)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise self._refusal(error) from cause_of(error)
        return data

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Restore arguments, in the form `function(*args, **kwargs)`.

        Raises:
            CorruptCheckpoint: if `data` is not the stored form of arguments of this function.
        """
        try:
            return self._restored(from_json(data))
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise corrupt(error, self.where) from cause_of(error)

    def _restored(self, trees: Tree) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if type(trees) is not dict or not trees.keys() <= self._exact.keys():
            raise wrong(f"stored arguments named {', '.join(self._exact) or 'nothing'}", trees)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_keyword = bool(self._excluded)
        for parameter in self._parameters:
            name = parameter.name
            if name not in trees:
                if parameter.default is Parameter.empty:
                    raise Misfit("the argument is not stored, and has no default").at(f".{name}")
                by_keyword = True
                continue
            try:
                value = self._exact[name].from_tree(trees[name])
            except Misfit as misfit:
                raise misfit.at(f".{name}") from None
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args.extend(value)
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif parameter.kind in _POSITIONAL and not by_keyword:
                args.append(value)
            else:
                kwargs[name] = value
        return tuple(args), kwargs

    def _refusal(self, error: Exception) -> Unserialisable:
        return refusal(error, self.where, _CODE, "argument ")


def _written(trees: dict[str, Tree]) -> bytes:
    try:
        return to_json(trees)
    except PydanticSerializationError:
        for name, tree in trees.items():
            try:
                written(tree)
            except Misfit as misfit:
                raise misfit.at(name) from None
        raise


def _duplicate(value: Any) -> Any:
    try:
        return deepcopy(value)
    except Exception:  # noqa: BLE001 - whatever its class raises: then there is only this one
        return value


def _meaning(parameter: Parameter, annotations: Mapping[str, Any]) -> Any:
    meaning = annotations.get(parameter.name, Any)
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return GenericAlias(tuple, (meaning, ...))
    return GenericAlias(dict, (str, meaning)) if parameter.kind is Parameter.VAR_KEYWORD else meaning


def _node(compiler: Compiler, meaning: Any, name: str, where: str, namespace: Mapping[str, Any] | None) -> Node:
    try:
        return compiler.node(meaning, f"{where}, argument {name!r}", namespace)
    except UnstorableType as error:
        raise UnstorableType(
            error.message,
            hint=f'{error.hint}; or, if it makes no difference, name it in @step(unfingerprinted=("{name}",))',
        ) from error


def _composed(
    called: str, parameters: list[Parameter], nodes: Mapping[str, Node], *, inline: bool
) -> Callable[..., dict[str, Tree]]:
    """Return a function with these parameters that returns the trees of its arguments, or else the arguments.

    Python itself binds the arguments, twenty times as fast as `Signature.bind`.
    """
    names: dict[str, Any] = {}
    written = []
    for index, parameter in enumerate(parameters):
        text = parameter.name
        if parameter.default is not Parameter.empty:
            names[f"__default_{index}"] = parameter.default
            text += f"=__default_{index}"
        written.append(text)
    entries = []
    for index, parameter in enumerate(parameters):
        name = parameter.name
        if not nodes:
            entries.append(f"{name!r}: {name}")
        elif name in nodes:
            names[f"__tree_{index}"] = nodes[name].to_tree
            guard = nodes[name].guard if inline else None
            tree = f"__tree_{index}({name})"
            if guard:
                tree = f"({tree} if {guard.replace('{x}', name)} else {name})"
            entries.append(f"{name!r}: {tree}")
    text = f"lambda {_parameter_list(parameters, written)}: {{{', '.join(entries)}}}"
    # The names of the parameters of a function that exists, and our own: nothing else is in the text.
    made: Callable[..., dict[str, Tree]] = eval(text, names)
    made.__qualname__ = called  # which Python names when the arguments do not fit
    return made


def _parameter_list(parameters: list[Parameter], written: list[str]) -> str:
    parts: list[str] = []
    starred = False
    for index, parameter in enumerate(parameters):
        kind = parameter.kind
        if kind is Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if kind is Parameter.VAR_POSITIONAL:
            starred = True
        parts.append(_STARS.get(kind, "") + written[index])
        following = parameters[index + 1].kind if index + 1 < len(parameters) else None
        if kind is Parameter.POSITIONAL_ONLY and following is not Parameter.POSITIONAL_ONLY:
            parts.append("/")
    return ", ".join(parts)
