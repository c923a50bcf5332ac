"""What happens at most once outside of durable runs: nothing follows an attempt that may have had its effect."""

from typing import Any

import pytest

from awaitly import Err, Failure, Ok, Retry, step, workflow
from awaitly.errors import StepTimeout
from tests.execute.scene import Declined, Scene, current_scene


class Refused(Failure, not_executed=True):
    name: str


async def replacement(name: str) -> str:
    return await current_scene().act("replacement")


@step(effect="once", timeout="5s", retry=Retry(3, initial=0), fallback=replacement, errors=(Declined, Refused))
async def replaced(name: str) -> str:
    return await current_scene().attempt(name)


@step
async def around(name: str) -> str:
    return await replaced(name)


@workflow(durable=False)
async def locally(name: str) -> str:
    return await replaced(name)


@workflow
async def inside(name: str) -> str:
    return await around(name)


CALLS = [replaced.attempt, locally.run, inside.run]


@pytest.mark.parametrize("call", CALLS)
def test_no_fallback_answers_for_an_attempt_that_ran_out_of_time(scene: Scene, call: Any) -> None:
    async def story() -> None:
        scene.delays["a"] = 10
        async with scene.runtime():
            result = await call("a")
        assert isinstance(result, Err)
        assert result.error.cause_code == StepTimeout.code
        assert scene.attempts["a"] == [1]
        assert "replacement" not in scene.log

    scene.play(story())


@pytest.mark.parametrize("call", CALLS)
def test_nor_for_one_that_failed_with_what_is_not_declared(scene: Scene, call: Any) -> None:
    async def story() -> None:
        scene.fails["a"] = ConnectionError("down")
        async with scene.runtime():
            result = await call("a")
        assert isinstance(result, Err)
        assert result.error.type_name == "ConnectionError"
        assert scene.attempts["a"] == [1]
        assert "replacement" not in scene.log

    scene.play(story())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("error", "attempts"), [(Declined("a"), 1), (Refused("a"), 3)])
def test_it_answers_for_a_declared_failure(scene: Scene, call: Any, error: Failure, attempts: int) -> None:
    async def story() -> None:
        scene.fails["a"] = error
        async with scene.runtime():
            assert await call("a") == Ok("replacement")
        assert len(scene.attempts["a"]) == attempts

    scene.play(story())
