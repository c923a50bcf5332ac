import pytest

from awaitly.model.names import nearest, overlaid, spelt


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("paymets", "payments"),
        ("PAYMENTS", "payments"),
        ("new_payment_flow", "new-payment-flow"),
        ("strpie", "stripe"),
    ],
)
def test_a_misspelt_name_finds_the_one_that_was_meant(typed: str, meant: str) -> None:
    assert nearest(typed, ["stripe", "payments", "new-payment-flow"]) == meant


@pytest.mark.parametrize("name", ["new-payment-flow", "NEW_PAYMENT_FLOW", "New-Payment.Flow", "new payment--flow"])
def test_names_are_compared_by_their_words_alone(name: str) -> None:
    assert spelt(name) == "new_payment_flow"


def test_a_name_unlike_all_others_finds_none() -> None:
    assert nearest("warehouse", ["stripe", "payments"]) is None


def test_nothing_is_near_when_there_is_nothing() -> None:
    assert nearest("stripe", []) is None


def test_of_names_that_are_compared_alike_the_last_one_counts() -> None:
    assert overlaid({"new-flow": 1, "other": 1}, {"NEW_FLOW": 2}) == {"NEW_FLOW": 2, "other": 1}
    assert overlaid({"new-flow": 1, "new_flow": 2}) == {"new_flow": 2}
