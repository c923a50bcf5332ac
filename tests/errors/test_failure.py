import copy
import dataclasses
import pickle
from contextlib import contextmanager
from typing import ClassVar

import pytest
from pydantic import BaseModel, TypeAdapter

from awaitly.errors import Failure, UsageError


class CardDeclined(Failure):
    decline_code: str
    amount: int = 0


class CardExpired(CardDeclined, retryable=True):
    when: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)


class SoldOut(Failure):
    """Nothing is left."""


class LoginFailed(Failure):
    user: str
    password: str = dataclasses.field(repr=False)
    attempt: int = dataclasses.field(default=1, compare=False)


FAILURES = [CardDeclined("expired"), CardExpired("expired", amount=3, tags=["visa"]), SoldOut()]


def test_annotated_fields_are_the_constructors_arguments() -> None:
    failure = CardDeclined("expired", amount=5)

    assert (failure.decline_code, failure.amount) == ("expired", 5)


def test_a_missing_field_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="decline_code"):
        CardDeclined()


def test_fields_of_a_subclass_follow_those_of_its_base() -> None:
    assert CardExpired("expired", 3, "2026-01").when == "2026-01"


def test_it_is_raised_and_caught_like_any_exception() -> None:
    with pytest.raises(CardDeclined) as caught:
        raise CardExpired("expired")

    assert caught.value == CardExpired("expired")


def test_it_matches_by_position_and_by_name() -> None:
    match CardDeclined("expired", 5):
        case CardDeclined(code, amount=amount):
            assert (code, amount) == ("expired", 5)
        case _:
            pytest.fail("it did not match")


def test_it_equals_another_of_its_class_with_the_same_fields() -> None:
    assert CardDeclined("expired") == CardDeclined(decline_code="expired", amount=0)
    assert CardDeclined("expired") != CardDeclined("stolen")


def test_it_never_equals_one_of_a_subclass() -> None:
    assert CardDeclined("expired") != CardExpired("expired")


def test_equal_failures_have_equal_hashes() -> None:
    assert hash(CardDeclined("expired")) == hash(CardDeclined("expired", 0))


def test_an_unhashable_field_does_not_make_it_unhashable() -> None:
    assert hash(CardExpired("expired", tags=["a"])) == hash(CardExpired("expired", tags=["a"]))


def test_fields_left_out_of_comparisons_do_not_count() -> None:
    assert LoginFailed("ada", "secret", attempt=1) == LoginFailed("ada", "secret", attempt=2)


def test_its_text_names_the_fields() -> None:
    assert str(CardDeclined("expired", 5)) == "decline_code='expired', amount=5"
    assert repr(CardDeclined("expired", 5)) == "CardDeclined(decline_code='expired', amount=5)"


def test_its_text_keeps_a_hidden_field_hidden() -> None:
    assert "secret" not in str(LoginFailed("ada", "secret")) + repr(LoginFailed("ada", "secret"))


def test_its_text_is_empty_without_fields() -> None:
    assert str(SoldOut()) == ""


def test_a_subclass_may_write_its_own_text() -> None:
    class Polite(CardDeclined):
        def __str__(self) -> str:
            return f"sorry: {self.decline_code}"

    assert str(Polite("expired")) == "sorry: expired"


def test_it_is_not_retryable_unless_its_class_says_so() -> None:
    assert (CardDeclined.retryable, CardExpired.retryable) == (False, True)


def test_retryable_is_inherited_until_a_subclass_takes_it_back() -> None:
    class Later(CardExpired): ...

    class Never(CardExpired, retryable=False): ...

    assert (Later.retryable, Never.retryable) == (True, False)


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize(
    "again",
    [lambda failure: pickle.loads(pickle.dumps(failure)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_it_comes_back_equal_with_its_notes(failure: Failure, again) -> None:
    failure = copy.copy(failure)
    failure.add_note("seen at the till")

    returned = again(failure)

    assert type(returned) is type(failure)
    assert returned == failure
    assert returned.__notes__ == ["seen at the till"]


def test_a_note_on_a_copy_stays_off_the_original() -> None:
    failure = SoldOut()
    failure.add_note("first")

    copy.copy(failure).add_note("second")

    assert failure.__notes__ == ["first"]


def test_a_deep_copy_shares_nothing() -> None:
    failure = CardExpired("expired", tags=["visa"])

    copy.deepcopy(failure).tags.append("lost")

    assert failure.tags == ["visa"]


def test_replacing_a_field_makes_another_failure() -> None:
    assert dataclasses.replace(CardDeclined("expired"), amount=7) == CardDeclined("expired", 7)


def test_python_may_write_its_traceback_cause_and_notes() -> None:
    @contextmanager
    def till():
        yield

    with pytest.raises(CardDeclined) as caught, till():
        raise CardDeclined("expired") from ValueError("no")

    assert isinstance(caught.value.__cause__, ValueError)


def test_a_group_splits_it_off_by_class() -> None:
    matching, rest = ExceptionGroup("both", [CardDeclined("expired"), SoldOut()]).split(CardDeclined)

    assert matching is not None
    assert matching.exceptions == (CardDeclined("expired"),)
    assert rest is not None
    assert rest.exceptions == (SoldOut(),)


@pytest.mark.parametrize("name", ["args", "add_note", "with_traceback", "retryable", "__notes__"])
def test_a_field_that_exceptions_use_themselves_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"field named '{name}'") as caught:
        type("Bad", (Failure,), {"__annotations__": {name: int, "other": str}})

    assert caught.value.code == "reserved-field"


def test_retryable_may_be_declared_as_a_class_variable() -> None:
    class Busy(Failure):
        retryable: ClassVar[bool] = True

    assert Busy.retryable


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_pydantic_writes_and_reads_it_by_its_class(failure: Failure) -> None:
    adapter = TypeAdapter(type(failure))

    assert adapter.validate_json(adapter.dump_json(failure)) == failure


def test_a_model_may_hold_it() -> None:
    class Attempt(BaseModel):
        error: CardDeclined

    assert Attempt.model_validate_json('{"error": {"decline_code": "expired"}}').error == CardDeclined("expired")
