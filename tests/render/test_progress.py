from dataclasses import replace

import pytest

from awaitly.model.facts import (
    BreakerRejected,
    CacheHit,
    EachStarted,
    Ending,
    Fact,
    FallbackTaken,
    FlagDecided,
    LimiterRejected,
    LimiterWaited,
    RetryScheduled,
    RunFinished,
    RunRetried,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepHedged,
    StepRetrying,
    StepStarted,
    TimerFired,
    TimerSet,
)
from awaitly.render.progress import Progress
from awaitly.render.rows import Kind, Pause, Phase, Row, fitted

DECLINED = b'{"raised":{"class":"shop:Declined","fields":{"reason":"stolen"}}}'


def started(workflow: str = "checkout", parent: str | None = None) -> RunStarted:
    return RunStarted(
        at=100.0, workflow=workflow, version=None, fingerprint="f", arguments=b"{}", arguments_digest="d", seed=1,
        parent=parent,
    )  # fmt: skip


def begun(call: str, at: float = 101.0, step: str = "charge") -> StepStarted:
    return StepStarted(at=at, call=call, step=step)


def done(call: str, at: float = 102.0, step: str = "charge", ending: Ending = Ending.VALUE) -> StepFinished:
    payload = b"1" if ending is Ending.VALUE else DECLINED
    return StepFinished(at=at, call=call, step=step, arguments="a", ending=ending, payload=payload, seconds=0.5)


def ended(ending: Ending = Ending.VALUE) -> RunFinished:
    return RunFinished(at=110.0, ending=ending, payload=b"2")


def tree(*facts: Fact) -> Row:
    progress = Progress()
    for fact in facts:
        progress.apply("r", "checkout", fact)
    return progress.tree("r")


def outline(row: Row) -> list[str]:
    """Return the rows as lines: depth, label and phase."""
    lines = [f"{row.label} {row.phase}"]
    return lines + [f"  {line}" for inner in row.rows for line in outline(inner)]


def test_a_run_begins_open_and_ends_as_it_ended() -> None:
    assert outline(tree(started())) == ["checkout open"]
    assert outline(tree(started(), ended())) == ["checkout done"]
    assert outline(tree(started(), ended(Ending.FAILURE))) == ["checkout failed"]
    assert outline(tree(started(), ended(Ending.CANCELLED))) == ["checkout cancelled"]


def test_a_run_takes_from_its_start_to_its_end() -> None:
    assert tree(started(), ended()).seconds == 10.0


def test_calls_stand_in_the_order_in_which_they_began() -> None:
    row = tree(started(), begun("b#0", step="b"), begun("a#0", step="a"), done("a#0", step="a"))

    assert outline(row)[1:] == ["  b open", "  a done"]


def test_a_call_has_the_time_that_was_measured() -> None:
    (call,) = tree(started(), begun("a#0"), done("a#0")).rows

    assert (call.began, call.seconds, call.payload) == (101.0, 0.5, b"1")


def test_a_fact_that_is_seen_twice_changes_nothing() -> None:
    facts = started(), begun("a#0"), done("a#0"), ended()

    assert tree(*facts, *facts) == tree(*facts)


def test_a_start_that_is_seen_after_the_outcome_does_not_reopen_a_call() -> None:
    assert outline(tree(started(), done("a#0"), begun("a#0")))[1:] == ["  charge done"]


def test_calls_of_one_place_are_numbered_and_keys_are_shown() -> None:
    row = tree(started(), done("charge#0"), done("charge#0.1"), done("charge[order:7]"))

    assert [call.label for call in row.rows] == ["charge", "charge (2)", "charge [order:7]"]


def test_branches_are_nested_by_identity() -> None:
    row = tree(
        started(),
        done("each#0>task/both:a#0", step="a"),
        done("each#0>task.1/both:a#0", step="a"),
        begun("each#0>task/both:b#0", step="b"),
        done("each#1>b", step="b"),
        done("each#1>b.1", step="b"),
    )

    assert outline(row)[1:] == [
        "  each open", "    [1] open", "      a done", "      b open", "    [2] done", "      a done",
        "  each b done", "    b done", "    b (2) done",
    ]  # fmt: skip


