"""Attempts of a durable call: counted, begun when everything before is stored, and continued after a restart."""

from typing import Any, TypeAlias

import pytest

from awaitly import Err, Failure, Ok, Retry, Workflow, gather, sleep, step, workflow
from awaitly.errors import StepDeadline, UnexpectedError
from awaitly.model.facts import RetryScheduled, StepFinished
from tests.execute.scene import Scene, current_scene, read, write

Flow: TypeAlias = Workflow[[str], str, Any]

QUICK = Retry(3, backoff="fixed", initial="100ms", jitter=False)
SLOW = Retry(4, backoff="fixed", initial="10s", jitter=False)


class Busy(Failure, retryable=True):
    name: str


class Throttled(Exception):
    def __init__(self, retry_after: float) -> None:
        super().__init__("slow down")
        self.retry_after = retry_after


@step(retry=QUICK)
async def quick(name: str) -> str:
    return await current_scene().attempt(name)


@step(effect="read", retry=QUICK)
async def quick_read(name: str) -> str:
    return await current_scene().attempt(name)


@step(retry=SLOW, errors=Busy)
async def slow(name: str) -> str:
    return await current_scene().attempt(name)


@step(retry=Retry(None, backoff="fixed", initial="10s", jitter=False, within="1m"), errors=Busy)
async def brief(name: str) -> str:
    return await current_scene().attempt(name)


@step(retry=SLOW, deadline="1m", errors=Busy)
async def limited(name: str) -> str:
    return await current_scene().attempt(name)


@workflow
async def quickly(name: str) -> str:
    return await quick(name)


@workflow
async def slowly(name: str) -> str:
    return await slow(name)


@workflow
async def briefly(name: str) -> str:
    return await brief(name)


@workflow
async def in_time(name: str) -> str:
    return await limited(name)


@workflow
async def beside_an_effect(name: str) -> str:
    a, b = await gather(quick(name), read("look"))
    return a + b


@workflow
async def beside_a_read(name: str) -> str:
    a, b = await gather(quick_read(name), read("look"))
    return a + b


@workflow
async def long_story(name: str) -> str:
    first = await slow(name)
    await write("between")
    await sleep("1h")
    return first


@workflow
async def falling_back(name: str) -> str:
    try:
        return await quick(name)
    except UnexpectedError:
        return await write("instead")


def failures(number: int) -> list[Exception]:
    return [Busy("a") for _ in range(number)]


async def interrupted(scene: Scene, flow: Flow, *, after: float = 0) -> None:
    """Start the run and interrupt it after so many seconds."""
    async with scene.runtime(flow) as rt:
        await rt.start(flow.options(id="run"), "a")
        await scene.clock.advance(after)


# Counting


async def test_attempts_are_counted_and_share_one_idempotency_key(scene: Scene) -> None:
    scene.failing["a"] = failures(2)

    assert await scene.run(quickly, "a") == Ok("a")
    assert scene.attempts["a"] == [1, 2, 3]
    assert len(scene.keys["a"]) == 1
    assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [3]


async def test_a_call_that_fails_for_good_is_recorded_with_its_last_error_and_its_attempts(scene: Scene) -> None:
    scene.fails["a"] = ValueError("down")
    result = await scene.run(quickly, "a")

    assert isinstance(result, Err)
    assert "down" in str(result.error)
    assert any("gave up after 3 attempts" in note for note in result.error.notes)
    assert [(fact.attempts, fact.ending) for fact in scene.stored("run", StepFinished)] == [(3, "unexpected")]


# Durable before a second attempt


@pytest.mark.parametrize("flow", [beside_an_effect, beside_a_read])
async def test_an_attempt_begins_when_everything_delivered_before_it_is_stored(scene: Scene, flow: Flow) -> None:
    scene.failing["a"] = failures(1)
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), "a")
        await scene.clock.settle()
        assert scene.log == ["a", "a failed", "look", "look done"]
        assert scene.facts("run") == ["RunStarted"]  # the read waits for company, and the retry is that
        scene.hold("a")
        await scene.clock.advance("100ms")
        assert scene.attempts["a"] == [1, 2]
        assert scene.facts("run") == ["RunStarted", "StepFinished read#0 value"]
        scene.release("a")
        assert await handle.result() == Ok("alook")


@pytest.mark.parametrize("flow", [beside_an_effect, beside_a_read])
async def test_no_attempt_begins_when_what_was_delivered_before_it_cannot_be_stored(scene: Scene, flow: Flow) -> None:
    scene.failing["a"] = failures(1)
    async with scene.runtime() as rt:
        await rt.start(flow.options(id="run"), "a")
        await scene.until("look done")
        scene.cut_off("append")
        await scene.clock.advance("500ms")

    assert scene.attempts["a"] == [1]


# Over a restart


@pytest.mark.parametrize(("delay", "recorded"), [(1.0, False), (1.25, True)])
async def test_a_delay_of_more_than_a_second_is_recorded(scene: Scene, delay: float, recorded: bool) -> None:
    scene.failing["a"] = [Throttled(delay)]

    assert await scene.run(quickly, "a") == Ok("a")
    assert len(scene.stored("run", RetryScheduled)) == recorded


