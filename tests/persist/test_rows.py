"""Facts as rows: nothing is lost, and every kind is tried."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitly.errors import CorruptCheckpoint
from awaitly.model import facts
from awaitly.model.facts import Ending, Fact, StepFinished
from awaitly.persist.rows import Row, decoded, encoded
from awaitly.testing.conformance import stepped
from awaitly.testing.samples import EVERY_FACT

FACTS = {
    name
    for name, cls in vars(facts).items()
    if isinstance(cls, type) and issubclass(cls, Fact) and name not in ("Fact", "Delivered")
}


def test_the_conformance_suite_stores_every_kind_of_fact() -> None:
    assert {type(fact).__name__ for fact in EVERY_FACT} == FACTS


@pytest.mark.parametrize("fact", EVERY_FACT, ids=lambda fact: type(fact).__name__)
def test_a_fact_comes_back_equal(fact: Fact) -> None:
    assert decoded("r", 0, encoded(fact)) == fact


texts = st.text()
times = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        StepFinished,
        at=times,
        call=texts,
        step=texts,
        arguments=texts,
        ending=st.sampled_from(Ending),
        payload=st.binary(),
        attempts=st.integers(),
        seconds=times,
    )
)
def test_a_step_comes_back_equal_whatever_it_holds(fact: StepFinished) -> None:
    row = encoded(fact)
    assert decoded("r", 0, row) == fact
    assert json.loads(row.detail).keys() == {"step", "arguments", "ending", "attempts", "seconds"}


def test_the_columns_are_what_stores_are_asked_for() -> None:
    assert encoded(stepped(3)) == Row(
        at=103.25,
        kind="StepFinished",
        call="0/3",
        detail='{"step":"charge","arguments":"a","ending":"value","attempts":1,"seconds":0.0}',
        payload=b"{}",
    )


def test_a_row_of_an_unknown_kind_is_corrupt() -> None:
    with pytest.raises(CorruptCheckpoint, match="run 'order:1' holds no readable 'Surprise' at sequence number 7"):
        decoded("order:1", 7, encoded(stepped(1))._replace(kind="Surprise"))
