"""Checks of what a program depends on: run at once, each with its own time limit, and harmless whatever they do."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from types import CodeType
from typing import Any, TypeAlias

from awaitly.errors import ConfigurationError
from awaitly.execute.probe import Answer, Probe
from awaitly.model.clock import Clock
from awaitly.result import Err

Check: TypeAlias = Callable[[], Awaitable[object] | object]
"""Raises, or returns ``False`` or an ``Err``, if something is wrong. A plain function runs in a thread of its own."""


class Unwell(Exception):
    """A check returned that something is wrong."""


class Checks:
    """The checks of one application.

    Args:
        checks: By the name of what they check.
        timeout: The seconds that each may take.
        clock: What these are of.

    Raises:
        ConfigurationError: ``invalid-option``, for what cannot be called, or would not be run by calling it.
    """

    def __init__(self, checks: Mapping[str, Check], timeout: float, clock: Clock) -> None:
        for name, check in checks.items():
            _refuse_unfit(name, check)
        self._probes = {name: Probe(_asking(check), timeout, clock) for name, check in checks.items()}

    async def answers(self) -> Mapping[str, Answer]:
        """Return what all of them say, each at most a moment old."""
        found = await asyncio.gather(*(probe.answer() for probe in self._probes.values()))
        return dict(zip(self._probes, found, strict=True))


def _refuse_unfit(name: str, check: Check) -> None:
    if not callable(check):
        found = f"{type(check).__name__}, which cannot be called"
    elif _is_any(check, inspect.isasyncgenfunction, _is_generator_function):
        found = "a function with yield: calling it runs nothing of it"
    else:
        return
    raise ConfigurationError(
        f"the check {name!r} of awaitly.serve.app is {found}",
        hint="give a function, async or not, that raises or returns False if something is wrong",
        code="invalid-option",
    )


def _is_generator_function(function: object) -> bool:
    # One of types.coroutine is awaited.
    code: CodeType | None = getattr(function, "__code__", None)
    awaited = code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE
    return inspect.isgeneratorfunction(function) and not awaited


def _asking(check: Check) -> Callable[[], Awaitable[None]]:
    threaded = None if _is_any(check, inspect.iscoroutinefunction) else _Threaded(check)

    async def ask() -> None:
        found: Any = check() if threaded is None else await threaded()
        if inspect.isawaitable(found):
            found = await found
        _judge(found)

    return ask


def _is_any(check: Check, *kinds: Callable[[object], bool]) -> bool:
    """Return whether a check, or the ``__call__`` of an object that is one, is of one of these kinds."""
    functions = (check, getattr(check, "__call__", None))  # noqa: B004 - not whether it can be called
    return any(kind(function) for kind in kinds for function in functions)


def _judge(found: object) -> None:
    match found:
        case Generator() | AsyncGenerator() | Awaitable():
            raise Unwell(
                f"it returned an object of type {type(found).__name__}, which nobody runs: await it in the check"
            )
        case False:
            raise Unwell("it returned False")
        case Err(error=BaseException() as error):
            raise error
        case Err(error=error):
            raise Unwell(str(error))


class _Threaded:
    """Calls a plain function in a thread: one at a time, as one that hangs cannot be ended."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._thread: Thread | None = None

    async def __call__(self) -> object:
        if self._thread is not None and self._thread.is_alive():
            raise TimeoutError("the call before has not returned yet")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[object] = loop.create_future()
        # A daemon: a check that hangs must not keep the process from ending.
        context = copy_context()
        work = (context.run, _called, self._check, outcome, loop)
        self._thread = Thread(target=work[0], args=work[1:], name="awaitly-check", daemon=True)
        self._thread.start()
        return await outcome


def _called(check: Check, outcome: "asyncio.Future[object]", loop: asyncio.AbstractEventLoop) -> None:
    error: BaseException | None = None
    found: object = None
    try:
        found = check()
    except BaseException as raised:  # noqa: BLE001 - foreign code: whatever it raises is its answer
        error = raised
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(_settle, outcome, found, error)


def _settle(outcome: "asyncio.Future[object]", found: object, error: BaseException | None) -> None:
    if outcome.done():  # nobody waits any more
        return
    if error is None:
        outcome.set_result(found)
    elif isinstance(error, StopIteration):  # which no future can hold
        outcome.set_exception(Unwell("it raised StopIteration"))
    else:
        outcome.set_exception(error)
