"""What the server sees of calls that are answered by other means: hedged, cached, or by a fallback."""

import asyncio
import time

import pytest

from awaitly import Cache, Fallback, Hedge, Ok, Retry, step, workflow
from tests.http.server import hang, held, ok, slow, status
from tests.http.world import EARLY, World, error_of, on_disk


def test_a_slow_request_is_hedged_after_the_delay_and_the_loser_disconnected(world: World) -> None:
    world.server.script("/page", hang, ok("second"))
    asking = world.asking(effect="read", hedge=Hedge(after="80ms"))

    async def story() -> float:
        async with world.runtime() as rt:
            began = time.monotonic()
            assert await rt.run(asking, "/page") == Ok("second")
            await world.server.until(lambda: world.server.log[0].dropped is not None)
            return began

    began = world.play(story)
    loser, winner = world.server.requests()
    assert winner.arrived >= began + 0.080 - EARLY
    assert loser.answered is None
    assert loser.key == winner.key


def test_a_first_request_that_is_answered_before_its_hedge_wins(world: World) -> None:
    world.server.script("/page", held(ok("first")), hang)
    asking = world.asking(effect="read", hedge=Hedge(after="40ms"))

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            running = asyncio.create_task(rt.run(asking, "/page"))
            await server.arrived(2)
            server.release()
            assert await running == Ok("first")
            await server.until(lambda: server.log[1].dropped is not None)

    world.play(story)
    assert len(world.server.requests()) == 2


def test_a_fast_request_is_not_hedged(world: World) -> None:
    asking = world.asking(effect="read", hedge=Hedge(after="20s"))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/page") == Ok("done")

    world.play(story)
    assert len(world.server.requests()) == 1


def test_no_more_hedges_are_begun_than_allowed(world: World) -> None:
    world.server.script("/page", hang, hang, slow(0.1, ok("third")))
    asking = world.asking(effect="read", hedge=Hedge(after="20ms", extra=2))

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(asking, "/page") == Ok("third")

    world.play(story)
    assert len(world.server.requests()) == 3


def test_a_fallback_answers_once_the_attempts_are_used_up(world: World) -> None:
    world.server.script("/rates", status(500))
    world.server.script("/mirror", ok("from the mirror"))

    @step(effect="read", retry=Retry(2, initial="1ms"))
    async def mirrored(path: str) -> str:
        return await world.get("/mirror")

    @step(effect="read", retry=Retry(3, initial="1ms"), fallback=mirrored)
    async def rates(path: str) -> str:
        return await world.get(path)

    @workflow
    async def looking() -> str:
        return await rates("/rates")

    async def story() -> None:
        async with world.runtime() as rt:
            assert await rt.run(looking) == Ok("from the mirror")

    world.play(story)
    assert [request.path for request in world.server.requests()] == ["/rates"] * 3 + ["/mirror"]


def test_a_fallback_of_other_errors_does_not_answer(world: World) -> None:
    world.server.script("/rates", status(500))
    asking = world.asking(retry=Retry(2, initial="1ms"), fallback=Fallback(value="none", on=TimeoutError))

    async def story() -> None:
        async with world.runtime() as rt:
            error_of(await rt.run(asking, "/rates"))

    world.play(story)
    assert len(world.server.requests()) == 2


def test_an_answer_of_a_fallback_is_not_kept_by_the_cache(world: World) -> None:
    world.server.script("/rates", status(500), ok("fresh"))
    asking = world.asking(effect="read", cache="1h", fallback=Fallback(value="none"))

    async def story() -> None:
        async with world.runtime() as rt:
            assert [await rt.run(asking, "/rates") for _ in range(3)] == [Ok("none"), Ok("fresh"), Ok("fresh")]

    world.play(story)
    assert len(world.server.requests()) == 2


@pytest.mark.parametrize("where", ["memory", "store"])
def test_a_hundred_runs_that_ask_the_same_make_one_request(world: World, where: str) -> None:
    world.server.script("/rates", held(ok("1.07")))
    asking = world.asking(effect="read", cache=Cache("1h", where=where))  # type: ignore[arg-type]  # one of its literals

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            running = asyncio.gather(*(rt.run(asking, "/rates") for _ in range(50)))
            await server.arrived(1)
            server.release()
            assert await running == [Ok("1.07")] * 50
            assert [await rt.run(asking, "/rates") for _ in range(50)] == [Ok("1.07")] * 50

    world.play(story)
    assert len(world.server.requests()) == 1


@on_disk
def test_an_answer_in_the_store_serves_the_next_process_too(world: World) -> None:
    asking = world.asking(effect="read", cache=Cache("1h", where="store"))

    async def story() -> None:
        for _ in range(2):
            async with world.runtime() as rt:
                assert await rt.run(asking, "/rates") == Ok("done")

    world.play(story)
    assert len(world.server.requests()) == 1


def test_an_answer_that_is_too_old_is_asked_for_again(world: World) -> None:
    asking = world.asking(effect="read", cache="50ms")

    async def story() -> None:
        async with world.runtime() as rt:
            await rt.run(asking, "/rates")
            await asyncio.sleep(0.06)
            await rt.run(asking, "/rates")

    world.play(story)
    assert len(world.server.requests()) == 2


def test_a_failure_is_not_kept_and_those_who_waited_for_it_ask_themselves(world: World) -> None:
    world.server.script("/rates", held(status(500)), ok())
    asking = world.asking(effect="read", cache="1h")

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            first = asyncio.create_task(rt.run(asking, "/rates"))
            await server.arrived(1)
            others = asyncio.gather(*(rt.run(asking, "/rates") for _ in range(5)))
            server.release()
            error_of(await first)
            assert await others == [Ok("done")] * 5
            assert await rt.run(asking, "/rates") == Ok("done")

    world.play(story)
    assert 2 <= len(world.server.requests()) <= 6
