"""The longest that a run can take, from what is around its steps, and a warning where its deadline is shorter."""

from typing import Any

import pytest

from awaitly import Breaker, Fallback, RateLimit, Retry, each, gather, race, sleep, step, timeout, workflow
from awaitly.compile import graph_of
from awaitly.compile.library import Library
from awaitly.model.graph import BudgetSpec, Diagnostic
from awaitly.settings import Settings
from awaitly.settings.tables import RetrySettings, StepSettings, WorkflowSettings


@step(retry=Retry(attempts=3, initial="100ms", max="5s"), timeout="10s")
async def charge(order: str) -> str:
    return order


@step(timeout="20s")
async def ship(order: str) -> None: ...


@step(effect="read", timeout="5s")
async def look(order: str) -> str:
    return order


@step
async def forever(order: str) -> None: ...


def budget(body: Any) -> BudgetSpec:
    return graph_of(body).budget


def warnings(body: Any) -> list[Diagnostic]:
    return [found for found in graph_of(body).diagnostics if found.code == "deadline-budget"]


@workflow(deadline="30s")
async def late(order: str) -> None:
    await charge(order)
    await ship(order)


@workflow(deadline="51s")
async def in_time(order: str) -> None:
    await charge(order)
    await ship(order)


def test_a_worst_case_above_the_deadline_is_a_warning_with_the_arithmetic() -> None:
    (warning,) = warnings(late)

    assert warning.severity == "warning"
    assert warning.message == (
        "workflow late may need more time than it has: charge: 3 x 10s + 100ms + 200ms = 30.3s; ship: 20s; "
        "together 50.3s, and the deadline is 30s"
    )
    assert "charge fewer attempts" in warning.hint
    assert warning.position is not None
    assert warning.position.file == __file__


def test_a_worst_case_within_the_deadline_is_none() -> None:
    assert warnings(in_time) == []
    assert budget(in_time).seconds == pytest.approx(50.3)


@workflow(deadline="1s")
async def unknown(order: str) -> None:
    await forever(order)


def test_what_has_no_limit_is_said_and_no_warning() -> None:
    assert warnings(unknown) == []
    assert budget(unknown) == BudgetSpec(unlimited=("step forever has no timeout",))


# What a step costs.


@step(retry=Retry(attempts=None, within="1m"), timeout="10s")
async def within(order: str) -> None: ...


@step(retry=Retry(attempts=10, initial="1s", jitter="none"), timeout="10s", deadline="15s")
async def bounded(order: str) -> None: ...


@step(retry=Retry(attempts=5, initial="1s", jitter="none"), timeout="10s")
async def many(order: str) -> None: ...


@step(retry=2, limiter=RateLimit("stripe", limit=1, max_wait="3s"), timeout="10s")
async def limited(order: str) -> None: ...


@step(limiter=RateLimit("bank", limit=1), timeout="10s")
async def queued(order: str) -> None: ...


@step(breaker=Breaker("bank", when_open="wait", reset_timeout="40s"), timeout="10s")
async def patient(order: str) -> None: ...


@step(effect="read", timeout="10s", fallback=look)
async def substituted(order: str) -> str:
    return order


@step(timeout="10s", fallback=Fallback(value=None))
async def answered(order: str) -> None: ...


@step(effect="read", timeout="10s", hedge="2s")
async def hedged(order: str) -> None: ...


@step(timeout="10s")
async def plain(order: str) -> None: ...


@plain.variant(flag="slow", timeout="40s")
async def slow(order: str) -> None: ...


@workflow
async def one_step(order: str) -> None:
    await within(order)
    await bounded(order)
    await many(order)
    await limited(order)


@workflow
async def another(order: str) -> None:
    await substituted(order)
    await answered(order)
    await hedged(order)
    await plain(order)


@workflow
async def waiting(order: str) -> None:
    await queued(order)
    await patient(order)


def test_a_retry_ends_by_its_time_and_a_call_by_its_deadline() -> None:
    assert budget(one_step).terms == (
        "within: 1m until its last attempt + 10s = 1m10s",
        "bounded: 15s (its deadline)",
        "many: 5 x 10s + 15s between them = 1m5s",
        "limited: 2 x (10s + 3s for limiter stripe) + 100ms = 26.1s",
    )


def test_fallbacks_hedges_and_variants_count() -> None:
    assert budget(another).terms == (
        "substituted: 10s", "look: 5s", "answered: 10s", "hedged: 10s + 2s until its last hedge = 12s", "slow: 40s",
    )  # fmt: skip


