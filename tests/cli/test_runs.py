import asyncio
import json
from pathlib import Path

import pytest

from awaitly import Runtime, workflow
from awaitly.cli.targets import workflow_of
from awaitly.model.facts import StepRetrying
from awaitly.model.notice import Notice
from tests.cli.calling import FLOWS, Awaitly

FLAKY = """
from awaitly import Retry, current, step, workflow

@step(retry=Retry(2, initial="19m", max="19m", jitter=False))
async def fetch() -> int:
    if current().attempt == 1:
        raise OSError("refused")
    return 1

@workflow
async def flow() -> int:
    return await fetch()
"""

VARIED = """
from awaitly import step, workflow

@step
async def greet(name: str) -> str:
    return f"Good morning, {name}"

@greet.variant(flag="briefly")
async def nod(name: str) -> str:
    return name

@workflow
async def greeting(name: str) -> str:
    return await greet(name)
"""


@pytest.fixture
def sold(awaitly: Awaitly) -> None:
    """Store a run that succeeded, with a child run, and one that failed."""
    awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "7", "items": [{"sku": "cup"}]}')
    awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "declined"}')


@pytest.mark.usefixtures("sold")
def test_runs_are_listed_newest_first(awaitly: Awaitly) -> None:
    rows = [line.split()[:3] for line in awaitly("runs", "list", "--workflow", "checkout").out.splitlines()]

    assert rows == [
        ["ID", "WORKFLOW", "STATUS"],
        ["order:declined", "checkout", "failed"],
        ["order:7", "checkout", "succeeded"],
    ]


@pytest.mark.usefixtures("sold")
def test_runs_are_filtered_and_limited(awaitly: Awaitly) -> None:
    failed = json.loads(awaitly("runs", "list", "--status", "failed", "--json").out)
    one = json.loads(awaitly("runs", "list", "--limit", "1", "--json").out)

    assert ([run["id"] for run in failed], len(one)) == (["order:declined"], 1)


@pytest.mark.usefixtures("sold")
def test_a_run_is_shown_with_its_steps_results_and_child_runs_without_its_code(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "show", "order:7")

    words = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert words[0] == "order:7 checkout succeeded"
    assert words[2] == 'order = {"id": "7", "items": [{"sku": "cup", "quantity": 1}]}'
    assert any(line.startswith("✓ checkout") and line.endswith('"paid 7, 1 items"') for line in words)
    assert any("✓ charge" in line and line.endswith('"paid 7"') for line in words)
    assert any("✓ count" in line and line.endswith(" 1") for line in words)


@pytest.mark.usefixtures("sold")
def test_a_failed_run_is_shown_with_its_failure(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "show", "order:declined")

    assert answer.out.splitlines()[-1] == 'Declined: reason="stolen", attempts=1'


