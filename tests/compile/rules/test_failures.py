"""Failures have to be declared where they leave, and are caught under the name that they arrive with."""

# ruff: noqa: BLE001, E722, SIM105 - the ways of catching are what is tested

import asyncio
from contextlib import suppress
from typing import Any, Literal, Never

import pytest

from awaitly.declare.combinators import each, gather, timeout
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import AwaitlyError, CircuitOpen, Failure, StepTimeout, UnexpectedError
from awaitly.policies.fallback import Fallback
from awaitly.result import Err, Ok, Result


class Declined(Failure):
    code: str = ""


class HardDeclined(Declined):
    pass


class Missing(Failure):
    pass


class GatewayError(Exception):
    pass


class ParseError(Exception):
    pass


@step(errors=Declined)
async def charge(order: str) -> str:
    return order


@step(errors=(Missing, GatewayError))
async def reserve(order: str) -> str:
    return order


@step
async def check(order: str) -> Result[str, Literal["BAD"]]:
    return Ok(order)


@step
async def safe(order: str) -> str:
    return order


@step(errors=(Missing, Declined), fallback=Fallback(value="", on=Missing))
async def backed(order: str) -> str:
    return order


@step(errors=StepTimeout)
async def slow(order: str) -> str:
    return order


@safe.variant(flag="new")
async def safe_v2(order: str) -> str:
    return order


def parse(order: str) -> str:
    return order


async def helper(order: str) -> str:
    return await safe(order)


@workflow(errors=Missing)
async def child(order: str) -> str:
    return await safe(order)


@workflow(errors=Declined)
async def a_failure_that_is_not_declared(order: str) -> None:
    await charge(order)
    await reserve(order)  # undeclared-failure, undeclared-failure


@workflow(errors=Declined)
async def what_a_fallback_answers_for_need_not_be_declared(order: str) -> None:
    await backed(order)


@workflow(errors=Missing)
async def what_it_does_not_answer_for_has_to_be(order: str) -> None:
    await backed(order)  # undeclared-failure


@workflow(errors=Missing)
async def what_a_fallback_answers_for_may_be_caught_as_it_may_be_switched_off(order: str) -> None:
    try:
        await backed(order)
    except (Missing, Declined):
        pass


@workflow(errors=Missing)
async def a_declared_timeout_is_a_failure_like_others(order: str) -> None:
    await slow(order)  # undeclared-failure


@workflow
async def what_policies_raise_arrives_as_itself_where_it_is_declared(order: str) -> None:
    try:
        await slow(order)
    except StepTimeout:
        pass
    try:
        await charge(order)
    except Declined:
        pass
    except CircuitOpen:  # undeclared-catch
        pass


@workflow
async def a_failure_that_the_annotation_misses(order: str) -> Result[str, Missing]:
    if order:
        raise Declined  # undeclared-failure
    await check(order)  # undeclared-failure
    return Err(Missing()) if order else Ok(order)


@workflow(errors=Declined)
async def a_failure_of_a_child_or_of_something_handed_over(orders: list[str]) -> None:
    await child("")  # undeclared-failure
    await each(reserve, orders)  # undeclared-failure, undeclared-failure


@workflow
async def a_returned_error_that_is_not_in_the_annotation(order: str) -> Result[str, Missing]:
    return Err(Declined())  # type: ignore[return-value]  # undeclared-failure


@workflow
async def a_result_that_never_fails(order: str) -> Result[str, Never]:
    await charge(order)  # undeclared-failure
    return Ok(order)


@workflow(errors=(Declined, Missing))
async def failures_that_are_declared_or_caught(order: str) -> Result[str, Literal["BAD", "WORSE"]]:
    await charge(order)
    try:
        await reserve(order)
    except GatewayError:
        pass
    await check(order)
    if order:
        raise HardDeclined
    raise ValueError(order)


@workflow
async def without_declarations_everything_may_leave(order: str) -> None:
    await charge(order)
    await check(order)


