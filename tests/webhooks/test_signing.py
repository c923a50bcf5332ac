"""A signature says who sent a body, that it is whole, and when it was sent."""

import hashlib
import hmac

import pytest

from awaitly.webhooks import sign, verify

BODY = b'{"id":"1"}'
AT = 1_700_000_000.9


def test_a_signature_is_the_hmac_of_the_time_a_dot_and_the_body() -> None:
    digest = hmac.new(b"secret", b'1700000000.{"id":"1"}', hashlib.sha256).hexdigest()

    assert sign(BODY, "secret", at=AT) == f"t=1700000000,v1={digest}"


def test_what_was_signed_is_verified() -> None:
    assert verify(BODY, sign(BODY, "secret", at=AT), "secret", now=AT)


def test_another_secret_another_body_and_another_time_are_not() -> None:
    header = sign(BODY, "secret", at=AT)

    assert not verify(BODY, header, "another", now=AT)
    assert not verify(BODY + b" ", header, "secret", now=AT)
    assert not verify(BODY, header.replace("t=1700000000", "t=1700000001"), "secret", now=AT)


@pytest.mark.parametrize("age", [-300, 299.0])
def test_a_signature_is_good_for_the_time_of_the_tolerance(age: float) -> None:
    header = sign(BODY, "secret", at=AT)

    assert verify(BODY, header, "secret", now=int(AT) + age)
    assert not verify(BODY, header, "secret", "30s", now=int(AT) + age)


@pytest.mark.parametrize("age", [-301, 301])
def test_an_old_one_and_one_from_the_future_are_refused(age: int) -> None:
    assert not verify(BODY, sign(BODY, "secret", at=AT), "secret", now=int(AT) + age)


def test_while_a_secret_is_replaced_either_of_two_will_do() -> None:
    header = sign(BODY, ["old", "new"], at=AT)

    assert verify(BODY, header, "old", now=AT)
    assert verify(BODY, header, "new", now=AT)
    assert verify(BODY, sign(BODY, "old", at=AT), ["new", "old"], now=AT)
    assert not verify(BODY, header, "other", now=AT)


@pytest.mark.parametrize(
    "header",
    [
        None, "", ",,,=,=", "v1=abc", "t=1700000000", "t=1700000000,v1=", "t=1700000000,v1=é", "t=1700000000;v1=abc",
        "t=soon,v1=abc", "t=,v1=abc", "t=-1,v1=abc", "t=²,v1=abc", f"t={'9' * 400},v1=abc",
        "t=1700000000,t=1700000000,v1=abc",
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(header: str | None) -> None:
    assert not verify(BODY, header, "secret", now=AT)
