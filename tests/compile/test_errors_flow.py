"""Which errors can leave a workflow: what its steps declare, minus what its body catches."""

# ruff: noqa: B012, SIM105, TRY - the ways of raising are what is tested

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import pytest

from awaitly.compile.diagnosis import leaving_errors
from awaitly.compile.following import read
from awaitly.declare.combinators import each, gather, race, settle
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import CircuitOpen, Failure, StepTimeout, UnexpectedError, UnwrapError
from awaitly.policies.fallback import Fallback
from awaitly.result import Err, Ok, Result


class Declined(Failure):
    code: str = ""


class HardDeclined(Declined):
    pass


class Missing(Failure):
    pass


class Late(Failure):
    pass


@step(errors=Declined)
async def charge(order: str) -> str:
    return order


@step(errors=(Missing, TimeoutError))
async def reserve(order: str) -> str:
    return order


@step
async def check(order: str) -> Result[str, Literal["BAD"] | Late]:
    return Ok(order)


@step
async def safe(order: str) -> str:
    return order


@step(errors=(Late, TimeoutError))
async def archived(order: str) -> str:
    return order


@step(errors=(Declined, Missing), effect="write", fallback=Fallback(archived, on=Missing))
async def backed(order: str) -> str:
    return order


@step(errors=(Declined, Missing), fallback=Fallback(value=""))
async def never_failing(order: str) -> str:
    return order


@step(fallback=Fallback(backed))
async def backed_twice(order: str) -> Result[str, Literal["BAD"]]:
    return Ok(order)


@step(errors=(Declined, Missing), fallback=Fallback(value="", on=Missing))
async def varied(order: str) -> str:
    return order


@varied.variant(flag="careless", fallback=Fallback(value="", on=Declined))
async def careless(order: str) -> str:
    return order


@step(errors=(StepTimeout, CircuitOpen))
async def slow(order: str) -> str:
    return order


async def both(order: str) -> None:
    await charge(order)
    await reserve(order)


async def guarded(order: str) -> None:
    with suppress(Missing):
        await both(order)


def validate(order: str) -> None:
    if not order:
        raise Missing


async def again(order: str, times: int) -> None:
    if times:
        await again(order, times - 1)
    await charge(order)


@workflow(errors=Late)
async def child(order: str) -> str:
    raise Late


@workflow
async def vague(order: str) -> str:
    return await charge(order)


@workflow
async def nothing_that_fails(order: str) -> None:  # leaves:
    await safe(order)


@workflow
async def everything_that_steps_declare(order: str) -> None:  # leaves: Declined Missing TimeoutError
    await charge(order)
    await reserve(order)


@workflow
async def errors_of_results(order: str) -> None:  # leaves: Literal['BAD'] Late
    await check(order)


@workflow
async def a_caught_class(order: str) -> None:  # leaves: Missing TimeoutError
    try:
        await charge(order)
        await reserve(order)
    except Declined:
        pass


@workflow
async def a_caught_base(order: str) -> None:  # leaves: TimeoutError
    try:
        await charge(order)
        await reserve(order)
    except Failure:
        pass


@workflow
async def a_caught_tuple(order: str) -> None:  # leaves:
    try:
        await charge(order)
        await reserve(order)
    except (Declined, Missing, TimeoutError):
        pass


@workflow
async def a_caught_subclass_leaves_the_rest(order: str) -> None:  # leaves: Declined
    try:
        await charge(order)
    except HardDeclined:
        pass


@workflow
async def a_plain_error_arrives_in_an_unwrap_error(order: str) -> None:  # leaves: Late
    try:
        await check(order)
    except UnwrapError:
        pass


@workflow
async def an_unexpected_error_is_something_else(order: str) -> None:  # leaves: Declined
    try:
        await charge(order)
    except UnexpectedError:
        pass


@workflow
async def a_bare_raise(order: str) -> None:  # leaves: Declined
    try:
        await charge(order)
    except Failure:
        await safe(order)
        raise


@workflow
async def the_caught_error_raised_by_name(order: str) -> None:  # leaves: Missing TimeoutError
    try:
        await charge(order)
        await reserve(order)
    except (Missing, OSError) as error:
        if order:
            raise error
    except Declined:
        pass


@workflow
async def one_error_made_of_another(order: str) -> None:  # leaves: Late
    try:
        await charge(order)
    except Declined as error:
        raise Late from error


@workflow
async def a_handler_that_calls_a_step(order: str) -> None:  # leaves: Missing TimeoutError
    try:
        await charge(order)
    except Declined:
        await reserve(order)


@workflow
async def an_else_is_outside_of_the_handlers(order: str) -> None:  # leaves: Declined
    try:
        await safe(order)
    except Declined:
        pass
    else:
        await charge(order)


@workflow
async def a_finally_adds_its_own(order: str) -> None:  # leaves: Declined Late Literal['BAD']
    try:
        await charge(order)
    finally:
        await check(order)


@workflow
async def a_finally_that_returns_swallows(order: str) -> None:  # leaves:
    try:
        await charge(order)
    finally:
        return


