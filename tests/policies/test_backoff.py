"""Delays: how they grow, what chance may do to them, and how long a server asks for."""

from collections.abc import Mapping
from datetime import timedelta
from email.message import Message
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitly.policies.backoff import Backoff, Jitter, Shape, asked

NOON = 1_700_049_600.0  # Wed, 15 Nov 2023 12:00:00 GMT

shapes = st.sampled_from(["fixed", "linear", "exponential"])
attempts = st.integers(1, 5_000)
chances = st.floats(0, 1, exclude_max=True)


@st.composite
def backoffs(draw: st.DrawFn, jitter: Jitter = "none", shape: st.SearchStrategy[Shape] = shapes) -> Backoff:
    initial = draw(st.floats(0, 100))
    return Backoff(draw(shape), initial, draw(st.floats(initial, 1_000)), draw(st.floats(1, 10)), jitter)


class Refused(Exception):
    def __init__(self, retry_after: object = None, headers: Mapping[str, str] | Message | None = None) -> None:
        self.retry_after = retry_after
        if headers is not None:
            self.response = Response(headers)


class Response:
    def __init__(self, headers: Mapping[str, str] | Message) -> None:
        self.headers = headers


class Headers(dict[str, str]):
    """Names are lower case, and found in any, as in httpx."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())


def test_a_fixed_delay_is_always_the_same() -> None:
    assert [Backoff("fixed", 2.0, 30.0, 2.0, "none").ceiling(n) for n in (1, 2, 9)] == [2.0, 2.0, 2.0]


def test_a_linear_delay_grows_by_the_initial_one() -> None:
    assert [Backoff("linear", 2.0, 30.0, 2.0, "none").ceiling(n) for n in (1, 2, 9, 99)] == [2.0, 4.0, 18.0, 30.0]


def test_an_exponential_delay_grows_by_the_multiplier() -> None:
    assert [Backoff("exponential", 2.0, 30.0, 3.0, "none").ceiling(n) for n in (1, 2, 3, 4)] == [2.0, 6.0, 18.0, 30.0]


def test_so_many_attempts_that_the_delay_is_no_number_any_more_are_as_far_apart_as_allowed() -> None:
    assert Backoff("exponential", 0.1, 30.0, 2.0, "none").ceiling(1_000_000) == 30.0


def test_no_delay_stays_none_however_many_attempts_there_are() -> None:
    assert Backoff("exponential", 0.0, 30.0, 2.0, "none").ceiling(1_000_000) == 0.0


@given(backoffs(), attempts, chances)
def test_without_jitter_delays_never_become_shorter(backoff: Backoff, attempt: int, chance: float) -> None:
    delay, following = backoff.delay(attempt, lambda: chance), backoff.delay(attempt + 1, lambda: chance)

    assert 0 <= delay <= following <= backoff.most


@given(backoffs(jitter="full"), attempts, chances)
def test_full_jitter_draws_from_nothing_to_the_whole(backoff: Backoff, attempt: int, chance: float) -> None:
    assert 0 <= backoff.delay(attempt, lambda: chance) <= backoff.ceiling(attempt) <= backoff.most


@given(backoffs(jitter="equal"), attempts, chances)
def test_equal_jitter_draws_from_a_half_to_the_whole(backoff: Backoff, attempt: int, chance: float) -> None:
    longest = backoff.ceiling(attempt)

    assert longest / 2 <= backoff.delay(attempt, lambda: chance) <= longest <= backoff.most


@given(backoffs("decorrelated", st.just("exponential")), attempts, chances, st.floats(0, 1_000))
def test_decorrelated_jitter_draws_from_the_initial_delay_to_three_times_the_one_before(
    backoff: Backoff, attempt: int, chance: float, previous: float
) -> None:
    delay = backoff.delay(attempt, lambda: chance, previous)

    assert backoff.initial <= delay <= max(backoff.initial, 3 * previous)
    assert delay <= backoff.most


@given(backoffs("decorrelated", st.just("exponential")), st.integers())
def test_no_chain_of_decorrelated_delays_passes_its_ceiling(backoff: Backoff, seed: int) -> None:
    random, previous = Random(seed).random, None
    for attempt in range(1, 20):
        previous = backoff.delay(attempt, random, previous)
        assert previous <= backoff.ceiling(attempt) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (3, 3.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Wed, 15 Nov 2023 12:00:30 GMT", 30.0),
        ("Wednesday, 15-Nov-23 12:00:30 GMT", 30.0),
        ("Wed, 15 Nov 2023 14:00:30 +0200", 30.0),
        ("Wed, 15 Nov 2023 12:00:30 -0000", 30.0),
        ("Wed, 15 Nov 2023 11:00:00 GMT", 0.0),
        (-5, 0.0),
        (timedelta(seconds=-5), 0.0),
    ],
)
def test_a_server_asks_in_seconds_or_for_a_date(said: object, understood: float) -> None:
    assert asked(Refused(retry_after=said), NOON) == understood
    if isinstance(said, str):
        assert asked(Refused(headers={"Retry-After": said}), NOON) == understood


@pytest.mark.parametrize(
    "said",
    [None, True, "soon", "", "-3", "1.5", "9" * 400, float("nan"), float("inf"), b"3", "Wed, 99 Nov 2023 12:00:30 GMT"],
)
def test_what_says_nothing_clear_is_ignored(said: object) -> None:
    assert asked(Refused(retry_after=said), NOON) is None


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_the_name_of_the_header_is_read_in_any_case(name: str) -> None:
    message = Message()
    message[name] = "4"

    assert asked(Refused(headers={name: "4"}), NOON) == 4.0
    assert asked(Refused(headers=message), NOON) == 4.0
    assert asked(Refused(headers=Headers({"retry-after": "4"})), NOON) == 4.0


def test_the_attribute_comes_before_the_header() -> None:
    assert asked(Refused(retry_after=1, headers={"Retry-After": "4"}), NOON) == 1.0


def test_an_error_without_response_or_without_the_header_asks_for_nothing() -> None:
    assert asked(ValueError("plain"), NOON) is None
    assert asked(Refused(headers={"Content-Type": "text/plain"}), NOON) is None


def test_an_error_whose_response_cannot_be_read_asks_for_nothing() -> None:
    class Closed(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("the response is closed")

    assert asked(Closed(), NOON) is None
