"""A function's arguments are its own: what it changes in them, its caller does not see."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel

from awaitly.persist.codec import ArgumentsCodec


class Basket(BaseModel):
    items: list[str]


@dataclass
class Parcel:
    weights: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Label:
    text: str


class Large(Parcel):
    pass


class Client:
    pass


def codec_of(function: Callable[..., Any], *exclude: str) -> ArgumentsCodec:
    return ArgumentsCodec(signature(function), get_type_hints(function), exclude=frozenset(exclude))


def pack(basket: Basket, /, parcel: Parcel, *more: list[int], note: Any = None, **tables: dict[str, int]) -> None: ...


def test_everything_that_can_change_is_copied_wherever_it_was_passed() -> None:
    args = (Basket(items=["a"]), Parcel([1]), [2], [3])
    kwargs = {"note": ["x"], "a": {"b": 1}}
    owned, named = codec_of(pack).own(args, kwargs)
    assert (owned, named) == (args, kwargs)
    for mine, theirs in zip([*owned, *named.values()], [*args, *kwargs.values()], strict=True):
        assert type(mine) is type(theirs)
        assert mine is not theirs
    owned[0].items.append("b")
    named["a"]["b"] = 2
    assert args[0].items == ["a"]
    assert kwargs["a"] == {"b": 1}


def test_arguments_that_cannot_change_are_passed_as_they_are() -> None:
    def plain(x: int, text: str, rate: float = 1.0) -> None: ...

    args, kwargs = (1, "a"), {"rate": 2.0}
    owned, named = codec_of(plain).own(args, kwargs)
    assert owned is args
    assert named is kwargs


def test_excluded_arguments_are_passed_as_they_are() -> None:
    def call(client: Client, names: list[str]) -> None: ...

    client, names = Client(), ["a"]
    owned, _ = codec_of(call, "client").own((client, names), {})
    assert owned[0] is client
    assert owned[1] is not names


@pytest.mark.parametrize("value", [Large([1]), [1, 2], (1, [2])])
def test_values_that_are_not_what_the_annotation_says_are_copied_too(value: Any) -> None:
    def send(parcel: Parcel) -> None: ...

    ((owned,), _) = codec_of(send).own((value,), {})
    assert owned == value
    assert type(owned) is type(value)
    assert owned is not value


def test_what_cannot_be_copied_is_passed_as_it_is() -> None:
    class Stubborn(Parcel):
        def __deepcopy__(self, memo: object) -> "Stubborn":
            raise TypeError("there is only one of me")

    def send(parcel: Parcel) -> None: ...

    stubborn = Stubborn()
    assert codec_of(send).own((stubborn,), {}) == ((stubborn,), {})
