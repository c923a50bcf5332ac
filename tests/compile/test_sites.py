"""Every call of a running body finds the label that the compiler gave its place."""

# ruff: noqa: B008, E702, E731 - odd code is what is tested
# fmt: off
import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from awaitly.compile.following import read
from awaitly.compile.sites import labels_of, sites_of
from awaitly.declare.combinators import each, gather
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from tests.compile.frames import labels


@step
async def charge(order: str) -> str: ...


@step
def refund(order: str) -> str: ...


async def helper(order: str) -> str:
    await charge(order)
    return await charge(order)


class Service:
    async def pay(self, order: str) -> str:
        return await charge(order)


service = Service()


@workflow
async def child(order: str) -> str:
    return order


def _is(*expected: str) -> list[str]:
    return list(expected)


def test_calls_of_one_step_count_in_source_order() -> None:
    @workflow
    async def body() -> None:
        await charge("a")
        await refund("b")
        await charge("c")

    assert labels(body) == _is("charge#0", "refund#0", "charge#1")


def test_an_inner_call_comes_before_the_call_that_it_is_an_argument_of() -> None:
    @workflow
    async def body() -> None:
        await charge(await charge(await refund("a")))

    assert labels(body) == _is("refund#0", "charge#0", "charge#1")


def test_calls_over_several_lines_are_found_by_their_end() -> None:
    @workflow
    async def body() -> None:
        await charge(
            "a",
        ); await charge("b"
        )
        (
            await
            charge
            ("c")
        )

    assert labels(body) == _is("charge#0", "charge#1", "charge#2")


def test_method_chains_over_several_lines() -> None:
    @workflow
    async def body() -> None:
        (await charge("a")).strip().join(
            [await refund("b")]
        ).strip(
        )
        await child.options(
            id="x",
        ).options(
            id="y"
        )(
            "z"
        )
        await (child
            .options(id="x")
            .run("z"))

    assert labels(body) == _is("charge#0", "refund#0", "child#0", "child#1")


def test_attempts_and_children_have_the_name_of_what_they_call() -> None:
    @workflow
    async def body() -> None:
        await charge.attempt("a")
        await charge("a")
        await child("a")
        await child.run("a")

    assert labels(body) == _is("charge#0", "charge#1", "child#0", "child#1")


def test_comprehensions_and_generator_expressions() -> None:
    @workflow
    async def body() -> None:
        [await charge(x) for x in "ab"]
        {await charge(x) for x in "ab" if await refund(x)}
        {await charge(x): await refund(x) for x in "a"}
        await asyncio.gather(*(charge(x) for x in "ab"))
        await asyncio.gather(*[charge(x) for x in "ab"])
        [[await charge(x + y) for x in await refund("ab")] for y in "a"]

    assert labels(body) == _is(
        "charge#0", "charge#0",
        "refund#0", "charge#1", "refund#0", "charge#1",
        "charge#2", "refund#1",
        "charge#3", "charge#3",
        "charge#4", "charge#4",
        "refund#2", "charge#5", "charge#5",
    )


def test_lambdas_and_nested_functions_belong_to_the_function_around() -> None:
    @workflow
    async def body() -> None:
        pay = lambda order: charge(order)
        await pay("a")

        async def one(order: str, again: Callable[..., Any] = lambda: refund("d")) -> None:
            async def two() -> None:
                await charge(order)

            await two()
            await again()

        await one("b")
        await (lambda: refund("c"))()

    assert labels(body) == _is("charge#0", "charge#1", "refund#0", "refund#1")


def test_f_strings() -> None:
    @workflow
    async def body() -> None:
        str(f"é{await charge('a')!r:>{len(await refund('bb'))}} {await charge('é')} é{await refund('c')}")
        str(f"""
            {await charge("d")} é {
            await refund("e")} {await charge('''
            f''')}
        """)
        str("é" f"{await charge('g')}" f"{await charge('h')}")

    assert labels(body) == _is(
        "charge#0", "refund#0", "charge#1", "refund#1", "charge#2", "refund#2", "charge#3", "charge#4", "charge#5"
    )


def test_text_beyond_ascii_before_a_call() -> None:
    @workflow
    async def body() -> None:
        "äöü→😀"; await charge("é"); await charge("😀"); größe = "x"; await refund(größe)

    assert labels(body) == _is("charge#0", "charge#1", "refund#0")


def test_decorators_and_defaults_inside_a_body() -> None:
    @workflow
    async def body() -> None:
        def wrap(_: Any) -> Callable[[Any], Any]:
            return lambda fn: fn

        @wrap(charge("a").close())
        @wrap(refund("b").close())
        async def one(order: Any = await charge("c")) -> None: ...

        @wrap(charge("d").close())
        class Two: ...

    assert labels(body) == _is("charge#0", "refund#0", "charge#1", "charge#2")


def test_try_finally_whose_bytecode_is_duplicated() -> None:
    @workflow
    async def body(fail: bool) -> Any:
        try:
            await charge("a")
            if fail:
                raise ValueError
            return await refund("b")
        except ValueError:
            await refund("c")
        finally:
            await charge("d")

    assert labels(body, False) == _is("charge#0", "refund#0", "charge#1")
    assert labels(body, True) == _is("charge#0", "refund#1", "charge#1")


class Manager:
    async def __aenter__(self) -> str:
        return await charge("in")

    async def __aexit__(self, *_: object) -> None:
        await charge("out")


