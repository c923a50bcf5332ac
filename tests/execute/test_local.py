"""Runs that store nothing (``durable=False``) mean the same by keys and cancellation."""

import asyncio

import pytest

from awaitly import Err, Ok, workflow
from awaitly.errors import UnexpectedError
from tests.execute.scene import Scene, keyed


@workflow(durable=False)
async def one_of_two_joiners_goes() -> str:
    first = asyncio.create_task(keyed("k", "a"))
    second = asyncio.create_task(keyed("k", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    return await second


@workflow(durable=False)
async def all_joiners_go() -> str:
    first = asyncio.create_task(keyed("k", "a"))
    second = asyncio.create_task(keyed("k", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    await asyncio.wait([first, second])
    return await keyed("k", "b")


@workflow(durable=False)
async def gives_up() -> str:
    raise asyncio.CancelledError


@workflow(durable=False)
async def waits() -> str:
    return await keyed("k", "held")


def test_a_joiner_that_is_cancelled_leaves_the_work_to_the_others(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 1
        async with scene.runtime():
            assert await one_of_two_joiners_goes.run() == Ok("a")
        assert scene.log == ["a", "a done"]

    scene.play(story())


def test_work_that_nobody_wants_any_more_is_cancelled_and_its_key_is_free(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 1
        async with scene.runtime():
            assert await all_joiners_go.run() == Ok("b")
        assert scene.log == ["a", "a cancelled", "b", "b done"]

    scene.play(story())


def test_a_cancellation_that_nobody_asked_for_is_an_unexpected_error(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            result = await gives_up.run()
            assert isinstance(result, Err)
            assert isinstance(result.error, UnexpectedError)

    scene.play(story())


def test_who_is_cancelled_takes_the_run_along(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("held")
        async with scene.runtime():
            running = asyncio.create_task(waits.run())
            await scene.until("held")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert scene.log == ["held", "held cancelled"]

    scene.play(story())
