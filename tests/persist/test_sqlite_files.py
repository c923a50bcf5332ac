"""Files that cannot be used as a store say why, and are left as they were."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from awaitly.errors import StoreError
from awaitly.persist.ports import Appended
from awaitly.persist.stores.sqlite import SqliteStore, schema
from awaitly.persist.stores.sqlite.connections import Connection, connect
from awaitly.testing.conformance import creation, ending, more, started, stepped


async def opening(store: SqliteStore) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await store.open()
    return caught.value


def test_a_text_file_is_refused_and_left_alone(tmp_path: Path, run) -> None:
    path = tmp_path / "notes.db"
    path.write_text("remember the milk, and everything else that is longer than the header of a database\n" * 20)
    before = path.read_bytes()
    error = run(opening(SqliteStore(path)))
    assert error.code == "not-a-store"
    assert str(path) in str(error)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["notes.db"]


def test_a_short_text_file_is_refused_too(tmp_path: Path, run) -> None:
    path = tmp_path / "notes.db"
    path.write_text("milk")
    assert run(opening(SqliteStore(path))).code == "not-a-store"
    assert path.read_text() == "milk"


@pytest.mark.parametrize(
    "marked", ["CREATE TABLE customers (id)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"]
)
def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, run, marked: str) -> None:
    path = tmp_path / "shop.db"
    foreign = sqlite3.connect(path)
    foreign.execute(marked)
    foreign.close()
    before = path.read_bytes()
    assert run(opening(SqliteStore(path))).code == "not-a-store"
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["shop.db"]


def test_a_store_of_a_later_version_is_refused(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"

    async def story() -> StoreError:
        store = SqliteStore(path)
        await store.open()
        await store.close()
        later = sqlite3.connect(path)
        later.execute("PRAGMA user_version = 99")
        later.close()
        return await opening(SqliteStore(path))

    error = run(story())
    assert error.code == "store-newer"
    assert "99" in str(error)


@pytest.fixture
def earlier(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the first version, with a run in it."""
    path = tmp_path / "runs.db"

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.append([creation("r", stepped(1))])
        await store.close()

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        run(story())
    return path


