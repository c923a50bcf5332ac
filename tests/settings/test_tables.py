"""Tables by name: what several sources say about one step, breaker, limiter, workflow or flag."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from awaitly.flags.rules import Rule
from awaitly.model.names import spelt
from awaitly.policies.breaker import Breaker
from awaitly.policies.bulkhead import Concurrency
from awaitly.policies.cache import Cache
from awaitly.policies.hedge import Hedge
from awaitly.policies.rate import RateLimit, SlidingWindow
from awaitly.policies.retry import Retry
from awaitly.settings import Settings, provenance, read_settings
from awaitly.settings.known import KnownNames, check_names
from awaitly.settings.sources import Place
from awaitly.settings.tables import (
    BreakerSettings,
    CacheSettings,
    HedgeSettings,
    LimiterSettings,
    RetrySettings,
    StepSettings,
)
from tests.settings.writing import refused

PROGRAM = {"on", "unless", "before_sleep", "budget", "name", "key"}  # options that are code, or identity


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("AWAITLY_STEPS__CHARGE__RETRY__ATTEMPTS", "5", lambda found: found.steps["charge"].retry.attempts == 5),
        ("AWAITLY_STEPS__CHARGE__TIMEOUT", "1m30s", lambda found: found.steps["charge"].timeout == 90.0),
        ("AWAITLY_STEPS__CHARGE__BREAKER__ENABLED", "false", lambda found: not found.steps["charge"].breaker.enabled),
        ("AWAITLY_BREAKERS__PAYMENTS__WINDOW", "60s", lambda found: found.breakers["payments"].window == 60.0),
        ("AWAITLY_LIMITERS__STRIPE__LIMIT", "50", lambda found: found.limiters["stripe"].limit == 50),
        ("AWAITLY_LIMITERS__STRIPE__LIMIT", "0.5", lambda found: found.limiters["stripe"].limit == 0.5),
        ("AWAITLY_WORKFLOWS__CHECKOUT__DEADLINE", "24h", lambda found: found.workflows["checkout"].deadline == 86400),
        ("AWAITLY_FLAGS__NEW_PAYMENT_FLOW", "0.25", lambda found: found.flags["new_payment_flow"] == Rule(share=0.25)),
        ("AWAITLY_FLAGS__NEW__SHARE", "0.5", lambda found: found.flags["new"] == Rule(share=0.5)),
    ],
)  # fmt: skip
def test_a_variable_leads_into_a_table(
    variable: str, value: str, found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    assert found(read_settings())  # type: ignore[operator]


def test_a_table_names_only_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others come from the sources behind it, one by one."""
    Path("pyproject.toml").write_text("[tool.awaitly.breakers.payments]\nwindow = '10s'\nreset_timeout = 1\n")
    Path("awaitly.toml").write_text("[breakers.Payments]\nreset_timeout = 2\nhalf_open_max = 3\n")
    monkeypatch.setenv("AWAITLY_BREAKERS__PAYMENTS__HALF_OPEN_MAX", "4")

    settings = read_settings(breakers={"payments": {"enabled": True}})

    assert settings.breakers == {
        "payments": BreakerSettings(enabled=True, half_open_max=4, reset_timeout=2.0, window=10.0)
    }
    assert {path[-1]: str(origin) for path, origin in provenance(settings).items()} == {
        "enabled": "breakers.payments.enabled (given as an argument)",
        "half_open_max": "AWAITLY_BREAKERS__PAYMENTS__HALF_OPEN_MAX (in the environment)",
        "reset_timeout": "breakers.Payments.reset_timeout (in awaitly.toml)",
        "window": "breakers.payments.window (in [tool.awaitly] of pyproject.toml)",
    }


@pytest.mark.parametrize("name", ["charge-card", "Charge_Card", "charge.card", "CHARGE CARD", "charge__card"])
def test_names_are_compared_without_case_and_with_underscores(name: str) -> None:
    assert spelt(name) == "charge_card"
    assert list(read_settings(steps={name: {"timeout": 1}}).steps) == ["charge_card"]


