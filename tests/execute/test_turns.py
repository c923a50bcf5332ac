"""Calls that wait for their turn: what is stored before they begin, and what is known of those that never did."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest

from awaitly import Concurrency, Err, Ok, RateLimit, Retry, Runtime, Workflow, gather, step, workflow
from awaitly.errors import RunCancelled
from awaitly.model.facts import Fact, StepFinished, StepStarted, StepWithheld
from awaitly.persist.ports import Append, Appended
from awaitly.settings import Settings
from tests.execute.scene import Scene, current_scene, once, read, write

Flow: TypeAlias = Workflow[[str], str, Any]


SEAT = Concurrency("seat", limit=1)


@step(limiter=SEAT)
async def seated(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", limiter=SEAT)
async def seated_read(name: str) -> str:
    return await current_scene().attempt(name)


@step(limiter=RateLimit("window", limit=1, per="10s"), retry=Retry(2, initial="10ms", jitter=False))
async def rated(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", limiter=RateLimit("readings", limit=1, per="10s"), retry=Retry(2, initial="10ms", jitter=False))
async def rated_read(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", limiter=SEAT)
async def seated_once(name: str) -> str:
    return await current_scene().attempt(name)


@workflow
async def at_most_once(name: str) -> str:
    return await once(name)


@workflow
async def holding_an_effect(name: str) -> str:
    return await seated(name)


@workflow
async def holding_what_happens_once(name: str) -> str:
    return await seated_once(name)


@workflow
async def holding(name: str) -> str:
    return await seated_read(name)


@workflow
async def seating(name: str) -> str:
    a, b = await gather(seated(name), read("look"))
    return a + b


@workflow
async def seating_a_read(name: str) -> str:
    a, b = await gather(seated_read(name), read("look"))
    return a + b


@workflow
async def rating(name: str) -> str:
    a, b = await gather(rated(name), read("look"))
    return a + b


@workflow
async def rating_a_read(name: str) -> str:
    a, b = await gather(rated_read(name), read("look"))
    return a + b


@workflow
async def in_a_row(name: str) -> str:
    for index in range(5):
        await seated(f"{name}{index}")
    return name


@workflow
async def beside(name: str) -> str:
    a, b = await gather(seated(name), write("other"))
    return a + b


def finished(scene: Scene) -> list[str]:
    return [fact.step for fact in scene.stored("run", StepFinished)]


# What is stored before


async def stored_at_its_turn(scene: Scene, flow: Flow) -> list[str]:
    """Return which steps are stored when a step begins that waited for its turn while another one ended."""
    scene.delays.update(long=1, look=0.95)  # reads wait for company, longer than these 50 ms
    scene.hold("a")
    async with scene.runtime() as rt:
        await rt.start(holding, "long")
        await scene.until("long")
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.clock.advance("1s")
        await scene.until("a")
        assert "look done" in scene.log
        stored = finished(scene)
        scene.release("a")
        assert await handle.result() == Ok("alook")
    return stored


async def test_what_was_delivered_while_an_effect_waited_for_its_turn_is_stored_before_it_begins(scene: Scene) -> None:
    assert await stored_at_its_turn(scene, seating) == ["read"]


async def test_a_read_that_waited_for_its_turn_does_not_wait_for_that(scene: Scene) -> None:
    assert await stored_at_its_turn(scene, seating_a_read) == []


@pytest.mark.parametrize("flow", [rating, rating_a_read])
async def test_so_is_what_was_delivered_while_a_second_attempt_waited_for_its_turn(scene: Scene, flow: Flow) -> None:
    scene.delays["look"] = 9.95
    scene.failing["a"] = [ConnectionError("down")]
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.until("a failed")
        scene.hold("a")
        await scene.clock.advance("10s")
        await scene.turns()
        assert "look done" in scene.log
        assert scene.attempts["a"] == [1, 2]
        assert finished(scene) == ["read"]
        scene.release("a")
        assert await handle.result() == Ok("alook")


async def test_an_effect_that_had_not_to_wait_costs_no_further_commit(scene: Scene) -> None:
    async with scene.runtime() as rt:
        scene.store.appends = 0
        assert await rt.run(in_a_row, "a") == Ok("a")
        assert scene.store.appends == 6


# What is known after a restart


def held_in_the_store(scene: Scene, kind: type[Fact]) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the store hold facts of a kind: return what says that it does, and what lets it go on."""
    stored = scene.memory.append
    storing, released = asyncio.Event(), asyncio.Event()

    async def slow(batch: Sequence[Append]) -> Sequence[Appended]:
        if any(isinstance(fact, kind) for append in batch for fact in append.facts):
            storing.set()
            await released.wait()
        return await stored(batch)

    scene.memory.append = slow  # type: ignore[method-assign]  # a store that takes its time
    return storing, released


