"""DBOS on its SQLite system database, through its public async API.

DBOS sets neither `journal_mode` nor `synchronous` (it sets `busy_timeout` and `foreign_keys`), so as it comes it runs
with SQLite's defaults: a rollback journal. The journal mode is a property of the file, so a second variant prepares it.
Nothing leaves the machine: no conductor key, no OTLP, no enterprise feature.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found,unused-ignore]
from sqlalchemy import event  # type: ignore[import-not-found,unused-ignore]
from sqlalchemy.pool import Pool  # type: ignore[import-not-found,unused-ignore]

from contenders.session import Session, require
from counting import Statements


@DBOS.step()  # type: ignore[misc,untyped-decorator,unused-ignore]
async def bump(value: int) -> int:
    return value + 1


@DBOS.workflow()  # type: ignore[misc,untyped-decorator,unused-ignore]
async def chain(start: int, steps: int) -> int:
    value = start
    for _ in range(steps):
        value = await bump(value)
    return value


class _Dbos:
    def __init__(self, connections: list[sqlite3.Connection]) -> None:
        self._connections = connections

    async def run(self, run: int, steps: int) -> None:
        with SetWorkflowID(f"bench:{run}"):
            require(await chain(run, steps), run, steps)

    async def together(self, first: int, runs: int, steps: int) -> None:
        await asyncio.gather(*(self.run(run, steps) for run in range(first, first + runs)))

    async def settings(self) -> str:
        own = self._connections[0]
        mode = own.execute("PRAGMA journal_mode").fetchone()[0]
        level = own.execute("PRAGMA synchronous").fetchone()[0]
        return f"journal_mode={mode}, synchronous={level}"


@asynccontextmanager
async def as_shipped(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """DBOS with its own defaults."""
    connections: list[sqlite3.Connection] = []

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connections.append(connection)
        if statements is not None:
            connection.set_trace_callback(statements.connection())

    event.listen(Pool, "connect", watch)
    DBOS(config={"name": "bench-steps", "system_database_url": f"sqlite:///{path}", "log_level": "WARNING"})
    DBOS.launch()
    try:
        yield _Dbos(connections)
    finally:
        DBOS.destroy()
        event.remove(Pool, "connect", watch)


@asynccontextmanager
async def in_wal(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """DBOS on a file that was switched to WAL before it was opened."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    async with as_shipped(path, statements) as session:
        yield session
