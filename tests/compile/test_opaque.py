"""What cannot be read is an opaque node with its reason; what is ordinary computation is not."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from awaitly.declare.combinators import each, gather
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from tests.compile import written
from tests.compile.outline import outline


@step
async def charge(order: str) -> str: ...


@step
async def reserve(order: str) -> str: ...


class Client:
    async def get(self, path: str) -> str: ...

    @property
    def pay(self) -> Any:
        raise AssertionError("the compiler ran a property")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the compiler ran __getattr__")


@dataclass
class Handlers:
    on_paid: Any = charge
    table: dict[str, Any] = field(default_factory=lambda: {"pay": charge})


client = Client()
handlers = Handlers()
pending: list[Any] = []


def library(fn: Any) -> Any:
    return functools.lru_cache(fn)


@library
def cached(order: str) -> Any:
    return charge(order)


def opaque(body: Any) -> list[str]:
    return [line.strip().removeprefix("opaque ").strip() for line in outline(body).splitlines() if "opaque " in line]


def test_a_parameter_that_is_called() -> None:
    # Of the third nothing is known, not even an annotation.
    @workflow
    async def body(act: Callable[[str], Awaitable[str]], other: Any, third) -> None:  # type: ignore[no-untyped-def]
        await act("a")
        await other.pay("b")
        third("c")

    assert opaque(body) == [
        "act#0 act('a'): act is a parameter",
        "other.pay#0 other.pay('b'): other is a parameter",
        "third#0 third('c'): third is a parameter",
    ]


def test_a_property_is_never_run() -> None:
    @workflow
    async def body() -> None:
        await client.pay("a")
        await client.unknown("b")
        await client.get("c")

    assert opaque(body) == [
        "client.pay#0 client.pay('a'): client.pay is a property",
        "client.unknown#0 client.unknown('b'): client.unknown has no attribute unknown until it runs",
    ]


def test_attributes_of_objects_of_the_module_are_read() -> None:
    @workflow
    async def body(order: str) -> None:
        await handlers.on_paid(order)
        await handlers.table["pay"](order)

    assert opaque(body) == []
    assert outline(body).count("charge charge#") == 2


def test_a_lookup_by_a_key_that_depends_on_the_run() -> None:
    @workflow
    async def body(kind: str) -> None:
        await handlers.table[kind]("a")

    assert opaque(body) == [
        "handlers.table[]#0 handlers.table[kind]('a'): handlers.table[kind] is looked up when it runs"
    ]


def test_steps_handed_to_code_that_is_not_read() -> None:
    @workflow
    async def body(orders: list[str]) -> Any:
        sorted(orders, key=charge)
        await asyncio.to_thread(charge, "a")
        table = {"a": reserve}
        async with AsyncExitStack() as stack:
            stack.push_async_callback(functools.partial(charge, "b"))
        return table, lambda: charge("c")

    assert opaque(body) == [
        "sorted#0 charge: charge is used as a value here",
        "asyncio.to_thread#0 charge: charge is used as a value here",
        "reserve: reserve is used as a value here",
        "functools.partial#0 functools.partial(charge, 'b'): functools.partial(charge, 'b') is used as a value here",
        "lambda: charge('c'): lambda: charge('c') is used as a value here",
    ]


def test_awaiting_what_came_from_elsewhere() -> None:
    @workflow
    async def body(later: Awaitable[str], jobs: list[Any]) -> None:
        await later
        for job in jobs:
            await job
        await pending[0]
        await asyncio.gather(*jobs)
        await asyncio.wait(jobs)

    assert [reason.partition(": ")[2] for reason in opaque(body)] == [
        "later is a parameter",
        "jobs is a parameter",
        "pending was made outside of the workflow",
        "jobs is a parameter",
        "jobs is a parameter",
    ]


def test_awaiting_what_the_body_made_is_read() -> None:
    @workflow
    async def body(order: str) -> None:
        first = charge(order)
        tasks = []
        tasks.append(asyncio.create_task(reserve(order)))
        more = [charge(x) for x in order]
        a, b = (charge("a"), reserve("b"))
        await first
        await tasks.pop()
        await asyncio.gather(*more, *tasks, a, b)
        by_name = {"x": asyncio.create_task(charge("x"))}
        await by_name["x"]

    assert opaque(body) == []


def test_ordinary_computation_is_not_opaque() -> None:
    @workflow
    async def body(order: str, orders: list[str]) -> str:
        words = order.upper().split(",")
        words.append(json.dumps({"a": len(orders)}))
        print(sorted(orders, key=lambda one: one.lower()), [x.strip() for x in words])
        answer = await charge(order)
        return answer.strip().format(*map(str, orders))

    assert opaque(body) == []


def test_libraries_that_are_awaited_are_known() -> None:
    @workflow
    async def body() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(print, "a")
        async with asyncio.timeout(5), asyncio.Lock():
            pass

    assert opaque(body) == []


def test_a_decorated_helper_that_is_no_function_any_more() -> None:
    @workflow
    async def body(order: str) -> None:
        await cached(order)

    assert opaque(body) == ["cached#0 cached(order): its decorator may call cached in any way"]
    assert "charge at cached:charge#0" in outline(body)


def test_a_name_that_does_not_exist() -> None:
    @workflow
    async def body() -> None:
        await nowhere("a")  # type: ignore[name-defined]  # noqa: F821 - it does not exist
        await json.nowhere("b")  # type: ignore[attr-defined]  # neither does this
        from somewhere.else_ import thing  # type: ignore[import-not-found]  # nor this

        await thing("c")

    assert opaque(body) == [
        "nowhere#0 nowhere('a'): nowhere is not defined when the workflow is compiled",
        "json.nowhere#0 json.nowhere('b'): json.nowhere does not exist when the workflow is compiled",
        "thing#0 thing('c'): somewhere.else_ is first imported when the body runs",
    ]


def test_unread_asynchronous_loops_and_managers() -> None:
    @workflow
    async def body(stream: AsyncIterator[str], made) -> None:  # type: ignore[no-untyped-def]  # not known
        async for _ in stream:
            pass
        async with made() as one:
            await one.get()
        async with made:
            pass
        [x async for x in made]

    assert len(opaque(body)) == 5


async def twice(act: Callable[[str], Awaitable[str]], order: str) -> None:
    await act(order)
    await act(order)


def test_a_helper_that_is_given_a_step() -> None:
    @workflow
    async def body(order: str) -> None:
        await twice(charge, order)

    assert opaque(body) == [
        "twice#0 charge: charge is used as a value here",
        "twice:act#0 act(order): act is a parameter",
        "twice:act#1 act(order): act is a parameter",
    ]


def test_each_over_a_function_that_is_not_known() -> None:
    @workflow
    async def body(act, orders: list[str]) -> None:  # type: ignore[no-untyped-def]  # not known
        await each(act, orders)
        await gather(*map(act, orders))

    assert [reason.partition(" ")[0] for reason in opaque(body)] == ["each#0", "map#0"]


@pytest.mark.parametrize("kind", ["lambda", "def"])
def test_nested_functions_without_steps_are_ordinary(kind: str) -> None:
    @workflow
    async def body(orders: list[str]) -> Any:
        def size(order: str) -> int:
            return len(order)

        return sorted(orders, key=size) + sorted(orders, key=lambda order: -len(order))

    assert opaque(body) == []


def test_names_that_are_assigned_again_and_again_are_read_in_reasonable_time(tmp_path: Path) -> None:
    names = [f"v{number}" for number in range(12)]
    circle = "".join(f"        {one} = {other}.strip() if {one} else {other}\n" for one in names for other in names)
    chain = "".join(f"    w{number + 1} = w{number}.a if order else w{number}.b\n" for number in range(40))
    text = (
        "@workflow\nasync def body(order):\n"
        + "".join(f"    {name} = order\n" for name in names)
        + "    for _ in order:\n"
        + circle
        + "    w0 = order\n"
        + chain
        + "    await v3.pay(w40.x)\n    act = charge\n    act = act or act\n    await act(v1)\n"
    )
    started = time.perf_counter()

    lines = opaque(written.body(tmp_path, text))

    assert [line.partition(" ")[0] for line in lines] == ["v3.pay#0"]
    assert time.perf_counter() - started < 10
