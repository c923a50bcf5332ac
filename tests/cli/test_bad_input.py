"""Whatever is wrong with what people give: one message with its code, an exit status, no traceback."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.calling import FLOWS, Answer, Awaitly


def refused(answer: Answer, status: int, code: str, *says: str) -> None:
    """Check that an answer is one clear message."""
    assert answer.status == status, answer
    assert answer.out == ""
    assert answer.err.startswith(f"error [{code}]: "), answer.err
    assert "Traceback" not in answer.err
    for text in says:
        assert text in answer.err


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("nowhere.py:checkout", "target-not-found", "there is no file nowhere.py"),
        ("no_such_module:checkout", "target-not-found", "there is no module 'no_such_module'"),
        (f"{FLOWS}:chekout", "target-not-found", "did you mean"),
        (f"{FLOWS}:charge", "not-a-workflow", "is a step, not a workflow"),
        (f"{FLOWS}:plain", "not-a-workflow", "is a function, not a workflow"),
    ],
)
@pytest.mark.parametrize("command", ["run", "graph", "check"])
def test_a_target_that_is_not_there(awaitly: Awaitly, command: str, target: str, code: str, says: str) -> None:
    refused(awaitly(command, target), 2, code, says)


@pytest.mark.parametrize("command", ["run", "graph"])
def test_a_target_without_its_name_lists_the_workflows_there(awaitly: Awaitly, command: str) -> None:
    refused(awaitly(command, str(FLOWS)), 2, "target-not-found", "names no workflow", "pack, checkout, gated")


def test_a_file_without_workflows_has_nothing_to_check(awaitly: Awaitly) -> None:
    Path("plain_file.py").touch()

    refused(awaitly("check", "plain_file.py"), 2, "target-not-found", "plain_file.py has no workflow")


def test_a_misspelt_file_finds_its_neighbour(awaitly: Awaitly) -> None:
    Path("orders_of_today.py").touch()

    refused(awaitly("run", "order_of_today.py:x"), 2, "target-not-found", "did you mean orders_of_today.py?")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f():\n    return nothing\n\nf()\n", "NameError: name 'nothing' is not defined (broken_flow.py:2)"),
        ("import json\n\njson.loads('{')\n", "JSONDecodeError"),
        ("x = (\n", "SyntaxError"),
        ("import no_such_module_at_all\n", "No module named 'no_such_module_at_all' (broken_flow.py:1)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (broken_flow.py:1)"),
    ],
)
def test_a_module_that_does_not_import_names_the_line(awaitly: Awaitly, source: str, says: str) -> None:
    Path("broken_flow.py").write_text(source)

    refused(awaitly("run", "broken_flow.py:x"), 2, "import-failed", "broken_flow.py does not import: ", says)


def test_a_file_named_like_another_module_is_refused(awaitly: Awaitly) -> None:
    Path("string.py").write_text("")

    refused(awaitly("run", "string.py:x"), 2, "import-failed", "string.py would be imported as string, which is")


def test_an_unknown_option_of_a_step_finds_the_one_that_was_meant(awaitly: Awaitly) -> None:
    Path("misspelt.py").write_text("from awaitly import step\n\n@step(timout='5s')\nasync def charge() -> None: ...\n")

    refused(awaitly("run", "misspelt.py:x"), 2, "unknown-option", "misspelt.py:3", "did you mean 'timeout'?")


def test_two_steps_of_one_name_do_not_compile(awaitly: Awaitly) -> None:
    Path("doubled.py").write_text(
        "from awaitly import step, workflow\n\n"
        "@step(name='a')\nasync def one() -> None: ...\n\n"
        "@step(name='a')\nasync def two() -> None: ...\n\n"
        "@workflow\nasync def both() -> None:\n    await one()\n    await two()\n"
    )

    refused(awaitly("run", "doubled.py:both"), 1, "duplicate-step-name", "doubled.py:6")
    assert not Path("awaitly.db").exists() or awaitly("runs", "list").out == "no runs\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{name: 1}", "--input is not JSON: key must be a string at line 1 column 2"),
        ("@missing.json", "missing.json cannot be read: No such file or directory"),
        ("[1, 2]", "found a list where an object of arguments is expected"),
        ('{"nam": "Ada"}', "nam: Unexpected argument; did you mean 'name'?"),
    ],
)
def test_input_that_is_no_object_of_arguments(awaitly: Awaitly, given: str, says: str) -> None:
    refused(awaitly("run", f"{FLOWS}:greet", "--input", given), 2, "invalid-input", says)


def test_every_field_that_does_not_fit_is_named_with_pydantics_message(awaitly: Awaitly) -> None:
    given = '{"order": {"id": 7, "items": [{"quantity": "many"}]}}'

    answer = awaitly("run", f"{FLOWS}:checkout", "--input", given)

    refused(answer, 2, "invalid-input")
    number = "Input should be a valid integer, unable to parse string as an integer"
    assert answer.err.splitlines()[1:4] == [
        "  order.id: Input should be a valid string (found 7)",
        "  order.items[0].sku: Field required",
        f'  order.items[0].quantity: {number} (found "many")',
    ]


def test_a_missing_argument_is_named(awaitly: Awaitly) -> None:
    refused(awaitly("run", f"{FLOWS}:checkout"), 2, "invalid-input", "order: Field required")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "--sotre", "x", "a:b"), "unknown-option", "did you mean --store?"),
        (("rnu",), "usage-error", "No such command 'rnu'"),
        (("run",), "usage-error", "Missing argument 'TARGET'"),
        (("runs", "list", "--status", "odd"), "usage-error", "is not one of 'pending'"),
        (("runs", "resume", "7"), "usage-error", "--target is missing: a store holds no code"),
        (("runs", "retry", "7"), "usage-error", "--target is missing"),
        (("runs", "fork", "7"), "usage-error", "--target is missing"),
    ],
)
def test_a_command_line_that_cannot_be_read(awaitly: Awaitly, words: tuple[str, ...], code: str, says: str) -> None:
    refused(awaitly(*words), 2, code, says)


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
def test_an_unknown_run_is_not_found(awaitly: Awaitly, command: str) -> None:
    awaitly("run", f"{FLOWS}:greet")

    refused(awaitly("runs", command, "nope"), 1, "run-not-found", "there is no run 'nope' in sqlite:///awaitly.db")


@pytest.mark.parametrize("command", ["resume", "retry", "fork"])
def test_an_unknown_run_cannot_be_continued(awaitly: Awaitly, command: str) -> None:
    awaitly("run", f"{FLOWS}:greet")

    refused(awaitly("runs", command, "nope", "--target", f"{FLOWS}:greet"), 1, "run-not-found")


def test_looking_for_runs_makes_no_database(awaitly: Awaitly) -> None:
    refused(awaitly("runs", "list"), 1, "store-unavailable", "there is no sqlite:///awaitly.db")
    assert not Path("awaitly.db").exists()


def test_a_store_url_of_an_unknown_scheme(awaitly: Awaitly) -> None:
    refused(
        awaitly("run", f"{FLOWS}:greet", "--store", "mysql://x"), 1, "not-a-store", "known are memory://, sqlite://"
    )


def test_a_duration_that_is_none(awaitly: Awaitly) -> None:
    refused(awaitly("run", f"{FLOWS}:greet", "--deadline", "soon"), 2, "invalid-duration", "'soon'")


def test_a_setting_that_does_not_exist(awaitly: Awaitly) -> None:
    Path("awaitly.toml").write_text("shutdown_timeuot = 3\n")

    refused(awaitly("run", f"{FLOWS}:greet"), 2, "invalid-setting", "did you mean shutdown_timeout?")


def test_a_value_that_cannot_be_stored_fails_its_step(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:unstorable", "--id", "u", "--quiet")

    assert answer.status == 1
    assert answer.err.startswith("failed [unserialisable-result]: shapeless: ")
    assert "Traceback" not in answer.err
    assert awaitly("runs", "list", "--status", "failed").out.splitlines()[1].startswith("u ")


def test_a_key_given_to_two_pieces_of_work_fails_the_run(awaitly: Awaitly) -> None:
    answer = awaitly("run", f"{FLOWS}:twice", "--quiet")

    assert answer.status == 1
    assert answer.err.startswith("failed [key-conflict]: ")


def test_a_file_that_is_no_database_is_left_as_it_is(awaitly: Awaitly) -> None:
    Path("letter.db").write_text("Dear Ada, this is a letter and not a database at all.")

    refused(awaitly("run", f"{FLOWS}:greet", "--store", "letter.db"), 1, "not-a-store")
    assert Path("letter.db").read_text().startswith("Dear Ada")


def test_a_database_of_another_program_is_left_as_it_is(awaitly: Awaitly) -> None:
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()

    refused(awaitly("run", f"{FLOWS}:greet", "--store", "theirs.db"), 1, "not-a-store", "'songs'")


def test_a_corrupt_checkpoint_stops_the_run_and_loses_nothing(awaitly: Awaitly) -> None:
    ledger = Path("ledger.txt").resolve()
    awaitly("run", f"{FLOWS}:greet", "--id", "fine")
    awaitly("run", f"{FLOWS}:large", "--id", "damaged", "--input", f'{{"ledger": "{ledger}", "pages": 3}}')
    unfinish("damaged", damage=b'"not what was stored')

    answer = awaitly("run", f"{FLOWS}:large", "--id", "damaged")

    assert answer.status == 1
    assert "error [corrupt-checkpoint]: " in answer.err
    assert "Traceback" not in answer.err
    assert ledger.read_text().split() == ["0", "1", "2"]
    unfinish("damaged", damage=b'"' + b"x" * 4000 + b'"')
    assert awaitly("run", f"{FLOWS}:large", "--id", "damaged").out == "3\n"
    assert ledger.read_text().split() == ["0", "1", "2"]


def unfinish(run: str, damage: bytes) -> None:
    """Take the end of a run away, as a crash before its commit would, and overwrite its first outcome."""
    connection = sqlite3.connect("awaitly.db", isolation_level=None)
    (number,) = connection.execute("SELECT n FROM runs WHERE id = ?", [run]).fetchone()
    connection.execute("DELETE FROM facts WHERE run = ? AND kind = 'RunFinished'", [number])
    connection.execute("UPDATE facts SET payload = ? WHERE run = ? AND seq = 1", [damage, number])
    connection.execute("UPDATE runs SET status = 'pending', ended = NULL, owner = NULL WHERE n = ?", [number])
    connection.close()


def test_an_option_of_a_policy_that_does_not_fit_is_told_with_its_place(awaitly: Awaitly) -> None:
    Path("no_attempts.py").write_text("from awaitly import Retry\n\nPATIENT = Retry(0)\n")

    refused(awaitly("run", "no_attempts.py:x"), 2, "invalid-option", "attempts of Retry is 0 (no_attempts.py:3)")


def test_one_name_for_two_breakers_is_told_with_both_places(awaitly: Awaitly) -> None:
    Path("two_breakers.py").write_text(
        "from awaitly import Breaker, step, workflow\n\n"
        "@step(breaker=Breaker('pay'))\nasync def a() -> None: ...\n\n"
        "@step(breaker=Breaker('pay', failure_threshold=9))\nasync def b() -> None: ...\n\n"
        "@workflow\nasync def w() -> None:\n    await a()\n    await b()\n"
    )

    answer = awaitly("check", "two_breakers.py:w")

    assert answer.err.startswith(
        "error [policy-conflict]: breaker 'pay' is declared twice, and not the same, by step a (two_breakers.py:3)"
        " and by step b (two_breakers.py:6): failure_threshold="
    )