async def test_the_start_of_what_happens_at_most_once_came_to_nothing_if_the_run_was_given_back_while_it_was_stored(
    scene: Scene,
) -> None:
    storing, released = held_in_the_store(scene, StepStarted)
    async with scene.runtime() as rt:
        await rt.start(at_most_once.options(id="run"), "a")
        await storing.wait()
        closing = asyncio.create_task(rt.shutdown(go_on=0))
        await scene.turns()
        released.set()
        await closing

    assert scene.log == []
    assert scene.facts("run") == ["RunStarted", "StepStarted once#0", "StepWithheld once#0"]
    assert await scene.resume(at_most_once) == Ok("a")


async def test_a_run_is_given_back_once_everything_is_stored_that_happened_in_it_here(scene: Scene) -> None:
    storing, released = held_in_the_store(scene, StepFinished)
    async with scene.runtime() as rt:
        await rt.start(in_a_row.options(id="run"), "a")
        await storing.wait()
        closing = asyncio.create_task(rt.shutdown(go_on=0))
        await scene.turns(1000)
        async with scene.runtime(in_a_row, store=scene.view()) as other:
            await scene.clock.advance("10s")  # it looks for runs that nobody executes
            released.set()
            await closing
            assert await (await other.handle("run")).result() == Ok("a")

    assert scene.attempts == {f"a{index}": [1] for index in range(5)}
    assert [fact.step for fact in scene.stored("run", StepWithheld)] == ["seated"]


@pytest.mark.parametrize("flow", [holding_an_effect, holding_what_happens_once])
async def test_an_effect_that_waited_for_its_turn_when_its_run_was_given_back_is_cancelled_at_once_afterwards(
    scene: Scene, flow: Flow
) -> None:
    await held_up(scene, flow, holds="long")

    assert await cancelled_later(scene, flow, holds="other")
    assert "a" not in scene.attempts


async def test_so_is_one_that_waited_for_its_turn_in_both_processes_that_gave_it_back(scene: Scene) -> None:
    await held_up(scene, holding_an_effect, holds="long")
    await held_up(scene, holding_an_effect, holds="longer")

    assert await cancelled_later(scene, holding_an_effect, holds="other")
    assert "a" not in scene.attempts
    assert len(scene.stored("run", StepWithheld)) == 2


async def test_one_that_a_later_process_may_have_begun_is_executed_before_it_is_cancelled(scene: Scene) -> None:
    await held_up(scene, holding_an_effect, holds="long")
    scene.hold("a")
    async with alone(scene) as rt:
        await rt.start(holding_an_effect.options(id="run"), "a")
        await scene.until("a")
        await rt.shutdown(0)
    scene.release("a")

    assert not await cancelled_later(scene, holding_an_effect, holds="other")
    assert scene.attempts["a"] == [1, 1]


async def test_what_happens_at_most_once_has_not_begun_if_no_start_is_stored(scene: Scene) -> None:
    await held_up(scene, holding_what_happens_once, holds="long")
    scene.memory._runs["run"].facts.pop()  # as if the process had died instead

    assert await cancelled_later(scene, holding_what_happens_once, holds="other")
    assert "a" not in scene.attempts


async def test_a_fork_does_not_take_over_what_was_withheld(scene: Scene) -> None:
    await held_up(scene, holding_an_effect, holds="long")
    async with alone(scene) as rt:
        plan = await rt.plan_fork("run")
        assert plan.kept == ()


def alone(scene: Scene) -> Runtime:
    """Return a runtime that takes nothing over by itself."""
    flows = [holding_an_effect]
    return Runtime(Settings(store="memory://"), store=scene.view(), clock=scene.clock, recover=False, workflows=flows)


async def held_up(scene: Scene, flow: Flow, *, holds: str) -> None:
    """Let a run wait for a turn that somebody else has until its process is shut down."""
    scene.hold(holds)
    async with alone(scene) as rt:
        await rt.start(holding, holds)
        await scene.until(holds)
        await rt.start(flow.options(id="run"), "a")
        await scene.turns()
        await rt.shutdown(go_on=0, timeout="1s")


async def cancelled_later(scene: Scene, flow: Flow, *, holds: str) -> bool:
    """Resume the run while somebody else has its turn, and cancel it; return whether it ended before that one."""
    scene.hold(holds)
    async with alone(scene) as rt:
        await rt.start(holding, holds)
        await scene.until(holds)
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.turns()
        await handle.cancel()
        ends = asyncio.create_task(handle.result())
        await scene.turns()
        at_once = ends.done()
        scene.release(holds)
        result = await ends
        assert isinstance(result, Err)
        assert isinstance(result.error, RunCancelled)
    return at_once
