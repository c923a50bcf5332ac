"""Tests of a store as stories: each gets a new store that is open, and the clock that its leases go by."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

from awaitly.persist.ports import Store


class Clock:
    """Monotonic time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Suite(Protocol):
    """What has stories: it says how a store is made."""

    def new_store(self, directory: Path, monotonic: Callable[[], float]) -> Store:
        """Return a new store that is not open yet."""


Story = Callable[[Any, Store, Clock], Coroutine[Any, Any, None]]


def on_store(story: Story) -> Callable[[Any, Path], None]:
    """Make a test of a story: it gets an open store, and the clock of its leases."""

    @wraps(story)
    def test(self: Suite, tmp_path: Path) -> None:
        async def play() -> None:
            clock = Clock()
            store = self.new_store(tmp_path, clock)
            await store.open()
            try:
                async with asyncio.timeout(30):
                    await story(self, store, clock)
            finally:
                await store.close()

        asyncio.run(play())

    del test.__wrapped__  # pytest would take the story's parameters for fixtures
    return test
