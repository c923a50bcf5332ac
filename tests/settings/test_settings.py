"""Where settings come from, and what is said about those that are none."""

from pathlib import Path

import pytest

from awaitly.errors import ConfigurationError
from awaitly.settings import Settings, read_settings
from tests.settings.writing import refused


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
        "  shutdown_timeuot (in awaitly.toml): there is no such setting; did you mean shutdown_timeout?",
        "  lease.time_to_live (in awaitly.toml): there is no such setting; did you mean lease.ttl?",
        "  storr (in [tool.awaitly] of pyproject.toml): there is no such setting; did you mean store?",
    ]


def test_a_value_that_does_not_fit_is_shown_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("awaitly.toml").write_text("shutdown_timeout = -1\n")
    monkeypatch.setenv("AWAITLY_LEASE__TTL", "soon")

    duration = 'such as 5, "250ms" or "1h30m"'
    url = 'text such as "sqlite:///relative.db", "sqlite:////absolute.db" or "memory://"'
    assert refused({"store": 7}).splitlines()[1:] == [
        f"  store (given as an argument) is 7; allowed is {url}",
        f"  AWAITLY_LEASE__TTL (in the environment) is 'soon'; allowed is a duration above 50ms, {duration}",
        f"  shutdown_timeout (in awaitly.toml) is -1; allowed is a duration of at least 0s, {duration}",
    ]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("awaitly.toml", b"store = \n", "awaitly.toml is no TOML: Invalid value (at line 1, column 9)"),
        ("pyproject.toml", b"[tool\n", "pyproject.toml is no TOML: "),
        ("awaitly.toml", b'store = "\xff"\n', "awaitly.toml is no UTF-8 text: "),
        (".env", b"AWAITLY_STORE=\xff\n", ".env is no UTF-8 text: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named(file: str, text: bytes, says: str) -> None:
    Path(file).write_bytes(text)

    assert refused().startswith(f"awaitly's settings do not fit:\n  {says}")


def test_a_folder_named_dotenv_is_no_source() -> None:
    Path(".env").mkdir()

    assert read_settings().store == "sqlite:///awaitly.db"


def test_a_group_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_LEASE", "{")

    assert refused().endswith("\n  AWAITLY_LEASE (in the environment) is '{'; allowed is a table of ttl")


def test_one_setting_twice_in_one_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_LEASE", '{"ttl": "20s"}')
    monkeypatch.setenv("AWAITLY_LEASE__TTL", "30s")

    assert refused().endswith("AWAITLY_LEASE__TTL has two values there, this and AWAITLY_LEASE.ttl; keep one of them")


def test_one_setting_twice_with_one_value_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "one.db")
    monkeypatch.setenv("awaitly_store", "one.db")

    assert read_settings().store == "one.db"


def test_settings_made_by_hand_say_what_is_wrong_as_well() -> None:
    with pytest.raises(ConfigurationError, match="store"):
        Settings(store=7)
