"""Cancelling is a fact with its place in the run's order; effects under way finish first."""

import asyncio

import pytest

from awaitly import Err, Ok, RunCancelled, gather, race, settle, sleep, timeout, workflow
from awaitly.errors import DeadlineExceeded, RunNotFound
from awaitly.model.facts import StepCancelled
from awaitly.model.state import Status
from awaitly.policies.clock import pause
from tests.execute.scene import Declined, Scene, keyed, limited, looked, none, once, read, write


@workflow
async def two(x: int) -> str:
    await write("a")
    return await write("b")


@workflow
async def looking(x: int) -> str:
    await read("a")
    return await write("b")


@workflow
async def sleeping(x: int) -> str:
    await sleep("1m")
    return "slept"


@workflow
async def tidy(x: int) -> str:
    try:
        await sleep("1h")
    finally:
        await write("cleaning")
        await write("cleaned")
    return "x"


@workflow
async def stubborn(x: int) -> str:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        return await write("all the same")
    return "x"


@workflow
async def siblings(x: int) -> str:
    try:
        await gather(write("fails"), write("effect"), read("look"), sleep("1h"))
    except Declined as error:
        return await write(f"after {error.name}")
    return "x"


@workflow
async def racing(x: int) -> str:
    winner = await race(read("fast"), write("effect"), read("slow"))
    return await write(f"after {winner}")


@workflow
async def raced_key(x: int) -> str:
    later, look_later = keyed("k", "work"), looked("look")
    winner = await race(keyed("k", "work"), looked("look"), none("fast"))
    return winner + await later + await look_later


@workflow
async def leaf(x: int) -> str:
    await write("leaf")
    await sleep("1h")
    return "leaf"


@workflow
async def parent(x: int) -> str:
    return await leaf(x)


@workflow
async def in_time(x: int) -> str:
    try:
        async with timeout("10s"):
            await write("effect")
            await sleep("1h")
    except TimeoutError:
        return await write("too late")
    return "x"


@workflow(deadline="1m")
async def bounded(x: int) -> str:
    try:
        await write("a")
        await sleep("1h")
    finally:
        await write("cleaned")
    return "x"


@workflow
async def at_most(x: int) -> str:
    await write("a")
    return await once("b")


@workflow
async def slow_step(x: int) -> str:
    return await limited("slow")


@workflow
async def left_behind(x: int) -> str:
    async def beside() -> None:
        await write("beside")
        await write("never")

    task = asyncio.create_task(beside())
    await write("main")
    await read("beside too")
    return f"{task.done()}"


@workflow
async def many_left_behind(x: int) -> str:
    async def beside(name: str) -> None:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await write(name)
            raise

    tasks = [asyncio.create_task(beside(f"b{number:02}")) for number in range(20)]
    await sleep("1s")
    return str(len(tasks))


@workflow
async def settling(x: int) -> str:
    results = await settle(write("fails"), write("works"))
    return str([result.is_ok() for result in results])


def reason_of(result: object) -> str:
    assert isinstance(result, Err)
    assert isinstance(result.error, RunCancelled)
    return result.error.message


