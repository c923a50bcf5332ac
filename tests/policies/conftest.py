"""Fixtures of the tests of policies."""

import pytest

from tests.policies.bench import Bench


@pytest.fixture
def bench() -> Bench:
    """The clock and the circuits of the test."""
    return Bench()
