"""A process may die at any boundary: before and after each effect, each commit and each claim."""

from typing import Any

import pytest

from awaitly import Workflow
from tests.execute.journeys import JOURNEYS
from tests.properties.play import Plan, Played

JOURNEY = pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)


@JOURNEY
def test_dying_at_any_boundary_loses_nothing_and_repeats_nothing_that_was_stored(
    journey: Workflow[[int], int, Any],
) -> None:
    calm = Played(journey, "calm")
    assert calm.problems() == []
    assert calm.boundaries > 0

    died_at = []
    for point in range(calm.boundaries):
        played = Played(journey, "calm", [Plan(dies_at=point)])
        first = played.world.lives[0].life
        assert played.problems(calm.result) == [], f"died at {first.boundaries[-1]}"
        died_at.append(first.boundaries[-1])

    assert died_at == calm.world.lives[0].life.boundaries


@JOURNEY
def test_dying_again_at_any_boundary_of_the_recovery_loses_nothing(journey: Workflow[[int], int, Any]) -> None:
    calm = Played(journey, "calm")

    for point in range(1, calm.boundaries, 5):
        again = len(Played(journey, "calm", [Plan(dies_at=point)]).world.lives[1].life.boundaries)
        for second in range(0, again, 2):
            played = Played(journey, "calm", [Plan(dies_at=point), Plan(dies_at=second)])
            assert played.problems(calm.result) == [], f"died at {point}, then at {second}"


@JOURNEY
def test_shutting_down_at_any_time_leaves_the_run_resumable(journey: Workflow[[int], int, Any]) -> None:
    calm = Played(journey, "calm")

    for turns in range(0, 60, 5):
        played = Played(journey, "calm", [Plan(stops=turns / 100)])
        assert played.problems(calm.result) == [], f"shut down after {turns} turns"


@JOURNEY
def test_being_cancelled_at_any_turn_of_the_loop_is_replayed_as_it_was(journey: Workflow[[int], int, Any]) -> None:
    for turns in range(0, 100, 2):
        played = Played(journey, "calm", [Plan(cancels=turns / 100)])
        assert played.problems() == [], f"cancelled after {turns} turns"
