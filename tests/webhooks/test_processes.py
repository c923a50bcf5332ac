"""Real processes, a real store, real connections: what is promised of deliveries holds through kill -9."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.webhooks.receiving import HANG, Hooks, Taken

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Scene:
    """One test's store and processes."""

    folder: Path
    hooks: Hooks
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def worker(self, name: str, *items: str) -> "subprocess.Popen[str]":
        """Start a process, and return when it delivers and its runs have ended."""
        command = [sys.executable, "-m", "tests.webhooks.worker", f"sqlite:///{self.folder}/runs.db", self.hooks.url]
        process = subprocess.Popen(
            [*command, name, *items], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.started.append(process)
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == ["ready\n", "done\n"]
        return process

    def ends(self) -> set[str]:
        """Return the runs whose end was accepted."""
        return {taken.run for taken in self.hooks.accepted if taken.event["type"] == "RunFinished"}


def runs(*items: str) -> set[str]:
    return {f"parcel:{item}" for item in items}


def by_run(taken: list[Taken]) -> dict[str, list[int]]:
    """Return the sequence numbers in which events arrived, by run."""
    found: dict[str, list[int]] = defaultdict(list)
    for each in taken:
        found[each.run].append(each.event["sequence"])
    return found


@pytest.fixture
def scene(tmp_path: Path, hooks: Hooks) -> Iterator[Scene]:
    made = Scene(tmp_path, hooks)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def test_what_a_killed_process_had_not_been_acknowledged_is_sent_again_with_the_same_id(scene: Scene) -> None:
    scene.hooks.script(200, HANG)
    killed = scene.worker("first", "a")
    scene.hooks.until(lambda: len(scene.hooks.taken) == 2)
    killed.kill()
    killed.wait()
    scene.hooks.released.set()

    scene.worker("second", "b")
    scene.hooks.until(lambda: scene.ends() == runs("a", "b"))

    held = scene.hooks.taken[1]
    assert held.answered == HANG
    again = [taken for taken in scene.hooks.taken[2:] if taken.event["id"] == held.event["id"]]
    assert [taken.event for taken in again] == [held.event]
    assert by_run(scene.hooks.accepted) == {"parcel:a": [0, 1, 2], "parcel:b": [0, 1, 2]}
    assert all(taken.genuine for taken in scene.hooks.taken)


def test_what_was_refused_until_the_process_was_killed_is_delivered_by_the_next(scene: Scene) -> None:
    scene.hooks.script(500, 500, 500)
    killed = scene.worker("first", "a", "b", "c")
    scene.hooks.until(lambda: len(scene.hooks.taken) >= 1)
    killed.kill()
    killed.wait()

    scene.worker("second")
    scene.hooks.until(lambda: scene.ends() == runs("a", "b", "c"))

    # What was taken right before the kill, and could not be noted, comes twice.
    assert all(list(dict.fromkeys(sequence)) == [0, 1, 2] for sequence in by_run(scene.hooks.accepted).values())


def test_of_two_processes_one_delivers_for_both_and_the_other_goes_on_when_it_is_killed(scene: Scene) -> None:
    first = scene.worker("first", "a", "b")
    scene.worker("second", "c", "d")
    scene.hooks.until(lambda: scene.ends() == runs("a", "b", "c", "d"))
    assert {taken.headers["x-from"] for taken in scene.hooks.taken} == {"first"}
    assert len(scene.hooks.taken) == 12  # nothing twice

    first.kill()
    first.wait()
    scene.worker("third", "e")
    scene.hooks.until(lambda: scene.ends() == runs("a", "b", "c", "d", "e"))

    assert {taken.headers["x-from"] for taken in scene.hooks.taken[12:]} <= {"second", "third"}
    assert len({taken.event["id"] for taken in scene.hooks.taken}) == 15
