"""``awaitly demo``: a process is killed in the middle of a workflow, and another one continues it."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.text import Text

from awaitly.cli.consoles import stdout
from awaitly.cli.failing import FAILED
from awaitly.cli.story import BEGUN, DONE, PARTS, RUN

_PATIENCE = 20.0  # seconds for what takes about two
_KILLED_IN = 4  # the step that is under way
_CHILD = "from awaitly.cli.story import main; main()"


@click.command()
def demo() -> int:
    """Kill a workflow in the middle with kill -9, continue it, and count what it did."""
    with TemporaryDirectory(prefix="awaitly-demo-") as name:
        folder = Path(name)
        _say(f"An order in {len(PARTS)} steps; each appends one line to a file: its effect on the world.")
        first = _interrupted(folder)
        second = _continued(folder)
        return _counted(folder, first, second)


def _interrupted(folder: Path) -> int:
    with _process(folder) as process:
        _say(f"\n1. Process {process.pid} executes the run {RUN}, its checkpoints go to an SQLite file.")
        _watched(folder, process, until=lambda: len(_lines(folder / BEGUN)) >= _KILLED_IN)
        process.kill()
        process.wait()
        _say(f"2. kill -9 {process.pid}, while it was about to {PARTS[_KILLED_IN - 1]}.", "bold red")
        return process.pid


def _continued(folder: Path) -> int:
    with _process(folder) as process:
        _say(f"3. Process {process.pid} continues the run from what is stored.")
        _watched(folder, process, until=lambda: process.poll() is not None, known=len(_lines(folder / DONE)))
        return process.pid


def _counted(folder: Path, first: int, second: int) -> int:
    effects = Counter(part for _, part in _lines(folder / DONE))
    by = Counter(pid for pid, _ in _lines(folder / DONE))
    if effects != Counter(PARTS):
        _say(f"\nThat went wrong: {dict(effects)}", "bold red")
        return FAILED
    _say(
        f"\nEach of the {len(PARTS)} steps took effect exactly once: {by[first]} before the kill, {by[second]} after."
        "\nThe second process read the first outcomes from the store instead of doing the steps again.",
        "bold green",
    )
    _say("Next: write a workflow, and try awaitly run yours.py:name", "dim")
    return 0


def _watched(folder: Path, process: "subprocess.Popen[bytes]", *, until: Callable[[], bool], known: int = 0) -> None:
    """Print the effects as they happen, until something is so.

    Raises:
        click.ClickException: If the process takes too long, or ends early.
    """
    limit = time.monotonic() + _PATIENCE
    over = False
    while not over:
        over = until()
        for pid, part in _lines(folder / DONE)[known:]:
            _say(f"     {part:20} done by {pid}", "green")
            known += 1
        if not over and (process.poll() not in (None, 0) or time.monotonic() > limit):
            raise click.ClickException("the demo's own process failed: please report it with its output above")
        time.sleep(0.01)


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.exists():
        return []
    found = (line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return [(int(pid), part) for pid, part in found]


@contextmanager
def _process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    # In the folder, where no settings of the caller's are found.
    process = subprocess.Popen([sys.executable, "-c", _CHILD, str(folder)], cwd=folder, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _say(text: str, style: str = "") -> None:
    stdout().print(Text(text, style))
