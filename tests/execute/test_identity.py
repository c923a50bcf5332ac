"""What a call is, whatever the timing: keys, places, arguments, and what resumed code must still do."""

import asyncio
import contextvars

import pytest

from awaitly import Err, Ok, current, each, gather, now, random, step, uuid4, workflow
from awaitly.errors import ChangedArguments, KeyConflict, Mismatch, UsageError
from awaitly.model.identity import idempotency_key
from awaitly.model.state import Status
from tests.execute.scene import Scene, keyed, looked, none, read, who, write

OUTSIDE = {"name": "a", "second": True}


@workflow
async def same_key_twice(x: int) -> str:
    return await keyed("k", "work") + await keyed("k", "work")


@workflow
async def same_key_at_once(x: int) -> str:
    first, second = await gather(keyed("k", "work"), keyed("k", "work"))
    return first + second


@workflow
async def conflicting(x: int) -> str:
    await keyed("k", "work")
    return await keyed("k", "other work")


@workflow
async def moody(x: int) -> str:
    await write(OUTSIDE["name"])
    await write("second") if OUTSIDE["second"] else await read("second")
    return await write("third")


@workflow
async def in_lanes(x: int) -> str:
    async def lane(name: str) -> str:
        await write(f"{name}1")
        return await write(f"{name}2")

    await each(lane, ["a", "b"])
    return await write("end")


@workflow
async def telling(x: int) -> list[str]:
    return [await who("a"), await who("b"), *await gather(who("c"), who("d"))]


@workflow
async def chancy(x: int) -> list[str]:
    await read("r")
    found = [str(random()), str(random()), str(uuid4()), now().isoformat()]
    await write("w")
    return found


@workflow
async def asking(x: int) -> str:
    return current().step


COLOUR = contextvars.ContextVar("colour", default="none")


@step
async def paint(colour: str) -> str:
    before = COLOUR.get()
    COLOUR.set(colour)
    return before


@workflow
async def painting(x: int) -> list[str]:
    COLOUR.set("body")
    return [await paint("red"), await paint("blue"), COLOUR.get()]


