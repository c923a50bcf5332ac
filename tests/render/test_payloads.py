import pytest

from awaitly import Failure
from awaitly.model.plain import brief, value_of
from awaitly.persist.codec.failures import ErrorCodec
from awaitly.render.payloads import failure_of


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"null", None),
        (b'{"id":"7","items":[{"sku":"a","#set":["sku"]}],"#set":["id"]}', {"id": "7", "items": [{"sku": "a"}]}),
        (b'{"$tuple":[1,{"$set":[2]}]}', [1, [2]]),
        (b'{"$dict":[["a",1],[{"$tuple":[1,2]},2]]}', {"a": 1, "[1, 2]": 2}),
        (b'{"$float":"nan"}', "nan"),
        (b"\xff not json", "\ufffd not json"),
    ],
)
def test_marks_of_the_codec_are_dropped(payload: bytes, value: object) -> None:
    assert value_of(payload) == value


def test_a_failure_tells_its_class_and_fields() -> None:
    told = failure_of(b'{"raised":{"class":"shop:Declined","fields":{"reason":"stolen"}}}')

    assert (told.name, told.fields, str(told)) == ("Declined", {"reason": "stolen"}, 'Declined: reason="stolen"')


def test_fields_that_were_given_by_position_are_told_with_their_values() -> None:
    class Declined(Failure):
        reason: str
        attempts: int

    told = failure_of(ErrorCodec((Declined,)).encode(Declined("stolen", 3)))

    assert str(told) == 'Declined: reason="stolen", attempts=3'


def test_an_unexpected_error_tells_what_was_raised_where() -> None:
    told = failure_of(
        b'{"raised":{"class":"awaitly.errors:UnexpectedError","args":["boom"],"state":'
        b'{"message":"boom","type_name":"RuntimeError","step":"charge","traceback":"Traceback"}}}'
    )

    assert (str(told), told.step, told.traceback, told.unexpected) == (
        "RuntimeError: boom",
        "charge",
        "Traceback",
        True,
    )


def test_a_plain_error_value_is_told_as_an_err() -> None:
    assert str(failure_of(b'{"value":"NOT_FOUND"}')) == 'Err: "NOT_FOUND"'


def test_what_is_no_stored_failure_is_unreadable() -> None:
    assert str(failure_of(b"[1]")) == "unreadable: [1]"


def test_a_long_value_is_cut() -> None:
    assert brief("x" * 100, 10) == '"xxxxxxxx…'
