"""Mistakes that type checkers must find. Never executed; each stands on a line marked `# reject`."""

from awaitly.errors import Failure, StoreError, UsageError
from awaitly.result import Err, Ok, Result


class CardDeclined(Failure):
    decline_code: str


def find(name: str) -> Result[int, str]:
    return Ok(len(name)) if name else Err("NOT_FOUND")


def failures(declined: CardDeclined) -> None:
    CardDeclined()  # reject
    CardDeclined(5)  # reject
    CardDeclined("stolen", amount=3)  # reject
    declined.decline_code = "expired"  # reject


def own_errors() -> None:
    StoreError("disk full")  # reject
    StoreError("disk full", code="disk-full")  # reject
    UsageError("late", code="store-full")  # reject


def unnarrowed() -> None:
    find("a").value  # reject
    find("a").error  # reject
    find("a").map(str).unwrap().bit_length()  # reject


def frozen(ok: Ok[int]) -> None:
    ok.value = 2  # reject


def wrong_value() -> Result[int, str]:
    return Ok("a")  # reject


def wrong_error() -> Result[int, str]:
    return Err(404)  # reject