@workflow
async def classes_that_no_step_declares(order: str) -> None:
    try:
        await charge(order)
    except GatewayError:  # undeclared-catch
        pass
    try:
        await charge(order.strip())
    except (Declined, GatewayError):
        pass
    try:
        await gather(charge(order), safe(order))
    except OSError:  # undeclared-catch
        pass
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(safe(order))
    except GatewayError:  # undeclared-catch
        pass
    with suppress(GatewayError):  # undeclared-catch
        await charge(order)
    try:
        await each(charge, [order])
    except GatewayError:  # undeclared-catch
        pass


@workflow
async def classes_that_something_else_may_raise(order: str) -> None:
    try:
        await charge(parse(order))
        number = int(order)
    except ValueError:
        number = 0
    try:
        parse(order)
        await charge(order)
    except ParseError:
        pass
    try:
        await charge({"a": order}["b"])
    except KeyError:
        pass
    try:
        await charge(order)
        raise GatewayError
    except GatewayError:
        pass
    try:
        async with timeout("5s"):
            await charge(str(number))
    except TimeoutError:
        pass


@workflow
async def classes_that_steps_may_raise(order: str) -> None:
    try:
        await charge(order)
    except HardDeclined:
        pass
    try:
        await safe(order)
    except Failure:
        pass
    try:
        await safe(order)
    except (UnexpectedError, AwaitlyError, asyncio.CancelledError):
        pass
    try:
        await reserve(order)
    except GatewayError:
        pass
    with suppress(GatewayError):
        await reserve(order)
    try:
        await each(reserve, [order])
    except GatewayError:
        pass
    try:
        await helper(order)
    except GatewayError:
        pass


@workflow
async def exceptions_of_every_kind(order: str) -> None:
    try:
        await charge(order)
    except Exception:  # broad-except
        pass
    try:
        await charge(order)
    except BaseException:  # broad-except
        await safe(order)
    try:
        await charge(order)
    except:  # bare-except
        pass
    with suppress(Exception):  # broad-except
        await charge(order)
    with suppress(Declined):
        await charge(order)


@workflow
async def exceptions_of_every_kind_raised_again_or_around_no_step(order: str) -> None:
    try:
        await charge(order)
    except Exception:
        await safe(order)
        raise
    try:
        await charge(order)
    except:
        raise
    try:
        parse(order)
    except Exception:
        pass


@workflow
async def a_failure_inside_a_group(order: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(charge(order))  # grouped-failure
        group.create_task(safe(order))


@workflow
async def a_failure_taken_out_of_its_group(order: str) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(charge(order))
    except* Declined:
        pass


WORKFLOWS = [value for value in list(globals().values()) if type(value).__name__ == "Workflow"]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.name)
def test_the_marked_lines_and_no_others_are_reported(body: Any, found: Any, marked: Any) -> None:
    assert found(body) == marked(body)


def test_an_undeclared_failure_names_the_step_the_class_and_both_ways_out(diagnosed: Any) -> None:
    first = diagnosed(a_failure_that_is_not_declared)[0]

    assert first.message == (
        "step reserve can fail with GatewayError, which workflow a_failure_that_is_not_declared does not declare"
    )
    assert "catch it with try/except GatewayError" in first.hint
    assert "@workflow(errors=(Declined, GatewayError))" in first.hint


def test_an_annotation_is_extended_by_the_annotation(diagnosed: Any) -> None:
    hints = [diagnostic.hint for diagnostic in diagnosed(a_failure_that_the_annotation_misses)]

    assert "-> Result[..., ... | Declined]" in hints[0]
    assert "try/except UnwrapError" in hints[1]
    assert "-> Result[..., ... | Literal['BAD']]" in hints[1]


def test_an_undeclared_catch_says_where_to_declare_it(diagnosed: Any) -> None:
    first = diagnosed(classes_that_no_step_declares)[0]

    assert first.message == (
        "GatewayError is caught around charge, which does not declare it: it arrives as UnexpectedError"
    )
    assert first.hint == "declare it in the step: @step(errors=GatewayError), or catch UnexpectedError"


def test_a_broad_except_names_the_failures_to_catch(diagnosed: Any) -> None:
    assert "catch Declined;" in diagnosed(exceptions_of_every_kind)[0].hint
