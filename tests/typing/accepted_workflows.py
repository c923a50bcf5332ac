"""Never executed: what type checkers must accept of steps and workflows, and the types that they must infer."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Never, assert_never, assert_type
from uuid import UUID

from openfeature.client import OpenFeatureClient

from awaitly import (
    Breaker,
    Budget,
    Cache,
    Concurrency,
    Err,
    Failure,
    Fallback,
    Flag,
    Hedge,
    Ok,
    Policies,
    RateLimit,
    Result,
    Retry,
    RunHandle,
    Runtime,
    SlidingWindow,
    Step,
    UnexpectedError,
    Workflow,
    current,
    each,
    gather,
    now,
    race,
    random,
    remaining,
    settle,
    sleep,
    step,
    timeout,
    uuid4,
    workflow,
)
from awaitly.flags.provider import Decision, FlagContext, FlagProvider
from awaitly.flags.rules import Rule


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


STRIPE = Policies(retry=Retry.patient(), breaker=Breaker("stripe"), limiter=RateLimit("stripe", limit=10), timeout="5s")
CARRIER = Flag("carrier", default="post")


@step(
    effect="read",
    fallback=Fallback(value=b"", on=TimeoutError),
    deadline="1m",
    cache=Cache("1h", key="{amount}"),
    retry=Retry(3, on=OSError, jitter="full", budget=Budget("stripe", ratio=0.2)),
    hedge=Hedge("200ms"),
    limiter=[RateLimit(limit=3, per="1s").costing(2), SlidingWindow("window", limit=3), Concurrency(limit=2), "stripe"],
    breaker="payments",
    timeout=5,
)
async def surrounded(amount: int) -> bytes:
    return bytes(amount)


@step(policies=STRIPE, retry=5, cache="1h", hedge="200ms", fallback=surrounded, breaker=Breaker())
def in_short(amount: int) -> bytes:
    return bytes(amount)


@charge.variant(flag="new-charge", policies=STRIPE, retry=Retry(attempts=5))
async def charge_v2(amount: int) -> bytes:
    return bytes(amount)


@charge.variant(flag=Flag("other"), when=False)
def charge_v3(amount: int) -> bytes:
    return bytes(amount)


@find.variant(flag=CARRIER, when="drone")
async def find_by_drone(sku: str) -> Result[int, SoldOut]:
    return Ok(2)


@read_file.variant(flag="fast-files")
async def read_fast(path: str, *, limit: int = 10) -> bytes:
    return path.encode()[:limit]


async def variants() -> tuple[object, ...]:
    one: Step[[int], bytes, CardDeclined] = charge_v2
    two: Step[[int], bytes, CardDeclined] = charge_v3
    three: Step[[str], int, SoldOut] = find_by_drone
    assert_type(await charge_v2(1), bytes)
    assert_type(await charge_v2.attempt(1), Ok[bytes] | Err[CardDeclined] | Err[UnexpectedError])
    assert_type(await find_by_drone("a"), int)
    assert_type(await read_fast("a", limit=3), bytes)
    assert_type(remaining(), float | None)
    return one, two, three


async def ask(user: int, *, deep: bool = False) -> str:
    return str(user)


@Retry(attempts=3)
@Breaker("asked")
@RateLimit(limit=3)
@SlidingWindow(limit=3)
@Concurrency(limit=3)
@Fallback(value="nobody")
@Hedge("200ms")
@STRIPE
async def asked(user: int, *, deep: bool = False) -> str:
    return str(user)


async def by_hand() -> None:
    assert_type(await asked(1, deep=True), str)
    assert_type(asyncio.create_task(STRIPE(ask)(1)), asyncio.Task[str])
    assert_type(await Retry().call(ask, 1, deep=True), str)
    assert_type(await Breaker().call(ask, 1, deep=True), str)
    assert_type(await RateLimit(limit=1).call(ask, 1, deep=True), str)
    assert_type(await SlidingWindow(limit=1).call(ask, 1), str)
    assert_type(await Concurrency(limit=1).call(ask, 1), str)
    assert_type(await Fallback(value="").call(ask, 1), str)
    assert_type(await Hedge(1).call(ask, 1), str)
    assert_type(await STRIPE.call(ask, 1, deep=True), str)
    async with Breaker("stripe"), RateLimit(limit=1), Concurrency(limit=2):
        await SlidingWindow(limit=1).acquire()


def by_name(flag: str, context: FlagContext) -> bool | None:
    return context.metadata.get("tier") == "gold" if flag == "new-charge" else None


async def by_name_later(flag: str, context: FlagContext) -> str:
    return context.run_id


class Decider:
    name = "own"

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        return Decision(flag.default, self.name)

    def knows(self, flag: str) -> bool | None:
        return None


async def flags(runtime: Runtime, client: OpenFeatureClient, provider: FlagProvider) -> None:
    Runtime(flags={"new-charge": 0.25, "carrier": {"shares": {"bike": 0.5}}, "rule": Rule(value=True)})
    Runtime(flags=by_name)
    Runtime(flags=by_name_later)
    Runtime(flags=Decider())
    Runtime(flags=client)
    Runtime(flags=provider)
    run = checkout.options(flags={"new-charge": True, "carrier": "drone", "weight": 0.5})
    assert_type(await run.run("a"), Ok[bytes] | Err[CardDeclined | SoldOut] | Err[UnexpectedError])
    handle = await runtime.fork("order:1", at="charge", flags={"new-charge": False, "carrier": "bike"})
    await runtime.plan_fork(handle.id, flags={"weight": 1})
