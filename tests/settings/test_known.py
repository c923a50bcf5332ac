"""Settings for what does not exist: one error that lists all of it."""

import pytest

from awaitly.errors import ConfigurationError
from awaitly.settings import read_settings
from awaitly.settings.known import KnownNames, check_names, unknown_names

SHOP = KnownNames(
    steps=frozenset({"charge-card", "pack"}),
    breakers=frozenset({"payments"}),
    workflows=frozenset({"checkout"}),
    flags=frozenset({"new-payment-flow"}),
)


def test_every_unknown_name_is_listed_with_its_source_and_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STEPS__CHARGE_CRAD__TIMEOUT", "1s")
    monkeypatch.setenv("AWAITLY_FLAGS__NEW_PAYMENT_FLO", "true")
    settings = read_settings(
        steps={"ship": {"timeout": 1}}, breakers={"payment": {}}, limiters={"stripe": {"limit": 1}}
    )

    with pytest.raises(ConfigurationError) as caught:
        check_names(settings, SHOP)

    assert caught.value.code == "invalid-setting"
    head, *lines = caught.value.message.splitlines()
    assert head == "awaitly's settings name what does not exist:"
    assert [tuple(line.strip().split(": ", 1)) for line in lines] == [
        ("steps.ship.timeout (given as an argument)", "there is no step 'ship'; there are 'pack', 'charge-card'"),
        (
            "AWAITLY_STEPS__CHARGE_CRAD__TIMEOUT (in the environment)",
            "there is no step 'charge_crad'; did you mean 'charge-card'?",
        ),
        ("breakers.payment (given as an argument)", "there is no breaker 'payment'; did you mean 'payments'?"),
        ("limiters.stripe.limit (given as an argument)", "there is no limiter 'stripe', nor any other"),
        (
            "AWAITLY_FLAGS__NEW_PAYMENT_FLO (in the environment)",
            "there is no flag 'new_payment_flo'; did you mean 'new-payment-flow'?",
        ),
    ]


def test_names_are_found_however_they_are_spelt() -> None:
    settings = read_settings(
        steps={"CHARGE_CARD": {"timeout": 1}}, breakers={"Payments": {}}, flags={"new_payment_flow": True}
    )

    check_names(settings, SHOP)


def test_what_several_workflows_have_is_known_together() -> None:
    settings = read_settings(steps={"pack": {"timeout": 1}, "invoice": {"timeout": 1}})

    assert [str(each.name) for each in unknown_names(settings, SHOP)] == ["invoice"]
    assert unknown_names(settings, SHOP | KnownNames(steps=frozenset({"invoice"}))) == ()
