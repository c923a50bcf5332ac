"""What people's type checkers make of the public names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def mypy_errors(file: Path) -> dict[int, str]:
    """Run mypy; return its errors in the file by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--output", "json", "--no-error-summary", str(file)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    return {
        row["line"]: row["message"] for row in found if row["severity"] == "error" and row["file"].endswith(file.name)
    }


def pyright_errors(file: Path) -> dict[int, str]:
    """Run pyright; return its errors in the file by line."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(file)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    found = json.loads(answer.stdout)["generalDiagnostics"]
    return {row["range"]["start"]["line"] + 1: row["message"] for row in found if row["severity"] == "error"}


def marked_lines(file: Path) -> list[int]:
    lines = file.read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.endswith("# reject")]


CHECKERS = pytest.mark.parametrize("errors", [mypy_errors, pyright_errors])


@CHECKERS
@pytest.mark.parametrize("file", ["accepted.py", "accepted_workflows.py"])
def test_right_use_is_accepted_with_the_types_inferred(errors, file: str) -> None:
    assert errors(HERE / file) == {}


@CHECKERS
@pytest.mark.parametrize("name", ["rejected.py", "rejected_workflows.py"])
def test_every_mistake_is_found_and_nothing_else(errors, name: str) -> None:
    file = HERE / name

    found = errors(file)

    assert marked_lines(file)
    assert sorted(found) == marked_lines(file), found
