"""Durations as people write and read them."""

import pytest

from awaitly.model.durations import humanised, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0s"),
        (3e-7, "0.3µs"),
        (0.0000296, "29.6µs"),
        (0.00099951, "1ms"),
        (0.0012, "1.2ms"),
        (0.25, "250ms"),
        (0.99951, "1s"),
        (1.5, "1.5s"),
        (59.97, "1m"),
        (90.0, "1m30s"),
        (93784.0, "1d2h3m4s"),
    ],
)
def test_a_duration_is_short_text(value: float, text: str) -> None:
    assert humanised(value) == text
    assert seconds(text) == pytest.approx(value, rel=0.01)
