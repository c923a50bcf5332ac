"""Runs that store nothing (``durable=False``) mean the same by steps, keys, failures and cancellation."""

import asyncio
from typing import Never

import pytest

from awaitly import Err, Ok, Step, current, step, workflow
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


@step(key="k:{name}")
async def keyed_work(name: str) -> str:
    return current().idempotency_key


@step
async def work(name: str) -> str:
    return current().idempotency_key


@workflow(durable=False)
async def works(name: str) -> list[str]:
    return [await keyed_work(name), await keyed_work(name), await work(name), await work(name)]


async def test_other_work_has_another_idempotency_key_also_in_another_run(scene: Scene) -> None:
    async with scene.runtime():
        one, other = await works.options(id="one").run("a"), await works.options(id="other").run("a")

    assert one == Ok(["one/keyed_work[k:a]", "one/keyed_work[k:a]", "one/work#0", "one/work#1"])
    assert other == Ok(["other/keyed_work[k:a]", "other/keyed_work[k:a]", "other/work#0", "other/work#1"])


def made_elsewhere() -> Step[[str], str, Never]:
    @step(name="work")
    async def another(name: str) -> str:
        return f"another {name}"

    return another


@workflow(durable=False)
async def works_unseen(name: str) -> tuple[str, str, str]:
    seen = await work(name)
    return seen, await globals()["made_elsewhere"]()(name), await globals()["key" + "ed"](name, name)


async def test_steps_that_the_compiler_could_not_see_are_executed_and_none_in_their_place(scene: Scene) -> None:
    async with scene.runtime():
        assert await works_unseen.options(id="run").run("a") == Ok(("run/work#0", "another a", "a"))


@step(errors=LookupError)
async def looks_up(name: str) -> str:
    raise LookupError(name)


@workflow(durable=False)
async def fails_like_its_step(name: str) -> str:
    try:
        return await looks_up(name)
    except LookupError:
        if name == "passed on":
            raise
    raise LookupError("a bug of the body")


@pytest.mark.parametrize(("name", "kind"), [("passed on", LookupError), ("caught", UnexpectedError)])
async def test_only_what_a_step_gave_is_expected_not_all_of_its_class(
    scene: Scene, name: str, kind: type[Exception]
) -> None:
    async with scene.runtime():
        result = await fails_like_its_step.run(name)

    assert isinstance(result, Err)
    assert type(result.error) is kind
