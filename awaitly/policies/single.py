"""A policy by itself: around calls of any async function, outside of steps."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from awaitly.policies.course import Around, Course
from awaitly.policies.sharing import Shared, shared

P = ParamSpec("P")
T = TypeVar("T")


class Single(ABC):
    """What every declared policy can do by itself: call an async function, or decorate one."""

    __slots__ = ()

    @abstractmethod
    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        """Return what lies around the calls of a function."""

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what an async function gives for these arguments, with the policy around the call.

        Raises:
            Exception: What the function raises, or the policy.
        """
        states = shared()
        course = Course(states.clock, called(fn), observe=states.observe)
        course.args, course.kwargs = args, kwargs
        return await self._around(states, fn)(partial(course.attempt, partial(fn, *args, **kwargs)), course)

    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Decorate an async function: every call of it has the policy around it."""

        @wraps(fn)
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.call(fn, *args, **kwargs)

        return wrapped


def called(fn: Callable[..., Any]) -> str:
    """Return what messages call a function."""
    found: str = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return found