def test_a_sleeping_run_ends_at_once(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(sleeping, 1)
            await handle.cancel("enough")
            before = scene.clock.time()
            assert reason_of(await handle.result()) == "enough"
            assert await handle.status() is Status.CANCELLED
            assert scene.clock.time() == before

    scene.play(story())


def test_a_running_effect_finishes_and_is_recorded_first(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(two.options(id="run"), 1)
            await scene.until("a")
            await handle.cancel("enough")
            await scene.turns()
            assert await handle.status() is Status.RUNNING
            scene.release("a")
            assert reason_of(await handle.result()) == "enough"
        assert scene.log == ["a", "a done"]
        assert scene.facts("run") == [
            "RunStarted", "CancelRequested", "StepFinished write#0 value", "RunFinished cancelled",
        ]  # fmt: skip

    scene.play(story())


def test_a_running_read_is_cancelled_at_once(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(looking.options(id="run"), 1)
            await scene.until("a")
            await handle.cancel()
            assert (await handle.result()).is_err()
        assert scene.log == ["a", "a cancelled"]
        assert "StepCancelled read#0" in scene.facts("run")

    scene.play(story())


def test_a_cancelled_call_says_how_long_it_had_been_under_way(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            handle = await rt.start(looking.options(id="run"), 1)
            await scene.until("a")
            await pause(scene.clock, 3)
            await handle.cancel()
            await handle.result()
            (cancelled,) = [fact for fact in await rt.facts("run") if isinstance(fact, StepCancelled)]
        assert cancelled.seconds == 3.0

    scene.play(story())


def test_finally_blocks_have_effects_before_the_run_ends(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(tidy, 1)
            await scene.turns()
            await handle.cancel("enough")
            assert reason_of(await handle.result()) == "enough"
        assert scene.log == ["cleaning", "cleaning done", "cleaned", "cleaned done"]

    scene.play(story())


def test_a_body_may_refuse_to_be_cancelled(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(stubborn, 1)
            await scene.turns()
            await handle.cancel("enough")
            assert await handle.result() == Ok("all the same")

    scene.play(story())


def test_a_cancellation_is_delivered_once_even_when_the_run_is_resumed(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("cleaning")
        async with scene.runtime() as rt:
            handle = await rt.start(tidy.options(id="run"), 1)
            await scene.turns()
            await handle.cancel("enough")
            await scene.until("cleaning")
            await rt.shutdown(0)
        scene.log.clear()
        async with scene.runtime(tidy) as rt:
            await scene.until("cleaning")
            await scene.clock.advance("10s")  # looks for requests meanwhile
            scene.release("cleaning")
            assert reason_of(await (await rt.handle("run")).result()) == "enough"
        assert scene.log[-2:] == ["cleaned", "cleaned done"]

    scene.play(story())


def test_a_request_that_was_stored_by_another_process_is_found(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(sleeping.options(id="run"), 1)
            await scene.memory.request_cancel("run", "from elsewhere")
            assert reason_of(await handle.result()) == "from elsewhere"

    scene.play(story())


def test_a_request_made_while_nobody_executes_the_run_is_delivered_when_it_is_resumed(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(sleeping.options(id="run"), 1)
        await scene.memory.request_cancel("run", "meanwhile")
        async with scene.runtime(sleeping) as rt:
            assert reason_of(await (await rt.handle("run")).result()) == "meanwhile"

    scene.play(story())


def test_cancelling_an_ended_run_says_so(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(two.options(id="run"), 1)
            assert await rt.cancel("run") is False
            with pytest.raises(RunNotFound):
                await rt.cancel("another")

    scene.play(story())


def test_cancelling_the_caller_detaches_and_the_run_goes_on(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a")
        async with scene.runtime() as rt:
            caller = asyncio.create_task(rt.run(two.options(id="run"), 1))
            await scene.until("a")
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
            scene.release("a")
            assert await (await rt.handle("run")).result() == Ok("b")

    scene.play(story())


@pytest.mark.parametrize("turn", range(12))
def test_cancelling_the_caller_while_the_run_is_being_started_loses_no_run(scene: Scene, turn: int) -> None:
    async def story() -> None:
        async with scene.runtime(two) as rt:
            caller = asyncio.create_task(rt.start(two.options(id="run"), 1))
            await scene.turns(turn)
            caller.cancel()
            await asyncio.wait([caller])
            await scene.clock.advance("30s")
            for record in await rt.runs():
                assert record.status is Status.SUCCEEDED

    scene.play(story())


@pytest.mark.parametrize("turn", range(12))
def test_cancelling_the_caller_while_the_run_is_taken_over_loses_no_run(scene: Scene, turn: int) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(sleeping.options(id="run"), 1)
        async with scene.runtime() as rt:
            caller = asyncio.create_task(rt.start(sleeping.options(id="run"), 1))
            await scene.turns(turn)
            caller.cancel()
            await asyncio.wait([caller])
            rt.library.program(sleeping)
            await scene.clock.advance("2m")
            handle = await rt.start(sleeping.options(id="run"), 1)
            async with asyncio.timeout(2):
                assert await handle.result() == Ok("slept")

    scene.play(story())


def test_the_first_failure_cancels_the_siblings_and_waits_for_effects(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["fails"] = Declined("fails")
        scene.delays.update(fails=1, effect=5)
        scene.hold("look")
        async with scene.runtime() as rt:
            assert await rt.run(siblings.options(id="run"), 1) == Ok("after fails")
        assert scene.log[3:] == [
            "fails failed", "look cancelled", "effect done", "after fails", "after fails done",
        ]  # fmt: skip

    scene.play(story())


def test_the_losers_of_a_race_end_before_it_does(scene: Scene) -> None:
    async def story() -> None:
        scene.delays.update(effect=5)
        scene.hold("slow")
        async with scene.runtime() as rt:
            assert await rt.run(racing.options(id="run"), 1) == Ok("after fast")
        ends = [entry for entry in scene.log if " " in entry and entry != "after fast"]
        assert ends == ["fast done", "slow cancelled", "effect done", "after fast done"]
        kinds = [fact.partition(" ")[0] for fact in scene.facts("run")]
        assert kinds.count("RaceWon") == 1

    scene.play(story())


def test_work_of_a_key_that_a_race_cancelled_is_done_for_who_still_wants_it(scene: Scene) -> None:
    async def story() -> None:
        scene.delays.update(work=5, look=5)
        async with scene.runtime() as rt:
            assert await rt.run(raced_key.options(id="run"), 1) == Ok("fastworklook")

    scene.play(story())


def test_cancelling_a_parent_cancels_its_child(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            handle = await rt.start(parent.options(id="run"), 1)
            await scene.until("leaf done")
            before = scene.clock.time()
            await handle.cancel("enough")
            assert reason_of(await handle.result()) == "enough"
            assert scene.clock.time() - before < 60
            assert (await (await rt.handle("run/leaf#0")).status()) is Status.CANCELLED

    scene.play(story())


@pytest.mark.parametrize("turn", range(0, 30, 2))
def test_cancelling_a_parent_at_any_time_cancels_its_child(scene: Scene, turn: int) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            before = scene.clock.time()
            handle = await rt.start(parent.options(id="run"), 1)
            await scene.turns(turn)
            await handle.cancel("enough")
            assert reason_of(await handle.result()) == "enough"
            assert scene.clock.time() - before < 60
            assert all(record.status is Status.CANCELLED for record in await rt.runs())

    scene.play(story())


def test_a_child_is_cancelled_also_when_the_parent_is_resumed_in_between(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("leaf")
        async with scene.runtime() as rt:
            handle = await rt.start(parent.options(id="run"), 1)
            await scene.until("leaf")
            await handle.cancel("enough")
            await scene.turns()
            await rt.shutdown(0)
        scene.release("leaf")
        before = scene.clock.time()
        async with scene.runtime(parent, leaf) as rt:
            assert reason_of(await (await rt.handle("run")).result()) == "enough"
        assert scene.clock.time() - before < 60

    scene.play(story())


def test_a_time_limit_is_over_at_its_recorded_time_and_lets_the_effect_finish(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["effect"] = 15
        async with scene.runtime() as rt:
            assert await rt.run(in_time.options(id="run"), 1) == Ok("too late")
        assert scene.log == ["effect", "effect done", "too late", "too late done"]

    scene.play(story())


def test_a_time_limit_that_was_interrupted_waits_only_for_what_is_left(scene: Scene) -> None:
    async def story() -> None:
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            await rt.start(in_time.options(id="run"), 1)
            await scene.clock.advance("4s")
        await scene.clock.advance("3s")
        async with scene.runtime(in_time) as rt:
            assert await (await rt.handle("run")).result() == Ok("too late")
        assert scene.clock.time() - begun == pytest.approx(10, abs=1)

    scene.play(story())


def test_a_deadline_ends_a_run_after_its_cleanup(scene: Scene) -> None:
    async def story() -> None:
        begun = scene.clock.time()
        async with scene.runtime() as rt:
            result = await rt.run(bounded, 1)
        assert isinstance(result, Err)
        assert isinstance(result.error, DeadlineExceeded)
        assert scene.log == ["a", "a done", "cleaned", "cleaned done"]
        assert scene.clock.time() - begun == pytest.approx(60, abs=1)

    scene.play(story())


async def test_what_an_overdue_run_has_not_begun_it_does_not_begin(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime() as rt:
        await rt.start(at_most.options(id="run", deadline="1m"), 1)
        await scene.until("a")
        ending = asyncio.ensure_future(rt.shutdown("10s", go_on=0))
        await scene.turns()
        scene.release("a")
        await ending
    await scene.clock.advance("2m")

    result = await scene.resume(at_most)

    assert isinstance(result, Err)
    assert isinstance(result.error, DeadlineExceeded)
    assert scene.log == ["a", "a done"]


@workflow
async def paying() -> str:
    try:
        return await write("pay")
    finally:
        await read("slow")


async def test_a_cancellation_that_a_resumed_run_finds_repeats_nothing_that_was_stored_after_its_deadline(
    scene: Scene,
) -> None:
    """The deadline that the replay delivers is not what the run was held for."""
    scene.delays |= {"pay": 3.0, "slow": 600.0}
    async with scene.runtime() as rt:
        await rt.start(paying.options(id="run", deadline="1s"))
        await scene.clock.advance("5s")
        await rt.shutdown("1s", go_on=0)
    assert await scene.memory.request_cancel("run", "too late")

    result = await scene.resume(paying)

    assert isinstance(result, Err)
    assert isinstance(result.error, RunCancelled)
    assert scene.log.count("pay") == 1
    assert [fact for fact in scene.facts("run") if "Finished write" in fact] == ["StepFinished write#0 value"]


def test_downtime_counts_towards_a_deadline_and_is_checked_after_the_replay(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(bounded.options(id="run"), 1)
            await scene.until("a done")
            await scene.turns()
        await scene.clock.advance("2h")
        async with scene.runtime(bounded) as rt:
            result = await (await rt.handle("run")).result()
        assert isinstance(result, Err)
        assert isinstance(result.error, DeadlineExceeded)
        assert scene.log == ["a", "a done", "cleaned", "cleaned done"]

    scene.play(story())


def test_a_step_that_takes_too_long_fails_with_its_timeout(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("slow")
        async with scene.runtime() as rt:
            result = await rt.run(slow_step, 1)
        assert isinstance(result, Err)
        assert "longer than its timeout of 5s" in str(result.error)
        assert scene.log == ["slow", "slow cancelled"]

    scene.play(story())


def test_tasks_that_the_body_leaves_behind_end_before_the_run_does(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["beside"] = 5
        async with scene.runtime() as rt:
            assert await rt.run(left_behind.options(id="run"), 1) == Ok("False")
        assert "never" not in scene.log
        assert scene.log[-1] == "beside done"
        assert scene.facts("run")[-2:] == ["StepFinished asyncio.create_task#0>task/write#0 value", "RunFinished value"]

    scene.play(story())


def test_tasks_that_are_left_behind_are_cancelled_in_the_order_of_their_creation(scene: Scene) -> None:
    """As on replay: who is cancelled first may cancel others, whose cleanup is then interrupted or not yet begun."""

    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(many_left_behind, 1) == Ok("20")
        assert [name for name in scene.log if " " not in name] == [f"b{number:02}" for number in range(20)]

    scene.play(story())


def test_settle_gives_failures_as_values(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["fails"] = Declined("fails")
        async with scene.runtime() as rt:
            assert await rt.run(settling, 1) == Ok("[False, True]")

    scene.play(story())
