"""Whoever decides a flag for a run, and the variant that then runs in a step's place."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from awaitly import Flag, Ok, Step
from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Decision, FlagContext, FlagValue
from awaitly.persist.stores.memory import MemoryStore
from tests.execute.flagged import (
    FLAG,
    Provider,
    caught,
    decisions,
    late,
    late_v2,
    lately,
    one,
    passing,
    passing_child,
    passing_parent,
    runtime,
    shipped,
    variants,
)
from tests.execute.scene import Declined, Scene, read

# Whoever decides.


def test_a_provider_that_raises_gives_the_default_and_the_reason(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, Provider(LookupError("no such tenant"))) as rt:
            assert await rt.run(one.options(id="run"), "a") == Ok("a by v1")
        assert decisions(scene) == [(FLAG, False, "default", "", "own failed: LookupError: no such tenant")]

    scene.play(story())


def test_a_provider_that_hangs_gives_the_default_after_a_second(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, Provider(hangs=True)) as rt:
            began = scene.clock.time()
            assert await rt.run(one.options(id="run"), "a") == Ok("a by v1")
            assert scene.clock.time() - began == 1
        assert decisions(scene) == [(FLAG, False, "default", "", "own failed: TimeoutError: no answer within 1s")]

    scene.play(story())


@pytest.mark.parametrize(
    "decision", [Decision("on", "own"), Decision(True, None), Decision(True, "own", reason=b"x"), True],  # type: ignore[arg-type]  # what foreign code may give
    ids=repr,
)  # fmt: skip
def test_a_decision_that_could_not_be_recorded_gives_the_default(scene: Scene, decision: Any) -> None:
    class Odd(Provider):
        async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
            found: Decision = decision
            return found

    async def story() -> None:
        async with runtime(scene, Odd()) as rt:
            assert await rt.run(one.options(id="run"), "a") == Ok("a by v1")
        assert decisions(scene)[0][:3] == (FLAG, False, "default")

    scene.play(story())


def by_function(name: str, context: FlagContext) -> FlagValue | None:
    return name == FLAG and context.metadata.get("tier") == "gold"


async def by_async_function(name: str, context: FlagContext) -> FlagValue | None:
    return by_function(name, context)


@contextmanager
def by_openfeature() -> Iterator[object]:
    api.set_provider_and_wait(InMemoryProvider({FLAG: InMemoryFlag("on", {"on": True, "off": False})}))
    try:
        yield api.get_client()
    finally:
        api.shutdown()


@pytest.mark.parametrize(
    ("flags", "decided"),
    [
        ({FLAG: True}, ("settings", "", "static")),
        ({"NEW_CHARGE": {"value": True, "where": {"tier": ["gold"]}}}, ("settings", "", "where tier=gold")),
        (by_function, ("function", "", "returned by by_function")),
        (by_async_function, ("function", "", "returned by by_async_function")),
        (by_openfeature, ("openfeature", "on", "STATIC")),
    ],
    ids=["mapping", "mapping with conditions", "function", "coroutine function", "OpenFeature"],
)
def test_a_runtime_takes_whatever_decides_flags(scene: Scene, flags: Any, decided: tuple[str, str, str]) -> None:
    async def story(flags: object) -> None:
        async with runtime(scene, flags) as rt:
            assert await rt.run(one.options(id="run", metadata={"tier": "gold"}), "a") == Ok("a by v2")
        assert decisions(scene) == [(FLAG, True, *decided)]

    if flags is by_openfeature:
        with by_openfeature() as client:
            scene.play(story(client))
    else:
        scene.play(story(flags))


def test_settings_win_over_a_provider_that_is_given(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider, flags={"NEW_CHARGE": False}) as rt:
            assert await rt.run(one, "a") == Ok("a by v1")
        assert provider.asked == []

    scene.play(story())


def test_an_environment_variable_switches_a_flag(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_FLAGS__NEW_CHARGE", "true")

    async def story() -> None:
        async with runtime(scene) as rt:
            assert await rt.run(one, "a") == Ok("a by v2")

    scene.play(story())


def test_a_share_of_the_runs_is_the_same_runs_every_time_and_grows_without_moving_any(scene: Scene) -> None:
    async def among(share: float) -> set[int]:
        async with runtime(scene, {FLAG: share}) as rt:
            found = [await rt.run(passing_child.options(id=f"run {number}"), "a") for number in range(400)]
        return {number for number, result in enumerate(found) if result == Ok("a by v2")}

    async def story() -> None:
        quarter, again, half = await among(0.25), await among(0.25), await among(0.5)
        assert quarter == again
        assert quarter < half
        assert 80 <= len(quarter) <= 120
        assert 170 <= len(half) <= 230

    scene.play(story())


def test_a_flag_with_several_values_has_a_variant_for_each(scene: Scene) -> None:
    shares = {"carrier": {"shares": {"bike": 0.3, "drone": 0.3}}}

    async def story() -> None:
        async with runtime(scene, None, flags=shares) as rt:
            found = [await rt.run(shipped.options(id=f"run {number}"), "a") for number in range(60)]
        by = [result.unwrap().split()[2] for result in found]
        assert set(by) == {"bike", "drone", "post"}
        for number, carrier in enumerate(by):
            assert decisions(scene, f"run {number}")[0][1] == carrier
            assert variants(scene, f"run {number}") == [("ship#0", "" if carrier == "post" else f"ship_by_{carrier}")]

    scene.play(story())


def test_two_runtimes_of_one_process_decide_each_for_itself(scene: Scene) -> None:
    async def story() -> None:
        async with runtime(scene, {FLAG: True}) as here, runtime(scene, {FLAG: False}, store=MemoryStore()) as there:
            assert await here.run(one, "a") == Ok("a by v2")
            assert await there.run(one, "a") == Ok("a by v1")

    scene.play(story())


def test_rules_that_do_not_fit_a_flag_do_not_start(scene: Scene) -> None:
    for where in ({"flags": {"carrier": 0.5}}, {}):
        with pytest.raises(ConfigurationError, match=r"the rule of flag 'carrier' does not fit.*\[invalid-setting\]"):
            runtime(scene, None if where else {"carrier": 0.5}, shipped, **where)


def test_a_flag_that_nobody_defines_is_warned_of_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with runtime(scene) as rt:
            for name in ("a", "b"):
                assert await rt.run(one, name) == Ok(f"{name} by v1")
            found = [d for d in rt.library.program(one).graph.diagnostics if d.code == "unknown-flag"]
            assert [d.message for d in found] == [
                "flag 'new-charge' of workflow one is defined nowhere: its default False holds for every run"
            ]
        assert [r.getMessage() for r in caplog.records if "unknown-flag" in r.getMessage()] == [
            f"warning: {found[0].message} [unknown-flag]. define it, for example with AWAITLY_FLAGS__NEW_CHARGE=false"
        ]

    with caplog.at_level(logging.WARNING, logger="awaitly"):
        scene.play(story())


def test_a_provider_that_cannot_say_what_it_knows_may_know_every_flag(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    class Shy(Provider):
        def knows(self, flag: str) -> bool | None:
            raise RuntimeError("ask again later")

    async def story() -> None:
        async with runtime(scene, Shy()) as rt:
            assert await rt.run(one, "a") == Ok("a by v2")
        assert caplog.messages == []

    with caplog.at_level(logging.WARNING, logger="awaitly"):
        scene.play(story())


# The variant itself.


def test_a_declared_failure_of_a_variant_is_restored_as_the_steps(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a by v2"] = Declined("a")
        async with runtime(scene, {FLAG: True}, caught) as rt:
            await rt.start(caught.options(id="run"), "a")
            await scene.until("a by v2 failed")
            await scene.turns()
        async with runtime(scene, {FLAG: False}, caught) as rt:
            assert await (await rt.handle("run")).result() == Ok("declined a")
        assert variants(scene) == [("charge#0", "charge_v2")]
        assert scene.log.count("a by v2") == 1

    scene.play(story())


def test_a_variant_has_policies_of_its_own(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a by v1"] = scene.fails["a by v2"] = OSError("away")
        async with runtime(scene) as rt:
            for value, attempts in ((False, 1), (True, 2)):
                began = scene.clock.time()
                assert (await rt.run(one.options(flags={FLAG: value}), "a")).is_err()
                assert scene.clock.time() - began == attempts - 1
        assert (scene.log.count("a by v1"), scene.log.count("a by v2")) == (1, 2)

    scene.play(story())


def test_a_variants_circuit_is_not_its_steps(scene: Scene) -> None:
    async def story() -> None:
        scene.fails["a by drone"] = OSError("no wind allowed")
        async with runtime(scene, {"carrier": "drone"}) as rt:
            failed = [(await rt.run(shipped, "a")).map_err(str) for _ in range(2)]
            assert "circuit" in str(failed[1])
            assert await rt.run(shipped.options(flags={"carrier": "post"}), "a") == Ok("a by post")
        assert scene.log.count("a by drone") == 1

    scene.play(story())


def test_settings_change_a_variants_policies_by_its_own_name(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE_V2__RETRY__ATTEMPTS", "4")
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__RETRY__ATTEMPTS", "3")

    async def story() -> None:
        scene.fails["a by v1"] = scene.fails["a by v2"] = OSError("away")
        async with runtime(scene, None, one) as rt:
            for value in (False, True):
                assert (await rt.run(one.options(flags={FLAG: value}), "a")).is_err()
            spec = rt.library.program(one).graph.steps["charge"]
            assert [str(policy) for policy in spec.policies] == ["retry (attempts 3)"]
            assert "attempts 4" in str(spec.variants[0].policies[0])
        assert (scene.log.count("a by v1"), scene.log.count("a by v2")) == (3, 4)

    scene.play(story())


@contextmanager
def with_variant(base: Step[[str], str, Any]) -> Iterator[None]:
    """Let the step have a variant for a while, as after a deployment."""
    base.variant(flag=FLAG)(late_v2)
    try:
        yield
    finally:
        base.variants = ()


def test_a_run_begun_by_code_without_the_variant_goes_on_with_it(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider, lately) as rt:
            await rt.start(lately.options(id="run"), "x")
            await scene.until("first by v1 done")
        assert provider.asked == []
        with with_variant(late):
            async with runtime(scene, provider, lately) as rt:
                assert [verdict.answer for verdict in await rt.check()] == ["fits"]
                assert await (await rt.handle("run")).result() == Ok("first by v1, second by v2")
        assert provider.asked == ["new-charge for run of lately"]
        assert variants(scene) == [("late#0", ""), ("late#1", "late_v2")]

    scene.play(story())


def test_a_run_begun_with_the_variant_goes_on_with_code_that_no_longer_has_it(scene: Scene) -> None:
    async def story() -> None:
        with with_variant(late):
            async with runtime(scene, {FLAG: True}, lately) as rt:
                await rt.start(lately.options(id="run"), "x")
                await scene.until("first by v2 done")
        async with runtime(scene, None, lately) as rt:
            assert await (await rt.handle("run")).result() == Ok("first by v2, second by v1")

    scene.play(story())


# Runs that store nothing.


def test_a_run_that_stores_nothing_decides_once_too(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            assert await rt.run(passing, "x") == Ok(("a by v2", "b by q2"))
            assert len(provider.asked) == 1
            assert await rt.run(passing.options(flags={FLAG: False}), "x") == Ok(("a by v1", "b by q1"))
            assert len(provider.asked) == 1

    scene.play(story())


def test_children_of_a_run_that_stores_nothing_have_its_flags(scene: Scene) -> None:
    provider = Provider()

    async def story() -> None:
        async with runtime(scene, provider) as rt:
            assert await rt.run(passing_parent, "x") == Ok("parent by v2, child by v2, small by v2")
        assert len(provider.asked) == 1

    scene.play(story())


def test_a_provider_may_call_a_step_from_within_any_run(scene: Scene) -> None:
    async def by_step(name: str, context: FlagContext) -> bool:
        return await read("is it on?") == "is it on?"

    async def story() -> None:
        async with runtime(scene, by_step) as rt:
            assert await rt.run(one.options(id="run"), "a") == Ok("a by v2")
            assert await rt.run(passing_child, "a") == Ok("a by v2")
        assert [call for call, _ in variants(scene)] == ["charge#0"]

    scene.play(story())
