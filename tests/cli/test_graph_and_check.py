import json
from pathlib import Path

from awaitly.model.graph import Graph
from tests.cli.calling import FLOWS, Awaitly

WARNED = """
import random
from awaitly import step, workflow

@step
async def save(number: float) -> None: ...

@workflow
async def lucky() -> None:
    await save(random.random())
"""

BEFORE = """
from awaitly import step, workflow

@step
async def one() -> int:
    return 1

@step
async def two() -> int:
    {two}

@workflow
async def both() -> int:
    return {body}
"""


def test_graph_draws_the_steps(awaitly: Awaitly) -> None:
    answer = awaitly("graph", f"{FLOWS}:checkout")

    assert answer.status == 0
    assert answer.out.splitlines() == [
        "checkout(order: Order) -> str  (id order:{order.id}, fails with Declined)",
        "├─ gather  (at the same time)",
        "│  ├─ charge(order)  (fails with Declined)",
        "│  └─ workflow pack",
        "└─ return f'{paid}, {packed} items'",
    ]


def test_graph_gives_a_mermaid_chart(awaitly: Awaitly) -> None:
    assert awaitly("graph", f"{FLOWS}:checkout", "--format", "mermaid").out.startswith("flowchart TD\n    n0")


def test_graph_gives_everything_as_json(awaitly: Awaitly) -> None:
    answer = awaitly("graph", f"{FLOWS}:checkout", "--format", "json")

    assert Graph.model_validate_json(answer.out).workflow == "checkout"


def test_graph_ends_with_what_the_compiler_has_to_say(awaitly: Awaitly) -> None:
    Path("warned.py").write_text(WARNED)

    answer = awaitly("graph", "warned.py:lucky")

    assert answer.status == 0
    assert answer.err.startswith("warned.py:10: warning [")
    assert "hint: " in answer.err


def test_check_passes_what_compiles(awaitly: Awaitly) -> None:
    answer = awaitly("check", f"{FLOWS}:checkout", f"{FLOWS}:pack")

    assert (answer.status, answer.out) == (0, f"{FLOWS}:checkout: compiles\n{FLOWS}:pack: compiles\n")


def test_check_takes_every_workflow_that_a_file_defines(awaitly: Awaitly) -> None:
    Path("lent.py").write_text("from awaitly import workflow\n\n@workflow\nasync def lent() -> None: ...\n")
    Path("several.py").write_text(
        "from awaitly import workflow\nfrom lent import lent\n\n"
        "@workflow\nasync def a() -> None: ...\n\n@workflow\nasync def b() -> None: ...\n\nc = b\n"
    )

    assert awaitly("check", "several.py").out == "several.py:a: compiles\nseveral.py:b: compiles\n"
    assert awaitly("check", "several", "several:lent").out.splitlines()[-1] == "several:lent: compiles"


def test_check_shows_errors_with_their_place_and_exits_with_1(awaitly: Awaitly) -> None:
    Path("doubled_again.py").write_text(
        "from awaitly import step, workflow\n\n"
        "@step(name='a')\nasync def one() -> None: ...\n\n"
        "@step(name='a')\nasync def two() -> None: ...\n\n"
        "@workflow\nasync def both() -> None:\n    await one()\n    await two()\n"
    )

    answer = awaitly("check", "doubled_again.py:both")

    assert answer.status == 1
    assert answer.out.startswith("doubled_again.py:6: error [duplicate-step-name]: two steps are named 'a'")
    assert answer.out.endswith("doubled_again.py:both: does not compile (1 error)\n")


def test_check_says_which_unfinished_runs_the_code_can_continue(awaitly: Awaitly) -> None:
    stop = "import sys; from awaitly.errors import RunSuspended; raise RunSuspended('the power went')"
    Path("flow_before.py").write_text(BEFORE.format(two=stop, body="await one() + await two()"))
    awaitly("run", "flow_before.py:both", "--id", "b")
    before = awaitly("check", "flow_before.py:both", "--store", "awaitly.db")
    Path("flow_after.py").write_text(BEFORE.format(two="return 2", body="await two() + await two()"))

    after = awaitly("check", "flow_after.py:both", "--store", "awaitly.db")

    assert before.status == 0
    assert "fits         b  both\n" in before.out
    assert after.status == 1
    assert "does-not-fit b  both\n" in after.out
    assert "1 unfinished run: 0 fits, 1 does-not-fit, 0 unknown" in after.out


def test_check_without_unfinished_runs_says_so(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:greet")

    answer = awaitly("check", f"{FLOWS}:greet", "--store", "awaitly.db")

    assert (answer.status, answer.out.splitlines()[-1]) == (0, "no unfinished runs")


def test_version_is_told(awaitly: Awaitly) -> None:
    assert awaitly("--version").out.startswith("awaitly ")


def test_help_lists_the_commands(awaitly: Awaitly) -> None:
    out = awaitly("--help").out

    assert [name for name in ("run", "graph", "check", "runs", "demo") if f"  {name}" not in out] == []


def test_a_traceback_is_shown_when_debugging(awaitly: Awaitly, monkeypatch) -> None:
    monkeypatch.setenv("AWAITLY_DEBUG", "1")

    assert "Traceback" in awaitly("run", "nowhere.py:x").err
    assert json.loads(awaitly("run", f"{FLOWS}:greet").out) == "hello you"
