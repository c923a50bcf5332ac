"""What decorators take for policies: declarations or what is short for them, alone or in a bundle."""

from typing import Any

import pytest

from awaitly import Breaker, Cache, Concurrency, Fallback, Hedge, Policies, RateLimit, Retry, step
from awaitly.errors import ConfigurationError


async def fetch(user: int) -> str:
    return str(user)


def named(value: object) -> str:
    """Return the id of a parameter: the same in every process, so without addresses."""
    if not isinstance(value, dict):
        return ""
    return " ".join(f"{name}={getattr(one, '__name__', one)}" for name, one in value.items())


@pytest.mark.parametrize(
    ("options", "policies"),
    [
        ({"retry": 5}, Policies(retry=Retry(5))),
        ({"cache": "1h"}, Policies(cache=Cache("1h"))),
        ({"hedge": "200ms"}, Policies(hedge=Hedge("200ms"))),
        ({"fallback": fetch}, Policies(fallback=Fallback(fetch))),
        ({"limiter": "stripe"}, Policies(limiter=("stripe",))),
        ({"limiter": [Concurrency(limit=2), "stripe"]}, Policies(limiter=(Concurrency(limit=2), "stripe"))),
    ],
    ids=named,
)
def test_what_is_short_for_a_policy_stands_for_it(options: dict[str, Any], policies: Policies) -> None:
    assert step(**options)(fetch).options.policies == policies


def test_single_options_change_a_bundle() -> None:
    bundle = Policies(retry=Retry(3), breaker=Breaker("stripe"), timeout="10s")

    declared = step(policies=bundle, retry=Retry(5))(fetch)

    assert declared.options.policies == Policies(retry=Retry(5), breaker=Breaker("stripe"), timeout="10s")


@pytest.mark.parametrize(
    ("options", "found", "hint"),
    [
        ({"retry": "3"}, "retry= is '3'", "give a Retry, or a number of attempts"),
        ({"retry": True}, "retry= is True", "give a Retry, or a number of attempts"),
        ({"retry": 0}, "attempts of Retry is 0", "1"),
        ({"breaker": 5}, "breaker= is 5", ""),
        ({"breaker": " "}, "breaker= is ' '", ""),
        ({"breaker": RateLimit("stripe", limit=1, per="1s")}, "breaker= is RateLimit", ""),
        ({"limiter": Retry()}, "limiter= is Retry", "give a RateLimit, a SlidingWindow, a Concurrency"),
        ({"limiter": [3]}, "limiter= is 3", "give a RateLimit, a SlidingWindow, a Concurrency"),
        ({"cache": True}, "cache= is True", "give a Cache or a duration"),
        ({"hedge": fetch}, "hedge= is <function", "give a Hedge or a duration"),
        ({"fallback": "none"}, "fallback= is 'none'", "give a Fallback, a function or a step"),
        ({"policies": Retry()}, "policies= of step fetch", "give awaitly.Policies(...)"),
    ],
    ids=named,
)
def test_an_option_of_the_wrong_kind_is_refused_with_what_is_allowed(
    options: dict[str, Any], found: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        step(**options)(fetch)

    assert caught.value.code == "invalid-option"
    assert found in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("option", ["timeout", "deadline", "cache", "hedge"])
def test_a_duration_that_is_none_is_refused(option: str) -> None:
    options: Any = {option: "soon"}

    with pytest.raises(ConfigurationError, match=r"step fetch \(test_policies.py:\d+\).*'soon'.*\[invalid-duration\]"):
        step(**options)(fetch)


def test_an_option_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    options: Any = {"braeker": "payments"}

    with pytest.raises(ConfigurationError, match=r"'braeker'.*did you mean 'breaker'.*\[unknown-option\]"):
        step(**options)(fetch)
