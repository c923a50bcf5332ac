"""What becomes of a declaration when the operator has something to say about it."""

from typing import Any

import pytest

from awaitly.errors import ConfigurationError
from awaitly.policies.breaker import Breaker
from awaitly.policies.bulkhead import Concurrency
from awaitly.policies.cache import Cache
from awaitly.policies.rate import RateLimit
from awaitly.policies.retry import Retry
from awaitly.settings import read_settings
from awaitly.settings.overrides import made, overridden, table_of


def retry_with(declared: Retry, **given: object) -> Retry:
    """Return a retry as the settings of the step `charge` want it."""
    settings = read_settings(steps={"charge": {"retry": given}})
    return overridden(declared, settings.steps["charge"].retry, settings, "steps", "charge", "retry")


def refusal(function: Any, *args: Any, **given: Any) -> str:
    """Return what is said when an override is refused."""
    with pytest.raises(ConfigurationError) as caught:
        function(*args, **given)
    assert caught.value.code == "invalid-setting"
    head, _, problem = caught.value.message.partition("\n  ")
    assert head == "awaitly's settings do not fit:"
    return f"{problem} | {caught.value.hint}"


def test_only_what_is_given_changes() -> None:
    declared = Retry(3, initial="1s", on=ConnectionError)

    assert retry_with(declared, attempts=5) == Retry(5, initial="1s", on=ConnectionError)


def test_a_declaration_without_overrides_is_the_same_object() -> None:
    declared = Retry(3)

    assert retry_with(declared, enabled=True) is declared


def test_the_declaration_checks_what_it_becomes() -> None:
    """The message names the setting that is at fault, its source, and what the declaration allows."""
    said = refusal(retry_with, Retry(3, max="30s"), initial="1h", attempts=5)

    assert said == (
        "steps.charge.retry.initial (given as an argument): initial of Retry is 3600.0"
        " | give at most max, which is '30s', or raise that"
    )


def test_overrides_that_fit_only_together_are_taken_together() -> None:
    assert retry_with(Retry(3, max="30s"), initial="1h", max="2h") == Retry(3, initial=3600.0, max=7200.0)


def test_overrides_that_do_not_fit_together_are_all_named() -> None:
    said = refusal(retry_with, Retry(3, max="2h"), initial="1h", max="30m")

    assert "steps.charge.retry.initial (given as an argument) and steps.charge.retry.max (given as an argument)" in said


def test_the_source_is_named_as_precisely_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_BREAKERS__PAY_PAL__RESET_MAX", "1s")
    settings = read_settings()

    said = refusal(overridden, Breaker("pay-pal"), settings.breakers["pay_pal"], settings, "breakers", "pay-pal")

    assert said.startswith("AWAITLY_BREAKERS__PAY_PAL__RESET_MAX (in the environment): ")


def test_an_option_of_another_kind_of_limiter_is_refused() -> None:
    settings = read_settings(limiters={"stripe": {"per": "1s", "burst": 3}})

    said = refusal(
        overridden, Concurrency("stripe", limit=3), settings.limiters["stripe"], settings, "limiters", "stripe"
    )

    assert said == (
        "limiters.stripe.per (given as an argument) and limiters.stripe.burst (given as"
        " an argument): a Concurrency has no per and no burst | it has limit, queue, mode, max_wait"
    )


@pytest.mark.parametrize("limit", ["50", 50, 50.0])
def test_a_whole_number_stays_one(limit: object) -> None:
    settings = read_settings(limiters={"stripe": {"limit": limit}})

    found = overridden(Concurrency("stripe", limit=3), settings.limiters["stripe"], settings, "limiters", "stripe")

    assert repr(found.limit) == "50"


def test_a_rate_may_be_a_fraction() -> None:
    settings = read_settings(limiters={"stripe": {"limit": "0.5"}})

    found = overridden(RateLimit("stripe", limit=3), settings.limiters["stripe"], settings, "limiters", "stripe")

    assert found == RateLimit("stripe", limit=0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, None), ({"attempts": 5}, Retry(5)), ({"enabled": True}, Retry()), ({"enabled": False, "attempts": 5}, None)],
)
def test_settings_give_a_step_a_policy_that_it_was_not_declared_with(given: dict[str, Any], expected: object) -> None:
    settings = read_settings(steps={"charge": {"retry": given}})

    assert made(Retry, settings.steps["charge"].retry, settings, "steps", "charge", "retry") == expected


def test_a_policy_needs_what_its_declaration_needs() -> None:
    settings = read_settings(steps={"find": {"cache": {"size": 3}}})

    said = refusal(made, Cache, settings.steps["find"].cache, settings, "steps", "find", "cache")

    assert said == (
        "steps.find.cache.size (given as an argument): the step has no Cache, and one needs ttl | give that as well"
    )


def test_a_table_is_found_by_the_declared_name() -> None:
    settings = read_settings(breakers={"PAY_PAL": {"enabled": False}})

    assert table_of(settings.breakers, "pay-pal") == settings.breakers["pay_pal"]
    assert table_of(settings.breakers, "stripe") is None
    assert table_of(settings.breakers, None) is None
