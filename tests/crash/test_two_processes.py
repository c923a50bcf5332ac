"""Two real processes on one SQLite file and one run id."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Scene:
    folder: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)
    gates: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        os.mkfifo(self.folder / "gate")

    def worker(self, name: str, *options: str, ttl: str = "15s") -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.crash.worker", f"sqlite:///{self.folder}/runs.db"]
        process = subprocess.Popen(
            [*command, str(self.folder / "ledger"), str(self.folder / "gate"), name, *options],
            cwd=REPOSITORY,
            env={**os.environ, "AWAITLY_LEASE__TTL": ttl},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert line_of(process) == "ready"
        return process

    def open_gate(self) -> None:
        """Let everybody pass who waits at the gate, now or later."""
        gate = os.open(self.folder / "gate", os.O_RDWR)  # for reading too: Linux then waits for nobody
        self.gates.append(gate)
        os.write(gate, b"x" * 10)

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "ledger").read_text().splitlines()]

    def fences(self) -> list[tuple[str, int]]:
        with sqlite3.connect(self.folder / "runs.db") as connection:
            rows = connection.execute("select kind, fence from facts order by seq").fetchall()
        return [(str(kind), int(fence)) for kind, fence in rows]


def began(process: "subprocess.Popen[str]", effect: str) -> None:
    """Return once the process has begun an effect."""
    while json.loads(line_of(process)) != {"effect": effect}:
        pass


def result_of(process: "subprocess.Popen[str]") -> Any:
    """Return what the process says in the end."""
    while "effect" in (said := json.loads(line_of(process))):
        pass
    return said


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    for gate in made.gates:
        os.close(gate)


def test_one_process_executes_and_the_other_attaches_to_its_result(scene: Scene) -> None:
    one = scene.worker("one")
    two = scene.worker("two")
    scene.open_gate()
    assert result_of(one) == {"ok": 3}
    assert result_of(two) == {"ok": 3}
    assert [(entry["step"], entry["by"]) for entry in scene.ledger()] in (
        [("first", who), ("waited", who), ("last", who)] for who in ("one", "two")
    )


def test_a_process_that_does_not_want_to_attach_is_refused(scene: Scene) -> None:
    one = scene.worker("one")
    began(one, "waited")
    two = scene.worker("two", "--refuse")
    assert result_of(two) == {"raised": "run-refused"}
    scene.open_gate()
    assert result_of(one) == {"ok": 3}


def test_a_killed_process_is_noticed_at_once_and_its_run_continued(scene: Scene) -> None:
    one = scene.worker("one", ttl="1h")
    began(one, "waited")
    one.kill()
    one.wait()
    two = scene.worker("two", ttl="1h")
    scene.open_gate()
    assert result_of(two) == {"ok": 3}
    assert [(entry["step"], entry["by"]) for entry in scene.ledger()] == [
        ("first", "one"),
        ("waited", "one"),
        ("waited", "two"),
        ("last", "two"),
    ]
    assert len({entry["key"] for entry in scene.ledger() if entry["step"] == "waited"}) == 1


def test_a_process_stopped_past_its_lease_cannot_write_when_it_continues(scene: Scene) -> None:
    one = scene.worker("one", ttl="0.6s")
    began(one, "waited")
    one.send_signal(signal.SIGSTOP)
    two = scene.worker("two", ttl="0.6s")
    began(two, "waited")
    one.send_signal(signal.SIGCONT)
    scene.open_gate()
    assert result_of(one) == {"ok": 3}
    assert result_of(two) == {"ok": 3}
    assert [entry["by"] for entry in scene.ledger() if entry["step"] == "last"] == ["two"]
    assert scene.fences() == [
        ("RunStarted", 1),
        ("StepFinished", 1),
        ("StepFinished", 2),
        ("StepFinished", 2),
        ("RunFinished", 2),
    ]
