"""Fixtures of the tests of webhooks."""

from collections.abc import Iterator

import pytest

from tests.webhooks.receiving import Hooks, receiving_hooks
from tests.webhooks.world import World


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """A receiver that listens."""
    with receiving_hooks() as running:
        yield running


@pytest.fixture
def world() -> World:
    """A clock, a store and a receiver."""
    return World()
