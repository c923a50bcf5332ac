"""Fixtures that every test may use."""

import asyncio
from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction, signature
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


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Play a test that is a coroutine function in the virtual time of its scene, or of another fixture that plays."""
    test = pyfuncitem.obj
    given = {name: pyfuncitem.funcargs[name] for name in signature(test).parameters}
    plays = [each.play for each in given.values() if hasattr(each, "play")]
    if not iscoroutinefunction(test) or not plays:
        return None

    plays[0](test(**given))
    return True
