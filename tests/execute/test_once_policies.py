"""Policies around what happens at most once: nothing may make it happen twice, and nothing may hide that it did."""

import asyncio
from typing import Any, TypeAlias

import pytest

from awaitly import Breaker, Concurrency, Err, Failure, Ok, Retry, Workflow, step, workflow
from awaitly.errors import AmbiguousEffect, CircuitOpen, RunRefused, StepDeadline, StepTimeout, UnexpectedError
from awaitly.model.facts import RetryScheduled, StepFinished, StepStarted
from tests.execute.scene import Declined, Scene, current_scene

Flow: TypeAlias = Workflow[[str], str, Any]

SOON = Retry(3, backoff="fixed", initial="500ms", jitter=False)


class Refused(Failure, not_executed=True):
    name: str


class Busy(Failure, retryable=True):
    name: str


async def replacement(name: str) -> str:
    return await current_scene().act("replacement")


@step(effect="once", retry=SOON, errors=(Refused, Busy, Declined))
async def retried(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", retry=SOON)
async def undeclared(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", retry=SOON, timeout="5s")
async def timed(name: str) -> str:
    return await current_scene().attempt(name)


@step(
    effect="once", retry=SOON, on_ambiguous="retry", errors=Declined, fallback=replacement, deadline="20s",
    limiter=Concurrency("seat", limit=1),
)  # fmt: skip
async def repeatable(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", retry=SOON, on_ambiguous="verify", fallback=replacement)
async def verified(name: str) -> str:
    return await current_scene().attempt(name)


@verified.verify
async def happened(name: str) -> bool:
    await current_scene().act("verification")
    return name == "happened"


@step(effect="read", limiter="seat")
async def sits(name: str) -> str:
    return await current_scene().act(name)


@step(effect="once", errors=Declined, fallback=replacement, breaker=Breaker("bank", failure_threshold=1))
async def replaced(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", breaker=Breaker("gate", failure_threshold=1))
async def gated(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once", limiter=Concurrency("counter", limit=1, mode="reject"))
async def counted(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", limiter="counter")
async def counted_read(name: str) -> str:
    return await current_scene().attempt(name)


@step(breaker="gate")
async def opens(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once")
async def plain(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="once")
async def escaping(name: str) -> str:
    raise asyncio.CancelledError


@workflow
async def retrying(name: str) -> str:
    return await retried(name)


@workflow
async def not_declaring(name: str) -> str:
    return await undeclared(name)


@workflow
async def timing(name: str) -> str:
    return await timed(name)


@workflow
async def repeating(name: str) -> str:
    return await repeatable(name)


@workflow
async def sitting(name: str) -> str:
    return await sits(name) if name == "long" else await repeatable(name)


@workflow
async def verifying(name: str) -> str:
    return await verified(name)


@workflow
async def replacing(name: str) -> str:
    return await replaced(name)


@workflow
async def gating(name: str) -> str:
    return await gated(name) if name != "opens" else await opens(name)


@workflow
async def counting(name: str) -> str:
    return await counted(name) if name != "takes" else await counted_read(name)


@workflow
async def plainly(name: str) -> str:
    return await plain(name)


@workflow
async def giving_up(name: str) -> str:
    return await escaping(name)


def error_of(result: Any) -> str:
    """Return the class of what a run failed with unexpectedly."""
    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    return result.error.type_name.rpartition(".")[2].rpartition(":")[2]


# What is retried


async def test_what_did_not_happen_is_attempted_again_and_each_start_is_stored_before(scene: Scene) -> None:
    scene.failing["a"] = [Refused("a")]
    async with scene.runtime() as rt:
        handle = await rt.start(retrying.options(id="run"), "a")
        await scene.until("a failed")
        scene.hold("a")
        await scene.clock.advance("500ms")
        assert scene.facts("run") == [
            "RunStarted", "StepStarted retried#0", "RetryScheduled retried#0", "StepStarted retried#0",
        ]  # fmt: skip
        scene.release("a")
        assert await handle.result() == Ok("a")

    assert [fact.attempt for fact in scene.stored("run", StepStarted)] == [1, 2]
    assert scene.attempts["a"] == [1, 2]
    assert len(scene.keys["a"]) == 1


@pytest.mark.parametrize("error", [Busy("a"), Declined("a")])
async def test_a_declared_failure_that_does_not_say_that_nothing_happened_is_final(
    scene: Scene, error: Failure
) -> None:
    scene.fails["a"] = error

    assert await scene.run(retrying, "a") == Err(error)
    assert scene.attempts["a"] == [1]


@pytest.mark.parametrize("error", [ValueError("down"), ConnectionResetError(), StepTimeout("slow"), Refused("a")])
async def test_any_error_that_is_not_declared_is_ambiguous_and_not_followed_by_an_attempt(
    scene: Scene, error: Exception
) -> None:
    scene.fails["a"] = error

    assert error_of(await scene.run(not_declaring, "a")) == AmbiguousEffect.__name__
    assert scene.attempts["a"] == [1]


async def test_so_is_an_attempt_that_takes_too_long(scene: Scene) -> None:
    scene.delays["a"] = 10

    assert error_of(await scene.run(timing, "a")) == AmbiguousEffect.__name__
    assert scene.attempts["a"] == [1]


async def test_so_is_one_that_ends_as_if_it_had_been_cancelled(scene: Scene) -> None:
    assert error_of(await scene.run(giving_up, "a")) == AmbiguousEffect.__name__


@pytest.mark.parametrize("attempts", [{"attempts": 5}, {"enabled": True}])
async def test_settings_that_give_it_a_retry_do_not_repeat_what_is_ambiguous(
    scene: Scene, attempts: dict[str, Any]
) -> None:
    scene.fails["a"] = ValueError("down")

    assert error_of(await scene.run(plainly, "a", steps={"plain": {"retry": attempts}})) == AmbiguousEffect.__name__
    assert scene.attempts["a"] == [1]


# What is ambiguous


async def test_where_it_may_be_repeated_any_error_is_retried(scene: Scene) -> None:
    scene.failing["a"] = [ValueError("down"), ConnectionResetError()]

    assert await scene.run(repeating, "a") == Ok("a")
    assert scene.attempts["a"] == [1, 2, 3]


async def test_where_it_may_be_repeated_the_last_error_is_the_outcome_and_no_fallback_follows(scene: Scene) -> None:
    scene.fails["a"] = ValueError("down")

    assert error_of(await scene.run(repeating, "a")) == "ValueError"
    assert "replacement" not in scene.log


async def test_no_fallback_follows_either_when_the_calls_deadline_ends_a_wait_after_an_unknown_outcome(
    scene: Scene,
) -> None:
    scene.fails["a"] = ValueError("down")
    scene.delays["long"] = 60
    async with scene.runtime() as rt:
        handle = await rt.start(repeating, "a")
        await scene.until("a failed")
        await rt.start(sitting, "long")
        assert error_of(await handle.result()) == StepDeadline.__name__

    assert scene.attempts["a"] == [1]
    assert "replacement" not in scene.log


@pytest.mark.parametrize(("name", "error"), [("happened", "AmbiguousEffect"), ("a", "ValueError")])
async def test_a_verification_decides_after_an_unknown_error(scene: Scene, name: str, error: str) -> None:
    scene.fails[name] = ValueError("down")

    assert error_of(await scene.run(verifying, name)) == error
    assert scene.attempts[name] == [1]
    assert scene.log.count("verification") == 1
    assert "replacement" not in scene.log


async def test_a_verification_that_is_under_way_is_not_cut_short_by_a_cancellation(scene: Scene) -> None:
    """Else the run would say that the call was cancelled, and not that its effect is ambiguous."""

    scene.fails["happened"] = ValueError("down")
    scene.hold("verification")
    async with scene.runtime() as rt:
        handle = await rt.start(verifying.options(id="run"), "happened")
        await scene.until("verification")
        await handle.cancel()
        await scene.turns()
        scene.release("verification")
        assert (await handle.result()).is_err()

    assert [fact.ending for fact in scene.stored("run", StepFinished)] == ["unexpected"]


# After a restart


async def test_a_start_without_an_outcome_is_ambiguous_after_a_restart(scene: Scene) -> None:
    await scene.interrupt(retrying, "a", at="a")

    assert error_of(await scene.resume(retrying)) == AmbiguousEffect.__name__
    assert scene.attempts["a"] == [1]


async def test_a_delay_after_an_attempt_that_did_not_happen_is_not_ambiguous_however_short(scene: Scene) -> None:
    scene.failing["a"] = [Refused("a"), Refused("a")]
    async with scene.runtime() as rt:
        await rt.start(retrying.options(id="run"), "a")
        await scene.until("a failed")
        await scene.clock.settle()

    assert await scene.resume(retrying) == Ok("a")
    assert scene.attempts["a"] == [1, 2, 3]
    assert [fact.attempts for fact in scene.stored("run", RetryScheduled)] == [1, 2]


async def test_a_second_attempt_without_an_outcome_is_as_ambiguous_as_a_first(scene: Scene) -> None:
    scene.failing["a"] = [Refused("a")]
    async with scene.runtime() as rt:
        await rt.start(retrying.options(id="run"), "a")
        await scene.until("a failed")
        scene.hold("a")
        await scene.clock.advance("500ms")
        await rt.shutdown(0)
    scene.release("a")

    assert error_of(await scene.resume(retrying)) == AmbiguousEffect.__name__
    assert scene.attempts["a"] == [1, 2]


async def test_an_attempt_that_did_not_happen_during_a_shutdown_is_not_ambiguous_afterwards(scene: Scene) -> None:
    scene.failing["a"] = [Refused("a")]
    scene.delays["a"] = 5
    async with scene.runtime() as rt:
        await rt.start(retrying.options(id="run"), "a")
        await scene.until("a")
        await rt.shutdown(go_on=0)

    assert scene.attempts["a"] == [1]
    assert await scene.resume(retrying) == Ok("a")
    assert scene.attempts["a"] == [1, 2]


async def test_an_open_circuit_does_not_answer_for_a_start_that_was_recorded(scene: Scene) -> None:
    await scene.interrupt(gating, "a", at="a")
    scene.fails["opens"] = ValueError("down")
    async with scene.runtime(store=scene.view()) as rt:
        assert (await rt.run(gating.options(id="other"), "opens")).is_err()
        assert error_of(await rt.run(gating.options(id="third"), "b")) == CircuitOpen.__name__
        assert error_of(await (await rt.resume("run")).result()) == AmbiguousEffect.__name__

    assert scene.attempts["a"] == [1]


async def test_a_full_limiter_does_not_answer_for_it_either(scene: Scene) -> None:
    await scene.interrupt(counting, "a", at="a")
    scene.hold("takes")
    async with scene.runtime(store=scene.view()) as rt:
        other = await rt.start(counting.options(id="other"), "takes")
        await scene.until("takes")
        assert error_of(await (await rt.resume("run")).result()) == AmbiguousEffect.__name__
        scene.release("takes")
        await other.result()

    assert scene.attempts["a"] == [1]


# Fallbacks


@pytest.mark.parametrize("error", [ValueError("down"), StepTimeout("slow")])
async def test_a_fallback_never_follows_an_ambiguous_failure(scene: Scene, error: Exception) -> None:
    scene.fails["a"] = error

    assert error_of(await scene.run(replacing, "a")) == AmbiguousEffect.__name__
    assert "replacement" not in scene.log


async def test_a_fallback_may_follow_a_declared_failure_and_a_call_that_never_began(scene: Scene) -> None:
    scene.failing["a"] = [Declined("a"), ValueError("opens the circuit")]
    async with scene.runtime() as rt:
        assert await rt.run(replacing, "a") == Ok("replacement")
        assert (await rt.run(replacing, "a")).is_err()
        assert await rt.run(replacing.options(id="run"), "a") == Ok("replacement")

    assert scene.attempts["a"] == [1, 1]
    assert [(fact.attempts, fact.source) for fact in scene.stored("run", StepFinished)] == [(0, "fallback")]


# Retrying runs


async def test_a_run_may_be_retried_if_its_call_never_began(scene: Scene) -> None:
    scene.fails["opens"] = ValueError("down")
    async with scene.runtime() as rt:
        assert (await rt.run(gating, "opens")).is_err()
        assert error_of(await rt.run(gating.options(id="run"), "a")) == CircuitOpen.__name__
        assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [0]
        await scene.clock.advance("5m")
        assert await (await rt.retry("run")).result() == Ok("a")

    assert scene.attempts["a"] == [1]


async def test_a_run_may_not_be_retried_if_its_call_began(scene: Scene) -> None:
    scene.fails["a"] = ValueError("down")
    async with scene.runtime() as rt:
        assert (await rt.run(gating.options(id="run"), "a")).is_err()
        with pytest.raises(RunRefused):
            await rt.retry("run")

    assert scene.attempts["a"] == [1]
