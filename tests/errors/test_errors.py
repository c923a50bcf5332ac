import copy
import pickle
from dataclasses import dataclass
from typing import NoReturn

import pytest

from awaitly.errors import (
    AwaitlyError,
    CompileError,
    KeyConflict,
    LeaseLost,
    Mismatch,
    RunCancelled,
    RunSuspended,
    StepTimeout,
    StoreError,
    UnexpectedError,
    Unserialisable,
    UnwrapError,
)


@dataclass(frozen=True)
class Finding:
    code: str


class GatewayDown(Exception):
    pass


def caught_from(raiser) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any error serves here
        raiser()
    return caught.value


def raise_gateway_down() -> NoReturn:
    error = GatewayDown("no answer")
    error.add_note("tried twice")
    raise error


def test_an_error_reads_as_message_hint_and_code() -> None:
    error = KeyConflict("step 'charge' got key 'charge:1' twice", hint="put the amount into the key")

    assert str(error) == "step 'charge' got key 'charge:1' twice. put the amount into the key. [key-conflict]"


def test_an_error_without_a_hint_reads_as_message_and_code() -> None:
    assert str(LeaseLost("run 'a' is owned by another process.")) == (
        "run 'a' is owned by another process. [lease-lost]"
    )


def test_the_docs_url_ends_in_the_code() -> None:
    assert KeyConflict("twice").docs_url == "https://awaitly.dev/errors/#key-conflict"


def test_a_class_with_one_code_has_it_too() -> None:
    assert (KeyConflict.code, KeyConflict.codes) == ("key-conflict", ("key-conflict",))


def test_an_instance_says_which_of_its_class_s_codes_it_has() -> None:
    assert StoreError("disk full", code="store-full").code == "store-full"
    assert Unserialisable("a socket").code == "unserialisable-result"
    assert Unserialisable("a socket", code="unserialisable-argument").code == "unserialisable-argument"


def test_an_unexpected_error_shows_class_text_and_step_of_what_was_raised() -> None:
    assert repr(UnexpectedError.of(KeyError("id"), step="charge")) == (
        "UnexpectedError(\"'id'\", type_name='KeyError', step='charge')"
    )
    assert repr(UnexpectedError.of(OSError("no route"))) == "UnexpectedError('no route', type_name='OSError')"
    assert repr(RunCancelled("enough")) == "RunCancelled('enough')"


def test_a_class_may_bring_its_own_hint() -> None:
    assert "(awaitly runs fork --at)" in Mismatch("step 'charge' is gone").hint
    assert Mismatch("step 'charge' is gone", hint="Wait").hint == "Wait"


def test_a_compile_error_has_the_code_of_its_first_diagnostic() -> None:
    error = CompileError("2 problems", diagnostics=[Finding("duplicate-key"), Finding("bad-key")])

    assert error.code == "duplicate-key"
    assert error.diagnostics == (Finding("duplicate-key"), Finding("bad-key"))


def test_a_compile_error_that_lists_diagnostics_ends_in_the_last_one() -> None:
    listed = "workflow order does not compile, 1 error:\n  shop.py:3: error: twice [duplicate-key]\n    rename it"

    assert str(CompileError(listed, diagnostics=[Finding("duplicate-key")])) == listed


def test_a_compile_error_of_one_line_has_its_code() -> None:
    assert str(CompileError("twice", diagnostics=[Finding("duplicate-key")])) == "twice. [duplicate-key]"


@pytest.mark.parametrize(
    "again",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize(
    "error",
    [
        StoreError("disk full", code="store-full", hint="make room"),
        Mismatch("they part", step="charge", where="shop.py:12", recorded="charge", found="refund"),
        CompileError("1 problem", diagnostics=[Finding("duplicate-key")]),
        UnexpectedError("no answer", type_name="GatewayDown", notes=["tried twice"], step="charge"),
        UnexpectedError("no answer", type_name="StepTimeout", cause_code="step-timeout"),
        UnwrapError("none", error="NOT_FOUND"),
    ],
    ids=lambda error: error.code,
)
def test_an_error_comes_back_whole(error: AwaitlyError, again) -> None:
    error.add_note("a note")

    returned = again(error)

    assert type(returned) is type(error)
    assert returned.__dict__ == error.__dict__
    assert str(returned) == str(error)


def test_an_unexpected_error_describes_the_original() -> None:
    error = UnexpectedError.of(caught_from(raise_gateway_down), step="charge")

    assert error.type_name.endswith("GatewayDown")
    assert error.type_name != "GatewayDown"
    assert (error.message, error.notes, error.step) == ("no answer", ("tried twice",), "charge")
    assert error.traceback is not None
    assert "raise_gateway_down" in error.traceback


def test_an_unexpected_error_keeps_the_original_as_its_cause() -> None:
    original = ValueError("bad")

    assert UnexpectedError.of(original).__cause__ is original


def test_an_unexpected_error_names_builtin_classes_without_module() -> None:
    error = UnexpectedError.of(ValueError("bad"), step="charge")

    assert str(error) == "charge raised ValueError: bad [unexpected-error]"
    assert error.traceback is None


def test_an_unexpected_error_reads_without_step_and_message() -> None:
    assert str(UnexpectedError.of(ValueError())) == "ValueError [unexpected-error]"


def test_what_is_unexpected_already_is_not_wrapped_again() -> None:
    error = UnexpectedError.of(ValueError("bad"), step="charge")

    assert UnexpectedError.of(error, step="outer") is error


def test_an_original_that_cannot_say_its_text_is_described_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert UnexpectedError.of(Broken()).message == "<no text: its __str__ failed>"


def test_an_unexpected_error_of_awaitly_keeps_its_code_and_hint_and_says_them_once() -> None:
    error = UnexpectedError.of(StepTimeout("charge took too long", hint="raise timeout="), step="charge")

    assert str(error) == (
        "charge raised awaitly.errors.StepTimeout: charge took too long [unexpected-error: step-timeout]"
    )
    assert (error.message, error.cause_code, error.hint) == ("charge took too long", "step-timeout", "raise timeout=")


def test_an_unexpected_error_of_another_class_has_no_code_of_its_cause() -> None:
    error = UnexpectedError.of(ValueError("bad"))

    assert error.cause_code is None
    assert "errors=" in error.hint


def test_a_suspended_run_passes_through_except_exception() -> None:
    assert not issubclass(RunSuspended, Exception)
    assert str(RunSuspended("shutdown")) == "shutdown. [run-suspended]"
    assert pickle.loads(pickle.dumps(RunSuspended("shutdown"))).reason == "shutdown"
