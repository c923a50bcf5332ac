"""Counting what a contender asks of SQLite, from the statements that its connections traced."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Statements:
    """The statements of several connections, in the order they ran; appending is safe from any thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []
        self._connections = 0

    def connection(self) -> Callable[[str], None]:
        """A trace callback for one more connection."""
        self._connections += 1
        number = self._connections

        def trace(sql: str) -> None:
            self.seen.append((number, sql))

        return trace


@dataclass(frozen=True, slots=True)
class Tally:
    """How many statements ran, how many of them only read, and how many commits they made."""

    statements: int
    reads: int
    commits: int


def tally(seen: Iterable[tuple[int, str]]) -> Tally:
    """Fold traced statements; a write outside a transaction counts as a commit of its own."""
    statements = reads = commits = 0
    dirty: dict[int, bool] = {}

    for connection, sql in seen:
        verb = _verb(sql)
        if verb.startswith("--"):  # a trigger's inner statement
            continue
        statements += 1
        if verb == "SELECT":
            reads += sql.strip() != "SELECT 1"  # a connection pool's ping reads no table
        elif verb == "BEGIN":
            dirty[connection] = False
        elif verb in _WRITES:
            if connection in dirty:
                dirty[connection] = True
            else:
                commits += 1
        elif verb in ("COMMIT", "END"):
            commits += dirty.pop(connection, False)  # an empty transaction reaches no disk
        elif verb == "ROLLBACK":
            dirty.pop(connection, None)

    return Tally(statements, reads, commits)


def rows(path: Path) -> int:
    """All rows of all tables in the file, seen by a connection of our own."""
    connection = sqlite3.connect(path)
    try:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return sum(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables)
    finally:
        connection.close()


def _verb(sql: str) -> str:
    text = sql.lstrip().upper()
    if text.startswith("WITH"):
        return next((verb for verb in _WRITES if f"{verb} " in text), "SELECT")
    return text.split(None, 1)[0].rstrip(";") if text else "--"
