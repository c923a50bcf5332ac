"""Runs that the code does not fit any more: the command that fails is not what is recommended."""

from pathlib import Path

from tests.cli.calling import Awaitly

FLOW = """
from awaitly import step, workflow

@step
async def one(number: int) -> int:
    return number

@step
async def two() -> int:
    {two}

@workflow
async def both() -> int:
    return {body}
"""
STOP = "import sys; from awaitly.errors import RunSuspended; raise RunSuspended('the power went')"


def changed(awaitly: Awaitly, name: str, body: str) -> str:
    """Interrupt a run, change its body, run it again; return what is said."""
    Path(f"{name}_before.py").write_text(FLOW.format(two=STOP, body="await one(1) + await two()"))
    first = awaitly("run", f"{name}_before.py:both", "--id", "b")
    assert "the run has not ended; continue with: awaitly run" in first.err
    Path(f"{name}_after.py").write_text(FLOW.format(two="return 2", body=body))
    return awaitly("run", f"{name}_after.py:both", "--id", "b", "--store", "awaitly.db").err


def ways(name: str) -> list[str]:
    target = f"{name}_after.py:both"
    return [
        "the run has not ended and is as it was; one of these helps:",
        f"  deploy the code that it was started with, then: awaitly run {target} --id b --store awaitly.db",
        f"  begin another run from what it recorded: awaitly runs fork b --target {target} --store awaitly.db",
        "  give it up: awaitly runs cancel b --store awaitly.db",
    ]


def test_a_mismatch_names_the_ways_out(awaitly: Awaitly) -> None:
    said = changed(awaitly, "parted", "await two() + await two()")

    assert "error [graph-mismatch]: " in said
    assert said.splitlines()[-4:] == ways("parted")
    assert str(Path.cwd()) not in said


def test_changed_arguments_name_the_ways_out(awaitly: Awaitly) -> None:
    said = changed(awaitly, "argued", "await one(7) + await two()")

    assert "error [changed-arguments]: " in said
    assert said.splitlines()[-4:] == ways("argued")
