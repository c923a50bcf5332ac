"""What the server sees of limiters.

A request arrives after its turn was granted, but nobody knows how long after. So what is compared is when the k-th
request arrived with when the first turn can have been granted at the earliest: that holds on the slowest machine.
"""

import asyncio
import time

from awaitly import Concurrency, Ok, RateLimit, Retry, SlidingWindow, step, workflow
from tests.http.server import half_close, hang, held, ok, reset, status, trickle
from tests.http.world import EARLY, World, error_of, on_disk


def test_never_more_than_the_places_are_under_way(world: World) -> None:
    world.server.script("/pay", held(ok()))
    asking = world.asking(limiter=Concurrency("bank", limit=4))

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            running = asyncio.gather(*(rt.run(asking, "/pay") for _ in range(24)))
            for arrived in range(4, 28, 4):
                await server.arrived(arrived)
                server.release(4)
            assert await running == [Ok("done")] * 24

    world.play(story)
    assert len(world.server.requests()) == 24
    assert world.server.peak() == 4


def test_a_place_is_given_back_whatever_becomes_of_the_request(world: World) -> None:
    troubles = {"/500": status(500), "/reset": reset, "/hang": hang, "/trickle": trickle, "/half": half_close}
    for path, trouble in troubles.items():
        world.server.script(path, trouble)
    places = Concurrency("bank", limit=2)
    hasty = world.asking(name="hasty", timeout="60ms", limiter=places)
    asking = world.asking(limiter=places)

    async def story() -> None:
        async with world.runtime(hasty, asking) as rt:
            for result in await asyncio.gather(*(rt.run(hasty, path) for path in [*troubles] * 2)):
                error_of(result)
            assert await asyncio.gather(*(rt.run(asking, "/pay") for _ in range(6))) == [Ok("done")] * 6

    world.play(story)


def test_two_workflows_share_the_places_of_one_limiter(world: World) -> None:
    places = Concurrency("bank", limit=2)
    one = world.asking(name="one", limiter=places)
    two = world.asking(name="two", limiter=places)
    world.server.script("/pay", held(ok()))

    async def story() -> None:
        server = world.server
        async with world.runtime(one, two) as rt:
            running = asyncio.gather(*(rt.run(flow, "/pay") for flow in (one, two) * 3))
            for arrived in (2, 4, 6):
                await server.arrived(arrived)
                server.release(2)
            await running

    world.play(story)
    assert world.server.peak() == 2


def test_a_waiting_call_that_is_cancelled_never_arrives_and_its_turn_is_the_next_ones(world: World) -> None:
    world.server.script("/0", held(ok()))
    asking = world.asking(limiter=Concurrency("bank", limit=1))

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            handles = [await rt.start(asking, f"/{number}") for number in range(4)]
            await server.arrived(1)
            await handles[1].cancel()
            await handles[1].result()
            server.release()
            for number in (0, 2, 3):
                assert await handles[number].result() == Ok("done")

    world.play(story)
    assert [request.path for request in world.server.requests()] == ["/0", "/2", "/3"]


def test_calls_that_may_not_wait_are_turned_away_without_a_request(world: World) -> None:
    world.server.script("/pay", held(ok()))
    asking = world.asking(limiter=Concurrency("bank", limit=3, mode="reject"))

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            running = asyncio.gather(*(rt.run(asking, "/pay") for _ in range(3)))
            await server.arrived(3)
            for result in await asyncio.gather(*(rt.run(asking, "/pay") for _ in range(5))):
                assert error_of(result).cause_code == "limit-reached"
            server.release(3)
            assert await running == [Ok("done")] * 3

    world.play(story)
    assert len(world.server.requests()) == 3


@on_disk
def test_no_request_arrives_before_its_token_is_earned(world: World) -> None:
    asking = world.asking(limiter=RateLimit("bank", limit=50, per="1s", burst=5))

    async def story() -> float:
        async with world.runtime() as rt:
            began = time.monotonic()
            await asyncio.gather(*(rt.run(asking, "/pay") for _ in range(20)))
            return began

    began = world.play(story)
    for number, request in enumerate(world.server.requests(), start=1):
        assert request.arrived >= began + max(0, number - 5) / 50 - EARLY


@on_disk
def test_no_window_holds_more_requests_than_the_limit_after_a_quiet_time_either(world: World) -> None:
    asking = world.asking(limiter=SlidingWindow("bank", limit=4, per="60ms"))

    async def story() -> list[float]:
        async with world.runtime() as rt:
            began = []
            for wave in ("/first", "/second"):
                began.append(time.monotonic())
                await asyncio.gather(*(rt.run(asking, wave) for _ in range(14)))
                await asyncio.sleep(0.2)  # quiet for several windows, which nobody may make up for
            return began

    for wave, began in zip(("/first", "/second"), world.play(story), strict=True):
        requests = world.server.requests(wave)
        assert len(requests) == 14
        for number, request in enumerate(requests):
            assert request.arrived >= began + number // 4 * 0.060 - EARLY


@on_disk
def test_every_attempt_of_a_call_takes_a_token(world: World) -> None:
    world.server.script("/pay", status(500))
    asking = world.asking(retry=Retry(5, initial=0), limiter=RateLimit("bank", limit=25, per="1s", burst=1))

    async def story() -> float:
        async with world.runtime() as rt:
            began = time.monotonic()
            error_of(await rt.run(asking, "/pay"))
            return began

    began = world.play(story)
    requests = world.server.requests()
    assert len(requests) == 5
    assert all(request.arrived >= began + number / 25 - EARLY for number, request in enumerate(requests))


@on_disk
def test_two_limiters_of_a_step_both_hold(world: World) -> None:
    @step(limiter=[RateLimit("bank", limit=50, per="1s", burst=1), Concurrency("wires", limit=2)])
    async def pay(path: str) -> str:
        return await world.get(path)

    @workflow
    async def paying(path: str) -> str:
        return await pay(path)

    world.server.script("/pay", held(ok()))

    async def story() -> float:
        server = world.server
        async with world.runtime() as rt:
            began = time.monotonic()
            running = asyncio.gather(*(rt.run(paying, "/pay") for _ in range(8)))
            for arrived in range(2, 10, 2):
                await server.arrived(arrived)
                server.release(2)
            await running
            return began

    began = world.play(story)
    assert world.server.peak() == 2
    for number, request in enumerate(world.server.requests()):
        assert request.arrived >= began + number / 50 - EARLY
