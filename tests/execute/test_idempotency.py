"""An id is idempotent: the same run is started once, joined, taken over, or its stored result given back."""

import asyncio

import pytest

from awaitly import Err, Ok, workflow
from awaitly.errors import RunConflict, RunIdConflict, RunNotFound, RunRefused, UsageError
from tests.execute.scene import Declined, Scene, write


@workflow(key="one:{name}")
async def one(name: str) -> str:
    return await write(name)


@workflow
async def other(name: str) -> str:
    return await write(name)


@workflow
async def child(name: str) -> str:
    return await write(name)


@workflow
async def parent(name: str) -> str:
    return await child(name) + await child(name + "2")


@workflow
async def clashing(name: str) -> str:
    return await one(name)


def test_the_key_of_a_workflow_is_the_id(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert (await rt.start(one, "a")).id == "one:a"

    scene.play(story())


def test_starting_again_joins_the_run(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            first = asyncio.create_task(rt.run(one, "a"))
            second = asyncio.create_task(rt.run(one, "a"))
            await scene.until("a")
            third = asyncio.create_task(rt.run(one, "a"))
            await scene.turns()
            scene.release("a")
            assert await asyncio.gather(first, second, third) == [Ok("a")] * 3
        assert scene.log == ["a", "a done"]

    scene.play(story())


def test_an_ended_run_gives_its_stored_result(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["bad"] = Declined("bad")
        for _ in range(2):
            async with scene.runtime() as rt:
                assert await rt.run(one, "a") == Ok("a")
                assert await rt.run(one, "bad") == Err(Declined("bad"))
        assert scene.log == ["a", "a done", "bad", "bad failed"]

    scene.play(story())


def test_joining_can_be_refused(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(one, "a")
            with pytest.raises(RunRefused):
                await rt.start(one.options(attach=False), "a")
            scene.release("a")
            assert await handle.result() == Ok("a")

    scene.play(story())


def test_other_arguments_under_the_same_id_are_a_conflict(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(one.options(id="run"), "a")
            with pytest.raises(RunConflict):
                await rt.run(one.options(id="run"), "b")

    scene.play(story())


def test_another_workflow_under_the_same_id_is_a_conflict(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(one.options(id="run"), "a")
            with pytest.raises(RunIdConflict):
                await rt.run(other.options(id="run"), "a")

    scene.play(story())


def test_a_run_that_nobody_owns_is_taken_over(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 5
        async with scene.runtime() as rt:
            await rt.start(one, "a")
            await rt.shutdown(0)
        async with scene.runtime() as rt:
            assert await rt.run(one, "a") == Ok("a")

    scene.play(story())


def test_another_process_waits_for_the_result(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["a"] = 60
        async with scene.runtime() as here, scene.runtime(store=scene.view()) as there:
            await here.start(one, "a")
            assert await there.run(one, "a") == Ok("a")
        assert scene.log == ["a", "a done"]

    scene.play(story())


def test_two_processes_that_start_at_once_execute_it_once(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as here, scene.runtime(store=scene.view()) as there:
            assert await asyncio.gather(here.run(one, "a"), there.run(one, "a")) == [Ok("a"), Ok("a")]
        assert scene.log == ["a", "a done"]

    scene.play(story())


def test_children_have_the_id_of_their_parent_and_their_call(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(parent.options(id="run"), "a") == Ok("aa2")
            assert sorted(record.id for record in await rt.runs()) == ["run", "run/child#0", "run/child#1"]

    scene.play(story())


def test_a_child_whose_id_belongs_to_a_run_of_nobody_is_a_conflict(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(one, "a")
            result = await rt.run(clashing, "a")
        assert isinstance(result, Err)
        assert RunIdConflict.code in str(result.error)

    scene.play(story())


def test_starting_what_is_a_child_of_another_run_is_refused_and_says_how_to_read_it(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(parent.options(id="run"), "a")
            with pytest.raises(RunIdConflict, match="belongs to a child of run 'run'") as caught:
                await rt.run(child.options(id="run/child#0"), "a")
            assert caught.value.hint == "read its result: (await rt.handle('run/child#0')).result()"
            assert await (await rt.handle("run/child#0")).result() == Ok("a")

    scene.play(story())


def test_a_run_that_is_not_there_is_said_so(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            with pytest.raises(RunNotFound):
                await rt.handle("nothing")
            with pytest.raises(UsageError):
                await rt.start(one.options(id="\n"), "a")

    scene.play(story())
