"""Calls that wait in a delay, in a limiter or before an open circuit have nothing under way: they end at once."""

import asyncio
from typing import Any, TypeAlias

import pytest

from awaitly import Breaker, Concurrency, Err, Failure, Ok, Retry, RunHandle, Workflow, gather, race, step, workflow
from awaitly.errors import RunCancelled
from awaitly.model.facts import Fact, RetryScheduled, RunFinished, StepCancelled, StepFinished
from tests.execute.scene import Declined, Scene, current_scene, none, read, write

Flow: TypeAlias = Workflow[[str], str, Any]

SOON = Retry(3, backoff="fixed", initial="500ms", jitter=False)
LATER = Retry(3, backoff="fixed", initial="10s", jitter=False)


class Busy(Failure, retryable=True):
    name: str


@step(retry=SOON, errors=Busy)
async def soon(name: str) -> str:
    return await current_scene().attempt(name)


@step(retry=LATER, errors=Busy)
async def later(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", retry=LATER, errors=Busy)
async def later_read(name: str) -> str:
    return await current_scene().attempt(name)


@step(limiter=Concurrency("counter", limit=1))
async def served(name: str) -> str:
    return await current_scene().attempt(name)


@step(breaker=Breaker("gate", failure_threshold=1, reset_timeout="30s", when_open="wait"))
async def guarded(name: str) -> str:
    return await current_scene().attempt(name)


@step(key="key:{name}", retry=LATER, errors=Busy)
async def keyed(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", retry=Retry(3, initial=0))
async def stubborn(name: str) -> str:
    try:
        return await current_scene().attempt(name)
    except asyncio.CancelledError:
        raise ValueError("not now") from None


async def replacement(name: str) -> str:
    return await current_scene().act("replacement")


@step(effect="read", fallback=replacement)
async def stubborn_with_fallback(name: str) -> str:
    return await stubborn.fn(name)


@step(errors=Busy, fallback=replacement)
async def replaced(name: str) -> str:
    return await current_scene().attempt(name)


@workflow
async def short(name: str) -> str:
    return await soon(name)


@workflow
async def long(name: str) -> str:
    return await later(name)


@workflow
async def long_read(name: str) -> str:
    return await later_read(name)


@workflow
async def serving(name: str) -> str:
    return await served(name)


@workflow
async def guarding(name: str) -> str:
    return await guarded(name)


@workflow
async def turning(name: str) -> str:
    return await stubborn(name)


@workflow
async def turning_with_fallback(name: str) -> str:
    return await stubborn_with_fallback(name)


@workflow
async def replacing(name: str) -> str:
    return await replaced(name)


@workflow
async def after_a_read(name: str) -> str:
    await read("look")
    return await replaced(name)


@workflow
async def pair(name: str) -> str:
    try:
        await gather(write("fails"), write("effect"))
    except Declined:
        return await write("after")
    return name


@workflow
async def losing(name: str) -> str:
    winner = await race(read("fast"), later(name), later_read("b"))
    return await write(f"after {winner}")


@workflow
async def sibling(name: str) -> str:
    try:
        await gather(write("fails"), later(name), served("b"))
    except Declined:
        return await write("after")
    return name


@workflow
async def raced_key(name: str) -> str:
    again = keyed(name)
    await race(keyed(name), none("fast"))
    return await again


@workflow
async def crowd(name: str) -> str:
    found = await gather(write("effect"), later("delayed"), guarded("guarded"), served("b"))
    return " ".join(found)


def cancelled(scene: Scene, run: str = "run") -> list[tuple[str, int]]:
    return [(fact.call, fact.attempts) for fact in scene.stored(run, StepCancelled)]


def ended_as_cancelled(result: Any) -> bool:
    return isinstance(result, Err) and isinstance(result.error, RunCancelled)


async def cancel_at_once(scene: Scene, handle: RunHandle[Any, Any]) -> None:
    """Cancel a run, which is to end without time passing."""
    before = scene.clock.time()
    await handle.cancel()
    assert ended_as_cancelled(await handle.result())
    assert scene.clock.time() == before


async def cancelled_during(scene: Scene, flow: Flow, at: str) -> bool:
    """Cancel a run while an effect is under way, which then ends; return whether the run ends as cancelled."""
    scene.hold(at)
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.until(at)
        await handle.cancel()
        await scene.turns()
        scene.release(at)
        return ended_as_cancelled(await handle.result())


# Cancelling what waits


@pytest.mark.parametrize(("flow", "call"), [(short, "soon#0"), (long, "later#0"), (long_read, "later_read#0")])
async def test_a_call_that_waits_for_its_next_attempt_is_cancelled_at_once(scene: Scene, flow: Flow, call: str) -> None:
    scene.failing["a"] = [Busy("a")]
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.clock.settle()
        await cancel_at_once(scene, handle)

    assert scene.attempts["a"] == [1]
    assert cancelled(scene) == [(call, 1)]


async def test_a_call_that_waits_for_its_turn_is_cancelled_at_once_and_gives_its_place_to_the_next(
    scene: Scene,
) -> None:
    for name in "abc":
        scene.hold(name)
    async with scene.runtime() as rt:
        runs = {name: await rt.start(serving.options(id=name), name) for name in "abc"}
        await scene.clock.settle()
        await cancel_at_once(scene, runs["b"])
        scene.release("a")
        await scene.until("c")
        scene.release("c")
        assert await runs["c"].result() == Ok("c")

    assert "b" not in scene.log
    assert cancelled(scene, "b") == [("served#0", 0)]


async def test_a_call_that_waits_before_an_open_circuit_is_cancelled_at_once_and_the_next_is_let_in(
    scene: Scene,
) -> None:
    scene.failing["a"] = [ValueError("down")]
    async with scene.runtime() as rt:
        assert (await rt.run(guarding, "a")).is_err()
        runs = {name: await rt.start(guarding.options(id=name), name) for name in "bc"}
        await scene.clock.settle()
        await cancel_at_once(scene, runs["b"])
        assert await runs["c"].result() == Ok("c")

    assert cancelled(scene, "b") == [("guarded#0", 0)]


async def test_the_losers_of_a_race_that_wait_for_an_attempt_end_at_once(scene: Scene) -> None:
    scene.failing.update(a=[Busy("a")], b=[Busy("b")])
    scene.delays["fast"] = 1
    async with scene.runtime() as rt:
        before = scene.clock.time()
        assert await rt.run(losing.options(id="run"), "a") == Ok("after fast")
        assert scene.clock.time() - before == pytest.approx(1, abs=0.1)

    assert sorted(cancelled(scene)) == [("later#0", 1), ("later_read#0", 1)]


async def test_the_siblings_of_a_failure_that_wait_end_at_once(scene: Scene) -> None:
    scene.failing.update(a=[Busy("a")], fails=[Declined("fails")])
    scene.delays["fails"] = 1
    scene.hold("other")
    async with scene.runtime() as rt:
        other = await rt.start(serving, "other")
        await scene.until("other")
        before = scene.clock.time()
        assert await rt.run(sibling.options(id="run"), "a") == Ok("after")
        assert scene.clock.time() - before == pytest.approx(1, abs=0.1)
        scene.release("other")
        await other.result()

    assert sorted(cancelled(scene)) == [("later#0", 1), ("served#0", 0)]


async def test_work_of_a_key_that_was_cancelled_in_a_delay_begins_to_count_anew(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a"), Busy("a")]
    scene.delays["fast"] = 1
    async with scene.runtime(raced_key) as rt:
        await rt.start(raced_key.options(id="run"), "a")
        await scene.clock.advance("5s")

    assert scene.attempts["a"] == [1, 1]
    assert await scene.resume(raced_key) == Ok("a")
    assert scene.attempts["a"] == [1, 1, 2]


# Cancelling what is under way


async def test_an_attempt_of_an_effect_that_is_under_way_finishes_and_none_follows(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]
    before = scene.clock.time()

    assert await cancelled_during(scene, long, "a")
    assert scene.clock.time() == before
    assert scene.attempts["a"] == [1]
    assert scene.facts("run") == [
        "RunStarted", "CancelRequested", "StepFinished later#0 failure", "RunFinished cancelled",
    ]  # fmt: skip


async def test_an_effect_that_has_ended_is_recorded_though_its_sibling_failed_in_the_same_instant(scene: Scene) -> None:
    scene.failing["fails"] = [Declined("fails")]
    scene.hold("fails")
    scene.hold("effect")
    async with scene.runtime() as rt:
        handle = await rt.start(pair.options(id="run"), "a")
        await scene.until("effect")
        scene.release("fails")
        scene.release("effect")
        assert await handle.result() == Ok("after")

    assert scene.facts("run")[1:3] == ["StepFinished write#0 failure", "StepFinished write#1 value"]
    assert cancelled(scene) == []


async def test_a_fallback_does_not_answer_for_a_call_that_nobody_wants_any_more(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]

    assert await cancelled_during(scene, replacing, "a")
    assert "replacement" not in scene.log
    assert [fact.ending for fact in scene.stored("run", StepFinished)] == ["failure"]


async def test_a_fallback_of_an_effect_that_is_under_way_finishes_and_is_recorded(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]

    assert await cancelled_during(scene, replacing, "replacement")
    assert [(fact.ending, fact.source) for fact in scene.stored("run", StepFinished)] == [("value", "fallback")]


async def test_a_fallback_of_an_effect_finishes_during_a_shutdown(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]
    scene.delays["replacement"] = 5
    async with scene.runtime() as rt:
        await rt.start(replacing.options(id="run"), "a")
        await scene.until("replacement")

    assert [(fact.ending, fact.source) for fact in scene.stored("run", StepFinished)] == [("value", "fallback")]


@pytest.mark.parametrize("flow", [turning, turning_with_fallback])
async def test_a_read_that_turns_its_cancellation_into_an_error_is_neither_repeated_nor_replaced(
    scene: Scene, flow: Flow
) -> None:
    scene.hold("a")
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.until("a")
        await handle.cancel()
        assert ended_as_cancelled(await handle.result())
        await scene.clock.advance("1m")

    assert scene.log == ["a", "a cancelled"]
    assert isinstance(last_fact(scene), RunFinished)
    assert [attempts for _, attempts in cancelled(scene)] == [1]


def last_fact(scene: Scene) -> Fact:
    return scene.stored("run", Fact)[-1]


# After a restart


@pytest.mark.parametrize("asked", ["while it is down", "after it is resumed"])
async def test_a_call_that_was_interrupted_in_a_recorded_delay_is_cancelled_at_once(scene: Scene, asked: str) -> None:
    scene.failing["a"] = [Busy("a")]
    async with scene.runtime() as rt:
        await rt.start(long.options(id="run"), "a")
        await scene.clock.settle()
    before = scene.clock.time()
    if asked == "while it is down":
        await scene.memory.request_cancel("run", "enough")
    async with scene.runtime(long, store=scene.view()) as rt:
        handle = await rt.handle("run")
        await scene.clock.settle()
        if asked != "while it is down":
            await handle.cancel()
        assert ended_as_cancelled(await handle.result())

    assert scene.clock.time() == before
    assert scene.attempts["a"] == [1]
    assert cancelled(scene) == [("later#0", 1)]


async def test_an_attempt_that_may_have_been_under_way_is_made_again_before_a_cancellation(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]
    async with scene.runtime() as rt:
        await rt.start(long.options(id="run"), "a")
        await scene.clock.advance("5s")
        scene.hold("a")
        await scene.clock.advance("5s")
        await rt.shutdown(0)  # the second attempt is lost
    scene.release("a")
    await scene.memory.request_cancel("run", "enough")

    assert ended_as_cancelled(await scene.resume(long))
    assert scene.attempts["a"] == [1, 2, 2]
    assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [2]


async def test_a_call_that_was_under_way_at_an_interruption_waits_like_any_other_once_it_was_made_again(
    scene: Scene,
) -> None:
    scene.hold("a")
    async with scene.runtime() as rt:
        await rt.start(long.options(id="run"), "a")
        await scene.until("a")
        await rt.shutdown(0)
    scene.failing["a"] = [Busy("a"), Busy("a")]  # the first of them for the attempt that is lost
    async with scene.runtime(long, store=scene.view()) as rt:
        await scene.clock.settle()
        scene.release("a")
        await scene.clock.settle()
        await cancel_at_once(scene, await rt.handle("run"))

    assert scene.attempts["a"] == [1, 1]
    assert cancelled(scene) == [("later#0", 1)]


# Shutdown


async def test_a_shutdown_drops_what_waits_and_records_what_is_under_way(scene: Scene) -> None:
    scene.failing.update(delayed=[Busy("delayed")], opens=[ValueError("down")])
    scene.delays["effect"] = 5
    scene.hold("other")
    async with scene.runtime() as rt:
        assert (await rt.run(guarding, "opens")).is_err()
        await rt.start(serving, "other")
        await scene.until("other")
        await rt.start(crowd.options(id="run"), "x")
        await scene.clock.advance("2s")
        before = scene.clock.time()
        shutdown = asyncio.create_task(rt.shutdown(go_on=0))
        await scene.clock.advance("3s")
        scene.release("other")
        await shutdown
        assert scene.clock.time() - before == pytest.approx(3, abs=0.1)

    assert [fact.call for fact in scene.stored("run", StepFinished)] == ["write#0"]
    assert cancelled(scene) == []
    assert await scene.resume(crowd) == Ok("effect delayed guarded b")
    assert scene.attempts["delayed"] == [1, 2]
    assert scene.log.count("effect") == 1


@pytest.mark.parametrize(("flow", "given"), [(short, {"go_on": 0}), (long, {}), (long_read, {})])
async def test_a_shutdown_does_not_wait_for_a_delay(scene: Scene, flow: Flow, given: dict[str, Any]) -> None:
    scene.failing["a"] = [Busy("a")]
    async with scene.runtime() as rt:
        await rt.start(flow.options(id="run"), "a")
        await scene.clock.settle()
        before = scene.clock.time()
        await rt.shutdown(**given)
        assert scene.clock.time() - before == pytest.approx(0, abs=0.1)

    assert await scene.resume(flow) == Ok("a")


async def test_what_leads_to_a_fallback_of_an_effect_is_stored_before_it_begins(scene: Scene) -> None:
    scene.failing["a"] = [Busy("a")]
    scene.hold("replacement")
    async with scene.runtime() as rt:
        await rt.start(after_a_read.options(id="run"), "a")
        await scene.until("replacement")
        assert scene.facts("run") == ["RunStarted", "StepFinished read#0 value"]
        scene.release("replacement")

    assert scene.stored("run", RetryScheduled) == []