async def test_a_call_goes_on_counting_and_waits_only_for_what_is_left_of_a_recorded_delay(scene: Scene) -> None:
    scene.failing["a"] = failures(3)
    begun = scene.clock.time()
    await interrupted(scene, slowly, after=4)
    assert scene.stored("run", StepFinished) == []
    await scene.clock.advance("3s")

    assert await scene.resume(slowly) == Ok("a")
    assert scene.attempts["a"] == [1, 2, 3, 4]
    assert scene.clock.time() - begun == pytest.approx(30, abs=0.1)
    assert len(scene.keys["a"]) == 1
    assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [4]
    assert [fact.attempts for fact in scene.stored("run", RetryScheduled)] == [1, 2, 3]


async def test_a_call_that_is_interrupted_in_every_delay_has_no_more_attempts_than_it_may(scene: Scene) -> None:
    scene.fails["a"] = Busy("a")
    await interrupted(scene, slowly)
    for _ in range(2):
        async with scene.runtime(slowly, store=scene.view()):
            await scene.clock.advance("11s")

    assert await scene.resume(slowly) == Err(Busy("a"))
    assert scene.attempts["a"] == [1, 2, 3, 4]


async def test_a_delay_that_was_over_while_nobody_executed_the_run_is_not_repeated(scene: Scene) -> None:
    scene.failing["a"] = failures(1)
    await interrupted(scene, slowly)
    await scene.clock.advance("1m")
    before = scene.clock.time()

    assert await scene.resume(slowly) == Ok("a")
    assert scene.clock.time() - before < 1


async def test_after_an_interruption_of_a_short_delay_attempts_are_counted_from_the_last_fact(scene: Scene) -> None:
    scene.failing["a"] = [Throttled(5), ValueError(), ValueError(), ValueError()]
    async with scene.runtime(quickly) as rt:
        await rt.start(quickly.options(id="run"), "a")
        await scene.clock.advance("5s")
        await rt.shutdown(go_on=0)

    assert scene.attempts["a"] == [1, 2]
    assert (await scene.resume(quickly)).is_err()
    assert scene.attempts["a"] == [1, 2, 2, 3]


@pytest.mark.parametrize("retry", [{"attempts": 1}, {"enabled": False}])
async def test_where_settings_allow_no_attempt_any_more_the_recorded_error_is_the_outcome(
    scene: Scene, retry: dict[str, Any]
) -> None:
    scene.failing["a"] = failures(1)
    await interrupted(scene, slowly)

    assert await scene.resume(slowly, steps={"slow": {"retry": retry}}) == Err(Busy("a"))
    assert scene.attempts["a"] == [1]
    assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [1]


@pytest.mark.parametrize(("down", "attempts"), [(45, [1, 2]), (60, [1])])
async def test_the_time_of_within_goes_on_while_nobody_executes_the_run(
    scene: Scene, down: float, attempts: list[int]
) -> None:
    scene.failing["a"] = failures(1)
    await interrupted(scene, briefly)
    await scene.clock.advance(down)

    assert await scene.resume(briefly) == (Ok("a") if len(attempts) == 2 else Err(Busy("a")))
    assert scene.attempts["a"] == attempts


async def test_so_does_the_time_of_a_calls_deadline(scene: Scene) -> None:
    scene.failing["a"] = failures(1)
    await interrupted(scene, in_time)
    await scene.clock.advance("2m")
    result = await scene.resume(in_time)

    assert isinstance(result, Err)
    assert result.error.type_name.endswith(StepDeadline.__name__)
    assert scene.attempts["a"] == [1]


async def test_a_deadline_leaves_a_resumed_call_what_is_left_of_it(scene: Scene) -> None:
    scene.fails["a"] = Busy("a")
    begun = scene.clock.time()
    await interrupted(scene, in_time)
    await scene.clock.advance("55s")

    assert await scene.resume(in_time) == Err(Busy("a"))  # the next delay would be too long
    assert scene.attempts["a"] == [1, 2]
    assert scene.clock.time() - begun == pytest.approx(55, abs=1)


# Retrying, forking and checking runs


async def test_a_retried_run_gives_the_failed_call_fresh_attempts(scene: Scene) -> None:
    scene.fails["a"] = Busy("a")
    async with scene.runtime() as rt:
        assert await rt.run(slowly.options(id="run"), "a") == Err(Busy("a"))
        scene.attempts["a"].clear()
        assert await (await rt.retry("run")).result() == Err(Busy("a"))

    assert scene.attempts["a"] == [1, 2, 3, 4]


async def test_a_retried_run_that_is_interrupted_counts_from_its_retry(scene: Scene) -> None:
    scene.fails["a"] = Busy("a")
    async with scene.runtime() as rt:
        assert await rt.run(slowly.options(id="run"), "a") == Err(Busy("a"))
        scene.attempts["a"].clear()
        await rt.retry("run")
        await scene.clock.advance("15s")

    assert await scene.resume(slowly) == Err(Busy("a"))
    assert scene.attempts["a"] == [1, 2, 3, 4]


