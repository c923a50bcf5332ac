"""The facts of a run can be followed while it goes on, from another process too."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from awaitly import Ok, Runtime, sleep, step, workflow
from awaitly.model.facts import Fact, RunFinished, StepFinished, TimerFired
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock
from tests.execute.elsewhere import gated

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The store of a process that executes the run ``one`` up to its gate, which is in the same folder."""
    os.mkfifo(tmp_path / "gate")
    url = f"sqlite:///{tmp_path}/runs.db"
    command = [sys.executable, "-m", "tests.execute.elsewhere", url, str(tmp_path / "gate")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            yield url
        finally:
            process.kill()


def open_gate(folder: Path) -> int:
    gate = os.open(folder / "gate", os.O_RDWR)  # for reading too: Linux then waits for nobody
    os.write(gate, b"x")
    return gate


def test_a_run_is_followed_live_from_another_process_to_its_end(store: str, tmp_path: Path) -> None:
    async def story() -> list[Fact]:
        facts: list[Fact] = []
        async with Runtime(Settings(), store=store, workflows=[gated], recover=False) as rt, asyncio.timeout(PATIENCE):
            handle = await rt.handle("one")
            events = handle.events()
            while not isinstance((fact := await anext(events)), TimerFired):
                facts.append(fact)  # while the other process waits at the gate
            facts.append(fact)
            gate = open_gate(tmp_path)
            facts += [fact async for fact in events]
            os.close(gate)
            assert await handle.result() == Ok(["one", "two"])
            assert facts == list(await rt.facts("one"))
        return facts

    facts = asyncio.run(story())

    assert [type(fact).__name__ for fact in facts] == [
        "RunStarted", "StepFinished", "TimerSet", "TimerFired", "StepFinished", "RunFinished",
    ]  # fmt: skip


def test_whoever_stops_following_leaves_nothing_behind(store: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with Runtime(Settings(), store=store, workflows=[gated], recover=False) as rt, asyncio.timeout(PATIENCE):
            handle = await rt.handle("one")
            async for fact in handle.events():
                if isinstance(fact, StepFinished):
                    break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())


broken = True


@step
async def mend() -> str:
    if broken:
        raise ValueError("it is broken")
    return "mended"


@step(effect="none")
async def tidy() -> str:
    return "in the old way"


@tidy.variant(flag="new-way")
async def tidy_anew() -> str:
    return "in the new way"


@workflow
async def repair() -> str:
    try:
        return await mend()
    finally:
        await sleep("1s")
        await tidy()
        await sleep("1m")


SEEN = ["RunStarted", "StepFinished mend", "TimerSet", "TimerFired", "FlagDecided", "StepFinished tidy", "TimerSet"]


@pytest.mark.parametrize("slow_after", range(1, len(SEEN) + 1))
def test_whoever_is_slow_while_the_run_is_retried_misses_nothing_of_what_is_stored_then(
    slow_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> tuple[list[Fact], list[Fact]]:
        async with Runtime(Settings(), store="memory://", clock=clock, flags={"new-way": True}) as rt:
            handle, seen = await rt.start(repair.options(id="one")), list[Fact]()
            events = handle.events()
            while len(seen) < slow_after:
                seen.append(await anext(events))
            await handle.result()
            monkeypatch.setattr(f"{__name__}.broken", False)
            assert await (await rt.retry("one")).result() == Ok("mended")
            return seen + [fact async for fact in events], list(await rt.facts("one"))

    followed, stored = clock.run(story(), longest=20)

    assert [spelt(fact) for fact in followed[:slow_after]] == SEEN[:slow_after]
    assert followed[-len(stored) + 1 :] == stored[1:]
    assert [spelt(fact) for fact in stored][:3] == ["RunStarted", "RunRetried", "FlagDecided"]


def spelt(fact: Fact) -> str:
    return " ".join([type(fact).__name__, *([fact.step] if isinstance(fact, StepFinished) else [])])


def test_what_is_followed_is_stored(store: str, tmp_path: Path) -> None:
    """Each fact can be read from the file at the moment when it arrives."""

    async def story() -> None:
        other = SqliteStore(tmp_path / "runs.db")
        await other.open()
        async with Runtime(Settings(), store=store, workflows=[gated], recover=False) as rt, asyncio.timeout(PATIENCE):
            seen, gates = 0, list[int]()
            async for fact in (await rt.handle("one")).events():
                assert (await other.read("one"))[seen] == fact
                seen += 1
                if isinstance(fact, TimerFired):
                    gates.append(open_gate(tmp_path))
                if isinstance(fact, RunFinished):
                    break
        os.close(gates[0])
        await other.close()

    asyncio.run(story())
