"""The codec of what a step fails with: declared exceptions, values of an `Err`, unexpected errors."""

from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic_core import from_json

from awaitly.errors import UnexpectedError
from awaitly.persist.codec.annotations import UNIONS, WRAPPERS, alias_value, is_alias
from awaitly.persist.codec.node import Tree, written, wrong
from awaitly.persist.codec.typed import EXACT, cause_of, corrupt, parse, refusal

_LONGEST_TRACEBACK = 8_000
_RAISED = "raised"
_VALUE = "value"


class ErrorCodec:
    """Stores the failures of a step: exceptions of declared, builtin and awaitly's own classes, or declared values.

    Subclasses of declared classes come back as what they are if their class is defined when they are read.
    Causes and members of groups that are of other classes come back as `UnexpectedError`.

    Args:
        declared: exception classes, and annotations of the values that an `Err` may hold.
        where: whose failures they are, which messages begin with.
        namespace: what names in quotes mean.

    Raises:
        UnstorableType: if a declared class has a field, or a value a type, that cannot be stored.
    """

    def __init__(
        self, declared: tuple[Any, ...], *, where: str = "errors", namespace: Mapping[str, Any] | None = None
    ) -> None:
        self.where = where
        classes: list[type[BaseException]] = []
        values: list[Any] = []
        for annotation in declared:
            _sort_out(annotation, classes, values, where)
        self._exceptions = EXACT.exceptions(tuple(classes), where)
        meaning = Union[tuple(values)] if values else Any  # noqa: UP007 - of a tuple
        self._values = EXACT.node(meaning, where, namespace)

    def encode(self, error: object) -> bytes:
        """Return the stored form of a failure.

        Raises:
            Unserialisable: if the failure is none of the declared, or carries what cannot be stored.
        """
        return self.roundtrip(error)[0]

    def decode(self, data: bytes) -> Any:
        """Restore a failure.

        Raises:
            CorruptCheckpoint: if `data` is not the stored form of a failure that is declared here.
        """
        try:
            return self._restored(from_json(data))
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise corrupt(error, self.where) from cause_of(error)

    def roundtrip(self, error: object) -> tuple[bytes, Any]:
        """Return the stored form of a failure, and the failure as it will be restored from it.

        Exceptions keep their tracebacks, and an `UnexpectedError` keeps the original as its cause.

        Raises:
            Unserialisable: as `encode` does.
        """
        try:
            data = written(self._tree(error))
            restored = self._restored(parse(data))
        except Exception as failure:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise refusal(failure, self.where, "unserialisable-result", "error") from cause_of(failure)
        if isinstance(error, BaseException):
            _keep_tracebacks(error, restored)
            if isinstance(error, UnexpectedError):
                restored.__cause__ = error.__cause__
        return data, restored

    def _tree(self, error: object) -> Tree:
        if not isinstance(error, BaseException):
            tree = self._values.to_tree(error)
            written(tree)  # says where in it something cannot be stored
            return {_VALUE: tree}
        tree = self._exceptions.to_tree(error)
        state = tree.get("state", {})
        if isinstance(error, UnexpectedError) and type(text := state.get("traceback")) is str:
            state["traceback"] = _shortened(text)
        return {_RAISED: tree}

    def _restored(self, tree: Tree) -> Any:
        match tree:
            case {"raised": error}:
                return self._exceptions.from_tree(error)
            case {"value": value}:
                return self._values.from_tree(value)
        raise wrong("a stored failure", tree)


def _sort_out(annotation: Any, classes: list[type[BaseException]], values: list[Any], where: str) -> None:
    """Tell exception classes from annotations of values, in unions and aliases too."""
    if is_alias(annotation):
        annotation = alias_value(annotation, where)
    origin = get_origin(annotation)
    if origin in WRAPPERS:
        _sort_out(get_args(annotation)[0], classes, values, where)
    elif origin in UNIONS:
        for each in get_args(annotation):
            _sort_out(each, classes, values, where)
    elif isinstance(cls := origin or annotation, type) and issubclass(cls, BaseException):
        classes.append(cls)
    else:
        values.append(annotation)


def _shortened(text: str) -> str:
    """Keep both ends of a traceback: where it began and what was raised."""
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n  ... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _keep_tracebacks(original: BaseException, restored: BaseException) -> None:
    seen: set[int] = set()
    live: BaseException | None = original
    made: BaseException | None = restored
    while live is not None and made is not None and id(live) not in seen:
        seen.add(id(live))
        made.__traceback__ = live.__traceback__
        live, made = live.__cause__, made.__cause__
