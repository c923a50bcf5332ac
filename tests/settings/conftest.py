"""Every test of settings reads them in an empty folder, without variables of ours."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("AWAITLY_"):
            monkeypatch.delenv(name)
