"""Answers of caches, and removing those that have expired."""

from awaitly.persist.stores.sqlite.connections import Connection, transaction

_PORTION = 8  # expired ones that go with each new one: more than come, and few enough not to be felt

_RECALL = "SELECT data FROM answers WHERE key = ? AND expires > ?"
_REMEMBER = """
INSERT INTO answers (key, expires, data) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, data = excluded.data
"""
_FORGET = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE expires <= ? ORDER BY expires LIMIT ?)
"""


def recall(connection: Connection, key: str, now: float) -> bytes | None:
    """Return what is remembered under a key, unless it has expired."""
    row = connection.execute(_RECALL, (key, now)).fetchone()
    return row[0] if row else None


def remember(connection: Connection, key: str, data: bytes, now: float, expires: float) -> None:
    """Keep an answer, and remove some that have expired, in one commit."""
    with transaction(connection):
        connection.execute(_REMEMBER, (key, expires, data))
        forget(connection, now, _PORTION)


def forget(connection: Connection, before: float, limit: int) -> None:
    """Remove those that expired first, no more than the limit."""
    connection.execute(_FORGET, (before, limit))
