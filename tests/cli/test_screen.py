"""What is printed of a run while it goes on, where nobody looks at a terminal."""

import pytest

from awaitly.cli.screen import Screen
from awaitly.model.facts import Ending, RetryScheduled, StepFinished, StepRetrying, StepStarted
from awaitly.model.notice import Notice

FAILED = b'{"raised":{"class":"builtins:OSError","args":["refused"]}}'


def shown(
    capsys: pytest.CaptureFixture[str], *facts: StepStarted | StepRetrying | RetryScheduled | StepFinished
) -> str:
    """Return the lines of a run in which something happened."""
    screen = Screen()
    screen.follow("f", "flow", "memory", [])
    for fact in facts:
        screen.notice(Notice("f", "flow", fact))
    return capsys.readouterr().err.partition("\n")[2]


def retrying(delay: float) -> StepRetrying:
    return StepRetrying(at=1, call="fetch#0", step="fetch", attempt=1, delay=delay, error="OSError", message="refused")


def test_a_long_wait_for_another_attempt_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, retrying(90)) == "waiting    fetch  attempt 1, retry in 1m30s  OSError: refused\n"


def test_a_short_wait_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, retrying(0.5)) == ""


def test_a_wait_that_a_journal_tells_of_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    scheduled = RetryScheduled(at=1, call="fetch#0", step="fetch", attempts=1, since=0, due=91, payload=FAILED)

    assert shown(capsys, scheduled) == "waiting    fetch  attempt 1, retry in 1m30s  OSError: refused\n"


def test_the_outcome_has_all_attempts_and_what_policies_did(capsys: pytest.CaptureFixture[str]) -> None:
    finished = StepFinished(
        at=9, call="fetch#0", step="fetch", arguments="a", ending=Ending.VALUE, payload=b"1", attempts=2, seconds=8,
        source="fallback", variant="quick",
    )  # fmt: skip

    assert shown(capsys, finished) == "ok         fetch  8s  2 attempts  from its fallback  as quick\n"
