"""What the SQLite store costs: statements, threads, waiting; and several loops and connections at once."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from awaitly.errors import CorruptCheckpoint, StoreError
from awaitly.persist.ports import Appended
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation, ending, more, started, stepped


@pytest.fixture
def lanes() -> Callable[[], list[str]]:
    """The names of the threads that were started since."""
    before = set(threading.enumerate())
    return lambda: sorted(thread.name for thread in threading.enumerate() if thread not in before)


def verbs(traced: list[str]) -> list[str]:
    return [sql.split()[0] for sql in traced]


def test_nothing_is_made_before_opening_and_nothing_stays_after_closing(tmp_path: Path, run, lanes) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db")
        assert os.listdir(tmp_path) == []
        assert lanes() == []
        await store.open()
        await store.open()
        assert lanes() == ["awaitly-sqlite-reader", "awaitly-sqlite-writer"]
        await store.append([creation("r")])
        await store.close()
        await store.close()
        assert lanes() == []
        assert os.listdir(tmp_path) == ["runs.db"]

    run(story())


def test_an_opening_that_fails_leaves_no_thread(tmp_path: Path, run, lanes) -> None:
    (tmp_path / "runs.db").write_text("this is not a database" * 100)

    async def story() -> None:
        with pytest.raises(StoreError):
            await SqliteStore(tmp_path / "runs.db").open()

    run(story())
    assert lanes() == []


def test_a_store_that_is_not_open_says_so(tmp_path: Path, run) -> None:
    async def story() -> None:
        with pytest.raises(StoreError, match="is not open"):
            await SqliteStore(tmp_path / "runs.db").find("r")

    run(story())


def test_a_batch_of_facts_is_one_statement(tmp_path: Path, run) -> None:
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", trace=traced.append)
        await store.open()
        await store.append([creation(f"r{number}") for number in range(200)])
        traced.clear()
        await store.append([more(f"r{number}", 1, stepped(1)) for number in range(200)])
        assert verbs(traced) == ["INSERT"]
        traced.clear()
        await store.append([more("r0", 2, stepped(2))])
        assert verbs(traced) == ["INSERT"]
        await store.close()

    run(story())


def test_runs_begin_and_end_in_the_commit_of_their_facts(tmp_path: Path, run) -> None:
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", trace=traced.append)
        await store.open()
        traced.clear()
        await store.append([creation("r"), creation("s")])
        assert verbs(traced) == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
        traced.clear()
        await store.append([ending("r", 1), more("s", 1, stepped(1)), ending("s", 2)])
        assert verbs(traced) == ["BEGIN", "INSERT", "UPDATE", "COMMIT"]
        traced.clear()
        await store.read("r")
        assert verbs(traced) == ["SELECT"]
        await store.close()

    run(story())


def test_a_fact_is_one_row(tmp_path: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db")
        await store.open()
        await store.append([creation("r", *(stepped(number) for number in range(1, 10)))])
        await store.append([ending("r", 10)])
        await store.close()

    run(story())
    file = sqlite3.connect(tmp_path / "runs.db")
    tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = {name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    file.close()
    assert counts == {"runs": 1, "facts": 11, "owners": 0, "answers": 0, "outboxes": 0, "deliveries": 0}


def test_runs_are_found_by_their_index(tmp_path: Path, run) -> None:
    """A store of a million runs is as fast as an empty one."""
    plans: list[str] = []
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", trace=traced.append)
        await store.open()
        traced.clear()
        await store.append([creation("r"), creation("s")])
        await store.append([ending("r", 1), ending("s", 1)])
        await store.close()

    run(story())
    file = sqlite3.connect(tmp_path / "runs.db")
    for sql in traced:
        if sql.startswith(("INSERT", "UPDATE")):
            plans += [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {sql}")]
    file.close()
    touching = [plan for plan in plans if "runs" in plan]
    assert touching
    assert all(plan.startswith("SEARCH runs USING INDEX runs_by_id (id=?)") for plan in touching)


def test_an_answer_is_one_commit_and_asking_for_it_one_query_by_its_index(tmp_path: Path, run) -> None:
    """Also removing the expired ones looks at no more of them than it removes."""
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", trace=traced.append)
        await store.open()
        traced.clear()
        await store.remember("k", b"{}", now=100.0, expires=200.0)
        await store.recall("k", 150.0)
        await store.close()

    run(story())
    assert verbs(traced)[:5] == ["BEGIN", "INSERT", "DELETE", "COMMIT", "SELECT"]
    file = sqlite3.connect(tmp_path / "runs.db")
    plans = [row[3] for sql in (traced[2], traced[4]) for row in file.execute(f"EXPLAIN QUERY PLAN {sql}")]
    file.close()
    assert [plan for plan in plans if "answers" in plan] == [
        "SEARCH answers USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH answers USING COVERING INDEX answers_expiring (expires<?)",
        "SEARCH answers USING INDEX sqlite_autoindex_answers_1 (key=?)",
    ]


def test_a_store_serves_one_loop_after_another(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    asyncio.run(store.open())
    asyncio.run(store.append([creation("r")]))
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.extend(asyncio.run(store.append([more("r", 1, stepped(1))]))))
    thread.start()
    thread.join(10)
    assert answers == [Appended.STORED]
    assert list(asyncio.run(store.read("r"))) == [started(), stepped(1)]
    asyncio.run(store.close())


def test_cancelling_who_waits_does_not_undo_the_commit(tmp_path: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db")
        await store.open()
        waiting = asyncio.ensure_future(store.append([creation("r")]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert list(await store.append([creation("r")])) == [Appended.STORED]
        await store.close()

    run(story())


def test_a_loop_that_is_gone_harms_nobody(tmp_path: Path, run) -> None:
    store = SqliteStore(tmp_path / "runs.db")

    async def leave() -> None:
        await store.open()
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await store.append([creation("r")])

    loop = asyncio.new_event_loop()
    task = loop.create_task(leave())
    with pytest.raises(RuntimeError):
        loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), 10))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()

    async def story() -> None:
        assert list(await store.append([creation("r")])) == [Appended.STORED]
        await store.close()

    run(story())


def test_reading_does_not_wait_for_who_writes(tmp_path: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db")
        await store.open()
        await store.append([creation("r")])
        other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store.append([more("r", 1, stepped(1))]))
        assert list(await store.read("r")) == [started()]
        assert not waiting.done()
        other.execute("ROLLBACK")
        other.close()
        assert list(await waiting) == [Appended.STORED]
        await store.close()

    run(story())


def test_a_file_that_stays_locked_is_unavailable_and_can_be_used_later(tmp_path: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", patience=0.05)
        await store.open()
        await store.append([creation("r")])
        other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as caught:
            await store.append([more("r", 1, stepped(1))])
        assert caught.value.code == "store-unavailable"
        with pytest.raises(StoreError):
            await store.claim("r", "bob")
        other.execute("ROLLBACK")
        other.close()
        assert list(await store.append([more("r", 1, stepped(1))])) == [Appended.STORED]
        await store.close()

    run(story())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE facts SET detail = '{\"step\":' WHERE seq = 1",
        "UPDATE facts SET detail = '[]' WHERE seq = 1",
        "UPDATE facts SET detail = '{\"unknown\":1}' WHERE seq = 1",
        "UPDATE facts SET detail = replace(detail, 'value', 'valeu') WHERE seq = 1",
        "UPDATE facts SET detail = x'ff' WHERE seq = 1",
        "UPDATE facts SET payload = NULL WHERE seq = 1",
        "UPDATE facts SET payload = 7 WHERE seq = 1",
        "UPDATE facts SET call = NULL WHERE seq = 1",
        "UPDATE facts SET kind = 'StepFinnished' WHERE seq = 1",
        "UPDATE facts SET at = 'noon' WHERE seq = 1",
        "DELETE FROM facts WHERE seq = 1",
        "UPDATE facts SET kind = 'x' || cast(x'fffe' AS TEXT) WHERE seq = 1",
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, run, damage: str) -> None:
    async def story() -> CorruptCheckpoint:
        store = SqliteStore(tmp_path / "runs.db")
        await store.open()
        await store.append([creation("order:1", stepped(1), stepped(2))])
        other = sqlite3.connect(tmp_path / "runs.db")
        other.execute(damage)
        other.commit()
        other.close()
        with pytest.raises(CorruptCheckpoint) as caught:
            await store.read("order:1")
        await store.close()
        return caught.value

    error = run(story())
    assert "'order:1'" in str(error)
    assert "sequence number 1" in str(error)
    if "SET kind" not in damage and "DELETE" not in damage:
        assert "StepFinished" in str(error)


def test_an_opening_that_is_cancelled_ends_its_threads(tmp_path: Path, run, lanes) -> None:
    async def story() -> None:
        opening = asyncio.ensure_future(SqliteStore(tmp_path / "runs.db").open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    run(story())
    for thread in threading.enumerate():
        if thread.name in lanes():
            thread.join(5)
    assert lanes() == []


def test_batches_of_every_size_are_stored_whole(tmp_path: Path, run) -> None:
    """A thousand sizes share a few statements, which are filled up with rows that store nothing."""
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", relaxed=True, trace=traced.append)
        await store.open()
        await store.append([creation("r")])
        stored = 1
        for size in [*range(1, 40), 63, 64, 65, 127, 200, 255, 256, 257, 511, 513]:
            append = more("r", stored, *(stepped(number) for number in range(stored, stored + size)))
            assert list(await store.append([append])) == [Appended.STORED]
            stored += size
        assert list(await store.read("r", after=0)) == [stepped(number) for number in range(1, stored)]
        await store.close()

    run(story())
    assert len({sql.count("), (") + sql.count("),(") for sql in traced if sql.startswith("INSERT INTO facts")}) < 30
