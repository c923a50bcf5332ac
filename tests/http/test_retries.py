"""What the server sees of retries: how many requests, how far apart, and none after the time is over."""

import asyncio
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from awaitly import Budget, Err, Ok, Retry, RunCancelled, UnexpectedError, step, workflow
from tests.http import server as answers
from tests.http.server import Answer, Server, busy_until, hang, held, ok, slow, status, trickle
from tests.http.world import EARLY, World, error_of, on_disk

PLENTY = 50  # attempts, where a slow machine may need some more than the one that succeeds elsewhere


def steady(attempts: int, delay: str = "40ms") -> Retry:
    return Retry(attempts, backoff="fixed", initial=delay, jitter="none")


def test_a_server_that_fails_twice_is_asked_three_times(world: World) -> None:
    world.server.script("/pay", status(500), status(503), ok("paid"))
    asking = world.asking(retry=steady(3))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/pay") == Ok("paid")

    world.play(story)
    assert [request.attempt for request in world.server.requests("/pay")] == [1, 2, 3]
    assert min(world.server.pauses("/pay")) >= 0.040 - EARLY


@on_disk
@pytest.mark.parametrize(
    ("retry", "least"),
    [
        (Retry(4, initial="20ms", jitter="none"), [0.020, 0.040, 0.080]),
        (Retry(4, backoff="linear", initial="20ms", jitter="none"), [0.020, 0.040, 0.060]),
        (Retry(4, initial="20ms", max="50ms", jitter="equal"), [0.010, 0.020, 0.025]),
        (Retry(4, initial="20ms", jitter="decorrelated"), [0.020, 0.020, 0.020]),
    ],
)
def test_attempts_are_at_least_as_far_apart_as_the_backoff_says(world: World, retry: Retry, least: list[float]) -> None:
    world.server.script("/pay", status(500))
    asking = world.asking(retry=retry)

    async def story() -> None:
        async with world.runtime() as rt:
            error_of(await rt.run(asking, "/pay"))

    world.play(story)
    pauses = world.server.pauses("/pay")
    assert len(pauses) == 3
    assert all(pause >= bound - EARLY for pause, bound in zip(pauses, least, strict=True))


def test_after_the_last_attempt_its_error_says_how_many_there_were(world: World) -> None:
    world.server.script("/pay", status(500), status(502), status(503))
    asking = world.asking(retry=steady(3, "1ms"))

    async def story() -> UnexpectedError:
        async with world.runtime() as rt:
            return error_of(await rt.run(asking, "/pay"))

    error = world.play(story)
    assert len(world.server.requests()) == 3
    assert "503" in str(error)
    assert any(note.startswith("gave up after 3 attempts") for note in error.notes)
    assert any(note.startswith("attempt 1: ") and "500" in note for note in error.notes)


def test_an_error_that_is_not_worth_it_is_not_retried(world: World) -> None:
    def passing(error: Exception) -> bool:
        return not isinstance(error, httpx.HTTPStatusError) or error.response.is_server_error

    world.server.script("/pay", status(500), status(404), ok())
    asking = world.asking(retry=Retry(5, initial="1ms", on=passing))

    async def story() -> UnexpectedError:
        async with world.runtime() as rt:
            return error_of(await rt.run(asking, "/pay"))

    assert "404" in str(world.play(story))
    assert len(world.server.requests()) == 2


@on_disk
def test_retry_after_in_seconds_is_waited_for_beyond_max_too(world: World) -> None:
    world.server.script("/pay", status(429, retry_after="1"), ok("paid"))
    asking = world.asking(retry=Retry(2, initial="1ms", max="5ms"))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/pay") == Ok("paid")

    world.play(story)
    assert world.server.pauses("/pay")[0] >= 1.0 - EARLY


@on_disk
def test_retry_after_as_a_date_is_waited_for(world: World) -> None:
    world.server.script("/pay", busy_until, ok("paid"))
    asking = world.asking(retry=steady(2, "1ms"))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/pay") == Ok("paid")

    offset = time.time() - time.monotonic()
    world.play(story)
    busy, second = world.server.requests("/pay")
    until = parsedate_to_datetime(busy.said["retry-after"]).timestamp()
    assert second.arrived + offset >= until - 0.01  # the two clocks are read one after the other


