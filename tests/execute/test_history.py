"""What can be done with a run's past: retry, fork, check."""

import asyncio

import pytest

from awaitly import Err, Ok, gather, workflow
from awaitly.errors import RunIdConflict, RunNotFound, RunRefused
from awaitly.model.state import Status
from tests.execute.scene import Declined, Scene, once, read, write


@workflow
async def three(name: str) -> str:
    await read("r")
    await write("a")
    try:
        await write("caught")
    except Declined:
        await write("instead")
    return await write(name)


@workflow
async def at_once(name: str) -> str:
    a, b = await gather(write("fails"), write("works"))
    return a + b


@workflow
async def precious(name: str) -> str:
    await once("o")
    return await write(name)


@workflow(deadline="1h")
async def bounded(name: str) -> str:
    return await write(name)


def test_retry_executes_only_what_failed(scene: Scene) -> None:
    async def story() -> None:
        scene.fails.update(caught=Declined("caught"), last=Declined("last"))
        async with scene.runtime() as rt:
            assert await rt.run(three.options(id="run"), "last") == Err(Declined("last"))
            scene.fails.clear()
            scene.log.clear()
            assert await (await rt.retry("run")).result() == Ok("last")
        assert scene.log == ["last", "last done"]

    scene.play(story())


def test_a_retried_run_survives_a_shutdown(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["last"] = Declined("last")
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            scene.fails.clear()
            scene.delays["last"] = 100
            await rt.retry("run")
            await rt.shutdown(0)
        async with scene.runtime(three) as rt:
            assert await (await rt.handle("run")).result() == Ok("last")

    scene.play(story())


def test_retry_is_refused_where_it_would_repeat_a_stored_effect(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["fails"] = Declined("fails")
        scene.delays["works"] = 1
        async with scene.runtime() as rt:
            assert await rt.run(at_once.options(id="run"), "x") == Err(Declined("fails"))
            before = scene.facts("run")
            with pytest.raises(RunRefused):
                await rt.retry("run")
            assert scene.facts("run") == before
            assert (await rt.runs())[0].status is Status.FAILED

    scene.play(story())


def test_retry_of_what_has_not_failed_is_refused(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("x")
        async with scene.runtime() as rt:
            await rt.run(three.options(id="done"), "last")
            await rt.start(three.options(id="runs"), "x")
            await scene.until("x")
            for run in ("done", "runs"):
                with pytest.raises(RunRefused):
                    await rt.retry(run)
            with pytest.raises(RunNotFound):
                await rt.retry("nothing")
            scene.release("x")

    scene.play(story())


def test_retry_gives_a_new_deadline(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["x"] = Declined("x")
        async with scene.runtime() as rt:
            await rt.run(bounded.options(id="run"), "x")
            scene.fails.clear()
            await scene.clock.advance("2h")
            assert await (await rt.retry("run")).result() == Ok("x")

    scene.play(story())


def test_retry_keeps_the_time_that_was_given_at_the_start(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["x"] = Declined("x")
        async with scene.runtime() as rt:
            await rt.run(bounded.options(id="run", deadline="3h"), "x")
            scene.fails.clear()
            scene.delays["x"] = 2 * 3600
            assert await (await rt.retry("run")).result() == Ok("x")

    scene.play(story())


def test_a_cancelled_run_can_be_retried(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("x")
        async with scene.runtime() as rt:
            handle = await rt.start(bounded.options(id="run"), "x")
            await scene.until("x")
            await handle.cancel()
            scene.fails["x"] = Declined("x")
            scene.release("x")
            assert (await handle.result()).is_err()
            scene.fails.clear()
            assert await (await rt.retry("run")).result() == Ok("x")

    scene.play(story())


def test_a_fork_keeps_what_was_delivered_before_its_step(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            scene.log.clear()
            forked = await rt.fork("run", at="write#1", id="fork")
            assert await forked.result() == Ok("last")
            assert scene.log == ["caught", "caught done", "last", "last done"]
            await scene.clock.advance("1s")
            with pytest.raises(RunIdConflict):
                await rt.fork("run", at="write#1", id="fork")
            with pytest.raises(RunRefused):
                await rt.fork("run", at="nothing")

    scene.play(story())


def test_a_fork_with_other_input_keeps_what_still_fits(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            scene.log.clear()
            plan = await rt.plan_fork("run", arguments=(("other",), {}))
            assert [fact.call for fact in plan.kept] == ["read#0", "write#0", "write#1"]  # type: ignore[attr-defined]
            assert scene.log == []
            forked = await rt.fork("run", arguments=(("other",), {}))
            assert await forked.result() == Ok("other")
            assert scene.log == ["other", "other done"]

    scene.play(story())


def test_a_fork_at_a_step_that_happens_once_may_do_it_in_the_new_run(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(precious.options(id="run"), "x")
            forked = await rt.fork("run", at="once", id="fork")
            assert await forked.result() == Ok("x")
        assert scene.log.count("o") == 2

    scene.play(story())


def test_checking_says_what_fits_and_touches_nothing(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["last"] = 100
        async with scene.runtime() as rt:
            await rt.start(three.options(id="run"), "last")
            await scene.until("last")
            await rt.shutdown(0)
        before, scene.log = scene.facts("run"), []
        async with scene.runtime() as rt:
            rt._program(three)
            verdicts = await rt.check()
            assert [(verdict.run, verdict.answer) for verdict in verdicts] == [("run", "fits")]
            assert scene.facts("run") == before
            assert scene.log == []

    scene.play(story())


@pytest.mark.parametrize("turn", range(16))
def test_who_asked_for_a_retry_or_a_fork_may_go_away_at_any_time(scene: Scene, turn: int) -> None:
    async def story() -> None:
        scene.fails["last"] = Declined("last")
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            await rt.run(three.options(id="other"), "last")
            scene.fails.clear()
            retrying = asyncio.create_task(rt.retry("run"))
            forking = asyncio.create_task(rt.fork("other", id="fork"))
            await scene.turns(turn)
            retrying.cancel()
            forking.cancel()
            await asyncio.wait([retrying, forking])
            await scene.clock.advance("1m")
            assert all(record.status.ended for record in await rt.runs())
            await (await rt.retry("other")).result()

    scene.play(story())


def test_two_retries_at_once_are_one(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["last"] = Declined("last")
        async with scene.runtime() as here, scene.runtime(store=scene.view()) as there:
            await here.run(three.options(id="run"), "last")
            there._program(three)
            scene.fails.clear()
            scene.log.clear()
            answers = await asyncio.gather(here.retry("run"), there.retry("run"), return_exceptions=True)
            assert sorted(isinstance(answer, RunRefused) for answer in answers) == [False, True]
            assert await (await here.handle("run")).result() == Ok("last")
        assert scene.log == ["last", "last done"]

    scene.play(story())