def test_a_store_of_an_earlier_version_is_brought_up_to_date_and_keeps_what_it_holds(earlier: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(earlier)
        await store.open()
        assert list(await store.read("r")) == [started(), stepped(1)]
        assert list(await store.append([more("r", 2, stepped(2))])) == [Appended.STORED]
        await store.remember("k", b"{}", now=100.0, expires=200.0)
        assert await store.recall("k", 150.0) == b"{}"
        await store.close()

    run(story())
    file = sqlite3.connect(earlier)
    assert file.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    file.close()


def test_many_that_open_a_store_of_an_earlier_version_at_once_bring_it_up_to_date_once(earlier: Path, run) -> None:
    async def story() -> None:
        stores = [SqliteStore(earlier) for _ in range(8)]
        await asyncio.gather(*(store.open() for store in stores))
        for number, store in enumerate(stores):
            await store.remember(f"k{number}", b"{}", now=100.0, expires=200.0)
        assert [await stores[0].recall(f"k{number}", 150.0) for number in range(8)] == [b"{}"] * 8
        for store in stores:
            await store.close()

    run(story())


def test_an_empty_file_becomes_a_store(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    path.touch()

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        assert list(await store.append([creation("r")])) == [Appended.STORED]
        await store.close()

    run(story())


def test_a_missing_directory_is_named_and_not_made(tmp_path: Path, run) -> None:
    error = run(opening(SqliteStore(tmp_path / "missing" / "runs.db")))
    assert error.code == "store-unavailable"
    assert repr(str(tmp_path / "missing")) in str(error)
    assert os.listdir(tmp_path) == []


def test_a_directory_is_no_store(tmp_path: Path, run) -> None:
    assert run(opening(SqliteStore(tmp_path))).code == "not-a-store"


def test_a_damaged_database_is_reported(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"

    async def story() -> StoreError:
        store = SqliteStore(path)
        await store.open()
        await store.append([creation("r", *(stepped(number) for number in range(200)))])
        await store.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + b"\x55" * (len(whole) - 4096))
        try:
            await store.open()
            await store.read("r")
        except StoreError as error:
            return error
        finally:
            await store.close()
        raise AssertionError("the damage was not noticed")

    assert run(story()).code == "store-corrupt"


def weak(path: str) -> Connection:
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    if sys.platform == "linux":
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    return Weakened(connection)


class Weakened:
    """A connection that cannot be told to wait for the disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.set_trace_callback = connection.set_trace_callback
        self.close = connection.close

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters=(), /) -> sqlite3.Cursor:
        return self._connection.execute(sql.replace("synchronous = FULL", "synchronous = NORMAL"), parameters)


def test_less_than_durable_is_refused(tmp_path: Path, run) -> None:
    error = run(opening(SqliteStore(tmp_path / "runs.db", connect=weak)))
    assert error.code == "weak-durability"
    assert "durability=relaxed" in str(error)


def test_a_database_in_memory_is_refused(run) -> None:
    assert run(opening(SqliteStore(":memory:"))).code == "weak-durability"


@pytest.mark.parametrize(("relaxed", "level"), [(False, "FULL"), (True, "NORMAL")])
def test_commits_wait_for_the_disk_unless_relaxed(tmp_path: Path, run, relaxed: bool, level: str) -> None:
    traced: list[str] = []

    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", relaxed=relaxed, trace=traced.append)
        await store.open()
        await store.close()

    run(story())
    assert f"PRAGMA synchronous = {level}" in traced


def limited(pages: int) -> Callable[[str], Connection]:
    """Connections to a database that cannot grow beyond some pages: SQLite's own way to have a full disk."""

    def connecting(path: str) -> Connection:
        connection = connect(path)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    return connecting


def test_a_full_store_says_so_and_keeps_what_it_acknowledged(tmp_path: Path, run) -> None:
    path = tmp_path / "runs.db"
    heavy = b"x" * 20_000

    async def story() -> None:
        store = SqliteStore(path, connect=limited(40))
        await store.open()
        await store.append([creation("r", owner=None)])
        stored, code = 1, None
        while code is None:
            try:
                await store.append([more("r", stored, stepped(stored, payload=heavy))])
                stored += 1
            except StoreError as error:
                code = error.code
        assert code == "store-full"
        # Reading goes on, and so does whatever fits.
        assert len(await store.read("r")) == stored
        await store.close()

        roomier = SqliteStore(path)
        await roomier.open()
        claim = await roomier.claim("r", "bob")
        assert claim is not None
        expected = [started(), *(stepped(number, payload=heavy) for number in range(1, stored))]
        assert list(await roomier.read("r")) == expected
        again = [
            more("r", stored, stepped(stored, payload=heavy), fence=claim.fence),
            ending("r", stored + 1, fence=claim.fence),
        ]
        assert list(await roomier.append(again)) == [Appended.STORED] * 2
        await roomier.close()

    run(story())


def test_a_full_store_writes_none_of_a_batch(tmp_path: Path, run) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "runs.db", connect=limited(40))
        await store.open()
        batch = [creation(f"r{number}", stepped(1, payload=b"x" * 20_000)) for number in range(20)]
        with pytest.raises(StoreError) as caught:
            await store.append(batch)
        assert caught.value.code == "store-full"
        assert list(await store.list()) == []
        assert list(await store.append(batch[:1])) == [Appended.STORED]
        await store.close()

    run(story())


SMALL_DISK = """
import asyncio, subprocess, sys
from awaitly.errors import StoreError
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation, more, started, stepped

async def main(directory):
    store = SqliteStore(directory + "/runs.db")
    await store.open()
    await store.append([creation("r")])
    stored = 1
    try:
        while stored < 200:
            await store.append([more("r", stored, stepped(stored, payload=b"x" * 20_000))])
            stored += 1
    except StoreError as error:
        code = error.code
    await store.close()
    subprocess.run(["mount", "-o", "remount,size=8m", directory], check=True)
    await store.open()
    facts = await store.read("r")
    await store.append([more("r", len(facts), stepped(1))])
    await store.close()
    print(code, len(facts) == stored, facts[0] == started())

asyncio.run(main(sys.argv[1]))
"""


def test_a_disk_that_is_really_full_loses_nothing_either(tmp_path: Path) -> None:
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"', "sh"]
    try:
        done = subprocess.run(
            [*mount, str(tmp_path), sys.executable, SMALL_DISK], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("may not mount a file system here")
    assert done.stdout.split() == ["store-full", "True", "True"], done.stderr


READ_ONLY = """
import asyncio, os, sys
from awaitly.errors import StoreError
from awaitly.persist.stores.sqlite import SqliteStore

if os.getuid() == 0:  # whom no permission binds
    os.setgid(65534)
    os.setuid(65534)

async def main(path):
    try:
        await SqliteStore(path).open()
    except StoreError as error:
        print(error.code)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's here")
@pytest.mark.parametrize("existing", [True, False])
def test_a_store_that_may_not_be_written_is_read_only(open_directory: Path, run, existing: bool) -> None:
    path = open_directory / "runs.db"

    async def story() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.append([creation("r")])
        await store.close()

    if existing:
        run(story())
        path.chmod(0o444)
    open_directory.chmod(0o555)
    before = os.listdir(open_directory)

    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["store-read-only"], done.stderr
    assert os.listdir(open_directory) == before


@pytest.fixture
def open_directory():
    """A directory that every user can enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)
        Path(made).chmod(0o755)
