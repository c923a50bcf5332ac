"""What a step does to its arguments stays with the step, in the first life and in every other."""

import asyncio

from awaitly import Ok, step, workflow
from tests.execute.scene import Scene, write


@step
async def fill(names: list[str]) -> int:
    names.append("filled")
    return len(names)


@step
async def count(names: list[str]) -> int:
    return len(names)


@workflow
async def filling(x: int) -> tuple[int, int]:
    names: list[str] = []
    filled = await fill(names)
    await write("between")
    return filled, await count(names)


@workflow
async def changing(x: int) -> int:
    names: list[str] = []
    counted = asyncio.create_task(count(names))
    names.append("late")
    return await counted


def test_a_list_that_a_step_fills_is_the_same_with_and_without_an_interruption(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(filling):
            assert await filling.options(id="undisturbed").run(1) == Ok((1, 0))
        scene.hold("between")
        async with scene.runtime(filling, store=scene.view()) as rt:
            await filling.options(id="interrupted").start(1)
            await scene.turns()
            await rt.shutdown(0)
        scene.release("between")
        async with scene.runtime(filling, store=scene.view()):
            assert await filling.options(id="interrupted").run(1) == Ok((1, 0))

    scene.play(story())


def test_a_step_gets_what_was_passed_when_it_was_called(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            assert await changing.run(1) == Ok(0)

    scene.play(story())
