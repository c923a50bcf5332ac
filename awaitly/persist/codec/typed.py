"""The codec of a type: values to bytes and back, and both at once for the live path."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic_core import from_json

from awaitly.errors import CorruptCheckpoint, Unserialisable, UnserialisableCode
from awaitly.persist.codec.compiler import Compiler
from awaitly.persist.codec.node import Misfit, Node, Tree, written

T = TypeVar("T")

# The parser gives up at 200 levels; some are left for what a checkpoint is put into.
_MARGIN = 8
_OPENING, _CLOSING = b"[" * _MARGIN, b"]" * _MARGIN

EXACT = Compiler(canonical=False)
CANONICAL = Compiler(canonical=True)


class Codec(Generic[T]):
    """Stores values of one type as JSON and restores them, equal and with the same types.

    Attributes:
        where: whose values they are, which messages begin with.
        immutable: whether `roundtrip` hands back the value that it was given.
    """

    __slots__ = ("_encode", "_node", "_restore", "code", "immutable", "where")

    def __init__(self, node: Node, where: str, code: UnserialisableCode = "unserialisable-result") -> None:
        self.where = where
        self.code = code
        self.immutable = node.immutable
        self._node = node
        self._encode = node.to_tree
        self._restore = node.from_tree

    def encode(self, value: T) -> bytes:
        """Return the stored form of a value.

        Raises:
            Unserialisable: if the value is not what the annotation says, or something in it has no stored form.
        """
        try:
            data = written(self._encode(value))
            if self._node.deep:
                parse(data)
            return data
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise self._refusal(error) from cause_of(error)

    def decode(self, data: bytes) -> T:
        """Restore a value.

        Raises:
            CorruptCheckpoint: if `data` is not the stored form of a value of this type.
        """
        try:
            return self._restore(from_json(data))  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise corrupt(error, self.where) from cause_of(error)

    def roundtrip(self, value: T) -> tuple[bytes, T]:
        """Return the stored form of a value, and the value as it will be restored from it.

        Raises:
            Unserialisable: as `encode` does.
        """
        try:
            tree = self._encode(value)
            data = written(tree)
            if self.immutable:
                return data, value
            if self._node.deep:
                tree = parse(data)
            return data, self._restore(tree)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise self._refusal(error) from cause_of(error)

    def to_tree(self, value: T) -> Tree:
        """Return what `encode` writes, as objects that JSON knows.

        Raises:
            Unserialisable: as `encode` does.
        """
        try:
            return self._encode(value)
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise self._refusal(error) from cause_of(error)

    def from_tree(self, tree: Tree) -> T:
        """Restore a value from what `to_tree` returned; parts of `tree` may become parts of the value.

        Raises:
            CorruptCheckpoint: as `decode` does.
        """
        try:
            return self._restore(tree)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - whatever it is becomes one error of ours
            raise corrupt(error, self.where) from cause_of(error)

    def _refusal(self, error: Exception) -> Unserialisable:
        owner, _, verb = self.where.rpartition(" ")
        if verb != "returns":
            return refusal(error, self.where, self.code)
        message, hint = _returned(error)
        return Unserialisable(f"{owner} returned {message}", hint=hint, code=self.code)


def codec_for(annotation: Any, *, where: str, namespace: Mapping[str, Any] | None = None) -> Codec[Any]:
    """Return the codec of an annotation.

    Args:
        annotation: any annotation, resolved or not.
        where: whose it is, as in `charge returns`.
        namespace: what names in quotes mean.

    Raises:
        UnstorableType: if values of this type could not be restored.
    """
    return Codec(EXACT.node(annotation, where, namespace), where)


def parse(data: bytes) -> Tree:
    """Return the tree of `data`, which must not be so deep that it could not be read back where it is put."""
    tree = from_json(b"%b%b%b" % (_OPENING, data, _CLOSING))
    for _ in range(_MARGIN):
        (tree,) = tree
    return tree


def refusal(error: Exception, where: str, code: UnserialisableCode, root: str = "result") -> Unserialisable:
    """Return the error that says why a value could not be stored."""
    message, hint = _explained(error, root)
    return Unserialisable(f"{where}: {message}", hint=hint, code=code)


def _returned(error: Exception) -> tuple[str, str | None]:
    """Return what was returned that could not be stored, as in `str 'two' where its annotation says int`."""
    if not isinstance(error, Misfit) or error.expected is None:
        message, hint = _explained(error, "result")
        return f"what cannot be stored: {message.removeprefix('result: ')}", hint
    place = f" at {error.place('result')}," if error.path else ""
    return f"{error.found}{place} where its annotation says {error.expected}", error.hint


def _explained(error: Exception, root: str) -> tuple[str, str | None]:
    if isinstance(error, Misfit):
        return error.located(root), error.hint
    if isinstance(error, RecursionError) or "recursion limit" in str(error):
        return f"{root}: it contains itself, or is nested too deep", "Refer to parts by an id"
    return f"{root}: {type(error).__name__}: {error}", None


def corrupt(error: Exception, where: str) -> CorruptCheckpoint:
    """Return the error that says why something stored could not be restored."""
    if isinstance(error, Misfit):
        return CorruptCheckpoint(f"{where}: stored value cannot be restored: {error.located('$')}", hint=error.hint)
    return CorruptCheckpoint(f"{where}: stored value cannot be restored: {type(error).__name__}: {error}")


def cause_of(error: Exception) -> BaseException | None:
    """Return what an error of ours names as its cause: nothing internal."""
    return error.__cause__ if isinstance(error, Misfit) else error