def test_work_of_one_key_is_done_once(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(same_key_twice, 1) == Ok("workwork")
        assert scene.log == ["work", "work done"]

    scene.play(story())


def test_work_of_one_key_is_done_once_when_it_is_called_at_once(scene: Scene) -> None:
    async def story() -> None:
        scene.delays["work"] = 1
        async with scene.runtime() as rt:
            assert await rt.run(same_key_at_once, 1) == Ok("workwork")
        assert scene.log == ["work", "work done"]

    scene.play(story())


def test_one_key_with_other_arguments_is_a_conflict(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            result = await rt.run(conflicting, 1)
        assert isinstance(result, Err)
        assert KeyConflict.code in str(result.error)
        assert scene.log == ["work", "work done"]

    scene.play(story())


async def interrupted(scene: Scene, at: str, *, name: str = "moody") -> None:
    scene.hold(at)
    async with scene.runtime() as rt:
        await rt.start(moody.options(id="run"), 1)
        await scene.until(at)
        await rt.shutdown(0)
    scene.release(at)
    await scene.turns()
    scene.log.clear()


def test_other_arguments_than_before_stop_a_resumed_run_before_anything_runs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await interrupted(scene, "third")
        before = scene.facts("run")
        monkeypatch.setitem(OUTSIDE, "name", "changed")
        async with scene.runtime() as rt:
            with pytest.raises(ChangedArguments):
                await rt.run(moody.options(id="run"), 1)
        assert scene.log == []
        assert scene.facts("run") == before

    scene.play(story())


def test_a_body_that_goes_another_way_stops_before_anything_runs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        await interrupted(scene, "third")
        before = scene.facts("run")
        monkeypatch.setitem(OUTSIDE, "second", False)
        async with scene.runtime() as rt:
            with pytest.raises(Mismatch):
                await rt.run(moody.options(id="run"), 1)
            record = (await rt.runs())[0]
        assert scene.log == []
        assert scene.facts("run") == before
        assert not record.status.ended

    scene.play(story())


def test_a_run_that_does_not_fit_is_not_claimed_again_with_the_same_graph(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await interrupted(scene, "third")
        monkeypatch.setitem(OUTSIDE, "second", False)
        async with scene.runtime(moody) as rt:
            await scene.clock.advance("1m")
            record = (await rt.runs())[0]
            assert record.claims <= 1
            assert record.status is Status.PENDING

    scene.play(story())


def test_identities_are_the_same_whatever_finishes_first(scene: Scene) -> None:
    calls = []
    for slow in ("a1", "b1"):
        scene.delays = {slow: 5}

        async def story(run: str = slow) -> None:
            async with scene.runtime() as rt:
                await rt.run(in_lanes.options(id=run), 1)

        scene.play(story())
        calls.append(scene.facts(slow))

    assert calls[0] != calls[1]
    assert sorted(calls[0]) == sorted(calls[1])


def test_current_tells_a_step_what_it_is(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            result = await rt.run(telling.options(id="run"), 1)
        told = [line.split("|") for line in result.unwrap()]
        assert [line[:2] for line in told] == [["run", "who"]] * 4
        assert len({line[2] for line in told}) == 4

    scene.play(story())


def test_an_idempotency_key_is_the_same_after_a_resume_and_the_fence_grows(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.start(telling.options(id="run"), 1)
            await rt.shutdown(0)
        async with scene.runtime() as rt:
            first = (await rt.run(telling.options(id="run"), 1)).unwrap()[0].split("|")
            other = (await rt.run(telling.options(id="fresh"), 1)).unwrap()[0].split("|")
        assert first[2] == other[2].replace("fresh", "run")
        assert int(first[3]) == 2

    scene.play(story())


def test_idempotency_keys_differ_where_ids_hold_slashes() -> None:
    assert idempotency_key("A", "B/c") != idempotency_key("A/B", "c")
    assert idempotency_key("A/B", "c") != idempotency_key("A%2FB", "c")
    assert idempotency_key("order:7", "gather#0/charge#0") == "order:7/gather#0/charge#0"


def test_current_is_refused_in_a_body(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            result = await rt.run(asking, 1)
        assert isinstance(result, Err)
        assert "not-in-step" in str(result.error)

    scene.play(story())


def test_chance_and_time_are_the_same_when_the_run_is_resumed(scene: Scene) -> None:
    async def story() -> None:
        scene.hold("w")
        async with scene.runtime() as rt:
            await rt.start(chancy.options(id="run"), 1)
            await scene.until("w")
            seed = scene.memory._runs["run"].facts[0][1]
            at = [fact.at for _, fact in scene.memory._runs["run"].facts if type(fact).__name__ == "TimeRead"]
            await rt.shutdown(0)
        scene.release("w")
        await scene.clock.advance("1h")
        async with scene.runtime() as rt:
            found = (await rt.run(chancy.options(id="run"), 1)).unwrap()
        assert scene.memory._runs["run"].facts[0][1] == seed
        assert len(at) == 1
        assert found[3].startswith("2023-11-14T22:13:20")
        assert found[0] != found[1]

    scene.play(story())


def test_context_variables_reach_steps_and_do_not_leak_from_them(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(painting, 1) == Ok(["body", "body", "body"])
        assert COLOUR.get() == "none"

    scene.play(story())


@workflow
async def reading_keys(x: int) -> str:
    async def one(name: str) -> str:
        return await looked(name)

    return "".join(await each(one, ["a", "b", "a", "c", "b"], concurrency=2))


def test_a_key_is_done_once_in_each_too(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await rt.run(reading_keys, 1) == Ok("abacb")
        assert sorted(entry for entry in scene.log if " " not in entry) == ["a", "b", "c"]

    scene.play(story())


@workflow
async def unknown_place(x: int) -> str:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(lambda: done.set_result(x))
    await done
    return await none("x")


def test_a_body_may_wait_for_something_else_in_passing(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            try:
                result = await rt.run(unknown_place, 1)
            except UsageError:
                return
            assert result == Ok("x")

    scene.play(story())
