"""Fixtures of the tests over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.server import Server
from tests.http.world import World


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that listens."""
    with Server() as running:
        yield running


@pytest.fixture(params=["memory", "sqlite"])
def world(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """A server and a store, of both kinds unless a test says which."""
    return World(server, "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/runs.db")
