"""Tasks of a body are branches of its run, whatever becomes of the loop's task factory."""

import asyncio
import sys
from typing import Any

import pytest

from awaitly import Err, Ok, workflow
from awaitly.errors import UnexpectedError, UsageError
from awaitly.model.facts import StepFinished
from tests.execute.scene import Scene, read


async def pair(name: str) -> str:
    return await read(name) + await read(name)


@workflow
async def together() -> str:
    return "".join(await asyncio.gather(pair("a"), pair("b")))


@workflow
async def unseen() -> str:
    asyncio.get_running_loop().set_task_factory(None)
    return await asyncio.create_task(pair("a"))


async def calls(rt: Any, run: str) -> list[str]:
    return sorted(fact.call for fact in await rt.facts(run) if isinstance(fact, StepFinished))


def test_a_task_factory_that_was_removed_is_there_again_for_the_next_run(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await together.options(id="before").run() == Ok("aabb")
            asyncio.get_running_loop().set_task_factory(None)
            assert await together.options(id="after").run() == Ok("aabb")
            assert await calls(rt, "after") == await calls(rt, "before")
            assert len(set(await calls(rt, "after"))) == 4

    scene.play(story())


def test_a_task_factory_around_ours_does_not_make_branches_twice(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await together.options(id="before").run() == Ok("aabb")
            loop = asyncio.get_running_loop()
            ours: Any = loop.get_task_factory()
            loop.set_task_factory(lambda loop, coro, **options: ours(loop, coro, **options))
            assert await together.options(id="after").run() == Ok("aabb")
            assert await calls(rt, "after") == await calls(rt, "before")

    scene.play(story())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_task_factory_is_noticed_when_a_run_starts(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            eager: Any = asyncio.eager_task_factory  # type: ignore[attr-defined, unused-ignore]  # unknown to 3.11
            asyncio.get_running_loop().set_task_factory(eager)
            with pytest.raises(UsageError) as caught:
                await together.run()
            assert caught.value.code == "eager-tasks"
            asyncio.get_running_loop().set_task_factory(None)
            assert await rt.runs() == ()

    scene.play(story())


def test_a_call_of_a_task_that_nobody_saw_being_created_is_refused(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            result = await unseen.run()
            assert isinstance(result, Err)
            assert isinstance(result.error, UnexpectedError)
            assert result.error.cause_code == "other-task"
        assert scene.log == []

    scene.play(story())
