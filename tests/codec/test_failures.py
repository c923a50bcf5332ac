"""Failures come back as their class, with what they carry and what caused them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from awaitly.errors import CorruptCheckpoint, Failure, StepTimeout, UnexpectedError, Unserialisable, UnstorableType
from awaitly.persist.codec import ErrorCodec
from tests.codec.sameness import same
from tests.codec.shop import Declined, Expired, Item, LimitReached

CODEC = ErrorCodec((Declined, LimitReached, Literal["NOT_FOUND"]), where="charge fails")


class Problem(BaseModel):
    status: int


@dataclass
class Rejected(Exception):
    by: str
    parts: tuple[int, ...] = ()


class Missing(OSError):
    def __init__(self, name: str) -> None:
        super().__init__(2, "not there", name)
        self.name = name


class Undeclared(Exception):
    pass


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - to give it a traceback
        return caught


FAILURES: list[tuple[Any, BaseException]] = [
    (Declined, Declined("c", Item(sku="a"))),
    (Declined, Declined(code="c")),
    (Declined, Expired("c", None)),
    (LimitReached, LimitReached(Decimal("1.50"), unit="EUR")),
    (Rejected, Rejected("me", (1, 2))),
    (Missing, Missing("x")),
    (ValueError, ValueError("x", 1, b"y")),
    (OSError, FileNotFoundError(2, "no", "a", None, "b")),
    (UnicodeError, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")),
    (ImportError, ImportError("no", name="m", path="p")),
    (StepTimeout, StepTimeout("too long", hint="wait")),
    (SystemExit, SystemExit(3)),
]


@pytest.mark.parametrize(("declared", "error"), FAILURES, ids=[repr(each[1]) for each in FAILURES])
def test_an_exception_comes_back_as_its_class(declared: Any, error: BaseException) -> None:
    codec = ErrorCodec((declared,), where="charge fails")

    data, live = codec.roundtrip(error)
    restored = codec.decode(data)

    for each in (live, restored):
        assert same(each, error)
        assert str(each) == str(error)
        assert repr(each) == repr(error)
    assert codec.encode(error) == data


def test_state_of_an_os_error_is_kept() -> None:
    codec = ErrorCodec((OSError,), where="charge fails")

    restored = codec.decode(codec.encode(FileNotFoundError(2, "no", "a", None, "b")))

    assert (restored.errno, restored.filename, restored.filename2) == (2, "a", "b")


def test_notes_causes_and_contexts_are_kept() -> None:
    error = Declined("c")
    error.add_note("seen twice")
    error.__cause__ = KeyError("k")
    error.__cause__.__context__ = Declined("earlier")

    restored = CODEC.decode(CODEC.encode(error))

    assert restored.__notes__ == ["seen twice"]
    assert same(restored.__cause__, KeyError("k"))
    assert restored.__suppress_context__
    assert restored.__cause__.__context__ == Declined("earlier")


def test_a_cause_of_an_unknown_class_is_described() -> None:
    error = Declined("c")
    error.__cause__ = Undeclared("why")

    data, live = CODEC.roundtrip(error)

    for each in (live, CODEC.decode(data)):
        assert isinstance(each.__cause__, UnexpectedError)
        assert each.__cause__.type_name == f"{__name__}.Undeclared"
        assert each.__cause__.message == "why"


def test_a_group_keeps_its_members() -> None:
    codec = ErrorCodec((ExceptionGroup, Declined), where="charge fails")

    restored = codec.decode(codec.encode(ExceptionGroup("two", [Declined("c"), ValueError("v")])))

    assert type(restored) is ExceptionGroup
    assert restored.message == "two"
    assert same(list(restored.exceptions), [Declined("c"), ValueError("v")])


def test_a_chain_that_is_a_circle_ends() -> None:
    first, second = Declined("1"), Declined("2")
    first.__context__, second.__context__ = second, first

    assert CODEC.decode(CODEC.encode(first)).__context__ == second


def test_a_long_chain_is_cut() -> None:
    error = first = Declined("0")
    for number in range(1, 50):
        error.__cause__ = Declined(str(number))
        error = error.__cause__

    restored = CODEC.decode(CODEC.encode(first))

    length = 0
    while restored is not None:
        restored, length = restored.__cause__, length + 1
    assert length == 12


def test_the_live_exception_keeps_its_traceback() -> None:
    error = raised(Declined("c"))

    live = CODEC.roundtrip(error)[1]

    assert live is not error
    assert live.__traceback__ is error.__traceback__


def test_a_value_of_an_err_comes_back() -> None:
    codec = ErrorCodec((Literal["NOT_FOUND"] | Problem | Declined,), where="charge fails")

    for error in ("NOT_FOUND", Problem(status=404), Declined("c")):
        assert same(codec.decode(codec.encode(error)), error)


def test_an_unexpected_error_says_the_same_on_replay() -> None:
    original = raised(Undeclared("why"))
    original.add_note("here")
    error = UnexpectedError.of(original, step="charge")

    data, live = CODEC.roundtrip(error)
    restored = CODEC.decode(data)

    assert live.__cause__ is original
    for each in (live, restored):
        assert str(each) == str(error)
        assert (each.type_name, each.message, each.notes) == (error.type_name, "why", ("here",))
        assert each.traceback == error.traceback


def test_the_code_of_an_error_of_awaitly_survives_being_unexpected() -> None:
    error = UnexpectedError.of(StepTimeout("too long", hint="raise timeout="), step="charge")

    restored = CODEC.decode(CODEC.encode(error))

    assert (restored.cause_code, restored.hint) == ("step-timeout", "raise timeout=")
    assert str(restored) == str(error)


def test_an_unexpected_error_that_an_earlier_version_stored_has_no_code_of_its_cause() -> None:
    stored = (
        b'{"raised":{"class":"awaitly.errors:UnexpectedError","args":["boom"],"state":{"message":"boom",'
        b'"type_name":"ValueError","notes":{"$tuple":[]},"step":"charge","traceback":null}}}'
    )

    assert CODEC.decode(stored).cause_code is None


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    error = UnexpectedError("m", type_name="t", traceback="start" + "x" * 50_000 + "end")

    traceback = CODEC.roundtrip(error)[1].traceback

    assert traceback.startswith("start")
    assert traceback.endswith("end")
    assert len(traceback) < 8_200


def test_a_class_that_was_defined_later_is_found() -> None:
    codec = ErrorCodec((Declined,), where="charge fails")
    codec.encode(Declined("c"))

    class Later(Declined):
        extra: int = 0

    assert codec.decode(codec.encode(Later("c", extra=2))) == Later("c", extra=2)


def test_of_classes_with_one_name_the_declared_one_is_meant() -> None:
    def declare() -> type[Declined]:
        class Local(Declined):
            pass

        return Local

    classes = [declare() for _ in range(3)]
    for cls in classes:
        codec = ErrorCodec((cls,), where="charge fails")
        assert type(codec.decode(codec.encode(cls("c")))) is cls


def test_a_class_whose_module_is_called_otherwise_now_is_found() -> None:
    data = CODEC.encode(LimitReached(Decimal(1), unit="EUR")).replace(b"tests.codec.shop:", b"__main__:")

    assert type(CODEC.decode(data)) is LimitReached


REFUSED: list[tuple[object, str]] = [
    (Undeclared("x"), "neither declared nor builtin"),
    (ValueError(Item(sku="a")), r"error.args[0]: found tests.codec.shop.Item"),
    ("OTHER", "error: expected Literal['NOT_FOUND'], found str 'OTHER'"),
    (Declined(3), "error.code: expected str, found int 3"),  # type: ignore[arg-type]  # what is refused
]


@pytest.mark.parametrize(("error", "why"), REFUSED, ids=[each[1] for each in REFUSED])
def test_a_failure_that_cannot_be_stored_is_refused(error: object, why: str) -> None:
    with pytest.raises(Unserialisable) as caught:
        CODEC.roundtrip(error)

    assert why in str(caught.value)


def test_an_attribute_that_cannot_be_stored_is_refused_unless_it_is_private() -> None:
    error = LimitReached(Decimal(1), unit="EUR")
    error._client = object()  # type: ignore[attr-defined]  # as code without types does
    assert not hasattr(CODEC.roundtrip(error)[1], "_client")

    error.response = object()  # type: ignore[attr-defined]  # as code without types does
    with pytest.raises(Unserialisable, match=r"error\.response: found object") as caught:
        CODEC.roundtrip(error)
    assert "Raise a Failure" in caught.value.hint


def test_a_failure_with_a_field_that_cannot_be_stored_is_refused_at_once() -> None:
    class Stuck(Failure):
        lock: type

    for _ in range(2):
        with pytest.raises(UnstorableType, match="code is not data"):
            ErrorCodec((Stuck,), where="charge fails")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"raised":{"class":"os:system"}}',
        b'{"value":"OTHER"}',
        b'{"raised":{"class":"UnicodeDecodeError"}}',
    ],
)
def test_what_is_no_failure_of_these_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptCheckpoint, match="charge fails"):
        CODEC.decode(data)
