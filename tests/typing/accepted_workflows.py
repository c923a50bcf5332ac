"""Never executed: what type checkers must accept of steps and workflows, and the types that they must infer."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Never, assert_never, assert_type
from uuid import UUID

from awaitly import (
    Err,
    Failure,
    Ok,
    Result,
    RunHandle,
    Runtime,
    Step,
    UnexpectedError,
    Workflow,
    current,
    each,
    gather,
    now,
    race,
    random,
    settle,
    sleep,
    step,
    timeout,
    uuid4,
    workflow,
)


class CardDeclined(Failure):
    decline_code: str


class SoldOut(Failure):
    sku: str


class Expired(Failure):
    pass


@step
async def fetch(user: int) -> str:
    return str(user)


@step
def read_file(path: str, *, limit: int = 10) -> bytes:
    return path.encode()[:limit]


@step(key="charge:{amount}", errors=CardDeclined, effect="once", timeout="10s", tags=("billing",))
async def charge(amount: int) -> bytes:
    return bytes(amount)


@step(errors=(CardDeclined, SoldOut))
async def reserve(sku: str) -> int:
    return len(sku)


@step(errors=(CardDeclined, SoldOut, Expired), name="reserve-all")
def reserve_all(sku: str) -> int:
    return len(sku)


@step
async def find(sku: str) -> Result[int, SoldOut]:
    return Err(SoldOut(sku)) if not sku else Ok(1)


@step(errors=CardDeclined)
async def buy(sku: str) -> Result[int, SoldOut]:
    return Ok(len(sku))


@step(effect="read")
async def plain_error(sku: str) -> Result[int, str]:
    return Err("NOT_FOUND")


def steps() -> tuple[object, ...]:
    one: Step[[int], str, Never] = fetch
    two: Step[[int], bytes, CardDeclined] = charge
    three: Step[[str], int, CardDeclined | SoldOut] = reserve
    four: Step[[str], int, CardDeclined | SoldOut | Expired] = reserve_all
    five: Step[[str], int, SoldOut] = find
    six: Step[[str], int, SoldOut | CardDeclined] = buy
    seven: Step[[str], int, str] = plain_error
    awaited: Coroutine[object, None, str] = fetch(1)
    assert_type(fetch.name, str)
    return one, two, three, four, five, six, seven, awaited


async def calls() -> None:
    assert_type(await fetch(1), str)
    assert_type(await read_file("a", limit=3), bytes)
    assert_type(await find("a"), int)
    assert_type(await charge.attempt(1), Ok[bytes] | Err[CardDeclined] | Err[UnexpectedError])
    assert_type(await plain_error.attempt("a"), Ok[int] | Err[str] | Err[UnexpectedError])
    assert_type(asyncio.create_task(fetch(1)), asyncio.Task[str])
    assert_type(await asyncio.gather(fetch(1), charge(2)), tuple[str, bytes])


async def combined(skus: list[str]) -> None:
    assert_type(await gather(fetch(1), charge(2)), tuple[str, bytes])
    assert_type(await gather(*(reserve(sku) for sku in skus)), tuple[int, ...])
    assert_type(await race(fetch(1), charge(2)), str | bytes)
    assert_type(await settle(fetch(1), charge(2)), tuple[Ok[str] | Err[Exception], Ok[bytes] | Err[Exception]])
    assert_type(await each(reserve, skus, concurrency=3), list[int])
    await sleep("24h")
    async with timeout(5):
        assert_type(now(), datetime)
        assert_type(random(), float)
        assert_type(uuid4(), UUID)
    assert_type(current().idempotency_key, str)


@workflow
async def undeclared(user: int) -> str:
    return await fetch(user)


@workflow(key="order:{sku}", deadline="1h", errors=(CardDeclined, SoldOut))
async def checkout(sku: str, amount: int = 1) -> bytes:
    await reserve(sku)
    return await charge(amount)


@workflow
async def returning(sku: str) -> Result[int, SoldOut]:
    return Ok(await find(sku))


async def runs(runtime: Runtime) -> None:
    one: Workflow[[int], str, Exception] = undeclared
    two: Workflow[[str], int, SoldOut] = returning
    assert_type((await one.run(1)).is_ok(), bool)
    assert_type((await two.run("a")).is_ok(), bool)
    assert_type(await undeclared(1), str)
    assert_type(await checkout("a", amount=2), bytes)
    assert_type(await checkout.run("a"), Ok[bytes] | Err[CardDeclined | SoldOut] | Err[UnexpectedError])
    assert_type(await returning.run("a"), Ok[int] | Err[SoldOut] | Err[UnexpectedError])
    assert_type(checkout.run_sync("a"), Ok[bytes] | Err[CardDeclined | SoldOut] | Err[UnexpectedError])
    handle = await checkout.options(id="one", deadline=3, metadata={"by": "me"}).start("a")
    assert_type(handle, RunHandle[bytes, CardDeclined | SoldOut])
    assert_type(await handle.result(), Ok[bytes] | Err[CardDeclined | SoldOut] | Err[UnexpectedError])
    assert_type(await runtime.run(returning, "a"), Ok[int] | Err[SoldOut] | Err[UnexpectedError])


async def exhaustive() -> str:
    match await checkout.run("a"):
        case Ok(receipt):
            return receipt.decode()
        case Err(error):
            match error:
                case CardDeclined(decline_code=code):
                    return code
                case SoldOut(sku):
                    return sku
                case UnexpectedError():
                    return error.message
                case _:
                    assert_never(error)
