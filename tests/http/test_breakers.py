"""What the server sees of circuit breakers: nothing while they are open, and then so many probes."""

import asyncio

import pytest

from awaitly import Breaker, Ok, Result, Retry, Runtime, UnexpectedError, Workflow, step, workflow
from tests.http.server import Answer, hang, held, ok, reset, status
from tests.http.world import EARLY, World, error_of

Asking = Workflow[[str], str, UnexpectedError]


async def many(rt: Runtime, asking: Asking, path: str, number: int) -> list[Result[str, UnexpectedError]]:
    """Run a workflow so often at once."""
    return await asyncio.gather(*(rt.run(asking, path) for _ in range(number)))


@pytest.mark.parametrize(("trouble", "timeout"), [(status(500), "20s"), (reset, "20s"), (hang, "300ms")])
def test_an_open_circuit_lets_no_request_through(world: World, trouble: Answer, timeout: str) -> None:
    world.server.script("/pay", trouble)
    asking = world.asking(timeout=timeout, breaker=Breaker("bank", failure_threshold=3, reset_timeout="1h"))

    async def story() -> None:
        async with world.runtime() as rt:
            for result in await many(rt, asking, "/pay", 3):
                assert error_of(result).cause_code != "circuit-open"
            for result in await many(rt, asking, "/pay", 20):
                assert error_of(result).cause_code == "circuit-open"

    world.play(story)
    assert len(world.server.requests()) == 3


def test_calls_that_are_under_way_when_a_circuit_opens_end_as_they_end(world: World) -> None:
    world.server.script("/bad", held(status(500)))
    world.server.script("/good", held(ok()))
    asking = world.asking(breaker=Breaker("bank", failure_threshold=3, reset_timeout="1h"))

    async def story() -> None:
        async with world.runtime() as rt:
            good = asyncio.create_task(many(rt, asking, "/good", 2))
            bad = asyncio.create_task(many(rt, asking, "/bad", 5))
            await world.server.arrived(7)
            world.server.release(7)
            assert {error_of(result).cause_code for result in await bad} == {None}
            assert await good == [Ok("done")] * 2
            assert error_of(await rt.run(asking, "/good")).cause_code == "circuit-open"

    world.play(story)
    assert len(world.server.requests()) == 7


def test_a_half_open_circuit_lets_exactly_so_many_probes_through_at_once(world: World) -> None:
    world.server.script("/pay", status(500), status(500), held(ok()))
    breaker = Breaker(
        "bank", failure_threshold=2, reset_timeout="80ms", half_open_max=3, success_threshold=1000, when_open="wait"
    )
    asking = world.asking(breaker=breaker)

    async def story() -> None:
        server = world.server
        async with world.runtime() as rt:
            for _ in range(2):
                error_of(await rt.run(asking, "/pay"))
            waiting = asyncio.create_task(many(rt, asking, "/pay", 12))
            for let_in in (3, 6, 9, 12):
                await server.arrived(2 + let_in)
                server.release(3)
            assert await waiting == [Ok("done")] * 12

    world.play(story)
    requests = world.server.requests()
    assert len(requests) == 2 + 12
    assert requests[2].arrived >= requests[1].over + 0.080 - EARLY
    assert world.server.peak() == 3


def test_a_probe_that_fails_opens_the_circuit_again_and_for_longer(world: World) -> None:
    world.server.script("/pay", status(500), status(500), reset, ok())
    breaker = Breaker("bank", failure_threshold=1, reset_timeout="40ms", reset_growth=2, when_open="wait")
    asking = world.asking(breaker=breaker)

    async def story() -> None:
        async with world.runtime() as rt:
            for _ in range(3):
                error_of(await rt.run(asking, "/pay"))
            assert await rt.run(asking, "/pay") == Ok("done")

    world.play(story)
    pauses = world.server.pauses("/pay")
    assert all(pause >= least - EARLY for pause, least in zip(pauses, [0.040, 0.080, 0.160], strict=True))


def test_a_call_that_waits_for_a_circuit_uses_no_attempt(world: World) -> None:
    world.server.script("/bad", status(500))
    breaker = Breaker("bank", failure_threshold=1, reset_timeout="60ms", when_open="wait")
    asking = world.asking(breaker=breaker)
    patient = world.asking(name="patient", retry=Retry(2, initial="1ms"), breaker=breaker)

    async def story() -> None:
        async with world.runtime() as rt:
            error_of(await rt.run(asking, "/bad"))
            assert await rt.run(patient, "/good") == Ok("done")

    world.play(story)
    bad, good = world.server.requests()
    assert good.attempt == 1
    assert good.arrived >= bad.over + 0.060 - EARLY


def test_a_circuit_that_opens_between_the_attempts_of_a_call_ends_its_retries(world: World) -> None:
    world.server.script("/pay", status(500))
    breaker = Breaker("bank", failure_threshold=2, reset_timeout="1h")
    asking = world.asking(retry=Retry(10, initial="1ms"), breaker=breaker)

    async def story() -> None:
        async with world.runtime() as rt:
            assert error_of(await rt.run(asking, "/pay")).cause_code == "circuit-open"

    world.play(story)
    assert len(world.server.requests()) == 2


def test_steps_that_name_one_breaker_share_its_circuit(world: World) -> None:
    world.server.script("/pay", status(500))

    @step(breaker=Breaker("bank", failure_threshold=2, reset_timeout="1h"))
    async def pay(path: str) -> str:
        return await world.get(path)

    @step(breaker="bank")
    async def refund(path: str) -> str:
        return await world.get(path)

    @workflow
    async def paying(path: str) -> str:
        return await pay(path)

    @workflow
    async def refunding(path: str) -> str:
        return await refund(path)

    async def story() -> None:
        async with world.runtime(paying, refunding) as rt:
            error_of(await rt.run(paying, "/pay"))
            error_of(await rt.run(refunding, "/pay"))
            for flow in (paying, refunding):
                assert error_of(await rt.run(flow, "/other")).cause_code == "circuit-open"

    world.play(story)
    assert len(world.server.requests()) == 2


def test_a_call_that_is_cancelled_while_it_waits_never_arrives_and_the_others_are_let_in(world: World) -> None:
    breaker = Breaker("bank", when_open="wait")
    asking = world.asking(breaker=breaker)

    async def story() -> None:
        async with world.runtime() as rt:
            breaker.force_open()
            handles = [await rt.start(asking, f"/{number}") for number in range(8)]
            for handle in handles[::2]:
                await handle.cancel()
                await handle.result()
            assert not world.server.log
            breaker.reset()
            assert [await handle.result() for handle in handles[1::2]] == [Ok("done")] * 4

    world.play(story)
    assert [request.path for request in world.server.requests()] == ["/1", "/3", "/5", "/7"]
