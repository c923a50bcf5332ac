"""What can be done with a run's past: retry, fork, check."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest

from awaitly import Err, Ok, Workflow, gather, sleep, workflow
from awaitly.errors import RunIdConflict, RunNotFound, RunRefused, StoreError
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended
from tests.execute.scene import Declined, Scene, once, read, write

Flow: TypeAlias = Workflow[[str], str, Any]


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


@workflow
async def twice(name: str) -> str:
    first = await write(name)
    await write("second")
    return first


@workflow
async def once_meanwhile(name: str) -> str:
    try:
        return await write(name)
    except Declined as declined:
        first = declined
    await once.attempt("o")
    raise first


@workflow
async def once_in_vain(name: str) -> str:
    return await once("o")


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


@pytest.mark.parametrize("flow", [once_meanwhile, once_in_vain])
def test_retry_is_refused_where_what_happens_once_would_begin_again(scene: Scene, flow: Flow) -> None:
    async def story() -> None:
        scene.fails.update(x=Declined("x"), o=Declined("o"))
        async with scene.runtime() as rt:
            assert (await rt.run(flow.options(id="run"), "x")).is_err()
            before, scene.log = scene.facts("run"), []
            with pytest.raises(RunRefused) as caught:
                await rt.retry("run")
            assert "runs fork" in caught.value.hint
            assert scene.facts("run") == before
            assert scene.log == []
            scene.fails.clear()
            forked = await rt.fork("run", at="once", id="fork")
            await forked.result()
            assert scene.log.count("o") == 1

    scene.play(story())


@pytest.mark.parametrize("what", ["claim", "read", "truncate"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_retry_that_the_store_fails_leaves_a_run_that_can_be_continued(scene: Scene, what: str, stored: bool) -> None:
    async def story() -> None:
        scene.fails["x"] = Declined("x")
        async with scene.runtime() as rt:
            await rt.run(bounded.options(id="run"), "x")
            scene.fails.clear()
            works = getattr(scene.store, what)

            async def blip(*args: Any, **options: Any) -> Any:
                if stored:
                    await works(*args, **options)
                raise StoreError("a blip", code="store-unavailable")

            setattr(scene.store, what, blip)
            with pytest.raises(StoreError):
                await rt.retry("run")
            setattr(scene.store, what, works)
            await scene.clock.advance("1m")
            if (await rt.record("run")).status is Status.FAILED:
                await rt.retry("run")
            assert await (await rt.handle("run")).result() == Ok("x")

    scene.play(story())


def test_a_fork_of_which_nobody_knows_whether_it_was_stored_goes_on(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            works = scene.store.append

            async def blip(batch: Sequence[Append]) -> Sequence[Appended]:
                await works(batch)
                raise StoreError("a blip", code="store-unavailable")

            scene.store.append = blip  # type: ignore[method-assign]  # fails after it has stored
            with pytest.raises(StoreError):
                await rt.fork("run", at="write#1", id="fork")
            scene.store.append = works  # type: ignore[method-assign]  # only once
            await scene.clock.advance("1m")
            assert (await rt.record("fork")).status is Status.SUCCEEDED

    scene.play(story())


@workflow
async def child(name: str) -> str:
    return await write(name)


@workflow
async def parent(name: str) -> str:
    await write("before")
    return await child(name)


@workflow
async def grandparent(name: str) -> str:
    return await parent(name)


@workflow
async def idler() -> None:
    await sleep("1m")


@workflow
async def siblings(name: str) -> str:
    _, found = await gather(idler(), child(name))
    return found


@workflow
async def stubborn(name: str) -> str:
    return await once_in_vain(name)


@pytest.mark.parametrize("error", [Declined("x"), ValueError("x")])
def test_failed_children_are_retried_with_their_parent(scene: Scene, error: Exception) -> None:
    async def story() -> None:
        scene.fails["x"] = error
        async with scene.runtime() as rt:
            assert (await rt.run(grandparent.options(id="run"), "x")).is_err()
            scene.fails.clear()
            scene.log.clear()
            assert await (await rt.retry("run")).result() == Ok("x")
        assert scene.log == ["x", "x done"]

    scene.play(story())


def test_a_child_is_retried_once_for_each_retry_of_its_parent(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["x"] = Declined("x")
        async with scene.runtime() as rt:
            for number in range(3):
                handle = await (rt.retry("run") if number else rt.start(parent.options(id="run"), "x"))
                assert await handle.result() == Err(Declined("x"))
                assert scene.log.count("x") == number + 1
                await scene.clock.advance("1m")

    scene.play(story())


def test_a_child_that_may_not_be_retried_stays_failed(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["o"] = Declined("o")
        async with scene.runtime() as rt:
            assert await rt.run(stubborn.options(id="run"), "x") == Err(Declined("o"))
            assert await (await rt.retry("run")).result() == Err(Declined("o"))
        assert scene.log.count("o") == 1

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


def test_a_cancelled_run_is_not_retried_but_may_be_forked(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("x")
        async with scene.runtime() as rt:
            handle = await rt.start(bounded.options(id="run"), "x")
            await scene.until("x")
            await handle.cancel()
            scene.release("x")
            assert (await handle.result()).is_err()
            before = scene.facts("run")
            with pytest.raises(RunRefused, match="was cancelled") as caught:
                await rt.retry("run")
            assert "runs fork run" in caught.value.hint
            assert scene.facts("run") == before
            assert await (await rt.fork("run", id="fork")).result() == Ok("x")

    scene.play(story())


def test_a_child_that_was_cancelled_with_its_siblings_is_retried_with_its_parent(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["x"] = Declined("x")
        scene.delays["x"] = 1
        async with scene.runtime() as rt:
            assert await rt.run(siblings.options(id="run"), "x") == Err(Declined("x"))
            assert Status.CANCELLED in [record.status for record in await rt.runs()]
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
            assert [getattr(fact, "call", None) for fact in plan.kept] == ["read#0", "write#0", "write#1"]
            assert scene.log == []
            forked = await rt.fork("run", arguments=(("other",), {}))
            assert await forked.result() == Ok("other")
            assert scene.log == ["other", "other done"]

    scene.play(story())


def test_a_fork_at_a_step_is_refused_if_other_input_would_let_it_begin_earlier(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(twice.options(id="run"), "x")
            scene.log.clear()
            asked: dict[str, Any] = {"at": "write#1", "arguments": (("y",), {})}
            plan = await rt.plan_fork("run", **asked)
            assert (plan.before, plan.problem is None) == ("write#0", False)
            with pytest.raises(RunRefused, match=r"would begin before write#1: .*write#0") as caught:
                await rt.fork("run", id="fork", **asked)
            assert "fork it there: at='write#0'" in caught.value.hint
            assert len(await rt.runs()) == 1
            assert scene.log == []
            forked = await rt.fork("run", at="write#0", arguments=(("y",), {}))
            assert await forked.result() == Ok("y")
            assert scene.log == ["y", "y done", "second", "second done"]

    scene.play(story())


def test_a_fork_at_a_step_takes_other_input_that_all_before_it_fits(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(three.options(id="run"), "last")
            scene.log.clear()
            forked = await rt.fork("run", at="write#1", arguments=(("other",), {}))
            assert await forked.result() == Ok("other")
            assert scene.log == ["caught", "caught done", "other", "other done"]

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
            rt.library.program(three)
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
            there.library.program(three)
            scene.fails.clear()
            scene.log.clear()
            answers = await asyncio.gather(here.retry("run"), there.retry("run"), return_exceptions=True)
            assert sorted(isinstance(answer, RunRefused) for answer in answers) == [False, True]
            assert await (await here.handle("run")).result() == Ok("last")
        assert scene.log == ["last", "last done"]

    scene.play(story())