def test_waits_without_a_limit_are_said() -> None:
    assert budget(waiting).terms == ("queued: 10s", "patient: 10s + 40s for breaker bank = 50s")
    assert budget(waiting).unlimited == (
        "step queued waits for limiter bank without max_wait",
        "step patient waits for breaker bank as long as it is open",
    )


# What a body costs.


@workflow
async def branches(order: str) -> None:
    if order:
        await ship(order)
        return
    if order == "":
        await plain(order)
    await look(order)


@workflow
async def at_once(orders: list[str]) -> None:
    await gather(ship("a"), look("b"), *[plain(order) for order in orders])


@workflow
async def rounds(orders: list[str]) -> None:
    await each(charge, orders, concurrency=4)
    for order in orders:
        await look(order)


@workflow
async def caught(order: str) -> None:
    try:
        await ship(order)
    except RuntimeError:
        await look(order)
    else:
        await answered(order)
    finally:
        await sleep("1m")


@workflow
async def raised(order: str) -> None:
    try:
        await look(order)
        raise RuntimeError
    except RuntimeError:
        await ship(order)


@workflow
async def cut(order: str) -> None:
    async with timeout("2s"):
        await ship(order)
    await race(look(order), sleep("3s"))


@workflow(deadline="9s")
async def child(order: str) -> None:
    await ship(order)


@workflow
async def nested(order: str) -> None:
    await ship(order)


@workflow
async def parent(order: str) -> None:
    await child(order)
    await nested(order)


@workflow
async def again(order: str) -> None:
    if order:
        await again(order[1:])
    await look(order)


@workflow
async def asleep(order: str, seconds: float) -> None:
    await look(order)
    await sleep(seconds)
    await look(order)


def test_of_branches_the_longest_way_counts() -> None:
    assert budget(branches).terms == ("slow: 40s", "look: 5s")


def test_of_what_runs_at_once_the_longest_counts() -> None:
    assert budget(at_once).terms == ("slow: 40s",)


def test_a_loop_counts_for_one_round() -> None:
    assert budget(rounds).terms == ("charge: 3 x 10s + 100ms + 200ms = 30.3s a round", "look: 5s a round")


def test_a_handler_comes_after_what_failed_and_what_is_final_after_everything() -> None:
    assert budget(caught).terms == ("ship: 20s", "answered: 10s", "sleep('1m'): 1m")


def test_what_is_raised_and_caught_goes_on_in_the_handler() -> None:
    assert budget(raised).terms == ("look: 5s", "ship: 20s")


def test_a_time_limit_ends_a_block_but_for_an_effect_under_way_and_a_race_ends_with_its_first() -> None:
    assert budget(cut).terms == ("timeout('2s'): 2s", "ship: 20s (an attempt under way)", "sleep('3s'): 3s")


def test_a_child_has_its_deadline_or_its_own_budget() -> None:
    assert budget(parent).terms == ("workflow child: 9s (its deadline)", "workflow nested: 20s")


def test_what_runs_itself_has_no_limit() -> None:
    assert budget(again) == BudgetSpec(seconds=5, terms=("look: 5s",), unlimited=("workflow again runs itself",))


def test_the_same_is_counted_and_a_time_that_is_computed_is_not_known() -> None:
    assert budget(asleep) == BudgetSpec(
        seconds=10, terms=("2 times look: 5s, so 10s",), unlimited=("sleep(seconds) is not known before it runs",)
    )


# What settings change.


def library(warned: list[Diagnostic], **tables: Any) -> Library:
    return Library(Settings(store="memory://", **tables), lambda binding: binding, warn=warned.append)


def test_settings_can_bring_a_run_in_time() -> None:
    warned: list[Diagnostic] = []
    shorter = {"charge": StepSettings(retry=RetrySettings(enabled=False))}

    graph = library(warned, steps=shorter).program(late).graph

    assert graph.budget.terms == ("charge: 10s", "ship: 20s")
    assert [found.code for found in graph.diagnostics] == []
    assert warned == []


def test_settings_that_make_a_run_late_are_told() -> None:
    warned: list[Diagnostic] = []

    graph = library(warned, workflows={"in_time": WorkflowSettings(deadline=45)}).program(in_time).graph

    assert [found.message for found in warned] == [found.message for found in graph.diagnostics]
    assert warned[0].message.endswith("together 50.3s, and the deadline is 45s")


def test_what_the_code_alone_says_is_told_once() -> None:
    warned: list[Diagnostic] = []

    graph = library(warned).program(late).graph

    assert [found.code for found in graph.diagnostics] == ["deadline-budget"]
    assert warned == list(graph.diagnostics)
