"""Arguments come back as they were given, and different ones are told apart."""

import os
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from typing import Any, get_type_hints

import pytest

from awaitly.errors import CorruptCheckpoint, Unserialisable, UnstorableType
from awaitly.persist.codec import ArgumentsCodec
from tests.codec.sameness import same
from tests.codec.shop import Color, Item, Size


class Client:
    pass


class Special(Item):
    more: int = 1


def codec_of(function: Callable[..., Any], *exclude: str) -> ArgumentsCodec:
    return ArgumentsCodec(
        signature(function), get_type_hints(function), exclude=frozenset(exclude), where=function.__name__
    )


def charge(user: str, /, item: Item, *tags: str, limit: int = 10, **labels: float) -> None: ...


def anything(value, other=None): ...  # type: ignore[no-untyped-def]  # no annotations at all


def colored(color: Color, names: set[str], table: dict[str, int]) -> None: ...


def connected(client: Client, user: str, size: int = 1) -> None: ...


def total(amount: float) -> None: ...


ITEM = Item(sku="a")


@pytest.mark.parametrize(
    ("args", "kwargs", "restored"),
    [
        (("u", ITEM), {}, (("u", ITEM), {"limit": 10})),
        (("u",), {"item": ITEM, "limit": 2}, (("u", ITEM), {"limit": 2})),
        (("u", ITEM, "x", "y"), {"weight": 1.5}, (("u", ITEM, "x", "y"), {"limit": 10, "weight": 1.5})),
    ],
)
def test_arguments_come_back(args: tuple[Any, ...], kwargs: dict[str, Any], restored: Any) -> None:
    codec = codec_of(charge)

    assert same(codec.decode(codec.encode(args, kwargs)), restored)


def test_how_an_argument_was_passed_makes_no_difference() -> None:
    codec = codec_of(charge)

    one = codec.fingerprint(("u", ITEM), {"limit": 10, "a": 1.0, "b": 2.0})
    other = codec.fingerprint(("u",), {"b": 2.0, "a": 1.0, "item": Item(sku="a", count=1)})

    assert one == other
    assert len(one) == 32


def test_order_makes_no_difference_where_there_is_none() -> None:
    codec = codec_of(colored)

    assert codec.fingerprint((Color.RED, {"a", "b"}, {"x": 1, "y": 2}), {}) == codec.fingerprint(
        (Color.RED, {"b", "a"}, {"y": 2, "x": 1}), {}
    )
    assert codec_of(anything).fingerprint(({"x": {1: 2, 3: 4}, "y": 1},), {}) == codec_of(anything).fingerprint(
        ({"y": 1, "x": {3: 4, 1: 2}},), {}
    )


DIFFERENT: list[Any] = [
    None,
    0,
    False,
    0.0,
    "",
    "0",
    b"",
    [],
    (),
    {},
    set(),
    [0],
    [[0]],
    {"a": 0},
    {"a": None},
    {0: "a"},
]


def test_different_arguments_differ() -> None:
    codec = codec_of(anything)

    assert len({codec.fingerprint((value,), {}) for value in DIFFERENT}) == len(DIFFERENT)


def test_which_argument_has_which_value_counts() -> None:
    codec = codec_of(anything)

    assert codec.fingerprint((1, None), {}) != codec.fingerprint((None, 1), {})


def test_an_instance_of_a_subclass_has_a_fingerprint_of_its_own() -> None:
    codec = codec_of(charge)

    prints = {codec.fingerprint(("u", item), {}) for item in (ITEM, Special(sku="a"), Special(sku="a", more=2))}

    assert len(prints) == 3
    assert codec.fingerprint((Size.SMALL, ITEM), {}) != codec.fingerprint((Size.LARGE, ITEM), {})


def test_models_have_a_fingerprint_without_an_annotation_too() -> None:
    codec = codec_of(anything)

    assert codec.fingerprint((ITEM,), {}) == codec.fingerprint((Item(sku="a", count=1),), {})
    assert codec.fingerprint((ITEM,), {}) != codec.fingerprint((Item(sku="b"),), {})


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    text = (
        "from tests.codec.test_arguments import *;"
        "print(codec_of(colored).fingerprint((Color.RED, {'a', 'b', 'c', 'd'}, {'x': 1}), {}))"
    )
    here = codec_of(colored).fingerprint((Color.RED, {"a", "b", "c", "d"}, {"x": 1}), {})

    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, env=environment, timeout=30, check=True
        )
        assert done.stdout.strip() == here


def test_an_excluded_argument_is_neither_stored_nor_compared() -> None:
    codec = codec_of(connected, "client")

    assert codec.fingerprint((Client(), "u"), {}) == codec.fingerprint((Client(),), {"user": "u", "size": 1})
    assert codec.decode(codec.encode((Client(), "u"), {})) == ((), {"user": "u", "size": 1})


def test_a_parameter_that_cannot_be_encoded_is_refused_by_name() -> None:
    with pytest.raises(UnstorableType, match=r"connected, argument 'client': Client") as caught:
        codec_of(connected)

    assert 'name it in @step(unfingerprinted=("client",))' in caught.value.hint


def test_an_argument_that_cannot_be_encoded_is_refused_by_name() -> None:
    codec = codec_of(anything)

    for attempt in (codec.fingerprint, codec.encode):
        with pytest.raises(Unserialisable, match=r"anything: argument value\[0\]") as caught:
            attempt(([Client()],), {})
        assert caught.value.code == "unserialisable-argument"


@pytest.mark.parametrize("value", ["\ud800", ["\ud800"], {"\ud800": 1}, {"\ud800"}])
def test_text_that_is_not_unicode_is_refused(value: object) -> None:
    with pytest.raises(Unserialisable, match="not valid Unicode"):
        codec_of(anything).fingerprint((value,), {})


def test_arguments_that_do_not_fit_are_a_type_error_as_in_any_call() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'item'"):
        codec_of(charge).fingerprint(("u",), {})


def test_an_argument_that_is_not_what_its_annotation_says_is_not_stored() -> None:
    with pytest.raises(Unserialisable, match="total: argument amount: expected float, found str '1'"):
        codec_of(total).encode(("1",), {})


def test_a_parameter_added_later_gets_its_default() -> None:
    assert codec_of(connected, "client").decode(b'{"user":"u"}') == ((), {"user": "u"})


@pytest.mark.parametrize("data", [b"", b"[]", b'{"nobody":1}', b"{}", b'{"amount":"x"}'])
def test_what_is_no_stored_call_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptCheckpoint, match="total"):
        codec_of(total).decode(data)
