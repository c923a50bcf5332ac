"""Numbers of things."""

import pytest

from awaitly.model.counts import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"), [(0, "run", "0 runs"), (1, "failed attempt", "1 failed attempt"), (2, "run", "2 runs")]
)
def test_what_is_counted_is_singular_if_it_is_one(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
