"""Runs that the code does not fit any more: the command that fails is not what is recommended."""

import shlex
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


def ways(name: str, before: str) -> list[str]:
    target = f"{name}_after.py:both"
    fork = f"awaitly runs fork b --target {target} --at '{before}' --store awaitly.db"
    return [
        "the run has not ended and is as it was; one of these helps:",
        f"  deploy the code that it was started with, then: awaitly run {target} --id b --store awaitly.db",
        f"  begin another run from what fits, which repeats {before} and all after it: {fork}",
        "  give it up: awaitly runs cancel b --store awaitly.db",
    ]


def test_a_mismatch_names_the_ways_out(awaitly: Awaitly) -> None:
    said = changed(awaitly, "parted", "await two() + await two()")

    assert "error [graph-mismatch]: " in said
    assert said.splitlines()[-4:] == ways("parted", "one#0")
    assert str(Path.cwd()) not in said


def test_changed_arguments_name_the_ways_out(awaitly: Awaitly) -> None:
    said = changed(awaitly, "argued", "await one(7) + await two()")

    assert "error [changed-arguments]: " in said
    assert said.splitlines()[-4:] == ways("argued", "one#0")


def test_the_way_out_by_a_fork_leads_out(awaitly: Awaitly) -> None:
    said = changed(awaitly, "led", "await one(7) + await two()")
    way = next(line for line in said.splitlines() if "runs fork" in line).partition(": awaitly ")[2]

    assert awaitly(*shlex.split(way), "--quiet").out == "9\n"


def test_a_fork_that_would_not_fit_is_refused_before_anything_is_stored(awaitly: Awaitly) -> None:
    changed(awaitly, "refused", "await one(7) + await two()")

    plan = awaitly("runs", "fork", "b", "--target", "refused_after.py:both", "--plan")
    fork = awaitly("runs", "fork", "b", "--target", "refused_after.py:both", "--id", "c")

    assert (plan.status, plan.out, fork.status) == (1, "", 1)
    for said in (plan.err, fork.err):
        assert "error [run-refused]: the fork would not fit the code of both: " in said
        assert "hint: keep less: at='one#0', on the command line --at 'one#0'" in said
    assert "c " not in awaitly("runs", "list").out
