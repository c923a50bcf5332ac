"""The store in an SQLite file: the default.

One thread writes and one reads, each with its own connection: nothing waits on the event loop's thread.
"""

from awaitly.persist.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
