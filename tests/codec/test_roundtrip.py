"""What is stored comes back equal, with the same types."""

import math
import typing
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from inspect import signature
from ipaddress import IPv4Address
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any, Literal, NewType
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import AnyUrl, AwareDatetime, ByteSize, EmailStr, PositiveInt
from pydantic_core import TzInfo
from typing_extensions import TypeAliasType

from awaitly.persist.codec import ArgumentsCodec, ErrorCodec, codec_for
from awaitly.result import Err, Ok, Result
from tests.codec.sameness import same
from tests.codec.shop import (
    Box,
    Color,
    Counted,
    Declined,
    Document,
    Expired,
    Gone,
    Item,
    Level,
    Marker,
    Names,
    Nothing,
    NumberTree,
    OldJson,
    Open,
    Options,
    Order,
    Pair,
    Point,
    Rights,
    Sealed,
    Size,
    Slotted,
    Strict,
    Tree,
)

UserId = NewType("UserId", str)
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")
NOW = datetime(2024, 10, 27, 2, 30, 0, 123, fold=1)
ITEM = Item(sku="a", price=2)
ORDER = Order(id="1", items=[ITEM], placed=NOW, total=Decimal("1.10"), labels={"x": (1, 2)})

CASES: list[tuple[Any, Any]] = [
    (None, None),
    (str, "naïve \U0001f600 \x00"),
    (bool, True),
    (int, True),
    (int, -(2**63) - 1),
    (int, 10**5000),
    (float, -0.0),
    (float, math.nan),
    (float, -math.inf),
    (float, 5e-324),
    (float, 3),
    (complex, complex(-0.0, math.inf)),
    (Decimal, Decimal("-0.00")),
    (Decimal, Decimal("sNaN")),
    (Fraction, Fraction(-1, 3)),
    (UUID, UUID(int=7)),
    (bytes, bytes(range(256))),
    (bytearray, bytearray(b"x")),
    (IPv4Address, IPv4Address("10.0.0.1")),
    (Path, Path("/tmp/x")),
    (Path, Path("/tmp/\udcff")),
    (PurePosixPath, PurePosixPath("a/b")),
    (PurePath, Path("a")),
    (PurePath, PurePosixPath("a")),
    (datetime, NOW),
    (datetime, NOW.replace(tzinfo=UTC)),
    (datetime, NOW.replace(tzinfo=UTC, fold=0)),
    (datetime, NOW.replace(tzinfo=ZoneInfo("Europe/Berlin"))),
    (datetime, NOW.replace(tzinfo=timezone(timedelta(hours=5, microseconds=3)))),
    (datetime, NOW.replace(tzinfo=timezone(timedelta(hours=5), "X"))),
    (datetime, NOW.replace(tzinfo=TzInfo(3600))),
    (date, date.max),
    (time, time(1, 2, tzinfo=UTC)),
    (timedelta, timedelta.min),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (Color, Color.SCARLET),
    (Size, Size.SMALL),
    (Level, Level.HIGH),
    (Rights, Rights.READ | Rights.WRITE),
    (Literal["a", 1, True, None, b"x", Color.RED], True),
    (Literal["a", 1, True, None, b"x", Color.RED], 1),
    (Literal["a", 1, True, None, b"x", Color.RED], b"x"),
    (Literal["a", 1, True, None, b"x", Color.RED], Color.RED),
    (list[int], [1, True, 10**5000]),
    (list[float], [1.0, 2, math.inf]),
    (list[int | None], [1, None]),
    (list[list[str]], [["a"], []]),
    (list, [1, "a", (2,)]),
    (tuple[()], ()),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2)),
    (tuple, (1, [2])),
    (typing.Tuple, (1, [2])),  # noqa: UP006 - the old spelling is a different object
    (typing.List[int], [1]),  # noqa: UP006 - the same
    (set[str], {"a", "b"}),
    (frozenset[Pair], frozenset({Pair(1), Pair(2, "x")})),
    (deque[int], deque([1, 2], maxlen=3)),
    (dict[str, int], {"b": 1, "a": 2}),
    (dict[int, str], {2: "b", 1: "a"}),
    (dict[Color, Item], {Color.RED: ITEM}),
    (dict[tuple[int, str], date], {(1, "a"): date(2024, 1, 1)}),
    (dict[Decimal, None], {Decimal("1.0"): None}),
    (dict, {1: {"a": {2.5}}}),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (Counter[str], Counter("abba")),
    (Sequence[int], (1, 2)),
    (Sequence[int], [1, 2]),
    (Iterable[str], frozenset({"a"})),
    (AbstractSet[str], {"a"}),
    (Mapping[str, int], {"a": 1}),
    (UserId, "u"),
    (Annotated[int, {"not": "hashable"}], 3),
    (Document, Document({"a": [1, {"b": 2}]})),
    (list[Document | Json], [Document(3), ["x"]]),
    (Json, {"a": [1, "x", None, {"b": True}], "c": 1.5}),
    (typing.Optional[Item], None),  # noqa: UP045 - the old spelling is a different object
    (Nothing, Nothing()),
    (Marker, Marker()),
    (Slotted, Slotted()),
    (Gone, Gone()),
    (Item, ITEM),
    (Item, Item.model_construct(sku="half")),
    (Order, ORDER.model_copy(update={"follows": ORDER})),
    (Open, Open(name="n", other=(1, {"x": b"y"}))),
    (Counted, Counted(text="four")),
    (Strict, Strict(share=1)),
    (Names, Names(["a"])),
    (Box[int], Box[int](content=1)),
    (Box[int], Box(content=1)),
    (Box[int] | Box[str], Box(content="a")),
    (Box[list[Item]], Box[list[Item]](content=[ITEM])),
    (Tree[Color], Tree(Color.RED, [Tree(Color.BLUE)])),
    (NumberTree, NumberTree(1, [Tree(2)], "n")),
    (Point, Point(1.5, 2, Point(0.0, 0.0))),
    (Sealed, Sealed(2)),
    (Pair, Pair(1)),
    (Options, {"size": 1, "name": "n"}),
    (Result[int, Declined], Ok(1)),
    (Result[int, Declined], Err(Expired("c", ITEM, NOW))),
    (Ok[list[int]] | Err[Literal["NOT_FOUND"]], Err("NOT_FOUND")),
    (Declined, Declined(code="c")),
    (ValueError, ValueError("x", 1)),
    (AnyUrl, AnyUrl("https://example.com/x")),
    (AwareDatetime, NOW.replace(tzinfo=UTC)),
    (EmailStr, "a@example.com"),
    (PositiveInt, 3),
    (ByteSize, ByteSize(1024)),
    (Any, {"a": [1, (2, {3})], "$odd": None, 5: b"x", "d": NOW, "p": Path("x"), "f": math.nan}),
    (Any, {"$tuple": [1]}),
    (object, frozenset({UUID(int=1), Decimal(1)})),
    (Any, KeyError("k")),
]