def test_an_each_counts_towards_the_number_of_its_items() -> None:
    items = EachStarted(at=101.0, call="each#0", items=3)
    (group,) = tree(started(), items, done("each#0>a"), done("each#0>a.1", ending=Ending.FAILURE)).rows

    assert group.count is not None
    assert (group.phase, group.count.finished, group.count.failed, group.count.total) == (Phase.OPEN, 2, 1, 3)


def test_an_each_that_has_just_begun_is_there_without_rows() -> None:
    (group,) = tree(started(), EachStarted(at=101.0, call="each#0", items=3)).rows

    assert group.count is not None
    assert (group.phase, group.seconds, group.count.finished, group.count.total) == (Phase.OPEN, None, 0, 3)


def test_the_items_of_an_each_in_a_loop_add_up() -> None:
    facts = [EachStarted(at=at, call="each#0", items=3) for at in (101.0, 102.0)]
    (group,) = tree(started(), *facts, *facts, done("each#0>a")).rows

    assert group.count is not None
    assert group.count.total == 6


def test_an_each_of_an_unknown_number_of_items_has_no_total_while_it_is_open() -> None:
    (group,) = tree(started(), done("each#0>a"), begun("each#0>a.1")).rows

    assert group.count is not None
    assert (group.count.finished, group.count.total) == (1, None)


def test_child_runs_stand_in_the_place_of_their_call() -> None:
    progress = Progress()
    progress.apply("r", "checkout", started())
    progress.apply("r", "checkout", begun("pack#0", step="pack"))
    progress.apply("r/pack#0", "pack", started("pack", parent="r"))
    progress.apply("r/pack#0", "pack", done("fold#0", step="fold"))

    assert outline(progress.tree("r"))[1:] == ["  pack open", "    fold done"]
    assert progress.path("r/pack#0", "fold#0", below="r") == ("pack", "fold")


def test_a_child_run_with_a_key_is_found_by_its_workflow() -> None:
    progress = Progress()
    progress.apply("r", "checkout", started())
    progress.apply("r", "checkout", begun("pack#0", step="pack"))
    progress.apply("parcel:7", "pack", started("pack", parent="r"))
    progress.apply("parcel:7", "pack", done("fold#0", step="fold"))

    assert outline(progress.tree("r"))[1:] == ["  pack open", "    fold done"]


def test_a_child_run_without_a_known_call_is_shown_all_the_same() -> None:
    progress = Progress()
    progress.apply("r", "checkout", started())
    progress.apply("r/pack#0", "pack", started("pack", parent="r"))

    assert outline(progress.tree("r"))[1:] == ["  pack open"]


def test_a_sleep_is_open_until_its_timer_fires() -> None:
    set_ = TimerSet(at=101.0, call="sleep#0", due=105.0)

    assert outline(tree(started(), set_))[1:] == ["  sleep open"]
    (row,) = tree(started(), set_, TimerFired(at=105.0, call="sleep#0")).rows
    assert (row.kind, row.phase, row.seconds) == (Kind.TIMER, Phase.DONE, 4.0)


LIMIT = TimerSet(at=101.0, call="timeout#0", due=105.0)
SLEEP = TimerSet(at=102.0, call="sleep#0", due=200.0)


def test_a_time_limit_of_a_block_that_is_kept_is_no_row() -> None:
    assert outline(tree(started(), LIMIT, SLEEP))[1:] == ["  sleep open"]
    assert outline(tree(started(), LIMIT, done("a#0"), ended()))[1:] == ["  charge done"]


