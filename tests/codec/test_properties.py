"""Whatever type and whatever value: it comes back as it was, or is refused."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from inspect import signature
from pathlib import Path
from typing import Any, Literal, NamedTuple, Optional
from uuid import UUID

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, create_model

from awaitly.errors import CorruptCheckpoint, Unserialisable, UnstorableType
from awaitly.persist.codec import ArgumentsCodec, Codec, ErrorCodec, codec_for
from awaitly.result import Err, Ok, Result
from tests.codec.sameness import same
from tests.codec.shop import Color, Declined, Expired, LimitReached, Point, Rights, Size

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(10**20), 10**20)


class Spot(NamedTuple):
    row: int
    name: str


# A type with the values that it has.
Typed = tuple[Any, st.SearchStrategy[Any]]

SCALARS: list[Typed] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, NUMBERS | st.booleans()),
    (float, st.floats() | NUMBERS),
    (complex, st.complex_numbers()),
    (str, TEXT),
    (bytes, st.binary(max_size=8)),
    (bytearray, st.binary(max_size=8).map(bytearray)),
    (Decimal, st.decimals(allow_nan=False) | st.just(Decimal("NaN"))),
    (UUID, st.uuids()),
    (datetime, st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones(), allow_imaginary=True)),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Path, TEXT.filter(lambda text: "\0" not in text).map(Path)),
    (Color, st.sampled_from(Color)),
    (Size, st.sampled_from(Size)),
    (Rights, st.sampled_from([Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE, Rights(0)])),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    (Point, st.builds(Point, st.floats(), st.integers(), st.none() | st.builds(Point, st.floats(), st.floats()))),
    (Spot, st.builds(Spot, NUMBERS, TEXT)),
    (Declined, st.builds(Declined, TEXT) | st.builds(Expired, TEXT, since=st.none() | st.datetimes())),
]
HASHABLE: list[Typed] = [each for each in SCALARS if each[0] not in (bytearray, Declined, None)]
ANYTHING = st.recursive(
    st.one_of(
        *(values for kind, values in SCALARS if kind in (None, bool, int, float, str, bytes, Decimal, UUID, date))
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(NUMBERS, inner, max_size=2)
        | st.sets(NUMBERS, max_size=3)
    ),
    max_leaves=8,
)


def _union(members: list[Typed]) -> Typed:
    whole = members[0][0]
    for annotation, _ in members[1:]:
        whole = Optional[whole] if annotation is None else whole | annotation  # noqa: UP045 - of two values
    return whole, st.one_of(*(values for _, values in members))


def _model(members: list[Typed]) -> Typed:
    names = string.ascii_lowercase[: len(members)]
    fields: dict[str, Any] = {name: (kind, None) for name, (kind, _) in zip(names, members, strict=True)}
    cls = create_model("Model", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
    values = {name: each for name, (_, each) in zip(names, members, strict=True)}
    # Constructed, because pydantic would convert what it is given.
    return cls, st.fixed_dictionaries({}, optional=values).flatmap(
        lambda given: st.fixed_dictionaries(values).map(
            lambda every: cls.model_construct(_fields_set=set(given), **every)
        )
    )


def _dataclass(members: list[Typed], frozen: bool, slots: bool) -> Typed:
    names = string.ascii_lowercase[: len(members)]
    fields = [(name, kind) for name, (kind, _) in zip(names, members, strict=True)]
    cls = make_dataclass("Record", fields, frozen=frozen, slots=slots, eq=False)
    return cls, st.tuples(*(values for _, values in members)).map(lambda every: cls(*every))


def _compound(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    some = st.lists(inner, min_size=1, max_size=3)
    keys = st.sampled_from(HASHABLE)
    return st.one_of(
        inner.map(lambda each: (list[each[0]], st.lists(each[1], max_size=3))),
        inner.map(lambda each: (tuple[each[0], ...], st.lists(each[1], max_size=3).map(tuple))),
        inner.map(lambda each: (Sequence[each[0]], st.lists(each[1], max_size=3) | st.tuples(each[1]))),
        some.map(lambda each: (tuple[tuple(kind for kind, _ in each)], st.tuples(*(v for _, v in each)))),
        keys.map(lambda each: (set[each[0]], st.sets(each[1], max_size=3))),
        keys.map(lambda each: (frozenset[each[0]], st.frozensets(each[1], max_size=3))),
        st.tuples(keys, inner).map(
            lambda two: (dict[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], max_size=3))
        ),
        inner.map(lambda each: (Mapping[str, each[0]], st.dictionaries(TEXT, each[1], max_size=3))),
        some.map(_union),
        some.map(_model),
        st.builds(_dataclass, some, st.booleans(), st.booleans()),
        st.tuples(inner, inner).map(lambda two: (Result[two[0][0], two[1][0]], two[0][1].map(Ok) | two[1][1].map(Err))),
    )


TYPES = st.recursive(
    st.sampled_from([*SCALARS, (Any, ANYTHING), (list, st.lists(ANYTHING, max_size=3))]), _compound, max_leaves=5
)
CASES = TYPES.flatmap(lambda each: st.tuples(st.just(each[0]), each[1], each[1]))
EXAMPLES = settings(deadline=None, max_examples=150)


def codec_of(annotation: Any) -> Codec[Any]:
    try:
        return codec_for(annotation, where="f returns")
    except UnstorableType as error:
        # Generated classes have few names, and a union of two with the same name is refused.
        assume("same name" not in error.message)
        raise


@EXAMPLES
@given(CASES)
def test_a_value_comes_back_with_its_types(case: tuple[Any, Any, Any]) -> None:
    annotation, value, _ = case
    codec = codec_of(annotation)

    data, live = codec.roundtrip(value)

    assert same(live, value)
    assert same(codec.decode(data), value)
    assert codec.encode(value) == data == codec.encode(live)


@EXAMPLES
@given(CASES)
def test_calls_have_the_same_fingerprint_exactly_if_their_arguments_are_the_same(case: tuple[Any, Any, Any]) -> None:
    annotation, value, other = case

    def function(argument): ...  # type: ignore[no-untyped-def]  # annotated by the case

    exact = codec_of(annotation)
    codec = ArgumentsCodec(signature(function), {"argument": annotation})
    copied = exact.decode(exact.encode(value))

    assert codec.fingerprint((value,), {}) == codec.fingerprint((), {"argument": copied})
    assert same(codec.decode(codec.encode((value,), {}))[0][0], value)
    if codec.fingerprint((value,), {}) == codec.fingerprint((other,), {}):
        assert same(value, other, ordered=False)


@EXAMPLES
@given(CASES, st.data())
def test_bytes_that_were_changed_are_corrupt_or_another_value(case: tuple[Any, Any, Any], draw: st.DataObject) -> None:
    annotation, value, _ = case
    codec = codec_of(annotation)
    data = bytearray(codec.encode(value))
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(data)))
        data[at : at + draw.draw(st.integers(0, 3))] = draw.draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"[", b"0", b"null"])
        )

    try:
        restored = codec.decode(bytes(data))
    except CorruptCheckpoint:
        return
    # Whatever it is now, it is a value of the type, which can be stored in its turn.
    codec.encode(restored)


@EXAMPLES
@given(CASES, ANYTHING)
def test_a_value_of_another_type_is_stored_or_refused(case: tuple[Any, Any, Any], value: Any) -> None:
    codec = codec_of(case[0])

    try:
        data, live = codec.roundtrip(value)
    except Unserialisable:
        return
    assert same(live, value)
    assert same(codec.decode(data), value)


def _caused(error: Exception, cause: Exception, notes: list[str], explicit: bool) -> Exception:
    if explicit:
        error.__cause__ = cause
    else:
        error.__context__ = cause
    for note in notes:
        error.add_note(note)
    return error


ERRORS = st.recursive(
    st.one_of(
        st.builds(Declined, TEXT),
        st.builds(Expired, code=TEXT, since=st.none() | st.datetimes()),
        st.builds(LimitReached, st.decimals(allow_nan=False), unit=TEXT),
        st.builds(ValueError, ANYTHING, ANYTHING),
        st.builds(OSError, st.integers(1, 40), TEXT, TEXT),
        st.builds(KeyError, TEXT),
    ),
    lambda inner: st.builds(_caused, inner, inner, st.lists(TEXT, max_size=2), st.booleans()),
    max_leaves=4,
)


def _chain(error: BaseException | None) -> list[tuple[Any, ...]]:
    found = []
    while error is not None:
        found.append((error, getattr(error, "__notes__", None) or None, error.__suppress_context__))
        error = error.__cause__ or error.__context__
    return found


@EXAMPLES
@given(ERRORS)
def test_an_exception_comes_back_with_its_chain(error: Exception) -> None:
    codec = ErrorCodec((Declined, LimitReached, ValueError, OSError, KeyError), where="f fails")

    data, live = codec.roundtrip(error)

    assert same(_chain(live), _chain(error))
    assert same(_chain(codec.decode(data)), _chain(error))
