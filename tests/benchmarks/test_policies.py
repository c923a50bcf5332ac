"""The benchmark of the policies measures everything that it lists, with the libraries that are always here."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "policies.py"


def test_a_quick_run_gives_a_figure_for_every_policy_and_every_place(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--only", "awaitly,tenacity,asyncio", "--json", str(report)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "[1/1]\n")
    figures = json.loads(report.read_text())["samples"][0]
    assert [sorted(libraries) for libraries in figures.values()] == [
        ["awaitly", "tenacity"],  # retry
        ["awaitly"],  # breaker
        ["awaitly"],  # rate limiter
        ["asyncio", "awaitly"],  # concurrency
        ["asyncio", "awaitly"],  # timeout
        *[["awaitly"]] * 4,  # fallback, cache, hedge, together
        *[["awaitly"]] * 5,  # in every place
    ]


def test_quick_figures_are_not_published(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--write", str(tmp_path / "page.md")]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("quick-figures:")
