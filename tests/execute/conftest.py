"""Fixtures of the tests of execution."""

import pytest

from tests.execute.scene import Scene, new_scene


@pytest.fixture
def scene() -> Scene:
    """The scene that steps of the test ask what to do."""
    return new_scene()
