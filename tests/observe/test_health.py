"""How runs ended lately, workflow by workflow."""

from typing import Any

import pytest

from awaitly import Err, Failure, Ok, Result, Runtime, sleep, step, workflow
from awaitly.model.facts import Ending, RunFinished, RunRejected, RunReleased, RunResumed, RunStarted, StepFinished
from awaitly.model.notice import Notice
from awaitly.observe.health import LATEST, MOST_WORKFLOWS, OTHERS, Health, LastError
from awaitly.testing.clock import EPOCH, VirtualClock


class Declined(Failure):
    pass


@step(errors=Declined)
async def decide(kind: str) -> str:
    match kind:
        case "declined":
            raise Declined
        case "broken":
            raise ConnectionError("refused")
        case _:
            return kind


@workflow(errors=Declined)
async def decided(kind: str) -> str:
    if kind == "slow":
        await sleep("10s")
    return await decide(kind)


@workflow
async def returned(kind: str) -> Result[str, Declined]:
    return Err(Declined()) if kind == "declined" else Ok(kind)


@workflow(deadline="5s")
async def endless() -> None:
    await sleep("1h")


def watched(*runs: Any) -> Health:
    """Run them one after another, in virtual time."""
    clock = VirtualClock(auto=True)
    health = Health()

    async def story() -> None:
        async with Runtime(store="memory://", clock=clock, watchers=[health]):
            for begin in runs:
                await begin()

    clock.run(story())
    return health


def test_success_failures_and_bugs_are_told_apart() -> None:
    report = watched(
        lambda: decided.run("fine"), lambda: decided.run("fine"), lambda: decided.run("declined"),
        lambda: decided.run("broken"),
    ).reports()["decided"]  # fmt: skip

    assert report.ended == {Ending.VALUE: 2, Ending.FAILURE: 1, Ending.UNEXPECTED: 1}
    assert report.success_rate == 0.5


def test_the_last_error_has_the_class_of_what_was_raised_and_its_time() -> None:
    report = watched(lambda: decided.run("slow"), lambda: decided.run("broken"), lambda: decided.run("fine"))

    assert report.reports()["decided"].last_error == LastError("ConnectionError", EPOCH + 10)


def test_a_failure_that_is_returned_counts_like_one_that_is_raised() -> None:
    report = watched(lambda: returned.run("declined")).reports()["returned"]

    assert report.ended == {Ending.FAILURE: 1}
    assert report.last_error == LastError("Declined", EPOCH)


def test_a_run_that_took_too_long_failed_by_its_deadline() -> None:
    report = watched(endless.run).reports()["endless"]

    assert (report.ended, report.success_rate) == ({Ending.DEADLINE: 1}, 0)
    assert report.last_error == LastError("DeadlineExceeded", EPOCH + 5)


def test_a_cancelled_run_is_neither_a_success_nor_a_failure() -> None:
    async def cancelled() -> None:
        handle = await decided.start("slow")
        await handle.cancel()
        await handle.result()

    report = watched(cancelled).reports()["decided"]

    assert report.ended == {Ending.CANCELLED: 1}
    assert (report.success_rate, report.last_error) == (None, None)


def test_durations_are_from_the_start_of_a_run_to_its_end() -> None:
    report = watched(*[lambda: decided.run("fine")] * 3, lambda: decided.run("slow")).reports()["decided"]

    assert (report.average, report.p95) == (2.5, 10)


def notice(fact: Any, run: str = "r", workflow: str = "w", error: BaseException | None = None) -> Notice:
    return Notice(run, workflow, fact, error)


def started(at: float) -> RunStarted:
    return RunStarted(
        at=at, workflow="w", version=None, fingerprint="", arguments=b"", arguments_digest="", seed=0
    )  # fmt: skip


def finished(at: float, ending: Ending = Ending.VALUE) -> RunFinished:
    return RunFinished(at=at, ending=ending, payload=b"")


def test_of_a_hundred_durations_five_may_be_longer_than_the_p95() -> None:
    health = Health()
    for seconds in range(1, 101):
        health(notice(started(0), run=str(seconds)))
        health(notice(finished(seconds), run=str(seconds)))

    report = health.reports()["w"]

    assert (report.p95, report.average) == (95, 50.5)


def test_a_run_that_was_taken_over_counts_from_its_start() -> None:
    health = Health()
    health(notice(RunResumed(at=100, recorded=3, started=40)))
    health(notice(finished(110)))

    assert health.reports()["w"].average == 70


def test_a_clock_that_was_set_back_makes_no_negative_durations() -> None:
    health = Health()
    health(notice(started(100)))
    health(notice(finished(40)))

    assert health.reports()["w"].average == 0


def test_rates_forget_what_was_long_ago_and_totals_do_not() -> None:
    health = Health()
    for ending, times in ((Ending.UNEXPECTED, 3), (Ending.VALUE, LATEST)):
        for _ in range(times):
            health(notice(finished(1, ending), error=OSError()))

    report = health.reports()["w"]

    assert (report.ended[Ending.UNEXPECTED], report.latest, report.success_rate) == (3, LATEST, 1)
    assert report.last_error == LastError("OSError", 1)


def test_refused_runs_are_counted_also_of_workflows_that_had_no_others() -> None:
    health = Health()
    for _ in range(2):
        health(Notice("", "w", RunRejected(at=1, reason="runtime-overloaded")))

    report = health.reports()["w"]

    assert (report.rejected, report.ended, report.success_rate) == (2, {}, None)


def test_however_many_workflows_there_are_memory_is_bounded() -> None:
    health = Health()
    for number in range(MOST_WORKFLOWS + 50):
        health(notice(finished(1), workflow=f"w{number}"))

    reports = health.reports()

    assert len(reports) == MOST_WORKFLOWS + 1
    assert reports[OTHERS].ended == {Ending.VALUE: 50}


def test_runs_that_go_elsewhere_are_forgotten() -> None:
    health = Health()
    health(notice(started(1)))
    health(notice(RunReleased(at=2, code="run-stopped", reason="")))

    assert (health._started, health.reports()) == ({}, {})


@pytest.mark.parametrize("ending", [Ending.FAILURE, Ending.UNEXPECTED])
def test_an_error_that_is_not_there_any_more_is_called_by_how_the_run_ended(ending: Ending) -> None:
    health = Health()
    health(notice(finished(1, ending)))

    assert health.reports()["w"].last_error == LastError(ending.value, 1)


def test_steps_are_none_of_its_business() -> None:
    health = Health()
    health(notice(StepFinished(at=1, call="c", step="s", arguments="", ending=Ending.VALUE, payload=b"")))

    assert health.reports() == {}