@pytest.mark.parametrize(
    "broken", [answers.reset, answers.reset_midway, answers.close, answers.half_close, answers.gibberish]
)
def test_a_connection_that_breaks_is_retried(world: World, broken: Answer) -> None:
    world.server.script("/pay", broken, broken, ok("paid"))
    asking = world.asking(retry=steady(3, "5ms"))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/pay") == Ok("paid")

    world.play(story)
    assert [request.attempt for request in world.server.requests("/pay")] == [1, 2, 3]
    assert min(world.server.pauses("/pay")) >= 0.005 - EARLY


def test_refused_connections_are_retried_until_the_server_is_back() -> None:
    with Server(listening=False) as server:
        world = World(server, "memory://")
        refused: list[int] = []

        def back_at_last(notice: object) -> None:
            refused.append(1)
            if len(refused) == 3:
                server.listen()

        asking = world.asking(retry=Retry(9, initial="5ms", jitter="none", before_sleep=back_at_last))

        async def story() -> None:
            async with world.runtime() as rt:
                assert await rt.run(asking, "/pay") == Ok("done")

        world.play(story)
        assert [request.attempt for request in server.requests()] == [4]


@pytest.mark.parametrize("silence", [hang, trickle])
def test_an_attempt_that_takes_too_long_is_disconnected_and_retried(world: World, silence: Answer) -> None:
    world.server.script("/pay", silence, ok("paid"))
    asking = world.asking(timeout="120ms", retry=steady(PLENTY, "30ms"))

    async def story() -> float:
        async with world.runtime() as rt:
            began = time.monotonic()
            assert await rt.run(asking, "/pay") == Ok("paid")
            await world.server.until(lambda: world.server.requests()[0].dropped is not None)
            return began

    began = world.play(story)
    slow_one, second, *_ = world.server.requests("/pay")
    assert slow_one.answered is None
    assert slow_one.over >= began + 0.120 - EARLY
    assert second.arrived >= began + 0.150 - EARLY


def test_a_plain_read_that_takes_too_long_is_retried_and_its_late_answer_dropped(world: World) -> None:
    world.server.script("/page", held(ok("late")), ok("in time"))

    @step(effect="read", timeout="100ms", retry=steady(PLENTY, "1ms"))
    def fetch(path: str) -> str:
        return world.get_blocking(path)

    @workflow
    async def fetching(path: str) -> str:
        return await fetch(path)

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(fetching, "/page") == Ok("in time")
            world.server.release()
            await world.server.until(lambda: world.server.requests()[0].answered is not None)

    world.play(story)
    late, second, *_ = world.server.requests("/page")
    assert second.over < late.over


def test_no_attempt_follows_a_plain_effect_that_takes_too_long_while_it_is_under_way(world: World) -> None:
    world.server.script("/pay", slow(0.25, ok("late")), ok("in time"))

    @step(timeout="80ms", retry=steady(PLENTY, "1ms"))
    def pay(path: str) -> str:
        return world.get_blocking(path)

    @workflow
    async def paying(path: str) -> str:
        return await pay(path)

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(paying, "/pay") == Ok("in time")

    world.play(story)
    late, second, *_ = world.server.requests("/pay")
    assert second.arrived > late.over


def test_all_attempts_of_a_call_have_one_idempotency_key_and_no_other_call_has_it(world: World) -> None:
    world.server.script("/a", status(500), answers.reset, ok())
    world.server.script("/b", status(500), status(500), ok())

    @step(retry=steady(3, "1ms"))
    async def pay(path: str) -> str:
        return await world.get(path)

    @workflow
    async def paying() -> str:
        return await pay("/a") + await pay("/b") + await pay("/b")

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(paying.options(id="one")) == Ok("donedonedone")
            assert await rt.run(paying.options(id="two")) == Ok("donedonedone")

    world.play(story)
    keys = [request.key for request in world.server.requests()]
    assert len(keys) == 3 + 3 + 1 + 3
    assert keys[:7] == [keys[0]] * 3 + [keys[3]] * 3 + [keys[6]]
    assert len(set(keys)) == 6


@on_disk
def test_in_an_outage_a_budget_lets_no_more_than_its_share_be_retried(world: World) -> None:
    world.server.script("/pay", status(503))
    budget = Budget("bank", ratio=0.2, minimum=0)
    asking = world.asking(retry=Retry(5, initial="1ms", budget=budget))

    async def story() -> None:
        async with world.runtime() as rt:
            for _ in range(10):
                for result in await asyncio.gather(*(rt.run(asking, "/pay") for _ in range(20))):
                    error_of(result)

    world.play(story)
    attempts = [request.attempt for request in world.server.requests()]
    assert attempts.count(1) == 200
    assert 0 < len(attempts) - 200 <= 40


