"""Real processes that are killed while their step waits, or asks, and others that go on."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.http.server import PATIENCE, Server, held, ok, status
from tests.http.world import EARLY

REPOSITORY = Path(__file__).parents[2]
LONG = 1.05  # seconds: a delay that is recorded
GLANCE = 0.01  # seconds between two looks into the store


class Scene:
    """A store and a server, and the processes that share them."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.database = folder / "runs.db"
        self.server = server
        self.started: list[subprocess.Popen[str]] = []

    def worker(self, delay: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.http.worker", f"sqlite:///{self.database}", self.server.url, delay],
            cwd=REPOSITORY,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWAITLY_")},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def until(self, holds: Callable[[], bool]) -> None:
        asyncio.run(self.server.until(holds))

    def until_recorded(self, delays: int) -> None:
        """Return once so many delays between attempts are recorded."""
        self.until(lambda: len(self.server.log) >= delays)
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            for _ in range(int(PATIENCE / GLANCE)):
                (found,) = connection.execute("select count(*) from facts where kind = 'RetryScheduled'").fetchone()
                if found >= delays:
                    return
                threading.Event().wait(GLANCE)  # nobody tells what another process has stored
        raise AssertionError(f"only {found} of {delays} delays were recorded")


@pytest.fixture
def scene(tmp_path: Path, server: Server) -> Iterator[Scene]:
    made = Scene(tmp_path, server)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def test_processes_killed_in_long_delays_make_no_more_attempts_together_than_one_would(scene: Scene) -> None:
    scene.server.script("/pay", status(500), status(502), status(503))
    for life in (1, 2):
        process = scene.worker(f"{LONG}s")
        scene.until_recorded(life)
        process.kill()
        process.wait()
    said, _ = scene.worker(f"{LONG}s").communicate(timeout=PATIENCE)

    requests = scene.server.requests()
    assert [request.attempt for request in requests] == [1, 2, 3]
    assert len({request.key for request in requests}) == 1
    assert min(scene.server.pauses("/pay")) >= LONG - EARLY
    assert "503" in said


def test_a_request_that_a_kill_interrupted_is_made_again_with_its_idempotency_key(scene: Scene) -> None:
    scene.server.script("/pay", held(ok("never read")), ok("paid"))
    first = scene.worker("1ms")
    scene.until(lambda: len(scene.server.log) == 1)
    first.kill()
    first.wait()
    scene.until(lambda: scene.server.log[0].dropped is not None)
    said, _ = scene.worker("1ms").communicate(timeout=PATIENCE)

    interrupted, repeated = scene.server.requests()
    assert said == "paid\n"
    assert repeated.key == interrupted.key
