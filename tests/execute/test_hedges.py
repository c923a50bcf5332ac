"""Attempts that are under way at once: each is told its own number and its own time."""

from typing import Any

import pytest

from awaitly import Ok, current, remaining, step, workflow
from awaitly.policies.clock import pause
from tests.execute.scene import Scene, current_scene


@step(effect="read", hedge="1s", timeout="10s")
async def hedged(name: str) -> str:
    await pause(current_scene().clock, 5)
    left = remaining()
    current_scene().log.append(f"attempt {current().attempt} has {'' if left is None else round(left, 3)} left")
    if current().attempt == 1:
        await pause(current_scene().clock, 5)
    return name


@workflow
async def durably(name: str) -> str:
    return await hedged(name)


@workflow(durable=False)
async def locally(name: str) -> str:
    return await hedged(name)


@pytest.mark.parametrize(("flow", "left"), [(durably, 5.0), (locally, "")])
def test_each_attempt_of_a_hedged_call_has_its_own_number_and_time(scene: Scene, flow: Any, left: object) -> None:
    async def story() -> None:
        async with scene.runtime():
            assert await flow.run("a") == Ok("a")
        assert scene.log == [f"attempt 1 has {left} left", f"attempt 2 has {left} left"]

    scene.play(story())
