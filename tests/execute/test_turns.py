"""Calls that wait for their turn: what is stored before they begin, and what is known of those that never did."""

from typing import Any, TypeAlias

import pytest

from awaitly import Concurrency, Ok, RateLimit, Retry, Workflow, gather, step, workflow
from awaitly.model.facts import StepFinished
from tests.execute.scene import Scene, current_scene, read, write

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


def test_what_was_delivered_while_an_effect_waited_for_its_turn_is_stored_before_it_begins(scene: Scene) -> None:
    async def story() -> None:
        scene.delays.update(long=1, look=0.95)  # reads wait for company, longer than these 50 ms
        scene.hold("a")
        async with scene.runtime() as rt:
            await rt.start(holding, "long")
            await scene.until("long")
            handle = await rt.start(seating.options(id="run"), "a")
            await scene.clock.advance("1s")
            await scene.until("a")
            assert "look done" in scene.log
            assert finished(scene) == ["read"]
            scene.release("a")
            assert await handle.result() == Ok("alook")

    scene.play(story())


def test_a_read_that_waited_for_its_turn_does_not_wait_for_that(scene: Scene) -> None:
    async def story() -> None:
        scene.delays.update(long=1, look=0.95)
        scene.hold("a")
        async with scene.runtime() as rt:
            await rt.start(holding, "long")
            await scene.until("long")
            handle = await rt.start(seating_a_read.options(id="run"), "a")
            await scene.clock.advance("1s")
            await scene.until("a")
            assert "look done" in scene.log
            assert finished(scene) == []
            scene.release("a")
            assert await handle.result() == Ok("alook")

    scene.play(story())


@pytest.mark.parametrize("flow", [rating, rating_a_read])
def test_so_is_what_was_delivered_while_a_second_attempt_waited_for_its_turn(scene: Scene, flow: Flow) -> None:
    async def story() -> None:
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

    scene.play(story())


def test_an_effect_that_had_not_to_wait_costs_no_further_commit(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            scene.store.appends = 0
            assert await rt.run(in_a_row, "a") == Ok("a")
            assert scene.store.appends == 6

    scene.play(story())
