"""Processes that are killed lose nothing and do nothing twice; and the campaign would notice if they did."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from awaitly import Runtime
from examples.audit import audit
from tests.crash.campaign import EXAMPLES, Broken, Trial, campaign, trial
from tests.examples.environments import sound_environment

REPORTED = "trial/write_report#0"  # the idempotency key of the audit's only effect


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_killed_again_and_again_ends_as_if_undisturbed(example: str, tmp_path: Path) -> None:
    """The long version: python -m tests.crash.campaign --kills 200."""
    trials = list(campaign([example], kills=5, seed=2, base=tmp_path))

    assert sum(trial.kills for trial in trials) == 5


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Trial]:
    """A trial of the audit after one life, which the campaign has looked at."""
    sound_environment(tmp_path / "site")

    async def life(folder: Path) -> None:
        async with Runtime(store=f"sqlite:///{folder}/runs.db") as runtime:
            await runtime.run(audit.options(id="trial"), folder / "out", tmp_path / "site")

    with trial("audit", tmp_path / "trial") as lived:
        asyncio.run(life(lived.folder))
        execute(lived, REPORTED)
        lived.check_life()
        yield lived


def execute(lived: Trial, key: str, attempt: int = 1) -> None:
    with (lived.folder / "ledger").open("a") as ledger:
        line = {"step": "write_report", "key": key, "attempt": attempt, "arguments": ""}
        ledger.write(json.dumps(line) + "\n")


def test_a_life_that_keeps_everything_passes(ended: Trial) -> None:
    ended.check_life()
    ended.check_end()

    assert ended.stored.effects == {REPORTED}


def test_an_effect_executed_after_its_outcome_was_stored_is_noticed(ended: Trial) -> None:
    execute(ended, REPORTED)

    with pytest.raises(Broken, match="executed again, though its outcome was stored"):
        ended.check_life()


def test_an_effect_executed_twice_in_one_life_is_noticed(ended: Trial) -> None:
    execute(ended, "trial/other#0")
    execute(ended, "trial/other#0")

    with pytest.raises(Broken, match="executed 2 times in one life"):
        ended.check_life()


def test_a_second_attempt_in_one_life_is_no_repetition(ended: Trial) -> None:
    execute(ended, "trial/other#0")
    execute(ended, "trial/other#0", attempt=2)

    ended.check_life()
    ended.check_end()

    assert ended.repeats == 0


def test_more_attempts_than_were_declared_are_noticed(ended: Trial) -> None:
    execute(ended, "trial/other#0", attempt=4)
    ended.check_life()

    with pytest.raises(Broken, match="there was an attempt 4"):
        ended.check_end()


def test_an_outcome_that_nothing_was_executed_for_is_noticed(ended: Trial) -> None:
    ended.executed.clear()

    with pytest.raises(Broken, match="stored, and was never executed"):
        ended.check_end()


def test_a_store_that_lost_facts_is_noticed(ended: Trial) -> None:
    for file in ended.folder.glob("runs.db*"):
        file.unlink()

    with pytest.raises(Broken, match="stored facts of run trial have changed"):
        ended.check_life()
