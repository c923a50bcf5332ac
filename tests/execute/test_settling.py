"""A body settles between two outcomes, however deep the chain of futures is that one outcome sets off."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from awaitly import Ok, Runtime, step, timeout, workflow
from awaitly.execute import stillness
from awaitly.execute.stillness import CalmTurns, EmptyQueue
from awaitly.persist.stores.memory import MemoryStore

gates: dict[str, asyncio.Event] = {}
begun: list[str] = []


@step
async def gated(name: str) -> str:
    begun.append(name)
    await gates[name].wait()
    return name


@step(effect="read")
async def waiting(life: str) -> str:
    begun.append(life)
    await gates["open"].wait()
    return life


async def nested(awaitable: Awaitable[str], depth: int) -> str:
    future: Any = asyncio.ensure_future(awaitable)
    for layer in range(depth):
        future = asyncio.shield(future) if layer % 2 else asyncio.gather(future)
    found = await future
    while isinstance(found, list):
        (found,) = found
    return str(found)


@workflow
async def finish_order(depth: int) -> list[str]:
    order: list[str] = []

    async def deep() -> None:
        order.append(await nested(gated("deep"), depth))

    async def shallow() -> None:
        order.append(await gated("shallow"))

    await asyncio.gather(deep(), shallow())
    return order


async def played(depth: int) -> tuple[object, object]:
    """Return the result of a run in which the deep branch's outcome comes first, and that of its replay."""
    gates.update(deep=asyncio.Event(), shallow=asyncio.Event())
    async with Runtime(store=MemoryStore()) as runtime:
        handle = await runtime.start(finish_order.options(id="live"), depth)
        for _ in range(20):
            await asyncio.sleep(0)
        gates["deep"].set()
        for _ in range(60):
            await asyncio.sleep(0)
        gates["shallow"].set()
        live = await handle.result()
        again = await (await runtime.fork("live", id="again")).result()
    return live, again


@pytest.mark.parametrize("depth", [0, 1, 5, 9, 30])
def test_a_replay_gives_the_order_of_the_first_life_at_any_depth(depth: int) -> None:
    live, again = asyncio.run(played(depth))
    assert live == Ok(["deep", "shallow"])
    assert again == live


@pytest.mark.parametrize("depth", [0, 5, 9])
def test_a_loop_that_hides_its_queue_settles_by_patience(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awaitly.execute.run.stillness", lambda *_: CalmTurns())
    live, again = asyncio.run(played(depth))
    assert live == again == Ok(["deep", "shallow"])


@workflow
async def limited() -> str:
    try:
        async with timeout("1ms"):
            await asyncio.gather(waiting("one"), waiting("two"))
    except TimeoutError:
        return "over"
    return "never"


def test_patience_begins_anew_with_every_delivery_even_if_no_task_has_run_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awaitly.execute.run.stillness", lambda *_: CalmTurns())

    async def story() -> tuple[object, object]:
        gates["open"] = asyncio.Event()
        async with Runtime(store=MemoryStore()) as runtime:
            live = await limited.options(id="live").run()
            return live, await (await runtime.fork("live", id="again")).result()

    live, again = asyncio.run(story())
    assert live == again == Ok("over")


def test_asyncios_own_loop_is_asked_for_its_queue() -> None:
    async def kind() -> object:
        from awaitly.declare.host import HOST

        return stillness.stillness(asyncio.get_running_loop(), HOST, object())

    assert isinstance(asyncio.run(kind()), EmptyQueue)


cleaned: list[str] = []


@step
async def clean() -> None:
    cleaned.append("cleaned")


@workflow
async def tidy_flow() -> str:
    try:
        return await waiting("w")
    finally:
        await clean()


def test_the_end_of_the_loop_stops_runs_without_an_effect_and_they_continue_in_another() -> None:
    store = MemoryStore()
    begun.clear()
    cleaned.clear()

    async def first() -> None:
        gates["open"] = asyncio.Event()
        runtime = Runtime(store=store)
        await runtime.open()  # and never shut down: the loop ends under it
        await runtime.start(tidy_flow.options(id="run"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == ["w"]

    async def second() -> object:
        gates["open"] = asyncio.Event()
        gates["open"].set()
        async with Runtime(store=store, workflows=[tidy_flow]) as runtime:
            return await (await runtime.handle("run")).result()

    asyncio.run(first())
    assert cleaned == []
    store._leases.clear()  # the owner is this very process: as if it had died
    assert asyncio.run(second()) == Ok("w")
    assert cleaned == ["cleaned"]