def test_managers_and_asynchronous_loops() -> None:
    @workflow
    async def body() -> None:
        async with Manager() as m, Manager():
            await refund(m)
        async for page in pages():
            await refund(page)
        [await refund(page) async for page in pages()]

    enter, leave = "Manager.__aenter__:charge#0", "Manager.__aexit__:charge#0"
    assert labels(body) == _is(
        enter, enter, "refund#0", leave, leave,
        "pages:charge#0", "refund#1", "pages:charge#0", "refund#2",
    )


def test_managers_that_are_not_read_have_the_place_where_they_are_made() -> None:
    @workflow
    async def body() -> None:
        async with contextlib.AsyncExitStack() as stack, contextlib.AsyncExitStack():
            stack.push_async_callback(charge, "a")

    assert labels(body) == _is("contextlib.AsyncExitStack#0")


async def pages() -> AsyncIterator[str]:
    yield await charge("page")


def test_task_groups_and_tasks() -> None:
    @workflow
    async def body() -> None:
        async with asyncio.TaskGroup() as tg:
            for x in "ab":
                tg.create_task(charge(x))
            tg.create_task(helper("c"))
        task = asyncio.create_task(refund("d"))
        await task

    assert labels(body) == _is("charge#0", "charge#0", "helper:charge#0", "helper:charge#1", "refund#0")


def test_helpers_and_methods_have_labels_of_their_own() -> None:
    @workflow
    async def body() -> None:
        await charge("a")
        await helper("b")
        await service.pay("c")

    assert labels(body) == _is("charge#0", "helper:charge#0", "helper:charge#1", "Service.pay:charge#0")


def test_steps_called_back_belong_to_the_place_that_iterates() -> None:
    @workflow
    async def body() -> None:
        await asyncio.gather(*map(charge, "ab"))
        await asyncio.gather(refund("a"), *map(charge, "a"), *map(refund, "b"))
        for pending in map(charge, "cd"):
            await pending
            str(pending)
        [await pending for pending in map(charge, "e")]
        for pending in list(map(refund, "f")):
            await pending
        one, = map(charge, "g")
        await one
        two = [*map(charge, "h")]
        await asyncio.gather(*two)

    assert labels(body) == _is(
        "asyncio.gather#0", "asyncio.gather#0",
        "refund#0", "asyncio.gather#1", "asyncio.gather#1",
        "map#3", "map#3", "map#4", "list#0", "map#6", "map#7",
    )


def test_partials_are_called_where_they_are_called() -> None:
    @workflow
    async def body() -> None:
        pay = functools.partial(charge, "a")
        await pay()

    assert labels(body) == _is("charge#0")


def test_each_and_gather_are_sites_too() -> None:
    @workflow
    async def body() -> None:
        await gather(charge("a"), refund("b"))
        await each(lambda x: charge(x), "cd")

    assert labels(body) == _is("charge#0", "refund#0", "gather#0", "each#0", "charge#1", "charge#1")


def test_a_step_chosen_at_run_time_is_labelled_by_the_name_in_the_source() -> None:
    @workflow
    async def body(kind: bool) -> None:
        act = charge if kind else refund
        await act("a")

    assert labels(body, True) == labels(body, False) == _is("act#0")


def test_assertions_that_pytest_rewrites_change_no_label() -> None:
    @workflow
    async def body() -> None:
        await charge("a")
        assert True is not None, "never"
        assert await refund("b") == "b"
        await charge("c")

    found = labels(body)
    assert [found[0], found[-1]] == ["charge#0", "charge#1"]


def test_tracing_changes_no_label() -> None:
    @workflow
    async def body() -> None:
        [await charge(x) for x in "ab"]
        try:
            await helper("c")
        finally:
            await refund("d")

    def trace(*_: Any) -> Any:
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        traced = labels(body)
    finally:
        sys.settrace(before)
    assert traced == _is("charge#0", "charge#0", "helper:charge#0", "helper:charge#1", "refund#0")


def test_awaiting_a_name_is_a_site_of_its_own() -> None:
    @workflow
    async def body() -> None:
        pending = charge("a")
        await pending

    sites = sites_of(read(body).main)
    assert sorted({site.label for site in sites.by_end.values()}) == ["await pending#0", "charge#0"]


def test_without_positions_a_line_names_its_calls() -> None:
    @workflow
    async def body() -> None:
        await charge("a"); await refund("b")
        (child
            .options()
            .run("c")).close()

    by_line = sites_of(read(body).main).by_line
    start = body.fn.__code__.co_firstlineno
    assert {line - start: [site.label for site in sites] for line, sites in by_line.items()} == {
        2: ["charge#0", "refund#0"],
        4: ["child.options#0"],
        5: ["child#0", "child.options().run().close#0"],
    }


@pytest.mark.parametrize("name", ["helper", "pages"])
def test_labels_are_unique_in_a_program(name: str) -> None:
    @workflow
    async def body() -> None:
        await charge("a")
        await helper(await helper("b"))
        async for page in pages():
            await charge(page)

    found = [call.label for function in read(body).functions for call in function.calls]
    assert len(found) == len(set(found))
    assert any(label.startswith(f"{name}:") for label in found)


def test_labels_have_no_character_that_identities_use() -> None:
    @step(name="a/b>c#1")
    async def odd() -> None: ...

    async def nested() -> None:
        await odd()

    @workflow
    async def body() -> None:
        await (lambda: odd())()
        await nested()
        (odd or odd)()

    reading = read(body)
    found = [label for function in reading.functions for label in labels_of(function)]
    assert not [label for label in found if set("/<>") & set(label) or label.count("#") != 1]
    assert "test_labels_have_no_character_that_identities_use.nested:a_b_c_1#0" in found
