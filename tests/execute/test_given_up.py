"""Calls that may not be attempted again after a restart: what an earlier process got from them, and who answers."""

from typing import Any, TypeAlias

import pytest

from awaitly import Concurrency, Err, Failure, Fallback, Ok, Retry, Runtime, Workflow, step, workflow
from awaitly.errors import CircuitOpen, UnexpectedError
from awaitly.model.facts import StepFinished
from awaitly.settings import Settings
from tests.execute.scene import Scene, current_scene

Flow: TypeAlias = Workflow[[str], str, Any]

BRIEF = Retry(None, within="1m", backoff="fixed", initial="10s", jitter=False)


class Busy(Failure, retryable=True):
    name: str


async def replacement(name: str) -> str:
    return await current_scene().act("replacement")


@step(effect="read", retry=BRIEF, errors=Busy, fallback=Fallback(replacement, on=(Busy, OSError)))
async def replaced(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", retry=BRIEF, errors=Busy, fallback=Fallback(replacement, on=CircuitOpen))
async def replaced_rarely(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", retry=BRIEF, on_ambiguous="retry", fallback=replacement, limiter=Concurrency("given up", limit=5))
async def repeated(name: str) -> str:
    return await current_scene().attempt(name)


@workflow
async def replacing(name: str) -> str:
    return await replaced(name)


@workflow
async def replacing_rarely(name: str) -> str:
    return await replaced_rarely(name)


@workflow
async def repeating(name: str) -> str:
    return await repeated(name)


async def given_up(scene: Scene, flow: Flow, error: Exception, **settings: Any) -> Any:
    """Interrupt a run between two attempts, resume it when the time for others is over, and return its outcome."""
    scene.failing["a"] = [error]
    async with runtime(scene) as rt:
        await rt.start(flow.options(id="run"), "a")
        await scene.until("a failed")
        await scene.turns()
        await rt.shutdown(go_on=0)
    await scene.clock.advance(0 if settings else "2m")
    async with runtime(scene, **settings) as rt:
        result = await (await rt.start(flow.options(id="run"), "a")).result()
    assert scene.attempts["a"] == [1]
    return result


def runtime(scene: Scene, **settings: Any) -> Runtime:
    """Return a runtime that takes nothing over by itself."""
    return Runtime(Settings(store="memory://", **settings), store=scene.view(), clock=scene.clock, recover=False)


@pytest.mark.parametrize("error", [Busy("a"), ConnectionError("down")])
def test_the_fallback_answers_for_the_error_that_was_recorded(scene: Scene, error: Exception) -> None:
    async def story() -> None:
        assert await given_up(scene, replacing, error) == Ok("replacement")
        assert [(fact.attempts, fact.source) for fact in scene.stored("run", StepFinished)] == [(1, "fallback")]

    scene.play(story())


@pytest.mark.parametrize("retry", [{"attempts": 1}, {"enabled": False}])
def test_so_it_does_where_settings_allow_no_attempt_any_more(scene: Scene, retry: dict[str, Any]) -> None:
    async def story() -> None:
        settings = {"replaced": {"retry": retry}}
        assert await given_up(scene, replacing, Busy("a"), steps=settings) == Ok("replacement")

    scene.play(story())


def test_an_error_that_the_fallback_is_not_for_is_the_outcome_and_says_why(scene: Scene) -> None:
    async def story() -> None:
        result = await given_up(scene, replacing_rarely, ConnectionError("down"))
        assert isinstance(result, Err)
        assert isinstance(result.error, UnexpectedError)
        assert result.error.type_name == "ConnectionError"
        why, gave_up = result.error.notes
        assert why == "not attempted again after a restart: within='1m' is over"
        assert gave_up.startswith("gave up after 1 attempt in 2m")
        assert "replacement" not in scene.log

    scene.play(story())


def test_no_fallback_follows_an_unknown_outcome_of_what_happens_at_most_once(scene: Scene) -> None:
    async def story() -> None:
        result = await given_up(scene, repeating, ConnectionError("down"))
        assert isinstance(result, Err)
        assert result.error.type_name == "ConnectionError"
        assert "replacement" not in scene.log

    scene.play(story())
