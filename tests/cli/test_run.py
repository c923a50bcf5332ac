import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import FLOWS, Awaitly, environment
from tests.cli.test_interrupted import Start

ORDER = json.dumps({"order": {"id": "7", "items": [{"sku": "cup"}, {"sku": "pot", "quantity": 2}]}})


def test_a_run_that_succeeds_prints_its_value_as_json_and_exits_with_0(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)

    assert (answer.status, json.loads(answer.out)) == (0, "paid 7, 3 items")


def test_where_there_is_no_terminal_every_finished_step_is_a_line(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)

    assert answer.err.splitlines()[0].startswith("order:7  run of checkout in sqlite:///awaitly.db")
    assert sorted(line.split()[0] for line in answer.err.splitlines()[1:]) == ["ok"] * 4


def test_steps_of_a_child_run_are_shown_under_its_call(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)

    assert "gather / pack / each / count (2)" in answer.err


def test_quiet_leaves_nothing_but_the_result(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER, "--quiet")

    assert (answer.out, answer.err) == ('"paid 7, 3 items"\n', "")


def test_json_gives_the_run_with_its_result(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:greet", "--id", "g", "--json", "--quiet")

    assert json.loads(answer.out) == {"id": "g", "workflow": "greet", "status": "succeeded", "result": "hello you"}


def test_a_declared_failure_is_printed_with_its_fields_and_exits_with_1(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "declined"}', "--quiet")

    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("failed [run-failed]: Declined\n  reason: stolen\n  attempts: 1\n")


def test_an_unexpected_error_says_which_step_raised_what(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "bug"}', "--quiet")

    assert answer.status == 1
    assert "failed [unexpected-error]: charge raised ZeroDivisionError: nobody thought of this" in answer.err
    assert re.search(r"^  at .*orders\.py:\d+$", answer.err, re.MULTILINE)
    assert "  hint: Correct it if it is a bug; errors= is only for failures that callers are meant to" in answer.err
    assert "Traceback" not in answer.err


def test_debugging_shows_the_traceback_of_an_unexpected_error(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWAITLY_DEBUG", "1")

    answer = awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "bug"}', "--quiet")

    assert "Traceback (most recent call last):" in answer.err
    assert "ZeroDivisionError: nobody thought of this" in answer.err


def test_a_failure_as_json_has_class_text_and_fields(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "declined"}', "--quiet", "--json")

    assert json.loads(answer.out)["error"] == {
        "type": "orders:Declined",
        "message": "reason='stolen', attempts=1",
        "fields": {"reason": "stolen", "attempts": 1},
    }


WARNED = """
import random
from awaitly import step, workflow

@step
async def save(number: float) -> None: ...

@workflow
async def lucky() -> int:
    await save(random.random())
    return 7
"""


def test_what_the_compiler_warns_of_is_shown_once_before_the_run_begins(awaitly: Awaitly) -> None:
    Path("warned_run.py").write_text(WARNED)

    answer = awaitly("run", "warned_run.py:lucky")

    assert (answer.status, answer.out) == (0, "7\n")
    lines = answer.err.splitlines()
    assert lines[0].startswith("warned_run.py:10: warning [")
    assert lines[1].startswith("  hint: ")
    assert lines[2].startswith("lucky")
    assert answer.err.count("warning [") == 1


def test_quiet_hides_what_the_compiler_warns_of(awaitly: Awaitly) -> None:
    Path("warned_quietly.py").write_text(WARNED)

    assert awaitly("run", "warned_quietly.py:lucky", "--quiet").err == ""


def test_logs_that_settings_ask_for_take_the_place_of_lines_and_warnings(process: Start) -> None:
    Path("warned_logs.py").write_text(WARNED)

    out, err = process("run", "warned_logs.py:lucky", AWAITLY_LOGS__FORMAT="json").communicate()

    logged = [json.loads(line) for line in err.splitlines()]
    runs = [line["event"] for line in logged if line["logger"] == "awaitly.runs"]
    assert (out, runs) == ("7\n", ["run started", "run finished"])
    assert [line["level"] for line in logged if "code" in line] == ["warning"]


def test_a_setting_that_names_nothing_is_told_once(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STEPS__CHARG__TIMEOUT", "3s")

    answer = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)

    assert (answer.status, answer.err.count("did you mean 'charge'?")) == (2, 1)


def test_a_warning_of_a_flag_says_that_a_program_may_define_it_itself(awaitly: Awaitly) -> None:
    answer = awaitly("check", f"{FLOWS}:shipped")

    assert "what a program defines by itself, with Runtime(flags=...), is not seen here" in answer.out


def test_a_flag_that_is_given_to_the_run_is_not_warned_of(awaitly: Awaitly) -> None:
    input = ("--input", '"pot"')

    answer = awaitly("run", f"{FLOWS}:shipped", "--id", "s", *input, "--flag", "Carrier=bike")
    fork = awaitly("runs", "fork", "s", "--target", f"{FLOWS}:shipped", "--at", "ship", "--flag", "carrier=bike")

    for said in (answer.err, fork.err):
        assert "'carrier'" not in said
        assert said.count("warning [unknown-flag]: flag 'new-post' of workflow shipped") == 1


def test_warnings_of_a_run_that_is_continued_look_like_those_of_a_new_one(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:shipped", "--id", "s", "--input", '"pot"')

    answer = awaitly("runs", "resume", "s", "--target", f"{FLOWS}:shipped")

    assert "warning [unknown-flag]: flag 'carrier' of workflow shipped is defined nowhere" in answer.err
    assert "\n  hint: define it, for example with AWAITLY_FLAGS__CARRIER=post; what a program" in answer.err
    assert awaitly("runs", "resume", "s", "--target", f"{FLOWS}:shipped", "--quiet").err == ""


def test_nothing_of_a_new_run_was_stored_before(awaitly: Awaitly) -> None:
    first = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)
    again = awaitly("run", f"{FLOWS}:checkout", "--input", ORDER)

    assert first.err.splitlines()[0] == "order:7  run of checkout in sqlite:///awaitly.db"
    assert again.err.splitlines()[0].endswith(", which has ended before: this is its stored result")


def test_an_unexpected_error_says_how_to_go_on_after_an_outage(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "bug"}', "--store", "s.db")

    retry = f"awaitly runs retry order:bug --target {FLOWS}:checkout --store s.db"
    assert answer.err.splitlines()[-2:] == [
        "look at it with: awaitly runs show order:bug --store s.db",
        f"once the bug is corrected or the outage over, go on with: {retry}",
    ]


def test_the_same_id_gives_the_stored_result_without_its_input(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:greet", "--id", "g", "--input", '{"name": "Ada"}')

    answer = awaitly("run", f"{FLOWS}:greet", "--id", "g")

    assert json.loads(answer.out) == "hello Ada"
    assert "has ended before" in answer.err


def test_the_same_id_with_other_input_is_a_conflict(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:greet", "--id", "g", "--input", '{"name": "Ada"}')

    answer = awaitly("run", f"{FLOWS}:greet", "--id", "g", "--input", '{"name": "Bob"}')

    assert answer.status == 1
    assert answer.err.startswith("error [run-conflict]: ")


def test_the_id_of_a_run_of_another_workflow_is_refused(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:greet", "--id", "g")

    answer = awaitly("run", f"{FLOWS}:twice", "--id", "g")

    assert answer.status == 1
    assert answer.err.startswith("error [run-id-conflict]: the id 'g' belongs to a run of greet, not of twice")


def test_a_workflow_that_is_not_durable_runs_too(awaitly: Awaitly) -> None:
    assert awaitly("run", f"{FLOWS}:passing", "--input", "41").out == "42\n"


def test_a_module_of_the_current_folder_is_a_target(awaitly: Awaitly) -> None:
    Path("flow_of_today.py").write_text(
        "from awaitly import workflow\n\n@workflow\nasync def today() -> str:\n    return 'fine'\n"
    )

    assert awaitly("run", "flow_of_today:today").out == '"fine"\n'


def test_a_file_of_a_package_is_imported_by_its_whole_name(awaitly: Awaitly) -> None:
    Path("shop_pkg/deep").mkdir(parents=True)
    Path("shop_pkg/__init__.py").touch()
    Path("shop_pkg/deep/__init__.py").touch()
    Path("shop_pkg/deep/flow.py").write_text(
        "from awaitly import workflow\n\n@workflow\nasync def where() -> str:\n    return __name__\n"
    )

    assert awaitly("run", "shop_pkg/deep/flow.py:where").out == '"shop_pkg.deep.flow"\n'


def test_input_is_read_from_a_file(awaitly: Awaitly) -> None:
    Path("ada.json").write_text('{"name": "Ada", "times": 2}')

    assert awaitly("run", f"{FLOWS}:greet", "--input", "@ada.json").out == '"hello Ada hello Ada"\n'


def test_input_is_read_from_standard_input(awaitly: Awaitly) -> None:
    assert awaitly("run", f"{FLOWS}:greet", "--input", "-", stdin='{"name": "Ada"}').out == '"hello Ada"\n'


@pytest.mark.parametrize("given", ['{"id": "9"}', '{"order": {"id": "9"}}'])
def test_the_only_parameter_may_be_given_by_itself(awaitly: Awaitly, given: str) -> None:
    assert awaitly("run", f"{FLOWS}:checkout", "--input", given).out == '"paid 9, 0 items"\n'


def test_the_store_comes_from_the_settings(awaitly: Awaitly) -> None:
    Path("awaitly.toml").write_text('store = "sqlite:///chosen.db"\n')

    awaitly("run", f"{FLOWS}:greet")

    assert (Path("chosen.db").exists(), Path("awaitly.db").exists()) == (True, False)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_in_a_terminal_a_tree_is_drawn_and_stays() -> None:
    controller, terminal = os.openpty()
    words = [sys.executable, "-m", "awaitly.cli", "run", f"{FLOWS}:checkout", "--input", ORDER]
    started = subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, env=environment(TERM="xterm", COLUMNS="100")
    )
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(controller, 65536):
            shown += data
    except OSError:  # how Linux says that the other end was closed
        pass
    os.close(controller)

    assert started.wait(timeout=30) == 0
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*\w", "", shown.decode()).splitlines() if line.strip()]
    assert [line.split()[:3] for line in lines[-8:-1]] == [
        ["✓", "checkout", lines[-8].split()[2]],
        ["└─", "✓", "gather"],
        ["├─", "✓", "charge"],
        ["└─", "✓", "pack"],
        ["└─", "✓", "each"],
        ["├─", "✓", "count"],
        ["└─", "✓", "count"],
    ]
    assert lines[-1] == '"paid 7, 3 items"'


def test_a_run_takes_values_of_flags(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:shipped", "--input", '"cup"', "--flag", "carrier=bike", "-q")

    assert (answer.status, answer.out) == (0, '"cup by bike"\n')


@pytest.mark.parametrize(
    ("flag", "status", "error"),
    [
        ("carier=bike", 2, "did you mean 'carrier'?"),
        ("carrier=1", 2, "flag 'carrier' takes a text, as its default is 'post'; this is 1"),
        ("new-post=on", 2, "flag 'new-post' takes a boolean, as its default is False; this is 'on'"),
        ("new-post", 2, "--flag new-post has no value: write it as in --flag new-payment-flow=true"),
        ("=true", 2, "--flag =true has no value"),
    ],
)
def test_a_flag_that_is_none_is_refused(awaitly: Awaitly, flag: str, status: int, error: str) -> None:
    answer = awaitly("run", f"{FLOWS}:shipped", "--input", '"cup"', "--flag", flag)

    assert answer.status == status
    assert error in answer.err
