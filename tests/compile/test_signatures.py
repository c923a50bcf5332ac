"""What annotations say about results, errors and the types of arguments."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, TypeAlias

import pytest

from awaitly.compile.signatures import returned, text_of, typed_signature
from awaitly.errors import Failure
from awaitly.result import Err, Ok, Result

if TYPE_CHECKING:
    from decimal import Decimal


class Declined(Failure):
    pass


class Missing(Failure):
    pass


Either: TypeAlias = Result[int, Declined | Missing]


@pytest.mark.parametrize(
    ("annotation", "value", "errors", "plain"),
    [
        (Result[int, Declined], int, (Declined,), ()),
        (Either, int, (Declined, Missing), ()),
        (Ok[int] | Err[Declined] | Err[Missing], int, (Declined, Missing), ()),
        (Ok[int], int, (), ()),
        (Err[Declined], None, (Declined,), ()),
        (Result[int, Never], int, (), ()),
        (Result[int, str], int, (), (str,)),
        (Result[int, Literal["A", "B"] | Declined], int, (Declined,), (Literal["A", "B"],)),
        (Annotated[Result[int, Declined], "note"], int, (Declined,), ()),
        (Result[int | None, Declined], int | None, (Declined,), ()),
        (Ok | Err, Any, (), (Any,)),
        (Result, Any, (), (Any,)),
    ],
)
def test_a_result_is_taken_apart(annotation: Any, value: Any, errors: Any, plain: Any) -> None:
    parts = returned(annotation)

    assert (parts.value, parts.errors, parts.plain_errors) == (value, errors, plain)
    assert parts.is_result
    assert not parts.mixed


@pytest.mark.parametrize("annotation", [int, None, int | None, list[Ok[int]], Any])
def test_other_annotations_are_the_value_themselves(annotation: Any) -> None:
    parts = returned(annotation)

    assert parts.value == annotation
    assert not parts.is_result


def test_a_result_beside_something_else_is_mixed() -> None:
    assert returned(Result[int, Declined] | None).mixed


def test_an_annotation_that_cannot_be_resolved_leaves_the_others_alone() -> None:
    def pay(order: str, amount: Decimal) -> int:
        return 1

    typed = typed_signature(pay)

    assert typed.hints == {"order": str, "amount": Any, "return": int}
    assert typed.unresolved == {"amount": "name 'Decimal' is not defined"}


def test_a_class_of_the_enclosing_function_is_found_if_the_function_uses_it() -> None:
    class Local:
        pass

    def make(order: str) -> Local:
        return Local()

    assert typed_signature(make).hints["return"] is Local


def test_a_function_around_a_builtin_has_no_closure_to_look_into() -> None:
    @wraps(str.upper)
    def upper(text: str) -> str:
        return text.upper()

    assert typed_signature(upper).unresolved == {}


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (int | None, "int | None"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["A", 1], "Literal['A', 1]"),
        (Any, "Any"),
        (Declined, "Declined"),
    ],
)
def test_annotations_are_shown_as_people_write_them(annotation: Any, text: str) -> None:
    assert text_of(annotation) == text
