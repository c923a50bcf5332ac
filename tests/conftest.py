"""Fixtures that every test may use."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from awaitly.compile.library import logged

T = TypeVar("T")

LONGEST_TEST = 30.0


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in a loop of its own; one that hangs fails rather than stopping the whole suite."""

    async def bounded(main: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(LONGEST_TEST):
            return await main

    return lambda main: asyncio.run(bounded(main))


@pytest.fixture(autouse=True)
def unwarned() -> None:
    """Let the compiler warn as in a new process, which does so once."""
    logged.cache_clear()
