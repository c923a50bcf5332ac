"""A URL names a store, or says what is wrong with it."""

import os
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from awaitly.errors import StoreError
from awaitly.persist.stores.memory import MemoryStore
from awaitly.persist.stores.sqlite import SqliteStore
from awaitly.persist.urls import store_from_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite:///data/runs.db", "data/runs.db"),
        ("sqlite:////var/data/runs", "/var/data/runs"),
        ("sqlite:///my%20runs.db", "my runs.db"),
        ("runs.db", "runs.db"),
        ("/var/data/runs.sqlite", "/var/data/runs.sqlite"),
        ("./runs.sqlite3?durability=relaxed", "./runs.sqlite3"),
    ],
)
def test_files_are_named_relatively_and_absolutely(url: str, path: str) -> None:
    store = store_from_url(url)
    assert isinstance(store, SqliteStore)
    assert store.name == f"sqlite:///{path}"
    assert store.durable


def test_memory_needs_no_name() -> None:
    store = store_from_url("memory://")
    assert isinstance(store, MemoryStore)
    assert not store.durable


def test_a_url_opens_nothing(tmp_path: Path) -> None:
    store_from_url(f"sqlite:///{tmp_path}/runs.db")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("mongo://localhost/runs", "unknown scheme 'mongo'"),
        ("runs", "no scheme"),
        ("", "no scheme"),
        ("sqlite://runs.db", "names the host 'runs.db'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///runs.db?durability=low", "the durability 'low'"),
        ("sqlite:///runs.db?mode=ro", "the unknown option 'mode'"),
        ("memory://runs", "takes neither a name nor options"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, found: str) -> None:
    with pytest.raises(StoreError) as caught:
        store_from_url(url)
    assert caught.value.code == "not-a-store"
    assert found in str(caught.value)


def test_what_exists_is_listed() -> None:
    with pytest.raises(StoreError, match=r"known are memory://, sqlite://.* and paths that end in \.db"):
        store_from_url("oracle://db")


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(StoreError) as caught:
        store_from_url("oracle://scott:tiger@db/runs")
    assert "tiger" not in str(caught.value)


def test_other_packages_register_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("keep", f"{__name__}:kept", "awaitly.stores")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([point]))
    monkeypatch.setattr(EntryPoint, "load", lambda self: kept)
    assert store_from_url("keep://here").name == "memory://"
    with pytest.raises(StoreError, match="keep://"):
        store_from_url("lose://here")


def kept(url: str) -> MemoryStore:
    assert url == "keep://here"
    return MemoryStore()
