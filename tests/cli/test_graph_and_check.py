import json
from pathlib import Path

import pytest

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

LATE = """
from awaitly import Retry, step, workflow


@step(retry=3, timeout="10s")
async def charge(order: str) -> str:
    return order

@charge.variant(flag="express", retry=Retry.none(), timeout="5s")
async def express(order: str) -> str:
    return order

@workflow(deadline="20s")
async def late(order: str) -> str:
    return await charge(order)
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
        "│  ├─ charge(order)",
        "│  └─ workflow pack",
        "└─ return f'{paid}, {packed} items'",
        "",
        "charge  fails with Declined",
    ]


def test_graph_shows_what_lies_around_the_steps_after_settings(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("late.py").write_text(LATE)
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__TIMEOUT", "5s")

    assert awaitly("graph", "late.py:late").out.splitlines()[3:] == [
        "",
        "charge  retry (attempts 3)",
        "        timeout 5s",
        "        express instead, if flag express is True",
        "          retry (attempts 1)",
        "",
        "at most 15.3s: charge: 3 x 5s + 100ms + 200ms = 15.3s",
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


def test_check_shows_what_may_take_longer_than_the_deadline(awaitly: Awaitly) -> None:
    Path("late.py").write_text(LATE)

    answer = awaitly("check", "late.py")

    assert answer.status == 0
    assert "late.py:13: warning [deadline-budget]: workflow late may need more time than it has: charge: " in answer.out
    assert answer.out.endswith("late.py:late: compiles (2 warnings)\n")


def test_check_sees_what_settings_make_of_it(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("late.py").write_text(LATE)
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__TIMEOUT", "5s")
    monkeypatch.setenv("AWAITLY_FLAGS__EXPRESS", "true")

    assert awaitly("check", "late.py").out == "late.py:late: compiles\n"


def test_check_refuses_settings_that_name_what_no_target_has(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("late.py").write_text(LATE)
    monkeypatch.setenv("AWAITLY_STEPS__CHARG__TIMEOUT", "5s")

    answer = awaitly("check", "late.py")

    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error [invalid-setting]: awaitly's settings name what does not exist:\n")
    assert "did you mean 'charge'?" in answer.err


def test_settings_may_name_the_steps_of_children_and_fallbacks(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("family.py").write_text(
        "from awaitly import step, workflow\n\n@step\nasync def spare() -> None: ...\n\n"
        "@step(fallback=spare)\nasync def inner() -> None: ...\n\n"
        "@workflow\nasync def child() -> None:\n    await inner()\n\n"
        "@workflow\nasync def parent() -> None:\n    await child()\n"
    )
    monkeypatch.setenv("AWAITLY_STEPS__SPARE__TIMEOUT", "5s")
    monkeypatch.setenv("AWAITLY_STEPS__INNER__TIMEOUT", "5s")

    assert awaitly("check", "family.py:parent").status == 0


def test_run_says_a_warning_once(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("late.py").write_text(LATE)

    answer = awaitly("run", "late.py:late", "--input", '"o"')

    assert (answer.status, answer.err.count("deadline-budget"), answer.err.count("unknown-flag")) == (0, 1, 1)


def test_check_says_a_warning_once_however_often_it_compiles(awaitly: Awaitly) -> None:
    Path("late.py").write_text(LATE)
    awaitly("run", "late.py:late", "--input", '"o"')

    answer = awaitly("check", "late.py", "--store", "awaitly.db")

    assert (answer.status, answer.err, answer.out.count("unknown-flag")) == (0, "", 1)


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
