"""What is shown of secrets."""

from pathlib import Path
from typing import Any

import pytest

from awaitly.settings import Settings
from awaitly.settings.masks import masked
from awaitly.settings.sources import Origin, Place
from tests.settings.writing import refused


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///awaitly.db", "sqlite:///awaitly.db"),
        ("postgresql://shop:pw@db/orders", "postgresql://shop:***@db/orders"),
        ("postgresql://shop:p@w:/d@db:5432/orders?x=1", "postgresql://shop:***@db:5432/orders?x=1"),
        ("redis://:pw@cache", "redis://:***@cache"),
        ("postgresql://shop@db/orders", "postgresql://shop@db/orders"),
        ("libsql://shop.example?authToken=abc&tls=1", "libsql://shop.example?authToken=***&tls=1"),
        ("postgresql://db/orders?user=shop&password=p&sslpassword=q", "postgresql://db/orders?user=shop&password=***&sslpassword=***"),
        ("x://" + "?" * 200_000, "x://" + "?" * 200_000),
    ],
)  # fmt: skip
def test_a_password_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert masked(("store",), url, None) == shown


@pytest.mark.parametrize("name", ["secret", "api_token", "password", "signing_key", "headers", "db_password"])
def test_what_is_named_like_a_secret_is_not_shown(name: str) -> None:
    assert masked(("otlp", name), "hush", None) == "***"
    assert masked(("otlp", name), None, None) is None


def test_the_name_of_a_flag_is_no_secret() -> None:
    assert masked(("flags", "new_key"), True, None) is True


def test_what_the_secrets_directory_holds_is_not_shown() -> None:
    origin = Origin("run/store", Place.SECRETS)

    assert masked(("store",), "sqlite:///x.db", origin) == "***"


def test_settings_can_be_printed_without_their_secrets() -> None:
    settings = Settings(
        store="postgresql://shop:hush@db/orders",
        otlp={"headers": "key=hush", "endpoint": "http://shop:hush@localhost:4318"},
        sentry={"dsn": "https://hush@sentry.example/1"},
        serve={"token": "hush"},
        flags={"new_key": True},
    )

    for shown in (repr(settings), str(settings), repr(settings.otlp), repr(settings.sentry), repr(settings.serve)):
        assert "hush" not in shown
    assert "store='postgresql://shop:***@db/orders'" in repr(settings)
    assert "'new_key': Rule(value=True" in repr(settings)
    assert (settings.serve.token, settings.otlp.headers) == ("hush", "key=hush")


def test_settings_are_printed_without_what_the_secrets_directory_holds(tmp_path: Path) -> None:
    (tmp_path / "otlp__endpoint").write_text("http://hush.example")

    assert "endpoint='***'" in repr(Settings(secrets_dir=str(tmp_path)))


@pytest.mark.parametrize(
    "given",
    [
        {"store": ["db", "hush"]},
        {"store": ["postgresql://shop:hush@db/orders"]},
        {"store": {"host": "db", "password": "hush"}},
        {"otlp": "headers=hush"},
        {"otlp": {"headers": ["hush"], "endpoint": ["http://shop:hush@localhost"]}},
        {"otlp": {"endpoint": {"url": "http://shop:hush@localhost", "token": "hush"}}},
        {"sentry": '{"dsn": "hush"'},
        {"serve": ["hush"]},
    ],
    ids=repr,
)
def test_a_secret_is_not_shown_where_a_value_is_of_a_wrong_type(given: dict[str, Any]) -> None:
    said = refused(given)

    assert "***" in said
    assert "hush" not in said