def test_the_traceback_of_an_unexpected_error_shows_the_users_own_frames(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:checkout", "--input", '{"id": "bug"}')

    lines = awaitly("runs", "show", "order:bug").out.splitlines()

    places = [line.split('"')[1] for line in lines if line.lstrip().startswith("File ")]
    assert places == [str(FLOWS)]
    assert lines[-2] == "ZeroDivisionError: nobody thought of this"
    assert lines[-1].endswith("go on with: awaitly runs retry order:bug --target TARGET")


@pytest.mark.usefixtures("sold")
def test_the_facts_of_a_run_are_shown_in_order(awaitly: Awaitly) -> None:
    kinds = [line.split()[3] for line in awaitly("runs", "show", "order:7", "--facts").out.splitlines()]

    assert (kinds[0], kinds[-1], kinds.count("StepFinished")) == ("RunStarted", "RunFinished", 2)


def test_the_facts_of_a_run_say_what_a_flag_was(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("varied.py").write_text(VARIED)
    monkeypatch.setenv("AWAITLY_FLAGS__BRIEFLY", "true")
    awaitly("run", "varied.py:greeting", "--id", "g", "--input", '"Ada"')

    shown = awaitly("runs", "show", "g", "--facts")

    assert 'flag="briefly"  value=true  provider="settings"' in shown.out


def test_a_run_is_shown_with_its_flags_its_variants_and_its_attempts(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("varied.py").write_text(VARIED)
    monkeypatch.setenv("AWAITLY_FLAGS__BRIEFLY", "true")
    awaitly("run", "varied.py:greeting", "--id", "g", "--input", '"Ada"')
    awaitly("run", "varied.py:greeting", "--id", "h", "--input", '"Ada"', "--flag", "briefly=false")

    decided, given = awaitly("runs", "show", "g").out, awaitly("runs", "show", "h").out

    assert "flag briefly is true (settings" in decided
    assert "as nod" in decided
    assert "  flag briefly is false (given)\n" in given
    assert "as nod" not in given


def test_a_run_that_waits_for_another_attempt_says_when_that_is_due_and_why(awaitly: Awaitly) -> None:
    Path("flaky.py").write_text(FLAKY)
    flow = workflow_of("flaky.py:flow")

    async def story() -> None:
        retrying = asyncio.Event()

        async def sink(notice: Notice) -> None:
            if isinstance(notice.fact, StepRetrying):
                retrying.set()

        async with Runtime(store="sqlite:///awaitly.db", sinks=[sink]) as runtime:
            await runtime.start(flow.options(id="f"))
            await retrying.wait()

    asyncio.run(story())
    shown = awaitly("runs", "show", "f").out
    (fact,) = (line for line in awaitly("runs", "show", "f", "--facts").out.splitlines() if "RetryScheduled" in line)

    assert "fetch" in shown
    assert "attempt 1, retry in 1" in shown
    assert 'step="fetch"  attempts=1  since="20' in fact
    assert 'payload="OSError: refused"' in fact


@pytest.mark.usefixtures("sold")
def test_settings_of_steps_are_no_business_of_commands_that_know_no_workflow(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__TIMEOUT", "3s")

    assert awaitly("runs", "list").err == ""


@pytest.mark.usefixtures("sold")
def test_a_run_is_shown_as_json(awaitly: Awaitly) -> None:
    shown = json.loads(awaitly("runs", "show", "order:7", "--json").out)

    assert (shown["id"], shown["status"]) == ("order:7", "succeeded")
    assert shown["arguments"] == {"order": {"id": "7", "items": [{"sku": "cup", "quantity": 1}]}}
    assert shown["facts"][-1]["payload"] == "paid 7, 1 items"


@pytest.mark.usefixtures("sold")
def test_a_run_that_has_ended_cannot_be_cancelled(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "cancel", "order:7")

    assert (answer.status, answer.out) == (1, "order:7 has ended already: succeeded\n")


@pytest.mark.usefixtures("sold")
def test_watching_a_run_that_has_ended_says_how_it_ended(awaitly: Awaitly) -> None:
    assert awaitly("runs", "watch", "order:7").out == "order:7 has succeeded\n"
    assert awaitly("runs", "watch", "order:declined").status == 1


def test_a_failed_run_is_retried_from_before_its_failure(awaitly: Awaitly) -> None:
    failed = awaitly("run", f"{FLOWS}:fetched", "--id", "f", "--input", '{"ledger": "asked.txt", "source": "it.txt"}')
    Path("it.txt").write_text("here it is")

    answer = awaitly("runs", "retry", "f", "--target", f"{FLOWS}:fetched")

    assert (failed.status, answer.status, answer.out) == (1, 0, '"here it is"\n')
    assert Path("asked.txt").read_text() == "asked\n"


@pytest.mark.usefixtures("sold")
def test_a_run_that_succeeded_cannot_be_retried(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "retry", "order:7", "--target", f"{FLOWS}:checkout")

    assert answer.status == 1
    assert answer.err.startswith("error [run-refused]: ")


@pytest.mark.usefixtures("sold")
def test_the_plan_of_a_fork_says_what_is_kept_and_does_nothing(awaitly: Awaitly) -> None:
    before = awaitly("runs", "list").out

    answer = awaitly("runs", "fork", "order:7", "--target", f"{FLOWS}:checkout", "--at", "charge", "--plan")

    assert answer.status == 0
    assert answer.out.splitlines() == [
        "kept: 0", "executed again, where the code comes to it: 2", "  charge#0  write", "  pack#0",
    ]  # fmt: skip
    assert awaitly("runs", "list").out == before


@pytest.mark.usefixtures("sold")
def test_the_plan_of_a_fork_with_other_input_names_what_no_longer_fits_as_executed_again(awaitly: Awaitly) -> None:
    given = ("--input", '{"id": "8"}')

    answer = awaitly("runs", "fork", "order:7", "--target", f"{FLOWS}:checkout", *given, "--plan")

    assert answer.out.splitlines()[:3] == [
        "kept: 0", "executed again, where the code comes to it: 2", "  charge#0  write",
    ]  # fmt: skip


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize("also", [["--plan"], ["--id", "eight"]])
def test_a_fork_at_a_step_whose_input_changes_a_step_before_it_is_refused(awaitly: Awaitly, also: list[str]) -> None:
    given = ("--at", "pack", "--input", '{"id": "8"}')

    answer = awaitly("runs", "fork", "order:7", "--target", f"{FLOWS}:checkout", *given, *also)

    assert (answer.status, answer.out) == (1, "")
    assert "error [run-refused]: a fork of run 'order:7' with these arguments would begin before pack: " in answer.err
    assert "hint: if that is meant, fork it there: at='charge#0', on the command line --at 'charge#0'" in answer.err
    assert "eight" not in awaitly("runs", "list").out


@pytest.mark.usefixtures("sold")
def test_a_fork_is_a_new_run_with_an_id_of_its_own(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "fork", "order:7", "--target", f"{FLOWS}:checkout", "--at", "charge", "--id", "again")

    assert (answer.status, answer.out) == (0, '"paid 7, 1 items"\n')
    assert awaitly("runs", "show", "again", "--json").status == 0


@pytest.mark.usefixtures("sold")
def test_a_fork_with_other_input_does_what_no_longer_fits_again(awaitly: Awaitly) -> None:
    answer = awaitly(
        "runs", "fork", "order:7", "--target", f"{FLOWS}:checkout", "--input", '{"id": "8"}', "--id", "eight"
    )

    assert (answer.status, answer.out) == (0, '"paid 8, 0 items"\n')


@pytest.mark.usefixtures("sold")
def test_a_run_of_another_workflow_than_the_target_is_refused(awaitly: Awaitly) -> None:
    answer = awaitly("runs", "resume", "order:7", "--target", f"{FLOWS}:greet")

    assert answer.status == 1
    assert answer.err.startswith("error [run-id-conflict]: 'order:7' is a run of checkout, not of greet")


def test_a_fork_takes_values_of_flags(awaitly: Awaitly) -> None:
    target = ("--target", f"{FLOWS}:shipped", "-q")
    awaitly("run", f"{FLOWS}:shipped", "--id", "s", "--input", '"cup"', "--flag", "new-post=true")

    answer = awaitly("runs", "fork", "s", *target, "--at", "ship", "--flag", "new-post=false", "--flag", "carrier=bike")

    assert (answer.status, answer.out) == (0, '"cup by bike"\n')


def test_a_flag_on_which_an_outcome_depended_that_a_fork_keeps_stays_as_it_was(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:shipped", "--id", "s", "--input", '"cup"')

    answer = awaitly("runs", "fork", "s", "--target", f"{FLOWS}:shipped", "--flag", "carrier=bike")

    assert answer.status == 1
    assert "error [run-refused]: a fork of run 's' cannot have carrier='bike'" in answer.err
    assert "hint: fork it before that: at='ship#0', on the command line --at 'ship#0'" in answer.err


def test_the_plan_of_a_fork_names_the_flags_that_were_decided(awaitly: Awaitly) -> None:
    awaitly("run", f"{FLOWS}:shipped", "--id", "s", "--input", '"cup"')

    answer = awaitly("runs", "fork", "s", "--target", f"{FLOWS}:shipped", "--plan")

    assert answer.out.splitlines()[:3] == ["kept: 3", '  flag carrier "post"', "  flag new-post false"]


def test_a_run_that_was_started_with_text_that_is_no_valid_unicode_is_shown_as_json(awaitly: Awaitly) -> None:
    async def story() -> None:
        async with Runtime() as rt:
            await rt.run(odd.options(id="odd", metadata={"file": "caf\udce9"}))

    asyncio.run(story())

    shown = json.loads(awaitly("runs", "show", "odd", "--json").out)
    assert shown["facts"][0]["metadata"] == {"file": "caf\\udce9"}


@workflow
async def odd() -> None:
    pass
