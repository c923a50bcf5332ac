"""Fixtures of the tests of observers."""

from collections.abc import Iterator

import pytest

from tests.observe.receiving import Receiver, receiving


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """A real OTLP receiver."""
    with receiving() as started:
        yield started
