"""Fixtures of the tests of webhooks."""

from collections.abc import Iterator

import pytest

from tests.webhooks.receiving import Hooks, receiving_hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """A receiver that listens."""
    with receiving_hooks() as running:
        yield running
