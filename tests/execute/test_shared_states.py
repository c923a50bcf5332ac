"""Breakers and limiters belong to a runtime: their name is shared by steps and runs there, and by nobody elsewhere."""

from typing import Any

import pytest

from awaitly import Breaker, Concurrency, Err, Ok, RateLimit, gather, step, workflow
from awaitly.errors import CircuitOpen, UnexpectedError
from tests.execute.scene import Scene, current_scene


@step(breaker=Breaker("bank", failure_threshold=2, reset_timeout="1m"))
async def pay(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", breaker="bank")
async def balance(name: str) -> str:
    return await current_scene().attempt(name)


@step(limiter=Concurrency("counter", limit=2))
async def serve(name: str) -> str:
    return await current_scene().act(name)


@step(effect="read", limiter="counter")
async def ask(name: str) -> str:
    return await current_scene().act(name)


@step(limiter=RateLimit("mint", limit=2, per="10s"))
async def mint(name: str) -> str:
    return await current_scene().act(name)


@workflow
async def paying(name: str) -> str:
    return await pay(name)


@workflow
async def looking(name: str) -> str:
    return await balance(name)


@workflow
async def busy(name: str) -> str:
    found = await gather(serve("a"), ask("b"), serve("c"), ask("d"))
    return "".join(found)


@workflow
async def minting(name: str) -> str:
    found = await gather(mint("a"), mint("b"), mint("c"), mint("d"))
    return "".join(found)


def is_open(result: Any) -> bool:
    return (
        isinstance(result, Err)
        and isinstance(result.error, UnexpectedError)
        and result.error.type_name.endswith(CircuitOpen.__name__)
    )


def test_a_circuit_that_one_run_opened_turns_other_steps_of_other_runs_away(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["down"] = ValueError("down")
        async with scene.runtime(paying, looking) as rt:
            for _ in range(2):
                assert not is_open(await rt.run(paying, "down"))
            assert is_open(await rt.run(paying, "a"))
            assert is_open(await rt.run(looking, "a"))
            await scene.clock.advance("1m")
            assert await rt.run(looking, "a") == Ok("a")
            assert await rt.run(paying, "a") == Ok("a")

    scene.play(story())


def test_the_circuit_of_another_runtime_is_another_one(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["down"] = ValueError("down")
        async with scene.runtime() as here, scene.runtime(store=scene.view()) as there:
            for _ in range(2):
                await here.run(paying, "down")
            assert is_open(await here.run(paying, "a"))
            assert await there.run(paying, "a") == Ok("a")

    scene.play(story())


def test_settings_change_a_circuit_for_all_its_steps(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["down"] = ValueError("down")
        async with scene.runtime(paying, looking, breakers={"bank": {"failure_threshold": 1}}) as rt:
            await rt.run(paying, "down")
            assert is_open(await rt.run(looking, "a"))

    scene.play(story())


@pytest.mark.parametrize(("settings", "at_once"), [({}, 2), ({"limiters": {"counter": {"limit": 3}}}, 3)])
def test_steps_that_name_a_limiter_share_its_places(scene: Scene, settings: dict[str, Any], at_once: int) -> None:
    async def story() -> None:
        for name in "abcd":
            scene.hold(name)
        async with scene.runtime(**settings) as rt:
            handle = await rt.start(busy, "x")
            await scene.clock.settle()
            assert scene.log == list("abcd"[:at_once])
            for name in "abcd":
                scene.release(name)
            assert await handle.result() == Ok("abcd")

    scene.play(story())


def test_runs_share_a_rate(scene: Scene) -> None:
    async def story() -> None:
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            first, second = await rt.start(minting, "x"), await rt.start(minting, "y")
            assert await first.result() == Ok("abcd")
            assert await second.result() == Ok("abcd")
        assert scene.clock.time() - begun == pytest.approx(30, abs=0.1)  # 8 of them, of which 2 were saved up

    scene.play(story())
