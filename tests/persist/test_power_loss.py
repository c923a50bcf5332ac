"""Losing power at any instant loses nothing that was acknowledged.

SQLite runs on a file system that remembers every write. What was not synced when the power went may be on the disk
or not, each piece for itself: so from one history every possible disk can be made, at every instant.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from awaitly.model.facts import Fact
from awaitly.persist.ports import Append, Appended
from awaitly.persist.rows import Row, decoded
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import creation, ending, more, stepped

SECTOR = 512


@dataclass
class Write:
    file: str
    offset: int
    data: bytes


@dataclass
class Truncate:
    file: str
    size: int


@dataclass
class Sync:
    file: str


@dataclass
class Delete:
    file: str


@dataclass
class SyncDirectory:
    """Files that were deleted stay deleted."""


@dataclass
class Acknowledged:
    """The store said of an append that it is stored."""

    number: int


Event = Write | Truncate | Sync | Delete | SyncDirectory | Acknowledged


class Recorder(apsw.VFS):
    """The real file system, with a history."""

    def __init__(self, name: str, history: list[Event]) -> None:
        self.name = name
        self.history = history
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "RecordedFile":  # noqa: N802 - SQLite's names
        return RecordedFile(name, flags, self.history)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802 - SQLite's names
        super().xDelete(name, sync_directory)
        self.history.append(Delete(Path(name).name))
        if sync_directory:
            self.history.append(SyncDirectory())


class RecordedFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], history: list[Event]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.file = Path(path).name
        self.history = history
        # SQLite syncs the directory with the first sync of a journal, where nobody who wraps its files can see it.
        self.directory_too = self.file.endswith(("-journal", "-wal"))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's names
        super().xWrite(data, offset)
        self.history.append(Write(self.file, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's names
        super().xTruncate(size)
        self.history.append(Truncate(self.file, size))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's names
        super().xSync(flags)
        self.history.append(Sync(self.file))
        if self.directory_too:
            self.history.append(SyncDirectory())
            self.directory_too = False


class Rows:
    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows


class Adapted:
    """An APSW connection that looks like one of the standard library."""

    def __init__(self, path: str, vfs: str, spelling: Callable[[str], str]) -> None:
        self._connection = apsw.Connection(path, vfs=vfs)
        self._spelling = spelling
        self.set_trace_callback = self._connection.set_exec_trace

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:
        try:
            rows = self._connection.execute(self._spelling(sql), parameters).fetchall()
        except apsw.Error as error:
            kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
            raised = kind(str(error))
            raised.sqlite_errorcode = error.extendedresult  # type: ignore[attr-defined]  # only sqlite3 itself sets it
            raise raised from error
        return Rows(rows, self._connection.changes())

    def close(self) -> None:
        self._connection.close()


@dataclass
class Disk:
    """What is on the disk for certain, and what may be."""

    files: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Write | Truncate | Delete]] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        match event:
            case Write() | Truncate() | Delete():
                self.pending.setdefault(event.file, []).append(event)
            case Sync():
                _apply(self.files, self.pending.pop(event.file, []))
            case SyncDirectory():
                for name, events in self.pending.items():
                    done = max((at for at, event in enumerate(events, 1) if isinstance(event, Delete)), default=0)
                    if done:
                        self.files.pop(name, None)
                        del events[:done]

    def after_power_loss(self, choice: str, random: Random) -> dict[str, bytearray]:
        """Return one of the disks that there may be: with any subset of what was not synced, some writes torn."""
        files = {name: bytearray(content) for name, content in self.files.items()}
        for events in self.pending.values():
            if choice == "all":
                _apply(files, events)
            elif choice == "some":
                _apply(files, [piece for event in events for piece in _pieces(event) if random.random() < 0.5])
        return files


def _pieces(event: Write | Truncate | Delete) -> Iterator[Write | Truncate | Delete]:
    if not isinstance(event, Write):
        yield event
        return
    for start in range(0, len(event.data), SECTOR):
        yield Write(event.file, event.offset + start, event.data[start : start + SECTOR])


def _apply(files: dict[str, bytearray], events: Sequence[Write | Truncate | Delete]) -> None:
    for event in events:
        match event:
            case Write(name, offset, data):
                content = files.setdefault(name, bytearray())
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
            case Truncate(name, size):
                content = files.setdefault(name, bytearray())
                del content[size:]
                content.extend(bytes(size - len(content)))
            case Delete(name):
                files.pop(name, None)


WORK: list[list[Append]] = [
    [creation("a"), creation("b", stepped(1))],
    *[[more("a", number, stepped(number))] for number in range(1, 12)],
    *[[more("a", number, stepped(number, payload=bytes(9000))), creation(f"c{number}")] for number in range(12, 16)],
    [ending("b", 2)],
    *[[more("a", number, stepped(number)), more("c12", number - 15, stepped(number))] for number in range(16, 24)],
    [ending("a", 24)],
]


def expected(acknowledged: int) -> dict[str, list[Fact]]:
    """Return what must be there once so many appends were acknowledged."""
    facts: dict[str, list[Fact]] = {}
    for batch in WORK[:acknowledged]:
        for append in batch:
            facts.setdefault(append.run, []).extend(append.facts)
    return facts


def usual(sql: str) -> str:
    """Checkpoint after a few pages, so that checkpoints are part of the history."""
    return "PRAGMA wal_autocheckpoint = 12" if "wal_autocheckpoint" in sql else sql


def careless(sql: str) -> str:
    """Never wait for the disk."""
    return usual(sql).replace("synchronous = NORMAL", "synchronous = OFF")


def history(tmp_path: Path, run: Any, spelling: Callable[[str], str], *, relaxed: bool = False) -> list[Event]:
    events: list[Event] = []
    recorder = Recorder(f"recorder-{tmp_path.name}", events)
    (tmp_path / "live").mkdir()

    async def story() -> None:
        store = SqliteStore(
            tmp_path / "live" / "runs.db", relaxed=relaxed, connect=lambda path: Adapted(path, recorder.name, spelling)
        )
        await store.open()
        for number, batch in enumerate(WORK, 1):
            assert set(await store.append(batch)) == {Appended.STORED}
            events.append(Acknowledged(number))
        await store.close()

    run(story())
    return events


def instants(events: list[Event], seed: int) -> Iterator[tuple[int, dict[str, bytearray]]]:
    """Yield how much was acknowledged, and a disk, for a power loss after every event."""
    random = Random(seed)
    disk, acknowledged = Disk(), 0
    for event in events:
        disk.see(event)
        if isinstance(event, Acknowledged):
            acknowledged = event.number
        for choice in ("none", "all", "some"):
            yield acknowledged, disk.after_power_loss(choice, random)


def recovered(directory: Path, files: dict[str, bytearray]) -> tuple[bool, dict[str, list[Fact]]]:
    """Restore the power: whether the database is intact, and the facts that SQLite finds in it."""
    for old in directory.iterdir():
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    connection = sqlite3.connect(directory / "runs.db")
    try:
        intact = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchall():
            return intact, {}
        rows = "SELECT id, seq, at, kind, call, detail, payload FROM runs JOIN facts ON run = n ORDER BY n, seq"
        found: dict[str, list[Fact]] = {}
        for id, seq, *columns in connection.execute(rows).fetchall():
            found.setdefault(id, []).append(decoded(id, seq, Row(*columns)))
        return intact, found
    except sqlite3.DatabaseError:
        return False, {}
    finally:
        connection.close()


def is_there(wanted: dict[str, list[Fact]], found: dict[str, list[Fact]]) -> bool:
    return all(found.get(run, [])[: len(facts)] == facts for run, facts in wanted.items())


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_survives_a_power_loss_at_every_instant(tmp_path: Path, run: Any, seed: int) -> None:
    events = history(tmp_path, run, usual)
    assert sum(isinstance(event, Sync) for event in events) > len(WORK)
    assert sum(isinstance(event, Write) and event.file == "runs.db" for event in events) > 10  # checkpoints
    disk = tmp_path / "disk"
    disk.mkdir()
    for instant, (acknowledged, files) in enumerate(instants(events, seed)):
        intact, found = recovered(disk, files)
        assert intact, f"seed {seed}: damaged at instant {instant}"
        assert is_there(expected(acknowledged), found), f"seed {seed}: lost at instant {instant}"
        # Of the append that was under way there is all or nothing.
        assert found in (expected(acknowledged), expected(acknowledged + 1)), f"seed {seed}: torn at {instant}"


def test_the_store_itself_goes_on_after_a_power_loss(tmp_path: Path, run: Any) -> None:
    """The same appends are sent again, as an owner does that got no answer, and the run goes on to its end."""
    events = history(tmp_path, run, usual)
    disk = tmp_path / "disk"
    disk.mkdir()

    async def story() -> None:
        for acknowledged, files in list(instants(events, 3))[::23]:
            recovered(disk, files)
            store = SqliteStore(disk / "runs.db")
            await store.open()
            for batch in WORK[max(0, acknowledged - 1) :]:
                assert set(await store.append(batch)) == {Appended.STORED}
            for name, facts in expected(len(WORK)).items():
                assert list(await store.read(name)) == facts
            await store.close()

    run(story())


def test_without_syncing_acknowledged_facts_are_lost(tmp_path: Path, run: Any) -> None:
    """The simulation has teeth: the same instants lose facts when nobody waits for the disk."""
    events = history(tmp_path, run, careless, relaxed=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    lost = 0
    for acknowledged, files in instants(events, 1):
        _, found = recovered(disk, files)
        lost += not is_there(expected(acknowledged), found)
    assert lost > len(WORK)


def test_relaxed_durability_loses_the_end_and_breaks_nothing(tmp_path: Path, run: Any) -> None:
    """Whoever accepts the loss gets a store of an earlier instant, never a damaged one."""
    events = history(tmp_path, run, usual, relaxed=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    states = [expected(number) for number in range(len(WORK) + 1)]
    lost = 0
    for acknowledged, files in instants(events, 1):
        intact, found = recovered(disk, files)
        assert intact
        assert found in states
        lost += not is_there(states[acknowledged], found)
    assert lost > 0
