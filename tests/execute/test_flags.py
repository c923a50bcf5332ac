"""A feature flag is decided once in a run, recorded, and chooses which function runs in a step's place."""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from awaitly import Err, Flag, Ok, Runtime, UnexpectedError, Workflow, gather, workflow
from awaitly.errors import ConfigurationError, RunCancelled, RunRefused
from awaitly.flags.provider import Decision, FlagContext
from awaitly.model.facts import FlagDecided, StepFinished
from awaitly.model.notice import Notice
from awaitly.model.state import Status
from awaitly.persist.ports import Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life
from tests.execute.flagged import (
    FLAG,
    Provider,
    before_its_child,
    beside_its_child,
    both,
    charge,
    charge_v2,
    choosing_parent,
    decisions,
    failing,
    given,
    hiding_parent,
    mere_grandparent,
    mistaken_parent,
    one,
    only_parent,
    parent,
    passing_beside_its_child,
    quote,
    quoted,
    runtime,
    shipped,
    two,
    unflagged,
    variants,
)
from tests.execute.scene import Declined, Scene, write

# Once in a run.


def test_a_flag_is_decided_at_the_first_call_that_needs_it_and_not_again(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            assert await rt.run(two.options(id="run"), "x") == Ok("first by v2, second by v2")
        assert provider.asked == ["new-charge for run of two"]
        assert decisions(scene) == [(FLAG, True, "own", "B", "as tested")]
        assert variants(scene) == [("charge#0", "charge_v2"), ("charge#1", "charge_v2")]
        assert scene.facts("run")[:3] == ["RunStarted", "FlagDecided", "StepFinished charge#0 value"]

    scene.play(story())


def test_branches_that_need_a_flag_share_one_decision_however_they_spell_it(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            assert await rt.run(both.options(id="run"), "x") == Ok(("a by v2", "b by q2", "c by v2"))
        assert len(provider.asked) == len(decisions(scene)) == 1

    scene.play(story())


def test_a_run_that_needs_no_flag_asks_nobody(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider, two) as rt:
            assert await rt.run(unflagged, "x") == Ok("x")
        assert provider.asked == []

    scene.play(story())


def test_where_the_flag_does_not_say_so_the_step_itself_runs(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: False}) as rt:
            assert await rt.run(one.options(id="run"), "a") == Ok("a by v1")
        assert variants(scene) == [("charge#0", "")]
        assert decisions(scene) == [(FLAG, False, "settings", "", "static")]

    scene.play(story())


def test_outside_of_workflows_the_step_itself_runs(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: True}):
            assert await charge("a") == "a by v1"
            assert await charge_v2("a") == "a by v2"

    scene.play(story())


def test_observers_see_the_decision_and_the_variant(scene: Scene) -> None:
    seen: list[object] = []

    def sink(notice: Notice) -> None:
        seen.append(notice.fact)

    async def story() -> None:
        settings = Settings(store="memory://")
        async with Runtime(settings, store=scene.store, clock=scene.clock, flags={FLAG: True}, sinks=[sink]) as rt:
            await rt.run(one, "a")
        assert [fact.flag for fact in seen if isinstance(fact, FlagDecided)] == [FLAG]
        assert [fact.variant for fact in seen if isinstance(fact, StepFinished)] == ["charge_v2"]

    scene.play(story())


# Kept.


def test_a_resumed_run_keeps_its_variant_after_the_flag_flipped(scene: Scene) -> None:
    flipped = Provider(False)

    async def story() -> None:
        async with runtime(scene, {FLAG: True}, two) as rt:
            await rt.start(two.options(id="run"), "x")
            await scene.until("first by v2 done")
        async with runtime(scene, flipped, two) as rt:
            assert await (await rt.handle("run")).result() == Ok("first by v2, second by v2")
        assert flipped.asked == []

    scene.play(story())


def test_a_run_keeps_its_variant_on_another_runtime_with_other_settings(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, None, two, flags={FLAG: True}) as rt:
            await rt.start(two.options(id="run"), "x")
            await scene.until("first by v2 done")
            await scene.turns()
        async with runtime(scene, None, two, store=scene.view(), flags={FLAG: False}) as rt:
            assert await (await rt.handle("run")).result() == Ok("first by v2, second by v2")
        assert decisions(scene) == [(FLAG, True, "settings", "", "static")]

    scene.play(story())


