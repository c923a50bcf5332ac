"""A program that gets SIGTERM or Ctrl-C lets its runs end, gives back the others, and tells by its exit status."""

import signal
import sqlite3
from collections.abc import Callable

import pytest

from awaitly.model.state import Status
from tests.signals.conftest import Program

Started = Callable[..., Program]

MODULE = "tests.signals.program"


@pytest.mark.parametrize(("mode", "number"), [("waiting", signal.SIGTERM), ("waiting", signal.SIGINT), ("uvloop", 15)])
def test_its_runs_go_on_to_their_ends_and_then_it_ends_with_0(started: Started, mode: str, number: int) -> None:
    program = started(MODULE, mode, "two:a")
    program.until("a-1 begins")
    program.tell(number)
    program.let("a-1")
    program.until("a-2 begins")
    program.let("a-2")

    assert program.ended() == 0
    assert program.record("two:a").status is Status.SUCCEEDED
    assert "shut down: 1 run ended, 0 left to be taken over" in program.errors


def test_what_only_sleeps_is_given_back_at_once_and_goes_on_in_the_next_process(started: Started) -> None:
    program = started(MODULE, "waiting", "sleeping:a")
    program.until("ready")
    program.tell()

    assert program.ended() == 0
    record = program.record("sleeping:a")
    assert (record.status, record.owner) == (Status.PENDING, None)


def test_an_effect_that_is_abandoned_is_named_and_makes_the_exit_status_75(started: Started) -> None:
    program = started(MODULE, "waiting", "two:a", AWAITLY_SHUTDOWN_TIMEOUT="300ms")
    program.until("a-1 begins")
    program.tell()

    assert program.ended() == 75
    assert "under way, which are abandoned: two:a" in program.errors
    assert program.record("two:a").owner is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(started: Started, number: int, status: int) -> None:
    program = started(MODULE, "waiting", "two:a")
    program.until("a-1 begins")
    program.tell()

    assert program.insist(number) == status
    assert program.log[-1] == "a-1 begins"


def test_a_second_signal_ends_it_even_while_its_loop_is_blocked(started: Started) -> None:
    program = started(MODULE, "waiting", "blocking:a")
    program.until("a begins")

    assert program.insist() == 143


def test_two_signals_at_once_are_one_wish(started: Started) -> None:
    program = started(MODULE, "waiting", "two:a")
    program.until("a-1 begins")
    program.tell(signal.SIGINT, signal.SIGTERM)
    program.let("a-1")
    program.let("a-2")

    assert program.ended() == 0


def test_a_program_with_something_else_to_do_is_ended_when_its_runtime_is_shut_down(started: Started) -> None:
    program = started(MODULE, "owning", "two:a")
    program.until("a-1 begins")
    program.tell()
    program.let("a-1")
    program.let("a-2")

    assert program.ended() == 0
    assert "result: Ok('a-2')" in program.log
    assert program.log[-1] == "cleaned up"
    assert "Traceback" not in program.errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_likewise_one_that_is_idle(started: Started, number: int) -> None:
    program = started(MODULE, "owning")
    program.until("ready")
    program.tell(number)

    assert program.ended() == 0
    assert program.log == ["ready", "cleaned up"]
    assert "Traceback" not in program.errors


def test_a_store_that_somebody_locks_cannot_keep_it_and_what_could_not_be_stored_makes_the_status_75(
    started: Started,
) -> None:
    program = started(MODULE, "waiting", "two:a", AWAITLY_SHUTDOWN_TIMEOUT="300ms")
    program.until("a-1 begins")
    connection = sqlite3.connect(program.folder / "runs.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    program.let("a-1")
    program.until("a-1 ends")
    program.tell()

    assert program.ended() == 75
    assert "the store did not take what runs did last, which may be done again: two:a" in program.errors
    assert "Traceback" not in program.errors

    connection.execute("ROLLBACK")
    connection.close()
    assert program.record("two:a").owner is not None
