"""What policies raise may be declared: then it is an expected failure, and means to policies what it always does."""

from typing import Any

import pytest

from awaitly import (
    Breaker,
    CircuitOpen,
    Concurrency,
    Err,
    Failure,
    LimitReached,
    Ok,
    Retry,
    StepTimeout,
    step,
    workflow,
)
from awaitly.errors import AmbiguousEffect, UnexpectedError
from awaitly.policies.fallback import Fallback
from tests.execute.scene import Scene, _scenes

PAYMENTS = Breaker("payments", failure_threshold=2, reset_timeout="30s")


class Declined(Failure):
    name: str


class Gone(Failure):
    name: str


class Stale(Failure):
    name: str


@step(errors=StepTimeout, timeout="5s", retry=Retry(3, initial=0))
async def patient(name: str) -> str:
    return await _scenes[0].act(name)


@step(errors=(StepTimeout, CircuitOpen), timeout="5s", breaker=PAYMENTS)
async def broken(name: str) -> str:
    return await _scenes[0].act(name)


@step(errors=LimitReached, limiter=Concurrency(limit=1, mode="reject"))
async def crowded(name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="once", errors=StepTimeout, timeout="5s")
async def pay(name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="read", errors=Stale)
async def remembered(name: str) -> str:
    if name == "old":
        raise Stale(name=name)
    return f"remembered {name}"


@step(effect="read", errors=(Declined, Gone), fallback=Fallback(remembered, on=Gone))
async def look(name: str) -> str:
    return await _scenes[0].act(name)


@workflow(errors=StepTimeout)
async def timed(name: str) -> str:
    return await patient(name)


@workflow(errors=(StepTimeout, CircuitOpen))
async def refused(name: str) -> str:
    for _ in range(2):
        try:
            await broken(name)
        except StepTimeout:
            continue
    return await broken(name)


@workflow(errors=LimitReached)
async def pushed(names: list[str]) -> list[str]:
    from awaitly import gather

    return list(await gather(*(crowded(name) for name in names)))


@workflow(errors=StepTimeout)
async def paid(name: str) -> str:
    return await pay(name)


@workflow(errors=(Declined, Stale))
async def looked(name: str) -> str:
    return await look(name)


def result(scene: Scene, flow: Any, argument: Any, *, again: bool = True) -> Any:
    """Return how a run ends, having seen that another runtime finds it stored so."""

    async def story() -> Any:
        async with scene.runtime(flow) as runtime:
            found = await runtime.run(flow.options(id="r"), argument)
        async with scene.runtime(flow) as runtime:
            stored = await runtime.run(flow.options(id="r"), argument)
        assert repr(stored) == repr(found)
        return found

    return scene.play(story())


def test_a_declared_timeout_arrives_as_itself_after_all_attempts(scene: Scene) -> None:
    scene.delays["slow"] = 60

    found = result(scene, timed, "slow")

    assert isinstance(found, Err)
    assert isinstance(found.error, StepTimeout)
    assert scene.log == ["slow", "slow cancelled"] * 3


def test_a_declared_timeout_is_counted_by_the_breaker_whose_refusal_arrives_with_what_it_says(scene: Scene) -> None:
    scene.delays["slow"] = 60

    found = result(scene, refused, "slow")

    assert isinstance(found, Err)
    assert isinstance(found.error, CircuitOpen)
    assert found.error.breaker == "payments"
    assert found.error.retry_after == pytest.approx(30)
    assert scene.log == ["slow", "slow cancelled"] * 2


def test_a_declared_refusal_of_a_limiter_arrives_as_itself(scene: Scene) -> None:
    scene.delays["a"] = 1

    found = result(scene, pushed, ["a", "b"])

    assert isinstance(found, Err)
    assert isinstance(found.error, LimitReached)
    assert found.error.limiter == "step crowded"


def test_a_declared_timeout_leaves_a_step_that_happens_once_ambiguous(scene: Scene) -> None:
    scene.delays["slow"] = 60

    found = result(scene, paid, "slow")

    assert isinstance(found, Err)
    assert isinstance(found.error, UnexpectedError)
    assert found.error.type_name.endswith(AmbiguousEffect.__name__)


def test_a_fallback_answers_for_what_it_is_for(scene: Scene) -> None:
    scene.fails["x"] = Gone(name="x")

    assert result(scene, looked, "x") == Ok("remembered x")


def test_what_a_fallback_is_not_for_arrives_as_itself(scene: Scene) -> None:
    scene.fails["x"] = Declined(name="x")

    assert result(scene, looked, "x") == Err(Declined(name="x"))


def test_a_declared_failure_of_a_fallback_arrives_as_itself(scene: Scene) -> None:
    scene.fails["old"] = Gone(name="old")

    assert result(scene, looked, "old") == Err(Stale(name="old"))