def test_an_effect_behind_a_decision_waits_until_that_is_stored(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("a by v2")
        async with runtime(scene, {FLAG: True}) as rt:
            await rt.start(one.options(id="run"), "a")
            await scene.until("a by v2")
            assert scene.facts("run") == ["RunStarted", "FlagDecided"]
            scene.release("a by v2")

    scene.play(story())


def test_a_decision_costs_effects_one_commit_and_reads_none(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: True}) as rt:
            assert await rt.run(both.options(flags={FLAG: True}), "x") == Ok(("a by v2", "b by q2", "c by v2"))
            given_flag, scene.store.appends = scene.store.appends, 0
            assert await rt.run(both, "x") == Ok(("a by v2", "b by q2", "c by v2"))
            assert scene.store.appends == given_flag + 1
            scene.store.appends = 0
            assert await rt.run(quoted, "x") == Ok("x by q2")
            assert scene.store.appends == 2

    scene.play(story())


def test_replay_check_and_dry_run_pass_over_a_decision(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: True}, two) as rt:
            await rt.start(two.options(id="run"), "x")
            await scene.until("first by v2 done")
            await scene.turns()
            assert [(verdict.run, verdict.answer) for verdict in await rt.check()] == [("run", "fits")]
            kept = (await rt.plan_fork("run", arguments=(("y",), {}))).kept
            assert [type(fact).__name__ for fact in kept] == ["FlagDecided", "StepFinished", "TimerSet"]

    scene.play(story())