@pytest.mark.parametrize(("annotation", "value"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    codec = codec_for(annotation, where="f returns")

    data, live = codec.roundtrip(value)

    assert same(live, value)
    assert same(codec.decode(data), value)
    assert codec.encode(value) == data
    assert same(codec.from_tree(codec.to_tree(value)), value)


UNIONS: list[tuple[Any, Any, bytes]] = [
    (int | str | None, 1, b"1"),
    (int | str | None, "1", b'"1"'),
    (int | str | None, None, b"null"),
    (int | float | bool, True, b"true"),
    (Item | None, None, b"null"),
    (int | Item | Pair, 3, b"3"),
    (int | Item | Pair, Pair(1), b'["Pair",{"left":1,"right":"r"}]'),
    (datetime | str, "2024-01-01", b'"2024-01-01"'),
    (datetime | str, datetime(2024, 1, 1), b'["datetime","2024-01-01T00:00:00"]'),
    (Size | str, Size.SMALL, b'["Size","SMALL"]'),
    (list[int] | list[str], ["a"], b'["list[str]",["a"]]'),
    (Declined | Expired, Expired("c"), b'["Expired",'),
    (Path | str | bytes, Path("x"), b'["Path","x"]'),
    (Literal["a"] | int, "a", b'"a"'),
    (Item | Any, ITEM, b'["Item",'),
    (list[int] | Any | None, ["a"], b'["Any",["a"]]'),
    (int | Any, 1, b"1"),
]


@pytest.mark.parametrize(("annotation", "value", "stored"), UNIONS, ids=[f"{each[0]}-{each[1]}" for each in UNIONS])
def test_a_member_of_a_union_says_which_it_is_unless_json_does(annotation: Any, value: Any, stored: bytes) -> None:
    codec = codec_for(annotation, where="f returns")

    data, live = codec.roundtrip(value)

    assert data.startswith(stored)
    assert same(live, value)
    assert same(codec.decode(data), value)


def test_the_live_value_shares_nothing_that_could_change() -> None:
    given = {"a": [1], "b": []}

    _, live = codec_for(dict[str, list[int]], where="f returns").roundtrip(given)
    given["a"].append(2)

    assert live == {"a": [1], "b": []}


def test_an_immutable_value_is_handed_back_itself() -> None:
    text = "x" * 100

    assert codec_for(str, where="f returns").roundtrip(text)[1] is text


def test_restoring_runs_no_constructor() -> None:
    codec = codec_for(Sealed, where="f returns")
    value = Sealed(2)
    value.doubled = 5

    assert codec.decode(codec.encode(value)).doubled == 5


def test_private_attributes_are_made_anew_as_pydantic_does() -> None:
    codec = codec_for(Counted, where="f returns")

    assert codec.decode(codec.encode(Counted(text="four")))._length == 4


def test_what_a_cached_property_computed_is_not_stored() -> None:
    tree = Tree(1)
    assert tree.size == 1

    data, live = codec_for(Tree[int], where="f returns").roundtrip(tree)

    assert data == b'{"value":1,"children":[]}'
    assert "size" not in vars(live)


def test_a_field_added_later_gets_its_default() -> None:
    item = codec_for(Item, where="f returns").decode(b'{"sku":"a","count":2}')

    assert same(item, Item(sku="a", count=2))


def test_sets_are_stored_in_one_order() -> None:
    codec = codec_for(set[str], where="f returns")

    assert codec.encode({"b", "a", "c"}) == b'["a","b","c"]'


def test_an_alias_may_contain_itself() -> None:
    codec = codec_for(OldJson, where="f returns", namespace={"OldJson": OldJson})

    assert codec.roundtrip({"a": [1]})[1] == {"a": [1]}


def test_arguments_and_errors_know_such_an_alias_too() -> None:
    def save(document: OldJson) -> None: ...

    arguments = ArgumentsCodec(signature(save), {"document": OldJson}, namespace={"OldJson": OldJson})
    errors = ErrorCodec((OldJson,), namespace={"OldJson": OldJson})

    assert arguments.decode(arguments.encode(([{"a": 1}],), {})) == (([{"a": 1}],), {})
    assert errors.roundtrip([{"a": 1}])[1] == [{"a": 1}]


def test_names_in_quotes_mean_what_the_namespace_says() -> None:
    here = codec_for("list[Thing]", where="f returns", namespace={"Thing": Item})
    there = codec_for("list[Thing]", where="f returns", namespace={"Thing": Pair})

    assert here.roundtrip([ITEM])[1] == [ITEM]
    assert there.roundtrip([Pair(1)])[1] == [Pair(1)]
