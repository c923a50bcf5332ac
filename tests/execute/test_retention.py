"""Ended runs are kept for the retention of their workflow, and removed after that."""

from itertools import pairwise

import pytest

from awaitly import Ok, Runtime, sleep, workflow
from awaitly.errors import StoreError
from awaitly.execute import recovery
from tests.execute.scene import Scene, write


@workflow(retention="10m")
async def kept(name: str) -> str:
    return await write(name)


@workflow
async def kept_for_ever(name: str) -> str:
    return await write(name)


@workflow
async def waiting(name: str) -> str:
    found = await kept(name)
    await sleep("25m")
    return found


async def ids(rt: Runtime) -> list[str]:
    """Return the ids of all runs, oldest first."""
    return [record.id for record in reversed(await rt.runs())]


def test_a_run_is_removed_when_it_ended_longer_ago_than_its_retention(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(kept, kept_for_ever) as rt:
            await kept.options(id="old")("a")
            await kept_for_ever.options(id="other")("b")
            await scene.clock.advance("8m")
            await kept.options(id="young")("c")
            assert await ids(rt) == ["old", "other", "young"]
            await scene.clock.advance("3m")
            assert await ids(rt) == ["other", "young"]
            assert await rt.run(kept.options(id="old"), "another") == Ok("another")

    scene.play(story())


def test_the_operator_has_the_last_word_about_the_retention(scene: Scene) -> None:
    async def story() -> None:
        settings = {"kept": {"retention": "20m"}, "kept_for_ever": {"retention": "1m"}}
        async with scene.runtime(kept, kept_for_ever, workflows=settings) as rt:
            await kept.options(id="longer")("a")
            await kept_for_ever.options(id="shorter")("b")
            await scene.clock.advance("12m")
            assert await ids(rt) == ["longer"]

    scene.play(story())


def test_old_runs_are_looked_for_once_a_minute_at_most(scene: Scene) -> None:
    asked: list[float] = []
    purge = scene.store.purge

    async def counted(*, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        asked.append(scene.clock.monotonic())
        return await purge(ended_before=ended_before, limit=limit, workflow=workflow)

    async def story() -> None:
        async with scene.runtime(kept, kept_for_ever):
            await scene.clock.advance("10m")

    scene.store.purge = counted  # type: ignore[method-assign]  # counted
    scene.play(story())
    assert 9 <= len(asked) <= 11
    assert all(later - sooner >= recovery.PURGE for sooner, later in pairwise(asked))


def test_many_old_runs_are_removed_in_portions_one_after_another(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PORTION", 2)

    async def story() -> None:
        async with scene.runtime() as rt:
            for number in range(7):
                await kept.options(id=f"old{number}")("a")
            await rt.shutdown()
        await scene.clock.advance("12m")
        async with scene.runtime(kept) as rt:
            await scene.turns()
            assert len(await ids(rt)) == 5
            await scene.clock.advance("10s")
            assert await ids(rt) == []

    scene.play(story())


def test_a_process_that_ends_soon_removes_old_runs_when_it_first_uses_their_workflow(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            await kept.options(id="old")("a")
        await scene.clock.advance("12m")
        async with scene.runtime() as rt:
            await kept.options(id="young")("b")
            await scene.turns()
            assert await ids(rt) == ["young"]

    scene.play(story())


def test_a_child_is_kept_until_its_parent_has_ended(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(waiting, kept) as rt:
            await rt.start(waiting.options(id="run"), "a")
            await scene.clock.advance("20m")
            assert await ids(rt) == ["run", "run/kept#0"]
            await scene.clock.advance("7m")
            assert await ids(rt) == ["run"]

    scene.play(story())


def test_who_only_looks_removes_nothing(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime():
            await kept.options(id="old")("a")
        await scene.clock.advance("12m")
        async with Runtime(store=scene.view(), clock=scene.clock, workflows=[kept], recover=False) as rt:
            await scene.clock.advance("10m")
            assert await ids(rt) == ["old"]

    scene.play(story())


def test_a_store_that_cannot_be_asked_is_asked_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    purge = scene.store.purge

    async def away(*, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        raise StoreError("the store is away", code="store-unavailable")

    async def story() -> None:
        async with scene.runtime(kept) as rt:
            await kept.options(id="old")("a")
            await scene.clock.advance("12m")
            scene.store.purge = purge  # type: ignore[method-assign]  # it is back
            await scene.clock.advance("2m")
            assert await ids(rt) == []

    scene.store.purge = away  # type: ignore[method-assign]  # for a while
    scene.play(story())
    assert "the store could not be asked to remove old runs: the store is away" in caplog.text
