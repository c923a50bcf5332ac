"""What type checkers must accept and infer. Never executed: mypy --strict and pyright read it."""

from typing import Literal, assert_never, assert_type

from awaitly.errors import AwaitlyError, Failure, StoreError, UnexpectedError
from awaitly.result import Err, Ok, Result, collect, collect_async, partition, partition_async, zip_results


class CardDeclined(Failure):
    decline_code: str
    amount: int = 0


class CardExpired(CardDeclined, retryable=True):
    when: str = ""


class SoldOut(Failure):
    """No fields."""


def find(name: str) -> Result[int, str]:
    return Ok(len(name)) if name else Err("NOT_FOUND")


def pay(amount: int) -> Result[bytes, CardDeclined]:
    return Ok(b"") if amount else Err(CardDeclined("zero", amount=amount))


def attempt(amount: int) -> Ok[bytes] | Err[CardDeclined | SoldOut] | Err[UnexpectedError]:
    raise NotImplementedError


async def reserve(name: str) -> Result[int, SoldOut]:
    raise NotImplementedError


def failures() -> None:
    expired = CardExpired("stolen", 3, when="2026-01")
    assert_type(expired.decline_code, str)
    assert_type(expired.amount, int)
    assert_type(CardDeclined.retryable, bool)
    SoldOut()


def own_errors(error: AwaitlyError) -> None:
    assert_type(error.code, str)
    assert_type(error.hint, str)
    assert_type(error.docs_url, str)
    StoreError("disk full", code="store-full", hint="make room")
    assert_type(UnexpectedError.of(ValueError(), step="charge"), UnexpectedError)


def narrowed_by_match(result: Result[int, str]) -> int | str:
    match result:
        case Ok(value):
            return assert_type(value, int)
        case Err(error):
            return assert_type(error, str)


def narrowed_by_isinstance(result: Result[int, str]) -> None:
    if isinstance(result, Ok):
        assert_type(result.value, int)
    else:
        assert_type(result.error, str)


def narrowed_in_two_matches(amount: int) -> bytes | str | int:
    match attempt(amount):
        case Ok(value):
            return assert_type(value, bytes)
        case Err(error):
            match error:
                case CardDeclined(code):
                    return assert_type(code, str)
                case SoldOut():
                    return 0
                case UnexpectedError():
                    return assert_type(error.type_name, str)
                case _:
                    assert_never(error)


def methods() -> None:
    assert_type(find("a").map(str), Ok[str] | Err[str])
    assert_type(find("a").map_err(len), Ok[int] | Err[int])
    assert_type(find("a").map(lambda value: value + 1), Ok[int] | Err[str])
    assert_type(find("a").and_then(pay), Ok[bytes] | Err[CardDeclined] | Err[str])
    assert_type(pay(1).or_else(lambda error: find(error.decline_code)), Ok[bytes] | Ok[int] | Err[str])
    assert_type(find("a").unwrap(), int)
    assert_type(find("a").expect("a name"), int)
    assert_type(find("a").unwrap_or(None), int | None)
    assert_type(find("a").unwrap_or_else(lambda error: error.encode()), int | bytes)
    assert_type(Ok(1).is_ok(), Literal[True])


def covariance(result: Result[bool, CardExpired]) -> Result[int, CardDeclined]:
    return result


def many() -> None:
    assert_type(collect([find("a"), find("b")]), Ok[list[int]] | Err[str])
    assert_type(partition([find("a"), find("b")]), tuple[list[int], list[str]])
    assert_type(zip_results(find("a"), pay(1)), Ok[tuple[int, bytes]] | Err[str | CardDeclined])
    assert_type(
        zip_results(find("a"), pay(1), find("b"), pay(2), find("c")),
        Ok[tuple[int, bytes, int, bytes, int]] | Err[str | CardDeclined],
    )
    assert_type(zip_results(*[find("a")]), Ok[tuple[int, ...]] | Err[str])


async def many_async() -> None:
    assert_type(await collect_async(reserve(name) for name in "abc"), Ok[list[int]] | Err[SoldOut])
    assert_type(await partition_async([reserve("a")]), tuple[list[int], list[SoldOut]])