@on_disk
def test_without_a_budget_the_same_outage_gets_every_attempt(world: World) -> None:
    world.server.script("/pay", status(503))
    asking = world.asking(retry=Retry(3, initial="1ms"))

    async def story() -> None:
        async with world.runtime() as rt:
            for result in await asyncio.gather(*(rt.run(asking, "/pay") for _ in range(20))):
                error_of(result)

    world.play(story)
    assert len(world.server.requests()) == 60


def test_retries_end_with_the_deadline(world: World) -> None:
    world.server.script("/pay", status(500))
    asking = world.asking(deadline="250ms", retry=steady(100))

    async def story() -> UnexpectedError:
        async with world.runtime() as rt:
            return error_of(await rt.run(asking, "/pay"))

    error = world.play(story)
    assert min(world.server.pauses("/pay"), default=1.0) >= 0.040 - EARLY
    assert len(world.server.requests()) <= 1 + 250 / 40
    assert error.cause_code == "step-deadline" or any("the deadline is in " in note for note in error.notes)


def test_a_server_that_asks_to_wait_beyond_the_deadline_is_asked_no_more(world: World) -> None:
    world.server.script("/pay", status(429, retry_after="20"))
    asking = world.asking(deadline="5s", retry=steady(100))

    async def story() -> UnexpectedError:
        async with world.runtime() as rt:
            return error_of(await rt.run(asking, "/pay"))

    error = world.play(story)
    assert len(world.server.requests()) == 1
    assert any(note.startswith("no time for attempt 2: the deadline is in ") for note in error.notes)


def test_a_server_that_asks_to_wait_beyond_the_deadline_of_the_run_is_asked_no_more(world: World) -> None:
    world.server.script("/pay", status(429, retry_after="20"))
    asking = world.asking(retry=steady(100))

    async def story() -> UnexpectedError:
        async with world.runtime() as rt:
            return error_of(await rt.run(asking.options(deadline="5s"), "/pay"))

    error = world.play(story)
    assert len(world.server.requests()) == 1
    assert any(note.startswith("no time for attempt 2: the deadline is in ") for note in error.notes)


@on_disk
def test_an_attempt_under_way_at_the_deadline_is_disconnected(world: World) -> None:
    world.server.script("/pay", hang)
    asking = world.asking(deadline="400ms", retry=steady(100, "10ms"))

    async def story() -> float:
        async with world.runtime() as rt:
            began = time.monotonic()
            assert error_of(await rt.run(asking, "/pay")).cause_code == "step-deadline"
            await world.server.until(lambda: world.server.log[0].dropped is not None)
            return began

    began = world.play(story)
    (request,) = world.server.requests()
    assert request.over >= began + 0.400 - EARLY


def test_a_run_that_is_cancelled_between_two_attempts_asks_no_more(world: World) -> None:
    world.server.script("/pay", status(500), ok())
    between = asyncio.Event()
    asking = world.asking(retry=Retry(5, initial="20s", jitter="none", before_sleep=lambda _: between.set()))

    async def story() -> None:
        async with world.runtime() as rt:
            handle = await rt.start(asking, "/pay")
            await between.wait()
            await handle.cancel()
            result = await handle.result()
            assert isinstance(result, Err)
            assert isinstance(result.error, RunCancelled)

    world.play(story)
    assert len(world.server.requests()) == 1


def test_a_read_under_way_is_disconnected_when_its_run_is_cancelled(world: World) -> None:
    world.server.script("/page", hang)
    asking = world.asking(effect="read", retry=steady(5))

    async def story() -> None:
        async with world.runtime() as rt:
            handle = await rt.start(asking, "/page")
            await world.server.arrived(1)
            await handle.cancel()
            result = await handle.result()
            assert isinstance(result, Err)
            assert isinstance(result.error, RunCancelled)
            await world.server.until(lambda: world.server.log[0].dropped is not None)

    world.play(story)
    assert len(world.server.requests()) == 1


def test_an_effect_under_way_ends_when_its_run_is_cancelled_and_is_not_retried(world: World) -> None:
    world.server.script("/pay", held(status(500)), ok())
    asking = world.asking(retry=steady(5, "1ms"))

    async def story() -> None:
        async with world.runtime() as rt:
            handle = await rt.start(asking, "/pay")
            await world.server.arrived(1)
            await handle.cancel()
            world.server.release()
            result = await handle.result()
            assert isinstance(result, Err)
            assert isinstance(result.error, RunCancelled)

    world.play(story)
    (request,) = world.server.requests()
    assert request.dropped is None