@pytest.mark.parametrize(
    ("name", "variable"),
    [("import_", "IMPORT_"), ("_private", "_PRIVATE"), ("__both__", "_BOTH_"), ("two__words", "TWO_WORDS")],
)
def test_names_that_begin_or_end_in_underscores_can_be_written_in_variables(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AWAITLY_STEPS__{variable}__RETRY__ATTEMPTS", "4")
    monkeypatch.setenv(f"AWAITLY_FLAGS__{variable}", "true")

    settings = read_settings()

    check_names(settings, KnownNames(steps=frozenset({name}), flags=frozenset({name})))
    (step,) = settings.steps.values()
    assert step.retry.attempts == 4


def test_a_table_may_be_given_as_a_model_or_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE", '{"retry": {"attempts": 2}, "timeout": "3s"}')

    settings = read_settings(steps={"charge": StepSettings(timeout=1.0)})

    assert settings.steps["charge"] == StepSettings(timeout=1.0, retry=RetrySettings(attempts=2))
    assert str(provenance(settings)["steps", "charge", "retry", "attempts"]) == (
        "AWAITLY_STEPS__CHARGE.retry.attempts (in the environment)"
    )


def test_a_rule_of_a_flag_is_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stronger source has the last word about the whole of it."""
    Path("awaitly.toml").write_text("[flags.new-flow]\nshares = { blue = 0.5, green = 0.5 }\nsalt = 'x'\n")
    monkeypatch.setenv("AWAITLY_FLAGS__NEW_FLOW__SHARE", "0.1")

    assert read_settings().flags == {"new_flow": Rule(share=0.1)}


def test_a_value_where_a_table_must_be_is_refused() -> None:
    assert refused({"limiters": {"stripe": 50}}).endswith(
        "limiters.stripe (given as an argument) is 50; allowed is a table of enabled, limit, per, burst, queue, mode,"
        " max_wait"
    )


def test_a_secret_comes_from_a_file_that_is_named_like_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else lies there is left alone, unless it has our prefix or begins like one of our tables."""
    secrets = Path("run")
    secrets.mkdir()
    (secrets / "store").write_text("postgresql://shop:pw@db/shop\n")
    (secrets / "AWAITLY_LEASE__TTL").write_text("20s")
    (secrets / "their_password").write_text("x")
    (secrets / "..data").mkdir()
    monkeypatch.setenv("AWAITLY_SECRETS_DIR", "run")

    settings = read_settings()

    assert (settings.store, settings.lease.ttl) == ("postgresql://shop:pw@db/shop", 20.0)
    assert str(provenance(settings)["store",]) == "run/store (in the secrets directory)"

    (secrets / "lease__tl").write_text("x")
    assert refused().endswith(
        "run/lease__tl (in the secrets directory): there is no such setting; did you mean lease__ttl?"
    )


def test_the_secrets_directory_may_be_named_in_any_source() -> None:
    Path("run").mkdir()
    Path("run", "shutdown_timeout").write_text("3s")
    Path("awaitly.toml").write_text('secrets_dir = "run"\nshutdown_timeout = "4s"\n')

    settings = read_settings()

    assert settings.shutdown_timeout == 3.0
    assert provenance(settings)["shutdown_timeout",].place is Place.SECRETS


def test_a_secrets_directory_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_SECRETS_DIR", "nowhere")

    assert refused().endswith("AWAITLY_SECRETS_DIR (in the environment) is 'nowhere'; allowed is a folder that exists")


def test_a_secret_is_not_shown_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("run").mkdir()
    Path("run", "lease__ttl").write_text("hush")
    monkeypatch.setenv("AWAITLY_SECRETS_DIR", "run")

    assert "hush" not in refused()


def test_settings_are_equal_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "one.db")

    assert read_settings() == Settings(store="one.db")


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (RetrySettings, [Retry]),
        (CacheSettings, [Cache]),
        (HedgeSettings, [Hedge]),
        (BreakerSettings, [Breaker]),
        (LimiterSettings, [RateLimit, SlidingWindow, Concurrency]),
    ],
)
def test_a_table_has_every_option_that_can_be_written_as_text(table: type[BaseModel], kinds: list[type]) -> None:
    options = {each.name for kind in kinds for each in fields(kind)}

    assert set(table.model_fields) == (options - PROGRAM) | {"enabled"}


@pytest.mark.parametrize("table", [RetrySettings, CacheSettings, HedgeSettings, BreakerSettings, LimiterSettings])
def test_nothing_is_overridden_unless_somebody_says_so(table: type[BaseModel]) -> None:
    assert set(table().model_dump().values()) == {None}
    assert all(type(None) in get_args(field.annotation) for field in table.model_fields.values())
