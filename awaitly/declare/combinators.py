"""What a workflow's body is written with besides steps. Outside of a body each does the plain thing."""

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, TypeVar, overload
from uuid import UUID

from awaitly.declare.host import host
from awaitly.errors import ConfigurationError
from awaitly.model.context import StepContext
from awaitly.model.durations import Duration, seconds
from awaitly.result import Err, Ok

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
F = TypeVar("F")
T = TypeVar("T")


@overload
def gather(a: Awaitable[A], /) -> Coroutine[object, None, tuple[A]]: ...
@overload
def gather(a: Awaitable[A], b: Awaitable[B], /) -> Coroutine[object, None, tuple[A, B]]: ...
@overload
def gather(a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /) -> Coroutine[object, None, tuple[A, B, C]]: ...
@overload
def gather(
    a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], d: Awaitable[D], /
) -> Coroutine[object, None, tuple[A, B, C, D]]: ...
@overload
def gather(
    a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], d: Awaitable[D], f: Awaitable[F], /
) -> Coroutine[object, None, tuple[A, B, C, D, F]]: ...
@overload
def gather(*awaitables: Awaitable[T]) -> Coroutine[object, None, tuple[T, ...]]: ...
def gather(*awaitables: Awaitable[Any]) -> Coroutine[object, None, Any]:
    """Await all at the same time and return their values in order.

    The first failure cancels the others, waits for them and is raised.
    """
    return host().gather(awaitables, sys._getframe(1))


@overload
def settle(a: Awaitable[A], /) -> Coroutine[object, None, tuple[Ok[A] | Err[Exception]]]: ...
@overload
def settle(
    a: Awaitable[A], b: Awaitable[B], /
) -> Coroutine[object, None, tuple[Ok[A] | Err[Exception], Ok[B] | Err[Exception]]]: ...
@overload
def settle(
    a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /
) -> Coroutine[object, None, tuple[Ok[A] | Err[Exception], Ok[B] | Err[Exception], Ok[C] | Err[Exception]]]: ...
@overload
def settle(*awaitables: Awaitable[T]) -> Coroutine[object, None, tuple[Ok[T] | Err[Exception], ...]]: ...
def settle(*awaitables: Awaitable[Any]) -> Coroutine[object, None, Any]:
    """Await all at the same time and return an ``Ok`` or ``Err`` for each, in order."""
    return host().settle(awaitables, sys._getframe(1))


@overload
def race(a: Awaitable[A], /) -> Coroutine[object, None, A]: ...
@overload
def race(a: Awaitable[A], b: Awaitable[B], /) -> Coroutine[object, None, A | B]: ...
@overload
def race(a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /) -> Coroutine[object, None, A | B | C]: ...
@overload
def race(*awaitables: Awaitable[T]) -> Coroutine[object, None, T]: ...
def race(*awaitables: Awaitable[Any]) -> Coroutine[object, None, Any]:
    """Await the first to finish, return its value or raise its failure; cancel the others and wait for them.

    Raises:
        ConfigurationError: ``invalid-option``, without anything to wait for.
    """
    if not awaitables:
        raise ConfigurationError(
            "race() was given nothing", hint="give it at least one awaitable", code="invalid-option"
        )
    return host().race(awaitables, sys._getframe(1))


def each(
    function: Callable[[A], Awaitable[B]], items: Iterable[A], /, *, concurrency: int = 10
) -> Coroutine[object, None, list[B]]:
    """Call ``function`` with every item, at most ``concurrency`` at once, and return the values in order.

    The first failure cancels what is under way, waits for it and is raised.

    Raises:
        ConfigurationError: ``invalid-option``, if ``concurrency`` is less than 1.
    """
    if concurrency < 1:
        raise ConfigurationError(
            f"concurrency= of each() is {concurrency}", hint="give 1 or more", code="invalid-option"
        )
    return host().each(function, items, concurrency, sys._getframe(1))


def sleep(duration: Duration, /) -> Coroutine[object, None, None]:
    """Wait for a duration. In a body the due time is stored: an interrupted run waits only for what is left.

    Raises:
        ConfigurationError: ``invalid-duration``.
    """
    return host().sleep(seconds(duration, what="the duration of sleep()"), sys._getframe(1))


def timeout(duration: Duration, /) -> AbstractAsyncContextManager[None]:
    """Limit the time of an ``async with`` block: what is awaited in it is cancelled and ``TimeoutError`` raised.

    In a body, that the time was over is recorded and replayed.

    Raises:
        ConfigurationError: ``invalid-duration``.
    """
    return host().timeout(seconds(duration, what="the duration of timeout()"), sys._getframe(1))


def now() -> datetime:
    """Return the time in UTC. In a body it is recorded: a resumed run sees the same time."""
    return datetime.fromtimestamp(host().now(sys._getframe(1)), UTC)


def random() -> float:
    """Return a number in [0, 1). In a body it is derived from the run's seed: a resumed run sees the same number."""
    return host().random(sys._getframe(1))


def uuid4() -> UUID:
    """Return a random UUID. In a body it is derived from the run's seed: a resumed run sees the same one."""
    return host().uuid4(sys._getframe(1))


def remaining() -> float | None:
    """Return the seconds that the step's attempt, its call or its run has left, or None if none of them ends.

    Raises:
        UsageError: ``not-in-step``, if it is called in a workflow's body.
    """
    return current().remaining()


def current() -> StepContext:
    """Return what a step's function may know about its call: run, attempt, idempotency key, time left.

    Raises:
        UsageError: ``not-in-step``, in a workflow's body.
    """
    return host().current()
