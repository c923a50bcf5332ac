"""The floor: what SQLite itself allows, with nothing around it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from contenders.session import Session
from counting import Statements

_SCHEMA = """
CREATE TABLE outcomes (run TEXT, seq INTEGER, step TEXT, value BLOB, PRIMARY KEY (run, seq)) WITHOUT ROWID
"""
_INSERT = "INSERT INTO outcomes VALUES (?, ?, ?, ?)"


class _Single:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def run(self, run: int, steps: int) -> None:
        for number in range(steps):
            with self._connection:
                self._connection.execute(_INSERT, (f"bench:{run}", number, "bump", b"%d" % (run + number + 1)))

    async def together(self, first: int, runs: int, steps: int) -> None:
        for run in range(first, first + runs):
            await self.run(run, steps)

    async def settings(self) -> str:
        mode = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        level = self._connection.execute("PRAGMA synchronous").fetchone()[0]
        return f"journal_mode={mode}, synchronous={level}"


class _Grouped(_Single):
    async def together(self, first: int, runs: int, steps: int) -> None:
        for number in range(steps):
            batch = [(f"bench:{run}", number, "bump", b"%d" % (run + number + 1)) for run in range(first, first + runs)]
            with self._connection:
                self._connection.executemany(_INSERT, batch)


@asynccontextmanager
async def single(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """One insert and one commit for each step."""
    connection = _connect(path, statements)
    yield _Single(connection)
    connection.close()


@asynccontextmanager
async def grouped(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """One commit for the same step of all runs: the upper bound of what sharing commits can give."""
    connection = _connect(path, statements)
    yield _Grouped(connection)
    connection.close()


def _connect(path: Path, statements: Statements | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(_SCHEMA)
    if statements is not None:
        connection.set_trace_callback(statements.connection())
    return connection