def test_a_time_limit_that_ends_its_block_is_a_row_and_ends_the_sleeps_in_it() -> None:
    below = TimerSet(at=103.0, call="gather#0>task.1/nap:sleep#0", due=200.0)
    after = TimerSet(at=106.0, call="sleep#1", due=200.0)

    rows = list(tree(started(), LIMIT, SLEEP, below, TimerFired(at=105.0, call="timeout#0"), after).walk())

    assert [(row.label, row.phase.value, row.seconds) for row in rows if row.kind in (Kind.LIMIT, Kind.TIMER)] == [
        ("timeout", "failed", 4.0), ("sleep", "cancelled", 3.0), ("sleep", "cancelled", 2.0), ("sleep", "open", None)
    ]  # fmt: skip
    assert rows[1].remarks == ("time is up",)


def test_a_sleep_outside_of_the_block_goes_on_when_its_time_is_up() -> None:
    before = TimerSet(at=101.0, call="gather#0>task/sleep#0", due=200.0)
    limit = TimerSet(at=102.0, call="gather#0>task.1/timeout#0", due=105.0)
    beside = TimerSet(at=103.0, call="gather#0>task.2/sleep#0", due=200.0)

    fired = TimerFired(at=105.0, call="gather#0>task.1/timeout#0")
    rows = tree(started(), before, limit, beside, fired).walk()

    assert [row.phase for row in rows if row.kind is Kind.TIMER] == [Phase.OPEN, Phase.OPEN]


def test_how_long_a_sleep_took_that_nothing_tells_the_end_of_is_not_made_up() -> None:
    (row,) = tree(started(), SLEEP, ended()).rows

    assert (row.phase, row.seconds) == (Phase.CANCELLED, None)


def test_what_a_run_leaves_open_at_its_end_is_cancelled() -> None:
    assert outline(tree(started(), begun("a#0"), ended()))[1:] == ["  charge cancelled"]


def test_a_retried_run_is_open_again_and_keeps_what_its_journal_kept() -> None:
    caught = done("a#0", ending=Ending.FAILURE)

    row = tree(started(), caught, ended(Ending.FAILURE), RunRetried(at=111.0), begun("b#0"))

    assert outline(row) == ["checkout open", "  charge failed", "  charge open"]


def test_a_cancelled_call_is_cancelled() -> None:
    cancelled = StepCancelled(at=103.0, call="a#0", step="charge", arguments="a", seconds=2.0)

    assert outline(tree(started(), begun("a#0"), cancelled))[1:] == ["  charge cancelled"]


def test_a_group_whose_failure_cancelled_others_has_failed_and_one_beside_successes_has_not() -> None:
    failed = done("each#0>a", ending=Ending.FAILURE)
    cancelled = StepCancelled(at=103.0, call="each#0>a.1", step="a", arguments="a")

    assert tree(started(), failed, cancelled).rows[0].phase is Phase.FAILED
    assert tree(started(), failed, done("each#0>a.1")).rows[0].phase is Phase.DONE


def test_what_was_loaded_from_a_journal_is_marked() -> None:
    progress = Progress()
    progress.load("r", "checkout", [started(), done("a#0")])
    progress.apply("r", "checkout", done("b#0"))

    assert [row.stored for row in progress.tree("r").rows] == [True, False]


# What policies and flags did.


def retrying(attempt: int, at: float = 102.0) -> StepRetrying:
    return StepRetrying(
        at=at, call="a#0", step="charge", attempt=attempt, delay=5.0, error="OSError", message="refused"
    )


def test_a_call_between_two_attempts_says_when_the_next_one_is_due_and_why() -> None:
    (call,) = tree(started(), begun("a#0"), retrying(1)).rows

    assert (call.phase, call.attempts, call.pause) == (Phase.OPEN, 1, Pause(error="OSError: refused", due=107.0))


def test_a_retry_that_a_journal_holds_says_the_same() -> None:
    scheduled = RetryScheduled(
        at=102.0, call="a#0", step="charge", attempts=2, since=101.0, due=107.0, payload=DECLINED
    )

    (call,) = tree(started(), scheduled).rows

    assert (call.phase, call.attempts, call.pause) == (
        Phase.OPEN, 2, Pause(error='Declined: reason="stolen"', due=107.0),
    )  # fmt: skip


