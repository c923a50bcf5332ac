"""Calls that do nothing, and calls that nothing is known about."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from awaitly.declare.combinators import each, gather, race, sleep
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow


@step
async def work(item: str) -> str:
    return item


@step
def blocking(item: str) -> str:
    return item


@workflow
async def child(item: str) -> str:
    return await work(item)


async def helper(item: str) -> None:
    await work(item)


def prepared(item: str) -> Any:
    return work(item)


@workflow
async def coroutines_that_nobody_awaits(item: str) -> str:
    work(item)  # unawaited-step
    blocking(item)  # unawaited-step
    child.run(item)  # unawaited-step
    work.attempt(item)  # unawaited-step
    helper(item)  # unawaited-step
    forgotten = work(item)  # noqa: F841  # unawaited-step

    async def inner() -> None:
        await work(item)

    inner()  # unawaited-step
    sleep("1s")  # unawaited-step
    return work(item)  # type: ignore[return-value]  # unawaited-step


@workflow
async def coroutines_that_somebody_awaits(item: str) -> str:
    later = work(item)
    await gather(later, helper(item), prepared(item))
    await sleep("1s")
    tasks = [work(item), blocking(item)]
    await asyncio.gather(*tasks)
    async with asyncio.TaskGroup() as group:
        group.create_task(work(item))
    return await work(item)


@workflow
async def coroutines_that_are_reckoned_with(item: str) -> str:
    text = work(item)  # unawaited-step
    return text + "!" + (work(item) + "?")  # type: ignore[operator]  # unawaited-step


@workflow
async def a_coroutine_that_is_awaited_after_it_was_compared(item: str) -> str:
    later = work(item)
    if later == item:  # type: ignore[comparison-overlap]
        return item
    return await later


@workflow
async def arguments_that_do_not_fit(item: str) -> str:
    await work(item, item)  # type: ignore[call-arg]  # wrong-arguments
    await work.attempt()  # type: ignore[call-arg]  # wrong-arguments
    await child(item, sauce=item)  # type: ignore[call-arg]  # wrong-arguments
    await child.run(thing=item)  # type: ignore[call-arg]  # wrong-arguments
    await gather([work(item), work(item)])  # type: ignore[list-item]  # wrong-arguments
    await race(work(one) for one in item)  # type: ignore[arg-type]  # wrong-arguments
    await each(work(item), [item])  # type: ignore[arg-type]  # wrong-arguments
    return item


def doing(item: str) -> Callable[[str], Awaitable[str]]:
    return lambda other: work(other)


@workflow
async def arguments_that_fit(item: str) -> str:
    both: tuple[str, str] = (item, item)
    await work(*both[:1])
    given = {"item": item}
    await work(**given)
    await gather(*[work(one) for one in item])
    await each(work, [item])
    await each(lambda one: work(one), [item])
    return await child(item=item)


@workflow
async def a_function_that_is_a_parameter(item: str, do: Callable[[str], Awaitable[str]]) -> str:
    return await do(item)  # opaque-call


WORKFLOWS = [value for value in list(globals().values()) if type(value).__name__ == "Workflow"]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.name)
def test_the_marked_lines_and_no_others_are_reported(body: Any, found: Any, marked: Any) -> None:
    ignored = "unstorable-argument"  # of the function that is a parameter: another rule's matter

    assert [pair for pair in found(body) if pair[1] != ignored] == marked(body)


def test_the_hint_says_await(diagnosed: Any) -> None:
    assert diagnosed(coroutines_that_nobody_awaits)[0].hint == "write await work(...), or hand it to awaitly.gather"
