"""What the tests of the examples share: a folder to work in, a payment service, a way to run them as programs."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples import checkout
from examples.checkout import PaymentServer

ROOT = Path(__file__).parents[2]

Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def payments(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaymentServer]:
    """The payment service that the checkout in this process uses."""
    with PaymentServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PAYMENTS_URL", server.url)
        checkout.payments_url.cache_clear()
        yield server
        checkout.payments_url.cache_clear()
        server.shutdown()
        thread.join()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def program(workplace: Path) -> Program:
    """Run an example as a program in the workplace."""

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWAITLY_", "PAYMENTS_"))}
        return subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), *arguments],
            cwd=workplace,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
