"""The command line as its users meet it: in this process where that is enough, else in one of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from awaitly.cli import main
from tests.cli.calling import Answer, Awaitly, environment


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder; leave modules, paths and logging as they were."""
    log = logging.getLogger("awaitly")
    handlers, propagate = log.handlers, log.propagate
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in os.environ:
        if name.startswith("AWAITLY_"):
            monkeypatch.delenv(name)
    yield
    log.handlers, log.propagate = handlers, propagate
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def awaitly() -> Awaitly:
    """Call the command in this process."""

    def call(*words: str, stdin: str | None = None) -> Answer:
        found = CliRunner().invoke(main, list(words), input=stdin)
        return Answer(found.exit_code, found.stdout, found.stderr)

    return call


@pytest.fixture
def process() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the command in a process of its own, which is gone when the test ends."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str, **more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "awaitly.cli", *words]
        begun.append(
            subprocess.Popen(
                command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return begun[-1]

    yield start
    for each in begun:
        if each.poll() is None:
            each.kill()
        each.communicate()
