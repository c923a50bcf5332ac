"""Rates hold for what begins, whatever else the calls of a step wait for."""

import pytest

from awaitly import Concurrency, Ok, RateLimit, SlidingWindow, each, step, workflow
from awaitly.compile.policies import policy_specs
from awaitly.policies.clock import pause
from tests.execute.scene import Scene, current_scene

_begun: list[float] = []


@step(effect="read", limiter=[SlidingWindow("doors", limit=10, per="1s"), Concurrency("seats", limit=2)])
async def enter(number: int) -> int:
    clock = current_scene().clock
    _begun.append(clock.monotonic())
    await pause(clock, 30 if number < 2 else 0.001)
    return number


@workflow
async def opening(number: int) -> int:
    return len(await each(enter, list(range(number)), concurrency=number))


def test_calls_that_waited_for_places_do_not_begin_in_a_burst(scene: Scene) -> None:
    _begun.clear()

    async def story() -> None:
        async with scene.runtime(opening):
            assert await opening.run(60) == Ok(60)

    scene.play(story())
    assert len(_begun) == 60
    assert max(sum(begun <= other < begun + 1 for other in _begun) for begun in _begun) <= 10


@step(effect="read", limiter=[RateLimit(limit=10), RateLimit(limit=2, per="1m").costing(2)])
async def knock(number: int) -> float:
    return current_scene().clock.monotonic()


@workflow
async def knocking() -> float:
    first, second = await knock(1), await knock(2)
    return second - first


def test_a_step_may_have_two_limiters_of_a_kind_without_names(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(knocking):
            assert (await knocking.run()).unwrap() == pytest.approx(60)

    scene.play(story())


@step(
    effect="read",
    limiter=[
        RateLimit("second", limit=10),
        Concurrency("lines", limit=2),
        RateLimit("minute", limit=100, per="1m").costing(2),
        Concurrency("desks", limit=2),
    ],
)
async def call(number: int) -> int:
    return number


def test_graphs_show_limiters_in_the_order_in_which_they_are_asked() -> None:
    assert [spec.name for spec in policy_specs(call.options.policies)] == ["desks", "lines", "minute", "second"]