def test_a_crash_at_any_boundary_neither_changes_a_stored_decision_nor_repeats_what_is_stored(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dies_at in count():
        clock = VirtualClock(auto=True)
        memory = scene.memory = MemoryStore(monotonic=clock.monotonic)
        scene.log.clear()
        life, again = Life(dies_at=dies_at), Life()

        monkeypatch.setattr("tests.execute.flagged.LIVES", [life])
        first = life.run(lived(CrashingStore(memory, life), clock, True), clock=clock)
        decided = "run" in memory._runs and bool(decisions(scene))
        finished = [call for call, _ in variants(scene)] if decided else []
        before, scene.log[:] = list(scene.log), []
        monkeypatch.setattr("tests.execute.flagged.LIVES", [again])
        second = again.run(lived(CrashingStore(memory, again), clock, False), clock=clock)

        died, by = life.boundaries[-1], "v2" if decided else "v1"
        assert second == Ok(f"first by {by}, second by {by}"), f"died at {died}"
        assert len(decisions(scene)) == 1, f"died at {died}"
        assert {entry.split()[2] for entry in scene.log} <= {by}, f"died at {died}"
        assert decided or before == [], f"began before its decision was stored, died at {died}"
        for call, name in (("charge#0", "first"), ("charge#1", "second")):
            assert call not in finished or f"{name} by {by}" not in scene.log, f"{call} again, died at {died}"
        if not life.dead:
            break

    assert first == second
    assert dies_at == len(life.boundaries) > 10


async def lived(store: Store, clock: VirtualClock, value: bool) -> Any:
    """One process: start the run, or find it, and wait for its end."""
    settings = Settings(store="memory://", lease=LeaseSettings(ttl=15), flags={FLAG: value})
    async with Runtime(settings, store=store, clock=clock, workflows=[two]) as rt:
        return await rt.run(two.options(id="run"), "x")


# Given to a run.


def test_flags_of_a_run_win_over_every_provider(scene: Scene) -> None:
    provider = Provider(False)

    async def story() -> None:
        async with runtime(scene, provider, flags={"carrier": {"value": "bike"}}) as rt:
            assert await rt.run(one.options(id="run", flags={"NEW_CHARGE": True}), "a") == Ok("a by v2")
            assert await rt.run(shipped.options(flags={"carrier": "drone"}), "b") == Ok("b by drone")
        assert (provider.asked, decisions(scene)) == ([], [])
        assert given(scene, "run") == {"NEW_CHARGE": True}

    scene.play(story())


def test_an_unknown_flag_of_a_run_is_refused_with_the_nearest_match(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            with pytest.raises(ConfigurationError, match=r"'new-chrage'.*did you mean 'new-charge'.*\[unknown-flag\]"):
                await rt.run(one.options(flags={"new-chrage": True}), "a")
            with pytest.raises(ConfigurationError, match=r"its flags are: none.*\[unknown-flag\]"):
                await rt.run(unflagged.options(flags={"x": True}), "a")
            assert list(await rt.runs()) == []

    scene.play(story())


@pytest.mark.parametrize("flags", [{FLAG: "on"}, {FLAG: 1}, {FLAG: None}, [FLAG], FLAG], ids=repr)
def test_a_value_that_a_flag_cannot_have_is_refused(scene: Scene, flags: Any) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            with pytest.raises(ConfigurationError, match=r"flags= of a run.*\[invalid-option\]"):
                await rt.run(one.options(flags=flags), "a")

    scene.play(story())


@pytest.mark.parametrize("flags", [{FLAG: "on"}, {FLAG: 1}, {FLAG: object()}], ids=["text", "number", "object"])
def test_a_value_that_a_flag_of_a_child_cannot_have_is_refused(scene: Scene, flags: Any) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            with pytest.raises(ConfigurationError, match=r"flags= of a run.*\[invalid-option\]"):
                await rt.run(mere_grandparent.options(flags=flags), "x")

    scene.play(story())


def test_a_flag_that_neither_a_workflow_nor_its_children_have_is_refused(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            given_flag = mere_grandparent.options(flags={"New_Charge": True})
            assert await rt.run(given_flag, "x") == Ok("child by v2")
            with pytest.raises(
                ConfigurationError, match=r"no step of mere_grandparent and its children has.*mean 'new-charge'"
            ):
                await rt.run(mere_grandparent.options(flags={"new-chrage": True}), "x")

    scene.play(story())


def test_a_flag_that_only_what_cannot_be_read_may_have_needs_a_value_that_can_be_stored(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            hidden = hiding_parent.options(flags={FLAG: True})
            assert await rt.run(hidden, "x") == Ok("x by v2")
            with pytest.raises(ConfigurationError, match=r"flag 'new-charge' is <object.*\[invalid-option\]"):
                await rt.run(hiding_parent.options(flags={FLAG: object()}), "x")

    scene.play(story())


# Children, forks, retries.


def test_a_child_begins_with_what_its_parent_has_decided(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            assert await rt.run(parent.options(id="run"), "x") == Ok("parent by v2, child by v2")
        assert len(provider.asked) == 1
        assert given(scene, "run/one#0") == {FLAG: True}
        assert decisions(scene, "run/one#0") == []

    scene.play(story())


def test_a_child_has_flags_as_its_parent_spells_them(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            await rt.run(parent.options(id="run", flags={"New_Charge": True}), "x")
        assert given(scene, "run") == given(scene, "run/one#0") == {"New_Charge": True}

    scene.play(story())


def test_a_childs_own_flags_win_over_those_of_its_parent(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            assert await rt.run(choosing_parent.options(flags={FLAG: True}), "x") == Ok("child by v1")

    scene.play(story())


def test_a_value_of_another_kind_from_the_parent_takes_no_variant(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            assert await rt.run(hiding_parent.options(flags={FLAG: True}), "x") == Ok("x by v2")
            assert await rt.run(hiding_parent.options(flags={FLAG: 1}), "x") == Ok("x by v1")

    scene.play(story())


class Flipping(Provider):
    """Somebody who says something else each time."""

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        await super().decide(flag, context)
        return Decision(len(self.asked) % 2 == 1, self.name)


@pytest.mark.parametrize("workflow", [beside_its_child, before_its_child], ids=lambda one: one.name)
def test_a_child_waits_for_the_decision_that_its_parent_has_asked_for(
    scene: Scene, workflow: Workflow[..., Any, Any]
) -> None:
    provider = Flipping(hangs=True)

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            handle = await rt.start(workflow.options(id="run"), "x")
            await scene.turns()
            assert len(provider.asked) == 1
            provider.go.set()
            assert set((await handle.result()).unwrap()) == {"parent by q2", "child by v2"}
        assert given(scene, "run/one#0") == {"New_Charge": True}

    scene.play(story())


def test_a_child_begins_when_its_parents_decision_is_stored(scene: Scene) -> None:
    provider = Provider(hangs=True)

    async def story() -> None:
        scene.hold("child by v2")
        async with runtime(scene, provider) as rt:
            await rt.start(before_its_child.options(id="run"), "x")
            await scene.turns()
            provider.go.set()
            await scene.until("child by v2")
            assert [value for _, value, *_ in decisions(scene)] == [True]
            scene.release("child by v2")

    scene.play(story())


def test_a_child_of_a_run_that_stores_nothing_waits_for_its_decision_too(scene: Scene) -> None:
    provider = Flipping(hangs=True)

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            begun = asyncio.ensure_future(rt.run(passing_beside_its_child, "x"))
            await scene.turns()
            assert len(provider.asked) == 1
            provider.go.set()
            assert await begun == Ok(("parent by q2", "child by v2"))

    scene.play(story())


def test_a_flag_that_is_defined_nowhere_is_warned_of_once_however_many_workflows_have_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with runtime(scene, None, one, two, parent):
            pass
        (warned,) = [record.message for record in caplog.records if "[unknown-flag]" in record.message]
        assert warned.startswith("warning: flag 'new-charge' of workflow one is defined nowhere")

    scene.play(story())


@pytest.mark.parametrize(
    "decider", [{FLAG: False}, lambda flag, run: None, Provider()], ids=["rules", "function", "own"]
)
def test_a_flag_that_somebody_may_decide_is_not_warned_of(
    scene: Scene, caplog: pytest.LogCaptureFixture, decider: object
) -> None:
    async def story() -> None:
        async with runtime(scene, decider, one, parent):
            pass
        assert caplog.records == []

    scene.play(story())


def test_flags_of_a_child_are_checked_before_it_is_started(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            match await rt.run(mistaken_parent, "x"):
                case Err(UnexpectedError() as error):
                    assert "names 'new-chrage', which no step of one has" in str(error)
                case other:
                    raise AssertionError(other)

    scene.play(story())


def test_a_fork_keeps_a_decision_on_which_an_outcome_that_it_keeps_depended(scene: Scene) -> None:
    flipped = Provider(False)

    async def story() -> None:
        async with runtime(scene, {FLAG: True}, two) as rt:
            await rt.run(two.options(id="run"), "x")
        async with runtime(scene, flipped, two) as rt:
            after = await rt.fork("run", at="charge#1", id="after")
            assert await after.result() == Ok("first by v2, second by v2")
            assert flipped.asked == []
            before = await rt.fork("run", at="charge#0", id="before")
            assert await before.result() == Ok("first by v1, second by v1")
        assert [value for _, value, *_ in decisions(scene, "before")] == [False]

    scene.play(story())


def test_a_fork_takes_flags_but_none_on_which_an_outcome_that_it_keeps_depended(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: True}, two) as rt:
            await rt.run(two.options(id="run"), "x")
            await rt.run(one.options(id="given", flags={FLAG: True}), "a")
            fork = await rt.fork("run", at="charge#0", id="fork", flags={"New_Charge": False})
            assert await fork.result() == Ok("first by v1, second by v1")
            same = await rt.fork("run", at="charge#1", flags={FLAG: True})
            assert await same.result() == Ok("first by v2, second by v2")
            for run in ("run", "given"):
                with pytest.raises(RunRefused, match=r"new-charge=False: it keeps the outcome of charge#0.*was True"):
                    await rt.fork(run, flags={FLAG: False})
            with pytest.raises(ConfigurationError, match=r"\[unknown-flag\]"):
                await rt.plan_fork("run", flags={"x": True})

    scene.play(story())


def test_a_flag_of_a_fork_takes_the_place_of_the_one_that_was_given_before_however_it_is_spelt(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            await rt.run(one.options(id="given", flags={FLAG: True}), "a")
            await rt.fork("given", at="charge#0", id="fork", flags={"New_Charge": False})
        assert given(scene, "fork") == {"New_Charge": False}

    scene.play(story())


def test_a_fork_that_keeps_a_childs_outcome_keeps_the_flags_that_the_child_began_with(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            await rt.run(only_parent.options(id="run", flags={FLAG: True}), "x")
            with pytest.raises(RunRefused, match=r"it keeps the outcome of one#0"):
                await rt.plan_fork("run", at="charge", flags={FLAG: False})

    scene.play(story())


def test_a_retried_run_keeps_its_decisions(scene: Scene) -> None:
    flipped = Provider(False)

    async def story() -> None:
        scene.fails["bad"] = Declined("bad")
        async with runtime(scene, {FLAG: True}, failing) as rt:
            assert await rt.run(failing.options(id="run"), "bad") == Err(Declined("bad"))
        scene.fails.clear()
        async with runtime(scene, flipped, failing) as rt:
            assert await (await rt.retry("run")).result() == Ok("bad")
        assert flipped.asked == []
        assert variants(scene)[0] == ("charge#0", "charge_v2")

    scene.play(story())


def test_a_retried_run_keeps_the_decisions_that_were_made_after_the_failure(scene: Scene) -> None:
    flipped = Provider(False)

    async def story() -> None:
        scene.fails["bad"] = Declined("bad")
        async with runtime(scene, {FLAG: True}, settled) as rt:
            assert await rt.run(settled.options(id="run"), "bad") == Err(Declined("bad"))
        assert decisions(scene) != []
        scene.fails.clear()
        async with runtime(scene, flipped, settled) as rt:
            assert await (await rt.retry("run")).result() == Ok("good by q2")
        assert (flipped.asked, len(decisions(scene))) == ([], 1)

    scene.play(story())


@workflow(errors=Declined)
async def settled(name: str) -> str:
    failure = None
    try:
        await write(name)
    except Declined as declined:
        failure = declined
    found = await quote("good")
    if failure is not None:
        raise failure
    return found


# While a flag is being decided.


def test_a_run_cancelled_while_a_flag_is_being_decided_ends_at_once(scene: Scene) -> None:
    provider = Provider(hangs=True)

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            began = scene.clock.time()
            handle = await rt.start(one.options(id="run"), "a")
            await scene.turns()
            await handle.cancel("enough")
            assert (await handle.result()).map_err(type) == Err(RunCancelled)
            assert scene.clock.time() == began
            provider.go.set()
            await scene.clock.advance("1m")
        assert scene.log == []
        assert scene.facts("run")[-1] == "RunFinished cancelled"
        assert decisions(scene) == []

    scene.play(story())


def test_a_shutdown_does_not_wait_for_a_decision_which_is_made_again(scene: Scene) -> None:
    hanging, provider = Provider(hangs=True), Provider()

    async def story() -> None:
        began = scene.clock.time()
        async with runtime(scene, hanging, one) as rt:
            await rt.start(one.options(id="run"), "a")
            await scene.turns()
            await rt.shutdown(go_on=0)
        assert scene.clock.time() == began
        hanging.go.set()
        await scene.turns()
        assert scene.facts("run") == ["RunStarted", "StepWithheld charge#0"]
        async with runtime(scene, provider, one) as rt:
            handle = await rt.handle("run")
            assert await handle.result() == Ok("a by v2")
            assert await handle.status() is Status.SUCCEEDED
        assert len(provider.asked) == 1

    scene.play(story())


def test_a_call_that_is_cancelled_while_its_flag_is_decided_does_not_begin_after_it(scene: Scene) -> None:
    provider = Provider(hangs=True)

    async def story() -> None:
        scene.fails["bad"] = Declined("bad")
        async with runtime(scene, provider) as rt:
            handle = await rt.start(recovering.options(id="run"), "bad")
            await scene.until("bad failed")
            await scene.turns()
            provider.go.set()
            assert await handle.result() == Ok("after by v2")
        assert "beside by v2" not in scene.log
        assert (len(provider.asked), len(decisions(scene))) == (1, 1)

    scene.play(story())


@workflow
async def recovering(name: str) -> str:
    with suppress(Declined):
        await gather(write(name), charge("beside"))
    return await charge("after")
