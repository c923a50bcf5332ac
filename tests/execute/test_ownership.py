"""One owner writes: leases, take-over, fences, recovery."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from awaitly import Ok, Workflow, sleep, step, workflow
from awaitly.errors import CorruptCheckpoint, LeaseLost, StoreError, StuckRun
from awaitly.execute import recovery
from awaitly.execute.perform import Performer
from awaitly.model.facts import StepStarted
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended, Claim, Owner
from awaitly.policies.clock import pause
from tests.execute.scene import Scene, once, read, write


@workflow
async def two(x: int) -> str:
    await write("a")
    return await write("b")


@workflow
async def looks(x: int) -> str:
    await read("a")
    return await read("b")


@step(effect="read")
async def started_other(name: str) -> str:
    await read.fn("held")
    return await doomed.options(id=f"of {name}")(1)


@workflow
async def starting(name: str) -> str:
    return await started_other(name)


@workflow
async def doomed(x: int) -> str:
    return await write("a")


@workflow
async def sleeping(x: int) -> str:
    await sleep("10m")
    return "slept"


async def test_the_run_of_a_silent_owner_is_taken_over(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, ttl=15) as here, scene.runtime(two, store=scene.view(), ttl=15) as there:
        await here.start(two.options(id="run"), 1)
        await scene.until("a")
        scene.cut_off()
        await scene.clock.advance("40s")
        scene.release("a")
        assert await (await there.handle("run")).result() == Ok("b")
        record = (await there.runs())[0]
        assert record.fence == 2

    assert scene.log.count("a") == 2
    assert scene.log.count("b") == 1


async def test_a_stale_owner_writes_nothing_and_stops(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two) as here, scene.runtime(two, store=scene.view()) as there:
        handle = await here.start(two.options(id="run"), 1)
        await scene.until("a")
        scene.cut_off()
        await scene.clock.advance("40s")
        assert (await there.runs())[0].fence == 2
        scene.release("a")
        assert await handle.result() == Ok("b")
        assert await (await there.handle("run")).result() == Ok("b")
        fences = [fence for fence, _ in scene.memory._runs["run"].facts]

    assert fences[0] == 1
    assert set(fences[1:]) == {2}


async def test_losing_one_run_harms_no_other(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, doomed) as here:
        await here.start(two.options(id="lost"), 1)
        await here.start(doomed.options(id="kept"), 1)
        await scene.until("a")
        scene.memory._runs["lost"].fence += 1
        scene.memory._runs["lost"].owner = "another"
        scene.release("a")
        assert await (await here.handle("kept")).result() == Ok("a")


@pytest.mark.parametrize("flow", [two, looks])
async def test_neither_an_effect_nor_a_read_begins_while_the_lease_has_lapsed(
    scene: Scene, flow: Workflow[[int], str, Any]
) -> None:
    scene.hold("a")
    async with scene.runtime() as rt:
        handle = await rt.start(flow.options(id="run"), 1)
        await scene.until("a")
        scene.cut_off()
        await scene.clock.advance("40s")
        scene.release("a")
        await scene.clock.advance("5s")
        assert "b" not in scene.log
        scene.reconnect()
        assert await handle.result() == Ok("b")


async def test_unfinished_runs_are_taken_over_at_the_start(scene: Scene) -> None:
    async with scene.runtime() as rt:
        for number in range(20):
            await rt.start(sleeping.options(id=f"run{number}"), 1)
    async with scene.runtime(sleeping) as rt:
        await scene.clock.advance("11m")
        assert all(record.status is Status.SUCCEEDED for record in await rt.runs())


async def test_runs_of_workflows_that_join_later_are_taken_over_then(scene: Scene) -> None:
    async with scene.runtime() as rt:
        await rt.start(sleeping.options(id="old"), 1)
    async with scene.runtime() as rt:
        assert (await rt.runs())[0].status is Status.PENDING
        await rt.start(sleeping.options(id="new"), 2)
        await scene.turns()
        assert {record.status for record in await rt.runs()} == {Status.RUNNING}


async def test_a_run_that_is_taken_over_first_may_start_others_while_the_rest_is_taken_over(scene: Scene) -> None:
    scene.hold("held")
    async with scene.runtime() as rt:
        for number in range(20):
            await rt.start(starting.options(id=f"run{number}"), f"run{number}")
        await rt.shutdown(0)
    scene.release("held")
    async with scene.runtime(starting) as rt:
        for number in range(20):
            assert await (await rt.handle(f"run{number}")).result() == Ok("a")

    assert scene.log.count("held done") == 20


async def test_a_run_that_kills_its_process_again_and_again_is_stuck_until_it_is_resumed(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime() as rt:
        await rt.start(doomed.options(id="run"), 1)
        await rt.shutdown(0)
    for number in range(5):
        assert await scene.memory.claim("run", f"a process that dies {number}") is not None
    scene.release("a")
    scene.log.clear()
    async with scene.runtime(doomed) as rt:
        await scene.clock.advance("5m")
        assert scene.log == []
        with pytest.raises(StuckRun):
            await rt.run(doomed.options(id="run"), 1)
        handle = await rt.resume("run")
        assert await handle.result() == Ok("a")


async def test_a_run_that_a_defect_of_ours_stops_again_and_again_is_stuck_until_it_is_resumed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(Performer, "settled", broken)
        async with scene.runtime(doomed) as rt:
            await rt.start(doomed.options(id="run"), 1)
            await scene.clock.advance("1h")
            assert scene.log == 6 * ["a", "a done"]
    async with scene.runtime(doomed) as rt:
        await scene.clock.advance("1h")
        assert len(scene.log) == 12
        with pytest.raises(StuckRun):
            await rt.run(doomed.options(id="run"), 1)
        assert await (await rt.resume("run")).result() == Ok("a")


async def test_a_defect_in_taking_over_one_run_does_not_keep_others_waiting_and_is_not_tried_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(program: object, run_id: str, facts: object) -> None:
        assert run_id == "whole", "a defect"

    async with scene.runtime() as rt:
        await rt.start(doomed.options(id="broken"), 1)
        await rt.start(sleeping.options(id="whole"), 1)
        await rt.shutdown(0)
    monkeypatch.setattr("awaitly.parts.check", checked)
    async with scene.runtime(doomed, sleeping) as rt:
        await scene.clock.advance("11m")
        assert (await rt.record("whole")).status is Status.SUCCEEDED
        assert (await rt.record("broken")).claims == 5


async def test_a_journal_without_a_start_is_reported_once_and_left_alone(scene: Scene) -> None:
    async with scene.runtime() as rt:
        await rt.start(doomed.options(id="run"), 1)
        await rt.shutdown(0)
    scene.memory._runs["run"].facts.clear()
    async with scene.runtime(doomed) as rt:
        await scene.clock.advance("1m")
        assert (await rt.record("run")).fence == 2
        assert [verdict.answer for verdict in await rt.check()] == ["does-not-fit"]
        with pytest.raises(CorruptCheckpoint):
            await rt.resume("run")


async def test_a_sleeping_run_survives_any_number_of_orderly_restarts(scene: Scene) -> None:
    for number in range(8):
        async with scene.runtime(sleeping) as rt:
            if number == 0:
                await rt.start(sleeping.options(id="run"), 1)
            await scene.clock.advance("5s")
    async with scene.runtime(sleeping) as rt:
        await scene.clock.advance("10m")
        assert await (await rt.handle("run")).result() == Ok("slept")


async def test_a_run_that_the_store_fails_is_left_alone_for_longer_and_longer_and_goes_on_at_last(scene: Scene) -> None:
    async with scene.runtime(two) as rt:
        handle = await rt.start(two.options(id="run"), 1)
        scene.cut_off("append", code="store-full")
        await scene.clock.advance("1m")
        assert 5 <= scene.log.count("a") <= 7
        await scene.clock.advance("1h")
        assert 60 <= scene.log.count("a") <= 70
        scene.reconnect("append")
        await scene.clock.advance("2m")
        assert await handle.result() == Ok("b")

    assert scene.log.count("b") == 1


async def test_who_asks_for_a_run_that_is_left_alone_need_not_wait(scene: Scene) -> None:
    async with scene.runtime(two) as rt:
        await rt.start(two.options(id="run"), 1)
        scene.cut_off("append", code="store-full")
        await scene.clock.advance("10m")
        scene.reconnect("append")
        before = scene.clock.time()
        assert await rt.run(two.options(id="run"), 1) == Ok("b")
        assert scene.clock.time() - before < 1


async def test_an_owner_that_the_store_has_forgotten_registers_again(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, ttl=15) as here, scene.runtime(two, store=scene.view(), ttl=15) as there:
        scene.memory._leases.clear()
        await scene.clock.advance("6s")
        assert len(scene.memory._leases) == 2
        handle = await here.start(two.options(id="run"), 1)
        await scene.clock.advance("1m")
        assert (await there.runs())[0].fence == 1
        scene.release("a")
        assert await handle.result() == Ok("b")


async def test_a_forgotten_owner_learns_which_runs_it_has_lost_meanwhile(scene: Scene) -> None:
    scene.hold("a")
    async with scene.runtime(two, ttl=15) as here:
        await here.start(two.options(id="run"), 1)
        await scene.until("a")
        active = here._opened().engine.active["run"]
        scene.memory._leases.clear()
        await scene.memory.register(Owner(id="other", host="another", pid=1, started=""), 1e9)
        assert await scene.memory.claim("run", "other") is not None
        await scene.clock.advance("6s")
        assert isinstance(active.run.stopped, LeaseLost)
        scene.release("a")


async def test_runs_that_cannot_be_continued_do_not_hide_younger_ones(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "PAGE", 3)
    scene.hold("a")
    async with scene.runtime() as rt:
        for number in range(7):
            await rt.start(doomed.options(id=f"stuck{number}"), 1)
        await rt.start(sleeping.options(id="young"), 1)
        await rt.shutdown(0)
    for number in range(7):
        for _ in range(6):
            await scene.memory.claim(f"stuck{number}", "a process that dies")
    async with scene.runtime(doomed, sleeping) as rt:
        await scene.clock.advance("11m")
        assert (await rt.record("young")).status is Status.SUCCEEDED


async def test_a_run_is_given_back_when_nobody_knows_whether_it_was_claimed(scene: Scene) -> None:
    async with scene.runtime() as rt:
        await rt.start(sleeping.options(id="run"), 1)
    claim = scene.store.claim

    async def blip(run: str, owner: str, *, ended: bool = False) -> Claim | None:
        await claim(run, owner, ended=ended)
        scene.store.claim = claim  # type: ignore[method-assign]  # only once
        raise StoreError("a blip", code="store-unavailable")

    scene.store.claim = blip  # type: ignore[method-assign]  # fails after it has claimed
    async with scene.runtime(sleeping) as rt:
        assert scene.store.claim is claim
        await scene.clock.advance("11m")
        assert (await rt.record("run")).status is Status.SUCCEEDED


async def test_waiting_for_a_run_elsewhere_ends_when_its_owner_dies(scene: Scene) -> None:
    scene.hold("a")
    there = scene.runtime(two, store=scene.view())
    async with scene.runtime(two) as here, there:
        await here.start(two.options(id="run"), 1)
        await scene.until("a")
        waiting = asyncio.create_task(there.run(two.options(id="run"), 1))
        scene.cut_off()
        await scene.clock.advance("40s")
        scene.release("a")
        assert await waiting == Ok("b")


@workflow
async def precious(x: int) -> str:
    return await once("o")


async def test_what_happens_once_does_not_begin_when_the_lease_lapsed_while_its_start_was_stored(scene: Scene) -> None:
    append = scene.memory.append

    async def slowly(batch: Sequence[Append]) -> Sequence[Appended]:
        if any(isinstance(fact, StepStarted) for entry in batch for fact in entry.facts):
            scene.cut_off()
            await pause(scene.clock, 60)
        return await append(batch)

    scene.memory.append = slowly  # type: ignore[method-assign]  # longer than the lease
    async with scene.runtime() as rt:
        handle = await rt.start(precious.options(id="run"), 1)
        await scene.clock.advance("70s")
        assert scene.log == []
        assert scene.facts("run") == ["RunStarted", "StepStarted once#0"]
        scene.reconnect()
        assert await handle.result() == Ok("o")
