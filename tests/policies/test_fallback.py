"""A fallback answers for a call that failed, and for nothing else."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from awaitly.errors import ConfigurationError
from awaitly.model.facts import Fact, FallbackTaken
from awaitly.policies.clock import SystemClock
from awaitly.policies.course import Course
from awaitly.policies.fallback import Fallback
from awaitly.policies.sharing import Shared


class Down(Exception):
    pass


class Busy(Down):
    pass


async def fetch(user: str, *, fresh: bool = False) -> str:
    raise Down(user)


async def taken(fallback: Fallback, error: BaseException, *args: Any, **kwargs: Any) -> tuple[Any, Course, list[Fact]]:
    """Let a call fail within a fallback; return the answer, and what is known of the call then."""
    facts: list[Fact] = []
    course = Course(SystemClock(), "fetch", observe=facts.append, call="fetch#0")
    course.args, course.kwargs = args, kwargs

    async def call() -> Any:
        raise error

    answer = await fallback.bound(Shared(course.clock), "fetch")(call, course)
    return answer, course, facts


def test_a_call_that_succeeds_keeps_its_answer(run: Callable[..., Any]) -> None:
    """Nothing is taken, and the course says nothing of a fallback."""

    async def story() -> None:
        course = Course(SystemClock())

        async def call() -> int:
            return 7

        assert await Fallback(value=0).bound(Shared(course.clock), "fetch")(call, course) == 7
        assert course.source == ""

    run(story())


@pytest.mark.parametrize("value", [0, None, [], "cached"])
def test_a_value_takes_the_place_of_a_failure(run: Callable[..., Any], value: object) -> None:
    """Also None, and always this very object."""
    answer, course, _ = run(taken(Fallback(value=value), Down()))
    assert answer is value
    assert course.source == "fallback"


def test_a_function_is_called_with_what_the_call_was_called_with(run: Callable[..., Any]) -> None:
    def cached(user: str, *, fresh: bool) -> str:
        return f"{user} of yesterday, fresh={fresh}"

    answer, _, _ = run(taken(Fallback(cached), Down(), "bob", fresh=True))
    assert answer == "bob of yesterday, fresh=True"


def test_an_async_function_is_awaited(run: Callable[..., Any]) -> None:
    async def cached(user: str) -> str:
        await asyncio.sleep(0)
        return f"{user} of yesterday"

    answer, _, _ = run(taken(Fallback(cached), Down(), "bob"))
    assert answer == "bob of yesterday"


def test_it_is_told_which_error_it_was_taken_for(run: Callable[..., Any]) -> None:
    _, _, facts = run(taken(Fallback(value=0), Busy("queue full")))
    assert [(type(fact), fact.step, fact.call, fact.error) for fact in facts if isinstance(fact, FallbackTaken)] == [
        (FallbackTaken, "fetch", "fetch#0", "Busy")
    ]


@pytest.mark.parametrize("on", [Down, (ValueError, Down)])
def test_it_answers_for_the_chosen_errors_and_their_subclasses(run: Callable[..., Any], on: Any) -> None:
    answer, _, _ = run(taken(Fallback(value=0, on=on), Busy()))
    assert answer == 0


def test_another_error_passes_as_it_is(run: Callable[..., Any]) -> None:
    error = Down()
    with pytest.raises(Down) as caught:
        run(taken(Fallback(value=0, on=Busy), error))
    assert caught.value is error


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()])
def test_what_is_no_exception_passes(run: Callable[..., Any], error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(taken(Fallback(value=0), error))


def test_an_error_of_the_fallback_is_raised_with_the_first_one_as_its_context(run: Callable[..., Any]) -> None:
    first = Down()

    async def broken() -> int:
        await asyncio.sleep(0)
        raise ValueError("no copy of it")

    with pytest.raises(ValueError, match="no copy of it") as caught:
        run(taken(Fallback(broken), first))
    assert caught.value.__context__ is first


def test_it_decorates_and_calls_async_functions(run: Callable[..., Any]) -> None:
    """The wrapped function keeps its name, and its arguments reach the fallback."""
    fallback = Fallback(lambda user, fresh=False: f"{user}, fresh={fresh}")
    decorated = fallback(fetch)
    assert decorated.__name__ == "fetch"
    assert run(decorated("bob", fresh=True)) == "bob, fresh=True"
    assert run(fallback.call(fetch, "eve")) == "eve, fresh=False"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fallback(), "nothing to answer with"),
        (lambda: Fallback(print, value=0), "two answers"),
        (lambda: Fallback(0), "Fallback(value=0)"),  # type: ignore[arg-type]
        (lambda: Fallback(value=0, on=asyncio.CancelledError), "subclasses of Exception"),  # type: ignore[arg-type]
        (lambda: Fallback(value=0, on=BaseException), "subclasses of Exception"),  # type: ignore[arg-type]
        (lambda: Fallback(value=0, on="Down"), "exception class"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(make: Callable[[], Fallback], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.code == "invalid-option"
    assert said in str(caught.value)


def test_it_reads_as_it_was_written() -> None:
    assert repr(Fallback(value=0)) == "Fallback(value=0)"
    assert repr(Fallback(fetch, on=Down)) == "Fallback(fetch, on=Down)"
    assert repr(Fallback(value=None, on=(Down, OSError))) == "Fallback(value=None, on=(Down, OSError))"