async def test_a_fork_does_not_inherit_attempts(scene: Scene) -> None:
    scene.failing["a"] = failures(2)
    async with scene.runtime(slowly) as rt:
        await rt.start(slowly.options(id="run"), "a")
        await scene.clock.advance("15s")
        before = scene.clock.time()
        fork = await rt.fork("run", id="fork")
        assert await fork.result() == Ok("a")
        assert scene.clock.time() == before

    assert scene.attempts["a"] == [1, 2, 1]
    assert len(scene.keys["a"]) == 2


async def test_a_replay_passes_over_recorded_delays_and_writes_nothing(scene: Scene) -> None:
    scene.failing["a"] = failures(2)
    await interrupted(scene, long_story, after=21)
    store = scene.view()
    async with scene.runtime(long_story, store=store) as rt:
        await scene.turns()
        assert store.appends == 0
        assert await (await rt.handle("run")).result() == Ok("a")

    assert scene.attempts["a"] == [1, 2, 3]
    assert scene.log.count("between") == 1


@pytest.mark.parametrize("after", [0, 15, 21])
async def test_a_check_passes_over_recorded_delays(scene: Scene, after: float) -> None:
    scene.failing["a"] = failures(2)
    await interrupted(scene, long_story, after=after)
    async with scene.runtime(long_story, store=scene.view()) as rt:
        assert [verdict.answer for verdict in await rt.check()] == ["fits"]


async def test_a_failure_that_was_retried_in_vain_is_caught_by_the_body_on_replay_too(scene: Scene) -> None:
    scene.fails["a"] = ValueError("down")
    scene.hold("instead")
    async with scene.runtime(falling_back) as rt:
        await rt.start(falling_back.options(id="run"), "a")
        await scene.clock.advance("1s")
        await rt.shutdown(0)
    scene.release("instead")

    assert await scene.resume(falling_back) == Ok("instead")
    assert scene.attempts["a"] == [1, 2, 3]


# Shutdown, leases and stores


@pytest.mark.parametrize(("flow", "most"), [(quickly, 3), (slowly, 4)])
async def test_an_attempt_that_fails_during_a_shutdown_is_neither_final_nor_followed_by_another(
    scene: Scene, flow: Flow, most: int
) -> None:
    scene.failing["a"] = failures(most - 1)
    scene.delays["a"] = 5
    async with scene.runtime(flow) as rt:
        await rt.start(flow.options(id="run"), "a")
        await scene.until("a")
        await rt.shutdown(go_on=0)

    assert scene.attempts["a"] == [1]
    assert [fact.attempts for fact in scene.stored("run", RetryScheduled)] == [1]
    assert scene.stored("run", StepFinished) == []
    assert await scene.resume(flow) == Ok("a")
    assert scene.attempts["a"] == list(range(1, most + 1))


async def test_the_last_attempt_that_fails_during_a_shutdown_is_final(scene: Scene) -> None:
    scene.fails["a"] = Busy("a")
    scene.delays["a"] = 5
    async with scene.runtime(slowly) as rt:
        await rt.start(slowly.options(id="run"), "a")
        await scene.clock.advance(3 * 15 + 2)

    assert scene.attempts["a"] == [1, 2, 3, 4]
    assert [fact.attempts for fact in scene.stored("run", StepFinished)] == [4]


async def test_no_attempt_begins_here_after_the_lease_was_lost_in_a_delay(scene: Scene) -> None:
    scene.failing["a"] = [Throttled(50), Throttled(600)]
    async with scene.runtime(quickly) as here, scene.runtime(quickly, store=scene.view()):
        await here.start(quickly.options(id="run"), "a")
        await scene.until("a failed")
        await scene.turns()
        scene.cut_off()
        await scene.clock.advance("2m")
        assert scene.memory._runs["run"].fence == 2

    assert scene.attempts["a"] == [1, 2]  # the second there


async def test_no_attempt_begins_while_the_lease_has_lapsed_in_a_delay(scene: Scene) -> None:
    scene.failing["a"] = failures(1)
    async with scene.runtime(slowly) as rt:
        handle = await rt.start(slowly.options(id="run"), "a")
        await scene.until("a failed")
        await scene.clock.advance("9s")
        scene.cut_off()
        scene.clock.now += 20  # asleep: the machine was suspended
        await scene.clock.advance("5s")
        assert scene.attempts["a"] == [1]
        scene.reconnect()
        assert await handle.result() == Ok("a")


async def test_no_attempt_begins_after_a_delay_that_could_not_be_stored(scene: Scene) -> None:
    scene.failing["a"] = failures(1)
    async with scene.runtime(slowly) as rt:
        await rt.start(slowly.options(id="run"), "a")
        await scene.until("a")
        scene.cut_off("append")
        await scene.clock.advance("11s")
        assert scene.stored("run", RetryScheduled) == []
        scene.reconnect("append")
        assert await (await rt.handle("run")).result() == Ok("a")
    # What was not stored is done again, by who takes the run over.
    assert scene.attempts["a"][:2] == [1, 1]