def test_the_next_attempt_ends_the_pause_and_the_outcome_has_all_attempts() -> None:
    again = StepStarted(at=107.0, call="a#0", step="charge", attempt=2)
    finished = replace(done("a#0", at=108.0), attempts=2)

    (call,) = tree(started(), begun("a#0"), retrying(1), again).rows
    assert (call.attempts, call.pause) == (2, None)

    (call,) = tree(started(), begun("a#0"), retrying(1), again, finished).rows
    assert (call.phase, call.attempts, call.pause) == (Phase.DONE, 2, None)


@pytest.mark.parametrize(
    ("fact", "remark"),
    [
        (LimiterWaited(at=1, call="a#0", step="a", limiter="stripe", seconds=1.5), "waited 1.5s for limiter stripe"),
        (LimiterRejected(at=1, call="a#0", step="a", limiter="stripe"), "refused by limiter stripe"),
        (BreakerRejected(at=1, call="a#0", step="a", breaker="bank"), "circuit bank is open"),
        (StepHedged(at=1, call="a#0", step="a", attempt=2), "hedged"),
        (CacheHit(at=1, call="a#0", step="a", key="k"), "from its cache"),
        (FallbackTaken(at=1, call="a#0", step="a", error="OSError"), "from its fallback, after OSError"),
    ],
)
def test_what_a_policy_did_is_a_remark(fact: Fact, remark: str) -> None:
    (call,) = tree(started(), fact).rows

    assert (call.phase, call.remarks) == (Phase.OPEN, (remark,))


def test_a_journal_knows_where_an_outcome_is_from_and_which_function_gave_it() -> None:
    (call,) = tree(started(), replace(done("a#0"), source="fallback", variant="charge_v2")).rows

    assert call.remarks == ("from its fallback", "as charge_v2")


def test_a_second_wait_for_the_same_replaces_the_first() -> None:
    waits = [LimiterWaited(at=1, call="a#0", step="a", limiter="l", seconds=seconds) for seconds in (1, 2)]

    (call,) = tree(started(), *waits).rows

    assert call.remarks == ("waited 2s for limiter l",)


def test_a_run_says_what_its_flags_are() -> None:
    decided = FlagDecided(at=101.0, flag="new-flow", value=True, provider="settings", reason="share 0.25")

    assert tree(started(), decided).remarks == ("flag new-flow is true (settings, share 0.25)",)


def test_what_an_earlier_process_began_and_this_one_finished_is_not_marked_as_stored() -> None:
    progress = Progress()
    progress.load("r", "checkout", [started(), begun("a#0")])
    progress.apply("r", "checkout", done("a#0"))

    assert [row.stored for row in progress.tree("r").rows] == [False]


def test_descendants_are_within_their_root() -> None:
    progress = Progress()
    progress.apply("r", "checkout", started())
    progress.apply("r/a", "a", started("a", parent="r"))
    progress.apply("r/a/b", "b", started("b", parent="r/a"))
    progress.apply("s", "checkout", started())

    assert [progress.within(run, "r") for run in ("r", "r/a", "r/a/b", "s")] == [True, True, True, False]


def test_a_tree_that_is_too_long_keeps_what_is_open_and_what_failed() -> None:
    facts = [done(f"each#0>a.{n}", ending=Ending.FAILURE if n == 3 else Ending.VALUE) for n in range(100)]
    row = fitted(tree(started(), *facts, begun("each#0>a.100")), 12)

    lines = outline(row)
    assert len(lines) <= 12
    assert "    … 93 done done" in lines
    assert "    charge (4) failed" in lines
    assert "    charge (101) open" in lines
    assert row.rows[0].count is not None
    assert row.rows[0].count.finished == 100


def test_a_tree_that_fits_is_left_alone() -> None:
    row = tree(started(), done("a#0"))

    assert fitted(row, 2) == row
