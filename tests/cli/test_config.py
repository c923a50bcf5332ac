"""``awaitly config``: which settings are in force, where they come from, and which there are."""

import json
from pathlib import Path

import pytest

from awaitly.settings import Settings, read_settings
from awaitly.settings.knobs import PATHS
from tests.cli.calling import FLOWS, Awaitly


def test_every_setting_is_shown_with_its_source_and_its_default(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [".".join(knob.path) for knob in PATHS.knobs if not knob.named]
    Path("awaitly.toml").write_text('[lease]\nttl = "1m30s"\n')
    monkeypatch.setenv("AWAITLY_BREAKERS__PAYMENTS__RESET_TIMEOUT", "60")

    answer = awaitly("config")

    assert (answer.status, answer.err) == (0, "")
    rows = [line.split(maxsplit=2) for line in answer.out.splitlines()]
    assert [row[0] for row in rows] == ["SETTING", *shown, "breakers.payments.reset_timeout"]
    some = {"SETTING", "store", "secrets_dir", "lease.ttl", "shutdown_timeout", "breakers.payments.reset_timeout"}
    assert [row for row in rows if row[0] in some] == [
        ["SETTING", "VALUE", "SOURCE".ljust(64) + "DEFAULT"],
        ["store", "sqlite:///awaitly.db", "default".ljust(64) + "sqlite:///awaitly.db"],
        ["secrets_dir", "-", "default".ljust(64) + "-"],
        ["lease.ttl", "1m30s", "in awaitly.toml".ljust(64) + "15s"],
        ["shutdown_timeout", "30s", "default".ljust(64) + "30s"],
        [
            "breakers.payments.reset_timeout",
            "1m",
            "AWAITLY_BREAKERS__PAYMENTS__RESET_TIMEOUT (in the environment)".ljust(64) + "as declared",
        ],
    ]


def test_secrets_are_not_shown(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "postgresql://shop:hush@db/orders")

    for form in ("text", "json"):
        answer = awaitly("config", "--format", form)
        assert "postgresql://shop:***@db/orders" in answer.out
        assert "hush" not in answer.out + answer.err


def test_it_may_be_json(awaitly: Awaitly) -> None:
    document = json.loads(awaitly("config", "--format", "json").out)

    assert document["settings"][0] == {
        "path": "store", "value": "sqlite:///awaitly.db", "source": "default", "default": "sqlite:///awaitly.db",
    }  # fmt: skip


def test_with_a_target_it_shows_what_lies_around_each_step(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop.py").write_text(
        "from awaitly import step, workflow\n\n"
        "@step(timeout='10s')\nasync def charge() -> None: ...\n\n"
        "@step(timeout='10s')\nasync def pack() -> None: ...\n\n"
        "@step\nasync def ship() -> None: ...\n\n"
        "@workflow\nasync def checkout() -> None:\n    await charge()\n    await pack()\n    await ship()\n"
    )
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__TIMEOUT", "3s")

    text = awaitly("config", "shop.py:checkout")
    document = json.loads(awaitly("config", "shop.py", "--format", "json").out)

    assert text.status == 0
    assert document["workflows"] == {
        "shop.py:checkout": {
            "charge": [
                "timeout 3s",
                "  timeout from AWAITLY_STEPS__CHARGE__TIMEOUT (in the environment); declared: 10s",
            ],
            "pack": ["timeout 10s"],
            "ship": [],
        }
    }
    assert text.out.split("\n\n")[1].splitlines() == [
        "shop.py:checkout",
        "  charge",
        "    timeout 3s",
        "      timeout from AWAITLY_STEPS__CHARGE__TIMEOUT (in the environment); declared: 10s",
        "  pack",
        "    timeout 10s",
        "  ship",
        "    nothing lies around it",
    ]


POLICIES = """
from awaitly import Breaker, RateLimit, Retry, step, workflow

@step(retry=3, breaker=Breaker("payments"), limiter=RateLimit("stripe", limit=100))
async def charge(order: str) -> str:
    return order

@charge.variant(flag="new-flow", retry=Retry.none())
async def charge_v2(order: str) -> str:
    return order

@workflow
async def checkout(order: str) -> str:
    return await charge(order)
"""


def test_what_lies_around_a_step_is_shown_from_the_outside_in_with_all_its_numbers(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_BREAKERS__PAYMENTS__RESET_TIMEOUT", "1m")
    monkeypatch.setenv("AWAITLY_LIMITERS__STRIPE__LIMIT", "50")

    (shown,) = json.loads(awaitly("config", "shop.py", "--format", "json").out)["workflows"].values()

    assert shown["charge"] == [
        "retry (attempts 3, backoff exponential, initial 100ms, max 30s, multiplier 2, jitter full, retry_after True)",
        "limiter 'stripe' (type RateLimit, limit 50, per 1s, burst 50, mode wait)",
        "  limit from AWAITLY_LIMITERS__STRIPE__LIMIT (in the environment); declared: 100",
        (
            "breaker 'payments' (failure_threshold 5, window 1m, reset_timeout 1m, reset_growth 1, half_open_max 1,"
            " success_threshold 1, when_open fail)"
        ),
        "  reset_timeout from AWAITLY_BREAKERS__PAYMENTS__RESET_TIMEOUT (in the environment); declared: 30s",
    ]


def test_a_variant_is_shown_with_its_own_policies_and_goes_by_its_own_name(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE_V2__TIMEOUT", "3s")

    (shown,) = json.loads(awaitly("config", "shop.py", "--format", "json").out)["workflows"].values()

    lines = shown["charge_v2, for charge if new-flow is True"]
    assert [line.split(",")[0] for line in lines[:2]] == [
        "flag 'new-flow' is False", "retry (attempts 1",
    ]  # fmt: skip
    assert lines[-2:] == [
        "timeout 3s",
        "  timeout from AWAITLY_STEPS__CHARGE_V2__TIMEOUT (in the environment); not declared",
    ]
    assert "timeout" not in " ".join(line.split()[0] for line in shown["charge"])


def test_a_variant_is_shown_with_the_rule_of_its_flag(awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_FLAGS__NEW_FLOW", "0.25")

    (shown,) = json.loads(awaitly("config", "shop.py", "--format", "json").out)["workflows"].values()

    lines = shown["charge_v2, for charge if new-flow is True"]
    assert lines[0] == "flag 'new-flow' is 0.25, AWAITLY_FLAGS__NEW_FLOW (in the environment)"


def test_what_settings_have_switched_off_is_said_with_its_place(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE__RETRY__ENABLED", "false")
    monkeypatch.setenv("AWAITLY_LIMITERS__STRIPE__ENABLED", "false")

    (shown,) = json.loads(awaitly("config", "shop.py", "--format", "json").out)["workflows"].values()

    assert [line for line in shown["charge"] if line.startswith("no ")] == [
        "no retry: AWAITLY_STEPS__CHARGE__RETRY__ENABLED (in the environment)",
        "no limiter 'stripe': AWAITLY_LIMITERS__STRIPE__ENABLED (in the environment)",
    ]


def test_settings_that_name_nothing_of_a_target_are_told_and_the_status_is_2(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_STEPS__CHARG__TIMEOUT", "3s")

    answer = awaitly("config", "shop.py")

    assert answer.status == 2
    assert "shop.py:checkout\n  charge\n" in answer.out
    assert answer.err.endswith("there is no step 'charg'; did you mean 'charge'?\n")


def test_a_rule_that_a_flag_cannot_have_is_told_and_the_status_is_2(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(POLICIES)
    monkeypatch.setenv("AWAITLY_FLAGS__NEW_FLOW", "sometimes")

    answer = awaitly("config", "shop.py")

    assert answer.status == 2
    assert "error [invalid-setting]: a rule does not fit its flag: flag 'new-flow' takes a boolean" in answer.err


def test_a_store_that_there_cannot_be_is_told_and_the_status_is_2(
    awaitly: Awaitly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "mongo://runs")

    answer = awaitly("config")

    assert answer.status == 2
    assert "mongo://runs" in answer.out
    assert "error [not-a-store]: the store URL 'mongo://runs' has the unknown scheme 'mongo'" in answer.err


def test_a_name_that_no_policy_has_is_refused(awaitly: Awaitly) -> None:
    Path("lost.py").write_text(
        "from awaitly import step, workflow\n\n@step(breaker='paymets')\nasync def a() -> None: ...\n\n"
        "@workflow\nasync def w() -> None:\n    await a()\n"
    )

    for command in ("config", "check", "graph"):
        answer = awaitly(command, "lost.py:w")
        assert answer.status == 2
        assert answer.err.startswith("error [unknown-breaker]: step a: breaker 'paymets' is named, and nobody declares")


def test_the_schema_is_that_of_the_settings(awaitly: Awaitly) -> None:
    schema = json.loads(awaitly("config", "--schema").out)

    assert schema == Settings.model_json_schema()
    assert all("description" in field for field in schema["$defs"]["BreakerSettings"]["properties"].values())


def test_the_template_names_every_setting_and_changes_none(awaitly: Awaitly) -> None:
    template = awaitly("config", "--env").out

    Path(".env").write_text(template)
    assert read_settings() == Settings()
    assert template.count("Allowed: ") == len(PATHS.knobs) + 1  # AWAITLY_DEBUG is none of the settings
    assert "\n# AWAITLY_STEPS__<STEP>__RETRY__ATTEMPTS=\n" in template


def test_what_the_template_has_as_defaults_are_values(awaitly: Awaitly) -> None:
    lines = awaitly("config", "--env").out.splitlines()
    given = [line.removeprefix("# ") for line in lines if line.startswith("# AWAITLY_") and not line.endswith("=")]

    Path(".env").write_text("\n".join(given))

    assert len(given) == 1 + sum(knob.default is not None for knob in PATHS.knobs if not knob.named)
    assert read_settings() == Settings()


@pytest.mark.parametrize("words", [("--env", "--schema"), ("--env", str(FLOWS)), ("--schema", str(FLOWS))])
def test_what_prints_all_settings_takes_nothing_else(awaitly: Awaitly, words: tuple[str, ...]) -> None:
    answer = awaitly("config", *words)

    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error [usage-error]: --env and --schema print all settings")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AWAITLY_STEPS__CHARGE__RETRY__ATTEMPTS", "0", "is '0'; allowed is a whole number of at least 1"),
        ("AWAITLY_STEPS__CHARGE__RETRY__ATEMPTS", "5", "did you mean AWAITLY_STEPS__CHARGE__RETRY__ATTEMPTS?"),
        ("AWAITLY_SECRETS_DIR", "nowhere", "is 'nowhere'; allowed is a folder that exists"),
        ("AWAITLY_LEASE", "[", "is '['; allowed is a table of ttl"),
        ("AWAITLY_FLAGS__X", "{", "allowed is true or false, a share of the runs from 0 to 1, text, or a table of"),
    ],
)
@pytest.mark.parametrize("command", [("config",), ("runs", "list"), ("check", str(FLOWS), "--store", "x.db")])
def test_settings_that_do_not_fit_are_one_message(
    awaitly: Awaitly, command: tuple[str, ...], variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    answer = awaitly(*command)

    assert answer.status == 2
    assert answer.err.startswith(f"error [invalid-setting]: awaitly's settings do not fit:\n  {variable} (in the env")
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) == 3


@pytest.mark.parametrize("text", ["store = \n", "[steps.charge\n"])
def test_a_file_that_cannot_be_read_is_one_message(awaitly: Awaitly, text: str) -> None:
    Path("awaitly.toml").write_text(text)

    answer = awaitly("config")

    assert answer.status == 2
    assert answer.err.startswith("error [invalid-setting]: awaitly's settings do not fit:\n  awaitly.toml is no TOML: ")
