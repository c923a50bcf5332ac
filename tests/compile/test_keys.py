"""Key templates: what may stand in them, what fits a signature, and what they render."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from inspect import signature
from typing import Annotated, Any, NamedTuple, NewType, TypedDict, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, computed_field

from awaitly.compile.keys import KeyProblem, KeyTemplate, check_key, key_function, read_key
from awaitly.errors import UsageError

UserId = NewType("UserId", str)


class Address(BaseModel):
    city: str
    zip: int = 0


class Order(BaseModel):
    id: str
    total: Decimal = Decimal(0)
    address: Address | None = None
    tags: list[str] = []
    seen: set[str] = set()

    @computed_field
    @property
    def home(self) -> Address:
        return Address(city="Oslo")

    def number(self) -> str:
        return self.id


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclass
class Line:
    sku: str
    amount: int

    @cached_property
    def label(self) -> str:
        return self.sku


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    id: str
    line: Line


class Plain:
    name: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.hash = name


class Bare:
    def __init__(self, id: str) -> None:
        self.id = id


def problem(text: str, fn: Callable[..., Any]) -> KeyProblem | None:
    template = read_key(text)
    if isinstance(template, KeyProblem):
        return template
    return check_key(template, signature(fn), get_type_hints(fn))


def render(text: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    template = read_key(text)
    assert isinstance(template, KeyTemplate)
    return key_function(template, signature(fn), fn.__name__)(args, kwargs)


# The default is never used: B006 does not matter here.
def charge(order: Order, note: str = "none", /, *, lines: list[Line] = [], count: int = 1) -> None: ...  # noqa: B006


def anything(a: Any, b: Any = None, c: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("text", "args", "kwargs", "key"),
    [
        ("charge:{order.id}", (Order(id="7"),), {}, "charge:7"),
        ("{order.id}/{lines[0].sku}", (Order(id="7"),), {"lines": [Line("nut", 1)]}, "7/nut"),
        ("{order.id!r}", (Order(id="7"),), {}, "'7'"),
        ("{order.id!r:>5}", (Order(id="7"),), {}, "  '7'"),
        ("{count:03d}", (Order(id="7"),), {"count": 12}, "012"),
        ("{count}", (Order(id="7"),), {}, "1"),
        ("{note}", (Order(id="7"),), {}, "none"),
        ("{note}", (Order(id="7"), "x"), {}, "x"),
        ("{{{note}}}", (Order(id="7"), "x"), {}, "{x}"),
        ("fixed", (Order(id="7"),), {}, "fixed"),
        ("{order.home.city}", (Order(id="7"),), {}, "Oslo"),
    ],
)
def test_a_key_is_rendered_from_the_arguments(text: str, args: Any, kwargs: Any, key: str) -> None:
    assert problem(text, charge) is None
    assert render(text, charge, *args, **kwargs) == key


def test_a_parameter_may_be_given_by_name() -> None:
    assert render("{a}:{b}", anything, 1, b=2) == "1:2"


def test_items_of_a_mapping_are_read_by_name() -> None:
    assert render("{a[id]}", anything, {"id": 3}) == "3"


def test_a_missing_argument_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"anything\(\) missing 1 required argument: 'a'"):
        render("{a}", anything)


@pytest.mark.parametrize(
    ("text", "argument", "message"),
    [
        ("{a}", None, "{a} is None"),
        ("{a.id}", Order, "AttributeError"),
        ("{a[2]}", [1, 2], "IndexError"),
        ("{a[x]}", {}, "KeyError"),
        ("{a:03d}", "x", "ValueError"),
        ("{a}", "", "is blank"),
        ("{a}", " ", "is blank"),
        ("{a}", "order\ud800", "not printable"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_at_the_call(text: str, argument: Any, message: str) -> None:
    with pytest.raises(UsageError, match="invalid-key") as caught:
        render(text, anything, argument)

    assert caught.value.code == "invalid-key"
    assert message in str(caught.value)
    assert "anything" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{order.idd}", "reads .idd of order, but Order has no such thing", "did you mean 'id'? Order has id, "),
        ("{ordr.id}", "names 'ordr', which is no parameter", "did you mean 'order'? the parameters are order, "),
        ("{xyz}", "names 'xyz'", "the parameters are "),
        ("{order.address.cty}", "reads .cty of order.address", "did you mean 'city'?"),
        ("{order.number}", "it is a method", "a key calls nothing"),
        ("{order.home.town}", "reads .town of order.home", "city, zip"),
        ("{lines[0].skuu}", "reads .skuu of lines[0], but Line", "did you mean 'sku'?"),
        ("{lines.sku}", "reads .sku of lines, but list", ""),
        ("{lines[first]}", "reads [first] of lines", "indexed by a number"),
        ("{order[id]}", "reads [id] of order", "with a dot: .id"),
        ("{order.seen}", "a set has no order", "sorted tuple"),
        ("{order._id}", "'_id', which is private", "public"),
        ("{order.__class__}", "'__class__', which is private", "public"),
        ("{}", "names no parameter", 'as in "charge:{order.id}"'),
        ("{0}", "names no parameter", "name the parameter"),
        ("{order.id()}", "with '()' in it", "reads parameters, attributes and literal indexes only"),
        ("{order.id", "is not a template", "braces"),
        ("{count:{note}}", "a field inside a format", "write the format out"),
        ("{note:03d}", "the format '03d' does not fit a str", "correct the format"),
        ("{count!x}", "unknown conversion !x", "!r, !s or !a"),
        ("{note}{count}", "nothing marks the end of {note}", '"{note}:"'),
        ("{note}0{count}", "nothing marks the end of {note}", '"{note}:"'),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_what_to_write(text: str, message: str, hint: str) -> None:
    found = problem(text, charge)

    assert found is not None
    assert message in found.message
    assert hint in found.hint


def test_a_parameter_that_collects_arguments_is_no_part_of_a_key() -> None:
    def many(*orders: Order, **rest: str) -> None: ...

    assert "collects arguments" in getattr(problem("{orders[0]}", many), "message", "")
    assert "collects arguments" in getattr(problem("{rest}", many), "message", "")


def test_typed_dicts_are_read_by_item_and_named_tuples_by_either() -> None:
    def fn(row: Row, point: Point, pair: tuple[int, Line]) -> None: ...

    assert problem("{row[line].sku}:{point.x}:{point[1]}:{pair[1].amount}", fn) is None
    assert getattr(problem("{row.id}", fn), "hint", "") == "read an item with brackets: [id]"
    assert getattr(problem("{row[idd]}", fn), "hint", "") == "did you mean 'id'? Row has id, line"
    assert "2 elements" in getattr(problem("{pair[2]}", fn), "hint", "")
    assert "did you mean" in getattr(problem("{row[line].sku2}", fn), "hint", "")


def test_annotations_that_say_nothing_allow_everything() -> None:
    # What has no annotation at all is one of them.
    def fn(a, b: Any, c: object, d: Loose, e: Bare, f: "dict[str, Any]") -> None: ...  # type: ignore[no-untyped-def]

    assert problem("{a.x.y}:{b[0].z}:{c.q}:{d.extra}:{e.id}:{f[k].v}", fn) is None


def test_a_plain_class_is_known_by_its_annotations_and_its_init() -> None:
    def fn(a: Plain) -> None: ...

    assert problem("{a.name}:{a.hash}", fn) is None
    assert getattr(problem("{a.nme}", fn), "hint", "") == "did you mean 'name'?"


def test_an_object_whose_text_is_an_address_is_refused() -> None:
    def fn(a: Plain) -> None: ...

    assert "an address in memory" in getattr(problem("{a}", fn), "message", "")


def test_annotated_types_new_types_and_unions_are_looked_through() -> None:
    def fn(a: Annotated[Order, "x"], b: UserId, c: Order | Address, d: Order | None = None) -> None: ...

    assert problem("{a.id}:{b}:{d.id}", fn) is None
    assert "Address has no such thing" in getattr(problem("{c.id}", fn), "message", "")


texts = st.text(alphabet="ab%:3A ", max_size=6)


@given(texts, texts, texts, texts, st.sampled_from(["{a}:{b}", "x{a}: {b}y", "{a} {b}", "{a}A{b}", "{b}é{a}"]))
def test_different_arguments_never_make_the_same_key(a: str, b: str, c: str, d: str, text: str) -> None:
    same = (a, b) == (c, d)

    assert (render(text, anything, a, b) == render(text, anything, c, d)) is same if text != "{a} {b}" else True


def test_a_value_that_holds_the_separator_is_encoded() -> None:
    assert render("{a}:{b}", anything, "x:y", "z:w") == "x%3Ay:z:w"


def test_a_key_of_one_field_is_never_encoded() -> None:
    assert render("order:{a}", anything, "50%:x") == "order:50%:x"
