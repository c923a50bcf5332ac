import pickle

import pytest

from awaitly.errors import UnwrapError
from awaitly.result import Err, Ok, Result


class NotFound(Exception):
    pass


def half(number: int) -> Result[int, str]:
    return Ok(number // 2) if number % 2 == 0 else Err("ODD")


def test_results_match_by_position() -> None:
    match Err("ODD"):
        case Err("ODD"):
            pass
        case _:
            pytest.fail("it did not match")


def test_results_are_values() -> None:
    assert Ok(1) == Ok(1) != Ok(2)
    assert Ok(1) != Err(1)
    assert {Ok(1), Ok(1), Err(1)} == {Ok(1), Err(1)}


def test_results_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Ok(1).value = 2


def test_results_read_as_they_are_written() -> None:
    assert (repr(Ok(1)), repr(Err("ODD"))) == ("Ok(1)", "Err('ODD')")


@pytest.mark.parametrize("result", [Ok([1]), Err("ODD")])
def test_results_can_be_pickled(result: Result[list[int], str]) -> None:
    assert pickle.loads(pickle.dumps(result)) == result


def test_results_say_what_they_are() -> None:
    assert (Ok(1).is_ok(), Ok(1).is_err()) == (True, False)
    assert (Err(1).is_ok(), Err(1).is_err()) == (False, True)


def test_the_alias_takes_both_types() -> None:
    assert Result[int, str] == Ok[int] | Err[str]


def test_map_changes_the_value_only() -> None:
    assert Ok(2).map(str) == Ok("2")
    assert Err(2).map(str) == Err(2)


def test_map_err_changes_the_error_only() -> None:
    assert Ok(2).map_err(str) == Ok(2)
    assert Err(2).map_err(str) == Err("2")


def test_and_then_goes_on_with_a_value_only() -> None:
    assert Ok(4).and_then(half) == Ok(2)
    assert Ok(3).and_then(half) == Err("ODD")
    assert Err("EARLIER").and_then(half) == Err("EARLIER")


def test_or_else_recovers_from_an_error_only() -> None:
    assert Err(4).or_else(half) == Ok(2)
    assert Ok(3).or_else(half) == Ok(3)


def test_unwrap_gives_the_value() -> None:
    assert Ok(1).unwrap() == 1


def test_unwrap_raises_an_error_that_is_an_exception() -> None:
    error = NotFound("order 7")

    with pytest.raises(NotFound) as caught:
        Err(error).unwrap()

    assert caught.value is error


def test_unwrap_raises_an_unwrap_error_that_carries_any_other_error() -> None:
    with pytest.raises(UnwrapError, match=r"found Err\('ODD'\)") as caught:
        Err("ODD").unwrap()

    assert caught.value.error == "ODD"


def test_unwrap_or_gives_the_default_for_an_error() -> None:
    assert (Ok(1).unwrap_or(0), Err("ODD").unwrap_or(0)) == (1, 0)


def test_unwrap_or_else_makes_the_default_from_the_error() -> None:
    assert (Ok(1).unwrap_or_else(len), Err("ODD").unwrap_or_else(len)) == (1, 3)


def test_expect_gives_the_value() -> None:
    assert Ok(1).expect("a number") == 1


def test_expect_says_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(UnwrapError, match=r"a number: found Err\('ODD'\)"):
        Err("ODD").expect("a number")


def test_expect_names_an_exception_as_the_cause() -> None:
    error = NotFound("order 7")

    with pytest.raises(UnwrapError) as caught:
        Err(error).expect("an order")

    assert caught.value.__cause__ is error