@workflow
async def nested_tries(order: str) -> None:  # leaves: Late TimeoutError
    try:
        try:
            await charge(order)
            await reserve(order)
        except Declined:
            raise Missing from None
    except Missing:
        raise Late from None


@workflow
async def a_suppressed_class(order: str) -> None:  # leaves: TimeoutError
    with suppress(Missing, Declined):
        await both(order)


@workflow
async def an_attempt_never_raises(order: str) -> None:  # leaves:
    await charge.attempt(order)
    await child.run(order)
    await child.start(order)


@workflow
async def settling_never_raises(order: str) -> None:  # leaves:
    await settle(charge(order), reserve(order))
    await asyncio.gather(charge(order), return_exceptions=True)


@workflow
async def joining_raises(order: str) -> None:  # leaves: Declined Missing TimeoutError
    await gather(charge(order), safe(order))
    await race(reserve(order), safe(order))


@workflow
async def what_is_handed_over_is_called(orders: list[str]) -> None:  # leaves: Declined
    await each(charge, orders)


@workflow
async def lambdas_and_partials_too(orders: list[str]) -> None:  # leaves: Declined Late Literal['BAD']
    await each(lambda order: charge(order), orders)
    await each(partial(check), orders)


@workflow
async def a_nested_function(order: str) -> None:  # leaves: Missing TimeoutError
    async def inner() -> None:
        await reserve(order)

    async def never_called() -> None:
        await charge(order)

    await inner()


@workflow
async def a_helper(order: str) -> None:  # leaves: Declined Missing TimeoutError
    await both(order)


@workflow
async def a_helper_that_catches(order: str) -> None:  # leaves: Declined TimeoutError
    await guarded(order)


@workflow
async def a_helper_without_steps(order: str) -> None:  # leaves: Missing
    validate(order)


@workflow
async def a_helper_that_calls_itself(order: str) -> None:  # leaves: Declined
    await again(order, 3)


@workflow
async def a_child(order: str) -> None:  # leaves: Late
    await child(order)


@workflow
async def raised_failures_but_no_bugs(order: str) -> None:  # leaves: Late
    if order:
        raise Late
    raise ValueError(order)


@workflow
async def coroutines_fail_where_they_are_awaited(orders: list[str]) -> None:  # leaves:
    tasks = [charge(order) for order in orders]
    try:
        await asyncio.gather(*tasks)
    except Declined:
        pass


@workflow
async def and_not_where_they_are_made(orders: list[str]) -> None:  # leaves: Declined
    tasks = []
    try:
        for order in orders:
            tasks.append(asyncio.create_task(charge(order)))  # noqa: PERF401 - another place than a comprehension
    except Declined:
        pass
    for task in tasks:
        await task


@workflow
async def a_task_group_makes_groups(order: str) -> None:  # leaves:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(charge(order))
    except* Declined:
        pass


@workflow(errors=(Declined, Missing))
async def declared_errors_count_when_something_is_unknown(order: str) -> None:  # leaves: Declined Missing
    await vague(order)


@workflow
async def a_returned_error(order: str) -> Result[str, Late | Literal["NO"]]:  # leaves: Late Literal['NO']
    return Err("NO") if order else Err(Late())


@workflow
async def a_returned_attempt(order: str) -> Result[str, Declined]:  # leaves: Declined
    return await charge.attempt(order)  # type: ignore[return-value]  # bugs are not declared


@workflow
async def a_fallback_answers_for_some_and_fails_with_its_own(
    order: str,
) -> None:  # leaves: Declined Late TimeoutError
    await backed(order)


@workflow
async def a_fallback_answers_for_everything(order: str) -> None:  # leaves:
    await never_failing(order)


@workflow
async def a_fallback_has_a_fallback(order: str) -> None:  # leaves: Declined Late TimeoutError
    await backed_twice(order)


@workflow
async def a_variant_has_the_errors_of_its_step_and_another_fallback(
    order: str,
) -> None:  # leaves: Declined Missing
    await varied(order)


@workflow
async def what_a_fallback_answered_is_not_raised_again(order: str) -> None:  # leaves:
    try:
        await never_failing(order)
    except Missing:
        raise


@workflow
async def errors_of_policies_may_be_declared(order: str) -> None:  # leaves: CircuitOpen StepTimeout
    await slow(order)


@workflow
async def errors_of_policies_may_be_caught(order: str) -> None:  # leaves: CircuitOpen
    try:
        await slow(order)
    except StepTimeout:
        pass


WORKFLOWS = [
    value for value in list(globals().values()) if type(value).__name__ == "Workflow" and value not in (child, vague)
]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.name)
def test_the_errors_that_leave_are_those_written_beside_the_workflow(body: Any) -> None:
    main = read(body).main
    lines = main.file.text.splitlines()[main.node.lineno - 1 :]
    header = next(line for line in lines if "# leaves:" in line)

    assert sorted(error.rpartition(":")[2] for error in leaving_errors(read(body))) == sorted(
        header.partition("# leaves:")[2].split()
    )


def test_errors_are_named_by_module_and_class() -> None:
    assert leaving_errors(read(a_child)) == (f"{Late.__module__}:Late",)
