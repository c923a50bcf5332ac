"""Starts programs as a user would, sends them signals, and looks at what they leave."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from awaitly.model.state import RunRecord
from awaitly.persist.urls import store_from_url

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Program:
    """A process in a folder of its own."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.folder = folder
        self._errors = folder / f"errors-{len(list(folder.glob('errors-*')))}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWAITLY_")}
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env=kept | {"PYTHONPATH": str(ROOT)} | environment,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def log(self) -> list[str]:
        """What its steps said."""
        file = self.folder / "log"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def errors(self) -> str:
        """What it printed."""
        return self._errors.read_text()

    def until(self, entry: str) -> None:
        """Wait until a step has said this."""
        self.await_(lambda: entry in self.log, entry)

    def await_(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true of it."""
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"{what!r} did not happen: {self.log}\n{self.errors}")
            time.sleep(0.01)

    def let(self, name: str) -> None:
        """Let a step go on."""
        (self.folder / f"{name}.go").touch()

    def tell(self, *numbers: int) -> None:
        """Send it signals, SIGTERM by default, and wait until it has heard one."""
        for number in numbers or (signal.SIGTERM,):
            self.process.send_signal(number)
        self.await_(lambda: "shutting down; another" in self.errors, "shutting down")

    def insist(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal again and again; return the status with which it ends."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            self.process.send_signal(number)
            time.sleep(0.05)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end and return the status."""
        return self.process.wait(PATIENCE)

    def url(self) -> str:
        """Wait until it serves, and return where."""
        found: list[str] = []

        def serves() -> bool:
            found[:] = re.findall(r"(?:running on|Listening at:) (http://127\.0\.0\.1:\d+)", self.errors)
            return bool(found) and "Application startup complete" in self.errors

        self.await_(serves, "serving")
        return found[-1]

    def record(self, run_id: str) -> RunRecord:
        """Return what its store says of a run."""

        async def read() -> RunRecord | None:
            store = store_from_url(f"sqlite:///{self.folder}/runs.db")
            await store.open()
            try:
                return await store.find(run_id)
            finally:
                await store.close()

        found = asyncio.run(read())
        assert found is not None
        return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program in the folder of the test."""
    programs: list[Program] = []

    def start(*command: str, **environment: str) -> Program:
        programs.append(Program(tmp_path, *command, **environment))
        return programs[-1]

    yield start
    for program in programs:
        with suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGKILL)  # with the workers of a server
        program.process.wait()
