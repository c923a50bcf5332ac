"""The list of rules, from which the documentation's table is made, and a workflow with which nothing is wrong."""

import re
from typing import Any

import pytest
from pydantic import BaseModel

from awaitly.compile.rules.registry import RULES
from awaitly.declare.combinators import each, gather, now, race, settle, sleep, timeout, uuid4
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import Failure, UnexpectedError
from awaitly.model.graph import Severity
from awaitly.result import Err, Ok, Result


class Line(BaseModel):
    sku: str
    amount: int


class Order(BaseModel):
    id: str
    lines: list[Line]


class Declined(Failure):
    code: str


class SoldOut(Failure):
    sku: str


@step(key="charge:{order.id}", errors=Declined, timeout="10s")
async def charge(order: Order, reference: str) -> int:
    return len(reference)


@step(key="reserve:{order.id}:{line.sku}", errors=SoldOut)
def reserve(order: Order, line: Line) -> str:
    return line.sku


@step(effect="read")
async def rate(currency: str) -> Result[float, str]:
    return Ok(1.0)


@step
async def notify(order: Order, text: str) -> None: ...


async def reserved(order: Order) -> list[str]:
    async def one(line: Line) -> str:
        return await reserve(order, line)

    return await each(one, order.lines, concurrency=4)


@workflow(key="order:{order.id}", errors=(Declined, SoldOut), deadline="1h")
async def checkout(order: Order, currency: str = "EUR") -> Result[str, str]:
    factor, skus = await gather(rate(currency), reserved(order))
    try:
        async with timeout("1m"):
            paid = await charge(order, f"{uuid4()}:{factor}")
    except TimeoutError:
        return Err("too late")
    except UnexpectedError:
        await notify(order, "try again")
        raise
    finally:
        print(order.id, now().isoformat())
    match await charge.attempt(order, "again"):
        case Ok(value):
            paid += value
        case Err(Declined(code=code)):
            await notify(order, code)
    first = await race(notify(order, "a"), sleep("1s"))
    done = await settle(*[notify(order, sku) for sku in sorted(set(skus))])
    return Ok(f"{paid}{first}{len(done)}")


def test_an_ordinary_workflow_gives_no_reason_to_object(diagnosed: Any) -> None:
    assert diagnosed(checkout) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_rule_is_documented_by_its_code_and_one_sentence(rule: Any) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.code)
    assert re.fullmatch(r"[A-Z].*[^.]\.", rule.summary)
    assert rule.find.__doc__
    assert rule.severity in Severity


def test_no_two_rules_share_a_code() -> None:
    codes = [rule.code for rule in RULES]

    assert len(set(codes)) == len(codes)
