"""The store itself: which lane does what."""

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import Path
from time import monotonic as system_monotonic
from typing import TypeVar

from awaitly.errors import StoreError
from awaitly.model.facts import Fact
from awaitly.model.state import RunRecord, Status
from awaitly.persist.owners import Lapses
from awaitly.persist.ports import Append, Appended, Claim, Owner, Position, Undelivered
from awaitly.persist.stores.sqlite import answers, appends, catalog, deliveries, leases, schema
from awaitly.persist.stores.sqlite.connections import Connection, connect, pragma, snapshot
from awaitly.persist.stores.sqlite.failures import translated
from awaitly.persist.stores.sqlite.lanes import Lane

T = TypeVar("T")

_OLDEST = (3, 33)  # the first one with UPDATE ... FROM
_FULL = 2  # what PRAGMA synchronous answers
# Commits into a log that has its full length already are nearly twice as fast as those that make it longer: so it is
# kept short. Checkpoints of this size take a few milliseconds, once in several hundred commits.
_CHECKPOINT_PAGES = 1000


class SqliteStore:
    """Keeps runs in an SQLite file, in WAL mode. Several processes may use one file.

    Args:
        path: the file; it is made if it does not exist, its directory is not.
        relaxed: commit without waiting for the disk: a power failure may lose what was acknowledged last.
        trace: called with every SQL statement, in the thread that runs it.
        connect: makes a connection to a path, in autocommit mode and without waiting for locks.
        monotonic: the clock of leases.
        patience: how many seconds to wait while other processes write.
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        relaxed: bool = False,
        trace: Callable[[str], object] | None = None,
        connect: Callable[[str], Connection] = connect,
        monotonic: Callable[[], float] = system_monotonic,
        patience: float = 10.0,
    ) -> None:
        self._path = os.fspath(path)
        self._relaxed = relaxed
        self._trace = trace
        self._connect = connect
        self._patience = patience
        self._lapses = Lapses(monotonic)
        self._writer: Lane | None = None
        self._reader: Lane | None = None
        self._opens = 0

    @property
    def name(self) -> str:
        """The URL of the file."""
        return f"sqlite:///{self._path}"

    async def open(self) -> None:
        """Connect and bring the schema up to date.

        Raises:
            StoreError: ``not-a-store``, ``store-newer``, ``store-read-only``, ``weak-durability``, ``store-full``,
                ``store-corrupt`` or ``store-unavailable``. A file of another program is left as it was.
        """
        if self._writer is None:
            writer, reader = await self._lanes()
            if self._writer is None:
                self._writer, self._reader = writer, reader
            else:  # somebody else opened it meanwhile
                await _stop(writer, reader, _nothing)
        self._opens += 1

    async def close(self) -> None:
        """Finish what is under way, move everything into the file itself, and disconnect: the last who opened it."""
        self._opens = max(self._opens - 1, 0)
        writer, reader = self._writer, self._reader
        if self._opens or writer is None or reader is None:
            return
        self._writer = self._reader = None
        await _stop(writer, reader, _empty_wal)

    async def append(self, batch: Sequence[Append]) -> Sequence[Appended]:
        """Store the appends of many runs in one commit, each wholly or not at all."""
        planned = appends.statements(batch)
        return await self._write(lambda connection: appends.store(connection, batch, planned))

    async def read(self, run: str, *, after: int = -1) -> Sequence[Fact]:
        """Return the facts of a run in order, by one query.

        Raises:
            CorruptCheckpoint: If a row does not hold a fact, or one is missing.
        """
        return await self._read(lambda connection: catalog.read(connection, run, after))

    async def truncate(self, run: str, fence: int, first: int, fact: Fact) -> bool:
        """Put one fact in the place of those from ``first`` on, and make an ended run ``RUNNING``."""
        return await self._write(lambda connection: appends.truncate(connection, run, fence, first, fact))

    async def register(self, owner: Owner, ttl: float) -> None:
        """Make an owner known, with a lease of ``ttl`` seconds."""
        await self._write(lambda connection: leases.register(connection, owner, ttl))

    async def renew(self, owner: str) -> bool:
        """Prolong an owner's lease from now; False if the owner is not known."""
        return await self._write(lambda connection: leases.renew(connection, owner))

    async def retire(self, owner: str) -> None:
        """Forget an owner and release its runs."""
        await self._write(lambda connection: leases.retire(connection, owner))

    async def claim(self, run: str, owner: str, *, ended: bool = False) -> Claim | None:
        """Take a run that nobody alive owns, with the next fence."""
        return await self._write(lambda connection: leases.claim(connection, self._lapses, run, owner, ended))

    async def release(self, run: str, fence: int, *, counted: bool = False) -> None:
        """Give a run back as ``PENDING``; does nothing if the fence is stale."""
        await self._write(lambda connection: leases.release(connection, run, fence, counted))

    async def lost(self, fences: Mapping[str, int]) -> Sequence[str]:
        """Return the runs that somebody else has claimed since."""
        return await self._read(lambda connection: leases.lost(connection, fences))

    async def living(self, owners: Collection[str]) -> Set[str]:
        """Return which of these owners are alive, or may be."""
        return await self._read(lambda connection: leases.living(connection, self._lapses, owners))

    async def claimable(self, workflows: Sequence[str], limit: int, *, after: str | None = None) -> Sequence[RunRecord]:
        """Return unfinished runs of these workflows that nobody alive owns, oldest first."""
        return await self._read(lambda connection: leases.claimable(connection, self._lapses, workflows, limit, after))

    async def request_cancel(self, run: str, reason: str) -> bool:
        """Store a request for cancellation, the first one counting; False if the run has ended or is unknown."""
        return await self._write(lambda connection: catalog.request_cancel(connection, run, reason))

    async def cancels(self, owner: str) -> Sequence[tuple[str, str]]:
        """Return (run, reason) of the requests for runs that ``owner`` owns."""
        return await self._read(lambda connection: catalog.cancels(connection, owner))

    async def find(self, run: str) -> RunRecord | None:
        """Return the record of a run."""
        return await self._read(lambda connection: catalog.find(connection, run))

    async def list(
        self, *, workflow: str | None = None, status: Status | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[RunRecord]:
        """Return records, newest first."""
        return await self._read(lambda connection: catalog.page(connection, workflow, status, limit, before))

    async def count(self) -> Mapping[tuple[str, Status], int]:
        """Return how many runs there are by workflow and status."""
        return await self._read(catalog.count)

    async def purge(self, *, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        """Remove runs that ended before a time, with their facts, and answers that expired before it."""
        if workflow is None:
            await self._write(lambda connection: answers.forget(connection, ended_before, limit))
        return await self._write(
            lambda connection: leases.purge(connection, self._lapses, ended_before, limit, workflow)
        )

    async def recall(self, key: str, now: float) -> bytes | None:
        """Return what is remembered under a key, unless it has expired."""
        return await self._read(lambda connection: answers.recall(connection, key, now))

    async def remember(self, key: str, data: bytes, *, now: float, expires: float) -> None:
        """Keep ``data`` under a key; some of what has expired goes."""
        await self._write(lambda connection: answers.remember(connection, key, data, now, expires))

    async def hold(self, outbox: str, owner: str) -> bool:
        """Let an owner deliver for an outbox from now on; False if another one that is alive does."""

        def job(connection: Connection) -> bool:
            return deliveries.hold(
                connection, outbox, owner, lambda holder: leases.alive(connection, self._lapses, holder)
            )

        return await self._write(job)

    async def undelivered(
        self, outbox: str, limit: int, *, ended: bool = False, after: str | None = None
    ) -> Sequence[Undelivered]:
        """Return runs with facts that were not delivered, oldest first."""
        return await self._read(lambda connection: deliveries.undelivered(connection, outbox, limit, ended, after))

    async def delivered(self, outbox: str, owner: str, upto: Sequence[Position]) -> bool:
        """Note up to which fact some runs were delivered; False if another holds the outbox."""
        return await self._write(lambda connection: deliveries.note(connection, outbox, owner, upto))

    async def _write(self, job: Callable[[Connection], T]) -> T:
        return await self._opened(self._writer).do(job)

    async def _read(self, job: Callable[[Connection], T]) -> T:
        return await self._opened(self._reader).do(job)

    def _opened(self, lane: Lane | None) -> Lane:
        if lane is None:
            raise StoreError(
                f"{self.name} is not open", hint="await store.open() before using it", code="store-unavailable"
            )
        return lane

    async def _lanes(self) -> tuple[Lane, Lane]:
        self._refuse_unusable_path()
        writer, reader = self._lane("writer"), self._lane("reader")
        await writer.start(self._prepare)
        try:
            await reader.start(_only_read)
        except BaseException:
            await writer.stop(_nothing)
            raise
        return writer, reader

    def _lane(self, task: str) -> Lane:
        return Lane(f"awaitly-sqlite-{task}", self._connected, self._translated, self._patience)

    def _connected(self) -> Connection:
        connection = self._connect(self._path)
        if self._trace is not None:
            connection.set_trace_callback(self._trace)
        return connection

    def _translated(self, error: sqlite3.Error) -> StoreError:
        return translated(error, self.name, self._path)

    def _refuse_unusable_path(self) -> None:
        path = Path(self._path)
        if path.is_dir():
            raise StoreError(
                f"{self.name} is a directory",
                hint=f"name a file in it, for example {path / 'runs.db'}",
                code="not-a-store",
            )
        if not path.parent.is_dir():
            raise StoreError(
                f"{self.name} cannot be made: there is no directory {str(path.parent)!r}",
                hint="make the directory first, or name another file",
                code="store-unavailable",
            )

    def _refuse_old_library(self, connection: Connection) -> None:
        (version,) = connection.execute("SELECT sqlite_version()").fetchone()
        if tuple(map(int, version.split("."))) < _OLDEST:
            raise StoreError(
                f"{self.name} needs SQLite {'.'.join(map(str, _OLDEST))} or later; this Python has {version}",
                hint="use a Python that was built with a newer SQLite",
                code="store-unavailable",
            )

    def _prepare(self, connection: Connection) -> None:
        """Set the writer up; nothing is written before the file is known to be ours or empty."""
        self._refuse_old_library(connection)
        with snapshot(connection):
            schema.check(connection, self.name)
        journal = pragma(connection, "journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if self._relaxed else 'FULL'}")
        level = pragma(connection, "synchronous")
        if not self._relaxed and (journal != "wal" or level < _FULL):
            raise StoreError(
                f"{self.name} would lose acknowledged steps when the power fails:"
                f" its journal mode is {journal!r} and synchronous is {level}",
                hint="name a file on a local disk, or add ?durability=relaxed to accept the loss",
                code="weak-durability",
            )
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        schema.migrate(connection, self.name)


async def _stop(writer: Lane, reader: Lane, last: Callable[[Connection], None]) -> None:
    await reader.stop(_nothing)
    await writer.stop(last)


def _only_read(connection: Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def _empty_wal(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _nothing(_: Connection) -> None:
    """Do nothing last."""
