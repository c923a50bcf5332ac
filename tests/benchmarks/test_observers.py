"""The benchmark of the observers measures everything that it lists."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "observers.py"


def test_a_quick_run_gives_figures_for_every_observer_and_every_trouble_on_every_store(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--folder", str(tmp_path), "--json", str(report)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "[1/1]\n")
    (sample,) = json.loads(report.read_text())["samples"]
    assert [(part, store, len(sample[part][store])) for part in ("costs", "troubles") for store in sample[part]] == [
        ("costs", "memory", 11),
        ("costs", "SQLite", 11),
        ("troubles", "memory", 8),
        ("troubles", "SQLite", 8),
    ]
    assert all(len(line.split("|")) in (1, 7, 9, 11) for line in done.stdout.splitlines())  # whole tables


def test_quick_figures_are_not_published(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--write", str(tmp_path / "page.md")]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("quick-figures:")
