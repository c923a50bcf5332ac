"""What the store needs of a connection, and how one is made."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol


class Cursor(Protocol):
    """The rows of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows an ``INSERT``, ``UPDATE`` or ``DELETE`` changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""


class Connection(Protocol):
    """The part of ``sqlite3.Connection`` that the store uses, in autocommit mode. Errors are ``sqlite3.Error``."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = (), /) -> Cursor:
        """Run one statement."""

    def set_trace_callback(self, trace_callback: Callable[[str], object] | None, /) -> None:
        """Report every statement that runs."""

    def close(self) -> None:
        """Close the connection."""


def connect(path: str) -> Connection:
    """Open a file with the standard library; made and used by one thread.

    Waiting for locks is not left to SQLite, whose pauses grow to 100 ms: see ``Lane``.
    """
    return sqlite3.connect(path, timeout=0.0, isolation_level=None)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Hold the write lock; commit at the end, undo everything on an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors, such as a full disk, have undone it already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Let several queries see one state of the file, without the write lock."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def pragma(connection: Connection, name: str) -> Any:
    """Return the value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
