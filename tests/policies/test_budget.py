"""A budget: what calls earn, what retries cost, and what is lent to the quiet."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitly.errors import ConfigurationError
from awaitly.policies.budget import RESERVE, SAVED, Budget, Tokens
from awaitly.policies.sharing import Shared
from awaitly.testing.clock import VirtualClock


def tokens(clock: VirtualClock, **options: Any) -> Tokens:
    return Budget("stripe", **options).bound(Shared(clock))


def spent(budget: Tokens, wanted: int = 1_000) -> int:
    return sum(budget.spend() for _ in range(wanted))


def test_five_calls_earn_one_retry() -> None:
    budget = tokens(VirtualClock(), minimum=0)
    assert not budget.spend()

    for _ in range(5):
        budget.earn()

    assert (budget.spend(), budget.spend()) == (True, False)


def test_a_new_budget_lends_ten_seconds_worth_of_its_minimum() -> None:
    assert spent(tokens(VirtualClock(), minimum=2)) == 20


def test_what_was_lent_comes_back_by_the_second() -> None:
    clock = VirtualClock()
    budget = tokens(clock, minimum=2)
    spent(budget)

    clock.now += 3

    assert spent(budget) == 6


def test_time_lends_no_more_than_ten_seconds_worth() -> None:
    clock = VirtualClock()
    budget = tokens(clock, minimum=2)

    clock.now += 1_000

    assert budget.left == 20


def test_a_minimum_of_less_than_one_in_ten_seconds_lends_one_retry_all_the_same() -> None:
    clock = VirtualClock()
    budget = tokens(clock, minimum=0.01)
    assert spent(budget) == 1

    clock.now += 100

    assert spent(budget) == 1


def test_good_times_save_up_a_hundred_retries() -> None:
    budget = tokens(VirtualClock())

    for _ in range(10_000):
        budget.earn()

    assert spent(budget) == 100


def test_all_that_declare_its_name_draw_on_the_same_budget() -> None:
    shared = Shared(VirtualClock())
    assert Budget("stripe").bound(shared) is Budget("stripe").bound(shared)
    assert Budget("stripe").bound(shared) is not Budget("mail").bound(shared)


def test_one_name_for_two_different_budgets_is_a_conflict() -> None:
    shared = Shared(VirtualClock())
    Budget("stripe").bound(shared)

    with pytest.raises(ConfigurationError, match="declared twice"):
        Budget("stripe", ratio=0.5).bound(shared)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "the name of Budget is ''"),
        ({"name": None}, "the name of Budget is None"),
        ({"name": "a", "ratio": 1.5}, "ratio of Budget\\('a'\\) is 1.5. Give a number from 0 to 1"),
        ({"name": "a", "ratio": -0.1}, "ratio of Budget"),
        ({"name": "a", "minimum": -1}, "minimum of Budget"),
        ({"name": "a", "minimum": "2"}, "minimum of Budget"),
    ],
)
def test_what_no_budget_can_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i){message}"):
        Budget(**arguments)


happenings = st.one_of(st.just("call"), st.just("retry"), st.floats(0, 30))


@given(st.floats(0, 1), st.floats(0, 5), st.lists(happenings, max_size=200))
def test_retries_never_exceed_what_was_earned_and_lent(ratio: float, minimum: float, story: list[Any]) -> None:
    clock = VirtualClock()
    budget = tokens(clock, ratio=ratio, minimum=minimum)
    calls, retries, began = 0, 0, clock.now
    loan = max(1.0, RESERVE * minimum) if minimum else 0.0

    for happening in story:
        match happening:
            case "call":
                calls += 1
                budget.earn()
            case "retry":
                retries += budget.spend()
            case seconds:
                clock.now += seconds
        assert retries <= ratio * calls + minimum * (clock.now - began) + loan + 1e-6
        assert 0 <= budget.left <= max(SAVED, loan)
