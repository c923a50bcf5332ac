"""Where settings come from, and what is said about those that are none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from awaitly.errors import ConfigurationError
from awaitly.settings import Settings, read_settings

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read settings in an empty folder, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("AWAITLY_"):
            monkeypatch.delenv(name)


def refused(**given: object) -> str:
    """Return what is said when the settings are refused."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(**given)
    assert caught.value.code == "invalid-setting"
    return caught.value.message


def test_every_setting_has_a_default() -> None:
    settings = read_settings()

    assert (settings.store, settings.lease.ttl, settings.shutdown_timeout) == ("sqlite:///awaitly.db", 15.0, 30.0)


def test_earlier_sources_win(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pyproject.toml").write_text(
        '[tool.awaitly]\nstore = "pyproject.db"\nshutdown_timeout = 1\n[tool.awaitly.lease]\nttl = "5s"\n'
    )
    assert read_settings().store == "pyproject.db"
    Path("awaitly.toml").write_text('store = "toml.db"\nshutdown_timeout = 2\n')
    assert read_settings().store == "toml.db"
    Path(".env").write_text("AWAITLY_STORE=dotenv.db\nAWAITLY_SHUTDOWN_TIMEOUT=3\n")
    assert read_settings().store == "dotenv.db"
    monkeypatch.setenv("AWAITLY_STORE", "environment.db")
    assert read_settings().store == "environment.db"

    settings = read_settings(store="given.db")

    assert (settings.store, settings.shutdown_timeout, settings.lease.ttl) == ("given.db", 3.0, 5.0)


@pytest.mark.parametrize("variable", ["AWAITLY_LEASE__TTL", "awaitly_lease__ttl"])
def test_two_underscores_lead_into_a_group(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1m30s")

    assert read_settings().lease.ttl == 90.0


def test_a_group_may_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_LEASE", '{"ttl": "20s"}')

    assert read_settings().lease.ttl == 20.0


def test_what_a_dotenv_file_holds_for_others_is_ignored() -> None:
    Path(".env").write_text("DATABASE_URL=postgres://db\nstore=theirs\nLEASE__TTL=1\nAWAITLY_STORE=ours.db\n")

    assert (read_settings().store, Settings().lease.ttl) == ("ours.db", 15.0)


def test_the_variable_that_shows_tracebacks_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_DEBUG", "1")
    Path(".env").write_text("AWAITLY_DEBUG=1\n")

    assert read_settings().store == "sqlite:///awaitly.db"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AWAITLY_LEESE", "AWAITLY_LEASE__TTL"),
        ("AWAITLY_LEASE_TTL", "AWAITLY_LEASE__TTL"),
        ("AWAITLY_LEASE__TTTL", "AWAITLY_LEASE__TTL"),
        ("AWAITLY_STROE", "AWAITLY_STORE"),
        ("AWAITLY_SHUTDOWN__TIMEOUT", "AWAITLY_SHUTDOWN_TIMEOUT"),
    ],
)
def test_a_mistyped_variable_is_refused_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    Path(".env").write_text(f"{variable}=3\n")
    assert f"\n  {variable} (in .env): there is no such setting; did you mean {meant}?" in refused()

    monkeypatch.setenv(variable, "3")
    assert f"\n  {variable} (in the environment): there is no such setting; did you mean {meant}?" in refused()


def test_a_variable_like_no_setting_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_QQQ", "the value may be a secret")

    assert refused() == "awaitly's settings do not fit:\n  AWAITLY_QQQ (in the environment): there is no such setting"


def test_unknown_keys_of_files_are_refused_with_their_file() -> None:
    Path("awaitly.toml").write_text("shutdown_timeuot = 3\n[lease]\ntime_to_live = 4\n")
    Path("pyproject.toml").write_text('[tool.awaitly]\nstorr = "x"\n')

    assert refused().splitlines()[1:] == [
        "  lease.time_to_live (in awaitly.toml): there is no such setting; did you mean lease.ttl?",
        "  storr (in [tool.awaitly] of pyproject.toml): there is no such setting; did you mean store?",
        "  shutdown_timeuot (in awaitly.toml): there is no such setting; did you mean shutdown_timeout?",
    ]


def test_a_value_that_does_not_fit_is_shown_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("awaitly.toml").write_text("shutdown_timeout = -1\n")
    monkeypatch.setenv("AWAITLY_LEASE__TTL", "soon")

    message = refused(store=7)

    assert "\n  store (given as an argument): Input should be a valid string (found 7)" in message
    assert "\n  AWAITLY_LEASE__TTL (in the environment): write seconds as a number" in message
    assert "\n  shutdown_timeout (in awaitly.toml): write seconds as a number" in message
    assert message.endswith("(found -1)")


def test_a_file_that_is_no_toml_is_refused() -> None:
    Path("awaitly.toml").write_text("store = \n")

    assert refused().startswith("awaitly's settings do not fit: Invalid value (at line 1")


def test_a_group_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_LEASE", "{")

    assert 'error parsing value for field "lease"' in refused()
