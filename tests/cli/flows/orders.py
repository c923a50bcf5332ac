"""Workflows that the tests of the command line run."""

import os
import time
from pathlib import Path

from pydantic import BaseModel

from awaitly import Failure, Flag, each, gather, step, workflow


class Item(BaseModel):
    sku: str
    quantity: int = 1


class Order(BaseModel):
    id: str
    items: list[Item] = []


class Declined(Failure):
    reason: str
    attempts: int = 1


class Opaque:
    """Nothing that could be stored."""


def note(ledger: Path, line: str) -> None:
    with ledger.open("a") as file:
        file.write(f"{line}\n")


@step(effect="read")
async def count(item: Item) -> int:
    return item.quantity


@step(errors=Declined)
async def charge(order: Order) -> str:
    if order.id == "declined":
        raise Declined(reason="stolen")
    if order.id == "bug":
        raise ZeroDivisionError("nobody thought of this")
    return f"paid {order.id}"


@workflow
async def pack(order: Order) -> int:
    return sum(await each(count, order.items))


@workflow(key="order:{order.id}", errors=Declined)
async def checkout(order: Order) -> str:
    paid, packed = await gather(charge(order), pack(order))
    return f"{paid}, {packed} items"


@step
async def record(ledger: Path, line: str, size: int = 0) -> str:
    note(ledger, line)
    return "x" * size


@step
def wait_for_file(ledger: Path, gate: Path) -> None:
    note(ledger, f"waiting in {os.getpid()}")
    while not gate.exists():
        time.sleep(0.01)
    note(ledger, "passed")


@workflow
async def gated(ledger: Path, gate: Path) -> str:
    await record(ledger, "first")
    await wait_for_file(ledger, gate)
    await record(ledger, "last")
    return "through"


@workflow
async def large(ledger: Path, pages: int = 40) -> int:
    for number in range(pages):
        await record(ledger, f"{number}", 4000)
    return pages


@step(errors=Declined)
def fetch(source: Path) -> str:
    if not source.exists():
        raise Declined(reason="nothing there yet")
    return source.read_text()


@workflow(errors=Declined)
async def fetched(ledger: Path, source: Path) -> str:
    await record(ledger, "asked")
    return await fetch(source)


@step
async def shapeless() -> object:
    return Opaque()


@workflow
async def unstorable() -> str:
    await shapeless()
    return "never"


@step(key="the-one")
async def named(number: int) -> int:
    return number


@step
async def ship(item: str) -> str:
    return f"{item} by post"


@ship.variant(flag=Flag("carrier", default="post"), when="bike")
async def ship_by_bike(item: str) -> str:
    return f"{item} by bike"


@ship.variant(flag="new-post")
async def ship_by_new_post(item: str) -> str:
    return f"{item} by new post"


@workflow
async def shipped(item: str) -> str:
    return await ship(item)


@workflow
async def twice() -> int:
    return await named(1) + await named(2)


@workflow
async def greet(name: str = "you", *, times: int = 1) -> str:
    return " ".join([f"hello {name}"] * times)


@workflow(durable=False)
async def passing(number: int) -> int:
    return number + 1


async def plain() -> None:
    """Not a workflow."""
