"""What is shown of secrets."""

import pytest

from awaitly.settings.masks import masked
from awaitly.settings.sources import Origin, Place


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
