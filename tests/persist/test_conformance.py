"""Both stores do what every store must."""

from collections.abc import Callable
from pathlib import Path

from awaitly.persist.ports import Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.testing.conformance import StoreConformance


class TestMemoryStore(StoreConformance):
    def new_store(self, directory: Path, monotonic: Callable[[], float]) -> Store:
        return MemoryStore(monotonic=monotonic)


class TestSqliteStore(StoreConformance):
    def new_store(self, directory: Path, monotonic: Callable[[], float]) -> Store:
        return SqliteStore(directory / "runs.db", monotonic=monotonic)
