"""Several processes on one SQLite file: nobody waits long, nothing is lost, and one owner writes."""

import subprocess
import sys
from pathlib import Path

import pytest

from awaitly.model.state import Status
from awaitly.persist.ports import Appended, Owner
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation, more, stepped

APPENDS = 1500

WRITE = f"""
import asyncio, sys, time
from awaitly.persist.ports import Appended
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation, more, stepped

async def main(path, name):
    store = SqliteStore(path)
    await store.open()
    await store.append([creation(name)])
    longest = 0.0
    for number in range(1, {APPENDS} + 1):
        begun = time.monotonic()
        assert await store.append([more(name, number, stepped(number))]) == [Appended.STORED]
        longest = max(longest, time.monotonic() - begun)
        if number == 100:
            print("under way", flush=True)
    await store.close()
    print(longest)

asyncio.run(main(*sys.argv[1:]))
"""

OPEN = """
import asyncio, sys
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation

async def main(path, name):
    store = SqliteStore(path)
    await store.open()
    await store.append([creation(name)])
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""

RACE = """
import asyncio, sys
from awaitly.persist.ports import Appended
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation

async def main(path, name):
    store = SqliteStore(path)
    await store.open()
    sys.stdin.readline()
    won = []
    for number in range(300):
        run = f"run{number}"
        if (await store.claim(run, name)) is not None:
            won.append(run)
    await store.close()
    print(*won)

asyncio.run(main(*sys.argv[1:]))
"""


def start(program: str, path: Path, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: "subprocess.Popen[str]") -> str:
    try:
        out, err = process.communicate("\n", timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out


def test_two_processes_append_thousands_of_facts_without_loss(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    processes = [start(WRITE, path, name) for name in ("one", "two")]
    waits = [float(output(process).split()[-1]) for process in processes]
    assert max(waits) < 5.0  # nobody starves: far from the ten seconds after which a store gives up

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        for name in ("one", "two"):
            assert list(await store.read(name, after=0)) == [stepped(number) for number in range(1, APPENDS + 1)]
        await store.close()

    run(story())


def test_many_processes_make_one_store(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    for process in [start(OPEN, path, f"run{number}") for number in range(6)]:
        output(process)  # they open it all at once, and see it in every state between

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        assert {record.id for record in await store.list()} == {f"run{number}" for number in range(6)}
        await store.close()

    run(story())


def test_each_run_is_claimed_by_one_process(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    owners = [Owner(id=name, host="elsewhere", pid=1, started="1") for name in ("one", "two")]

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        for owner in owners:
            await store.register(owner, 3600.0)
        await store.append([creation(f"run{number}", owner=None) for number in range(300)])
        processes = [start(RACE, path, owner.id) for owner in owners]
        won = [set(output(process).split()) for process in processes]
        assert not won[0] & won[1]
        assert won[0] | won[1] == {f"run{number}" for number in range(300)}
        for owner, runs in zip(owners, won, strict=True):
            for name in runs:
                record = await store.find(name)
                assert record is not None
                assert (record.owner, record.fence, record.status) == (owner.id, 2, Status.RUNNING)
        await store.close()

    run(story())


def test_a_killed_process_leaves_a_store_that_works(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    process = start(WRITE, path, "one")
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    process.kill()
    process.communicate(timeout=60)

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        facts = await store.read("one", after=0)
        assert len(facts) >= 100
        assert list(facts) == [stepped(number) for number in range(1, len(facts) + 1)]
        assert list(await store.append([more("one", len(facts) + 1, stepped(7))])) == [Appended.STORED]
        await store.close()

    run(story())


@pytest.mark.parametrize("stale_first", [True, False])
def test_a_process_that_slept_through_its_lease_cannot_write(tmp_path: Path, run, stale_first: bool) -> None:
    """Both stores see the file as two processes do: nothing is shared between them."""
    path = tmp_path / "runs.db"

    async def story() -> None:
        sleeper, other = SqliteStore(path), SqliteStore(path)
        await sleeper.open()
        await other.open()
        await sleeper.append([creation("r", owner=None), creation("s", owner=None)])
        claim = await other.claim("r", "other")
        assert claim is not None
        late, right = more("r", 1, stepped(1)), more("r", 1, stepped(2), fence=claim.fence)
        if stale_first:
            assert list(await sleeper.append([late, more("s", 1, stepped(1))])) == [Appended.STALE, Appended.STORED]
            assert list(await other.append([right])) == [Appended.STORED]
        else:
            assert list(await other.append([right])) == [Appended.STORED]
            assert list(await sleeper.append([late, more("s", 1, stepped(1))])) == [Appended.STALE, Appended.STORED]
        assert list(await sleeper.read("r", after=0)) == [stepped(2)]
        assert list(await sleeper.lost({"r": 1, "s": 1})) == ["r"]
        await sleeper.close()
        await other.close()

    run(story())
