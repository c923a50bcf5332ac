"""What cannot come back the same is refused: types when compiled, values at their step."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import IO, Any, Never, Protocol

import pytest
from pydantic import BaseModel, SecretStr

from awaitly.errors import CorruptCheckpoint, Unserialisable, UnstorableType
from awaitly.persist.codec import codec_for
from tests.codec.shop import Color, Item, Options, Order, Pair, Point, Size, Tree


class Plain:
    pass


class Shape(Protocol):
    def area(self) -> float: ...


class Login(BaseModel):
    user: str
    passwords: list[SecretStr]


@dataclass
class Seeded:
    seed: InitVar[int]


@dataclass
class Listed(list[int]):
    name: str


@dataclass
class Unresolved:
    client: "Nowhere"  # type: ignore[name-defined] # noqa: F821 - that is the point


class Sub(Item):
    more: int = 1


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, when: datetime | None) -> str:
        return "Z"


TYPES: list[tuple[Any, str]] = [
    (Generator[int, None, None], "consumed only once"),
    (AsyncIterator[int], "consumed only once"),
    (Awaitable[int], "consumed only once"),
    (Callable[[int], str], "code is not data"),
    (type[int], "code is not data"),
    (IO[str], "belongs to this process"),
    (threading.Thread, "belongs to this process"),
    (asyncio.Lock, "belongs to this process"),
    (defaultdict[str, int], "default factory"),
    (SecretStr, "never stored in clear"),
    (Login, "in Login.passwords → list[SecretStr]"),
    (Shape, "which class"),
    (Plain, "does not know"),
    (BaseModel, "does not know"),
    (Seeded, "InitVar"),
    (Listed, "also a list"),
    (Unresolved, "'Nowhere'"),
    (tuple[int, *tuple[str, ...]], "how long"),
    ("list[Missing]", "'Missing'"),
]


@pytest.mark.parametrize(("annotation", "why"), TYPES, ids=[str(each[0]) for each in TYPES])
def test_a_type_that_cannot_come_back_is_refused(annotation: Any, why: str) -> None:
    with pytest.raises(UnstorableType, match=r"^charge returns") as caught:
        codec_for(annotation, where="charge returns")

    assert why in str(caught.value)
    assert caught.value.hint


def test_a_union_of_two_classes_with_one_name_is_refused() -> None:
    def declare() -> type[Any]:
        @dataclass
        class Twin:
            pass

        return Twin

    with pytest.raises(UnstorableType, match="two of its classes have the same name and module"):
        codec_for(declare() | declare(), where="charge returns")


VALUES: list[tuple[Any, Any, str]] = [
    (str, Size.SMALL, "charge returned tests.codec.shop.Size where its annotation says str"),
    (str, "\ud800", "charge returned what cannot be stored: text in it is not valid Unicode"),
    (int, 1.0, "charge returned float 1.0 where its annotation says int"),
    (int, "1", "charge returned str '1' where its annotation says int"),
    (bool, 1, "charge returned int 1 where its annotation says bool"),
    (Color, 1, "returned int 1 where"),
    (Decimal, 1.5, "returned float 1.5 where its annotation says Decimal"),
    (list[int], (1,), "returned tuple where its annotation says list[int]"),
    (dict[str, list[int]], {"a": [1, "x"]}, "returned str 'x' at result['a'][1], where its annotation says int"),
    (Item, Sub(sku="a"), "Sub is a subclass of Item"),
    (Item | None, Sub(sku="a"), "Sub is a subclass of Item"),
    (Item | Pair, Sub(sku="a"), "Sub is a subclass of Item: add it to the union"),
    (Options, {"size": 1}, "needs the key 'name'"),
    (Options, {"name": "n", "more": 1}, "has no key 'more'"),
    (tuple[int, int], (1,), "found a tuple of 1"),
    (datetime, datetime(2024, 1, 1, tzinfo=Zone()), "expected a time zone that can be stored"),
    (Any, Plain(), "where no annotation says what it is"),
    (Any, [Item(sku="a")], "cannot be stored: result[0]: found tests.codec.shop.Item"),
    (Never, None, "no value at all"),
    (Point, Point("x", 1.0), "at result.x, where its annotation says float"),  # type: ignore[arg-type]  # refused
]


@pytest.mark.parametrize(("annotation", "value", "why"), VALUES, ids=[f"{each[0]}-{each[2]}" for each in VALUES])
def test_a_value_that_is_not_what_the_annotation_says_is_refused(annotation: Any, value: Any, why: str) -> None:
    codec = codec_for(annotation, where="charge returns")

    for attempt in (codec.encode, codec.roundtrip):
        with pytest.raises(Unserialisable) as caught:
            attempt(value)
        assert caught.value.code == "unserialisable-result"
        assert why in str(caught.value)


def test_the_message_names_the_way_to_the_value() -> None:
    order = Order(id="1", items=[Item(sku="a")], placed=datetime(2024, 1, 1), total=Decimal(1))
    order.items[0].count = "two"  # type: ignore[assignment]  # what is refused

    with pytest.raises(
        Unserialisable, match=r"charge returned str 'two' at result\.items\[0\]\.count, where its annotation says int"
    ):
        codec_for(Order, where="charge returns").encode(order)


def test_an_attribute_that_is_no_field_is_refused() -> None:
    tree = Tree(1)
    tree.color = "red"  # type: ignore[attr-defined]  # what is refused

    with pytest.raises(Unserialisable, match="has no field 'color'"):
        codec_for(Tree[int], where="f returns").encode(tree)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    tree = Tree(1)
    tree.children.append(tree)

    for annotation, value in ((Any, loop), (Tree[int], tree)):
        with pytest.raises(Unserialisable, match="contains itself"):
            codec_for(annotation, where="f returns").encode(value)


@pytest.mark.parametrize("depth", [180, 195, 230, 400, 5000])
def test_a_value_is_either_read_back_or_refused_however_deep_it_is(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    codec = codec_for(Any, where="f returns")

    try:
        data = codec.encode(value)
    except Unserialisable:
        assert depth > 190
    else:
        assert codec.encode(codec.decode(data)) == data
        assert depth < 195


CORRUPT: list[tuple[Any, bytes]] = [
    (int, b""),
    (int, b"{"),
    (int, b'"1"'),
    (int, b'{"$int":"zz"}'),
    (str, b"\xff"),
    (Color, b'"GREEN"'),
    (Item, b"[]"),
    (Item, b'{"sku":"a","colour":1}'),
    (Item, b"{}"),
    (int | Item | Pair, b'["Nothing",{}]'),
    (datetime, b'["2024-01-01T00:00:00",0,["zone","Nowhere/Land"]]'),
    (Any, b'{"$surprise":1}'),
    (ValueError, b'{"class":"KeyboardInterrupt"}'),
    (ValueError, b'{"class":"os:system"}'),
    (list[int], b"[" * 100_000),
]


@pytest.mark.parametrize(("annotation", "data"), CORRUPT, ids=[f"{each[0]}-{each[1][:30]!r}" for each in CORRUPT])
def test_what_was_not_written_is_reported_as_corrupt(annotation: Any, data: bytes) -> None:
    with pytest.raises(CorruptCheckpoint, match="f returns: stored value cannot be restored"):
        codec_for(annotation, where="f returns").decode(data)
