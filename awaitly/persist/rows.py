"""Facts to rows and back. A row is what a store keeps of a fact besides its run, sequence number and fence.

The names of a fact's class and fields are the stored format: renaming one needs a migration of every store.
"""

import dataclasses
import json
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple, cast

from awaitly.errors import CorruptCheckpoint
from awaitly.model import facts
from awaitly.model.facts import Ending, Fact, StepFinished


class Row(NamedTuple):
    """A fact as columns: what is asked for by itself, the rest as JSON, and what the codec wrote."""

    at: float
    kind: str
    call: str | None
    detail: str
    payload: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    fact: type[Fact]
    details: tuple[str, ...]
    has_call: bool
    blob: str | None  # the field that the codec wrote


_BLOBS = ("payload", "arguments")
_COLUMNS = ("at", "call")


def _kind(cls: type[Fact]) -> _Kind:
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    blob = next((name for name in _BLOBS if fields.get(name) is bytes), None)
    details = tuple(name for name in fields if name not in (*_COLUMNS, blob))
    return _Kind(cls, details, "call" in fields, blob)


_KINDS = {
    cls.__name__: _kind(cls)
    for cls in vars(facts).values()
    if isinstance(cls, type) and issubclass(cls, Fact) and not cls.__subclasses__() and cls is not Fact
}
_REPAIR = "Restore the store from a backup, or fork the run at a step before this one"
_compact = json.JSONEncoder(separators=(",", ":")).encode


def encoded(fact: Fact) -> Row:
    """Return the row of a fact."""
    if type(fact) is StepFinished:
        return _step_finished(fact)

    name = type(fact).__name__
    kind = _KINDS[name]
    detail = {field: getattr(fact, field) for field in kind.details}
    call = cast(str, getattr(fact, "call")) if kind.has_call else None  # noqa: B009 - not every fact has one
    payload = cast(bytes, getattr(fact, kind.blob)) if kind.blob else None
    return Row(fact.at, name, call, _compact(detail), payload)


def decoded(run: str, seq: int, row: Row) -> Fact:
    """Return the fact of a row.

    Raises:
        CorruptCheckpoint: If there is no such fact; it names the run, the sequence number and the kind.
    """
    try:
        kind = _KINDS[row.kind]
        fields = json.loads(row.detail)
        if "ending" in fields:
            fields["ending"] = Ending(fields["ending"])
        if kind.has_call:
            fields["call"] = _required(row.call, str)
        if kind.blob:
            fields[kind.blob] = _required(row.payload, bytes)
        _required(row.at, float)
        return kind.fact(at=row.at, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(run, seq, row.kind, error) from error


def unreadable(run: str, seq: int, kind: str, reason: Exception) -> CorruptCheckpoint:
    """Return the error for a row that holds no fact."""
    return CorruptCheckpoint(
        f"run {run!r} holds no readable {kind!r} at sequence number {seq}: {type(reason).__name__}: {reason}",
        hint=_REPAIR,
    )


def missing(run: str, seq: int) -> CorruptCheckpoint:
    """Return the error for a journal in which a fact is missing."""
    return CorruptCheckpoint(
        f"run {run!r} has later facts, but none at sequence number {seq}",
        hint=_REPAIR,
    )


def _step_finished(fact: StepFinished) -> Row:
    # By hand, as every step writes one: a third of the time that the general way takes.
    rare = f',"source":{quoted(fact.source)},"variant":{quoted(fact.variant)}' if fact.source or fact.variant else ""
    return Row(
        fact.at,
        "StepFinished",
        fact.call,
        f'{{"step":{quoted(fact.step)},"arguments":{quoted(fact.arguments)},"ending":"{fact.ending}"'
        f',"attempts":{fact.attempts},"seconds":{fact.seconds}{rare}}}',
        fact.payload,
    )


def _required(value: object, cls: Callable[..., object]) -> object:
    if type(value) is not cls:
        raise TypeError(f"expected {cls}, found {value!r}")
    return value
