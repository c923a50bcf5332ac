"""Success or failure as a value: `Ok`, `Err`, and functions over many of them.

```python
match await charge.attempt(order):
    case Ok(payment): ...
    case Err(CardDeclined(decline_code=code)): ...
```

Type checkers narrow a `Result` by `match` and by `isinstance`; no checker lets a method narrow its own object,
so `is_ok()` and `is_err()` only answer.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from inspect import iscoroutine
from typing import Any, Generic, Literal, NoReturn, TypeAlias, TypeVar, final, overload

from awaitly.errors import UnwrapError

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E")
F = TypeVar("F")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
R = TypeVar("R", bound="Ok[Any] | Err[Any]")


@final
@dataclass(frozen=True, slots=True, repr=False)
class Ok(Generic[T_co]):
    """It worked; `value` is what came of it."""

    value: T_co

    def __repr__(self) -> str:
        return f"Ok({self.value!r})"

    def is_ok(self) -> Literal[True]:
        """Return True."""
        return True

    def is_err(self) -> Literal[False]:
        """Return False."""
        return False

    def map(self, change: Callable[[T_co], U]) -> "Ok[U]":
        """Return an `Ok` of the changed value."""
        return Ok(change(self.value))

    def map_err(self, change: Callable[[Any], object]) -> "Ok[T_co]":
        """Return this result: there is no error to change."""
        return self

    def and_then(self, proceed: Callable[[T_co], R]) -> R:
        """Return the result of the next thing, done with the value."""
        return proceed(self.value)

    def or_else(self, recover: Callable[[Any], "Ok[Any] | Err[Any]"]) -> "Ok[T_co]":
        """Return this result: there is nothing to recover from."""
        return self

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value

    def unwrap_or(self, default: object) -> T_co:
        """Return the value."""
        return self.value

    def unwrap_or_else(self, recover: Callable[[Any], object]) -> T_co:
        """Return the value."""
        return self.value

    def expect(self, message: str) -> T_co:
        """Return the value."""
        return self.value


@final
@dataclass(frozen=True, slots=True, repr=False)
class Err(Generic[E_co]):
    """It failed; `error` says how: an exception or any other value."""

    error: E_co

    def __repr__(self) -> str:
        return f"Err({self.error!r})"

    def is_ok(self) -> Literal[False]:
        """Return False."""
        return False

    def is_err(self) -> Literal[True]:
        """Return True."""
        return True

    def map(self, change: Callable[[Any], object]) -> "Err[E_co]":
        """Return this result: there is no value to change."""
        return self

    def map_err(self, change: Callable[[E_co], F]) -> "Err[F]":
        """Return an `Err` of the changed error."""
        return Err(change(self.error))

    def and_then(self, proceed: Callable[[Any], "Ok[Any] | Err[Any]"]) -> "Err[E_co]":
        """Return this result: there is no value to proceed with."""
        return self

    def or_else(self, recover: Callable[[E_co], R]) -> R:
        """Return the result of recovering from the error."""
        return recover(self.error)

    def unwrap(self) -> NoReturn:
        """Raise the error.

        Raises:
            BaseException: the error itself, if it is an exception.
            UnwrapError: if the error is any other value.
        """
        if isinstance(self.error, BaseException):
            raise self.error
        raise UnwrapError(f"unwrap() found {self!r}", error=self.error)

    def unwrap_or(self, default: U) -> U:
        """Return the default."""
        return default

    def unwrap_or_else(self, recover: Callable[[E_co], U]) -> U:
        """Return what `recover` makes of the error."""
        return recover(self.error)

    def expect(self, message: str) -> NoReturn:
        """Raise an error that says what was expected.

        Raises:
            UnwrapError: always, with the error as its cause if it is an exception.
        """
        cause = self.error if isinstance(self.error, BaseException) else None
        raise UnwrapError(f"{message}: found {self!r}", error=self.error) from cause


Result: TypeAlias = Ok[T] | Err[E]


def collect(results: Iterable[Ok[T] | Err[E]]) -> Ok[list[T]] | Err[E]:
    """Return the values of all results, or the first error; what follows an error is not looked at."""
    values: list[T] = []
    for result in results:
        if isinstance(result, Err):
            return result
        values.append(result.value)
    return Ok(values)


def partition(results: Iterable[Ok[T] | Err[E]]) -> tuple[list[T], list[E]]:
    """Return the values and the errors of all results, each in order."""
    values: list[T] = []
    errors: list[E] = []
    for result in results:
        if isinstance(result, Err):
            errors.append(result.error)
        else:
            values.append(result.value)
    return values, errors


T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
E5 = TypeVar("E5")


@overload
def zip_results(first: Ok[T1] | Err[E1], second: Ok[T2] | Err[E2], /) -> Ok[tuple[T1, T2]] | Err[E1 | E2]: ...
@overload
def zip_results(
    first: Ok[T1] | Err[E1], second: Ok[T2] | Err[E2], third: Ok[T3] | Err[E3], /
) -> Ok[tuple[T1, T2, T3]] | Err[E1 | E2 | E3]: ...
@overload
def zip_results(
    first: Ok[T1] | Err[E1], second: Ok[T2] | Err[E2], third: Ok[T3] | Err[E3], fourth: Ok[T4] | Err[E4], /
) -> Ok[tuple[T1, T2, T3, T4]] | Err[E1 | E2 | E3 | E4]: ...
@overload
def zip_results(
    first: Ok[T1] | Err[E1],
    second: Ok[T2] | Err[E2],
    third: Ok[T3] | Err[E3],
    fourth: Ok[T4] | Err[E4],
    fifth: Ok[T5] | Err[E5],
    /,
) -> Ok[tuple[T1, T2, T3, T4, T5]] | Err[E1 | E2 | E3 | E4 | E5]: ...
@overload
def zip_results(*results: Ok[T] | Err[E]) -> Ok[tuple[T, ...]] | Err[E]: ...
def zip_results(*results: Ok[Any] | Err[Any]) -> Ok[Any] | Err[Any]:
    """Return the values of results of different types as a tuple, or the first error.

    The types of up to five are kept one by one.
    """
    return collect(results).map(tuple)


async def collect_async(
    results: AsyncIterable[Ok[T] | Err[E]] | Iterable[Awaitable[Ok[T] | Err[E]]],
) -> Ok[list[T]] | Err[E]:
    """Await results one after another; return their values, or the first error.

    What follows an error is not begun: `collect_async(check(item) for item in items)`. To have them all at
    once, gather them first and `collect` what comes back.
    """
    values: list[T] = []
    async with aclosing(_each(results)) as each:
        async for result in each:
            if isinstance(result, Err):
                return result
            values.append(result.value)
    return Ok(values)


async def partition_async(
    results: AsyncIterable[Ok[T] | Err[E]] | Iterable[Awaitable[Ok[T] | Err[E]]],
) -> tuple[list[T], list[E]]:
    """Await results one after another; return their values and their errors, each in order."""
    async with aclosing(_each(results)) as each:
        return partition([result async for result in each])


async def _each(
    results: AsyncIterable[Ok[T] | Err[E]] | Iterable[Awaitable[Ok[T] | Err[E]]],
) -> AsyncGenerator[Ok[T] | Err[E], None]:
    if isinstance(results, AsyncIterable):
        async for result in results:
            yield result
        return

    try:
        for awaitable in results:
            yield await awaitable
    finally:
        if isinstance(results, Collection):
            _discard(results)


def _discard(awaitables: Collection[Awaitable[object]]) -> None:
    """Close the coroutines of a list that was given up, which Python would otherwise warn about."""
    for awaitable in awaitables:
        if iscoroutine(awaitable):
            awaitable.close()
