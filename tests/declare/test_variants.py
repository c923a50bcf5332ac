"""What ``@step.variant`` takes."""

from typing import Any

import pytest

from awaitly import Flag, Policies, Retry, Step, step
from awaitly.errors import ConfigurationError, UsageError
from awaitly.flags.provider import FlagValue

CARRIER = Flag("carrier", default="post")


@pytest.fixture
def ship() -> Step[[str], str, Any]:
    @step(key="ship:{item}", effect="once", retry=Retry(2), timeout="5s")
    async def ship(item: str) -> str:
        return item

    return ship


async def by_bike(item: str) -> str:
    return item


async def by_drone(item: str) -> str:
    return item


def test_a_variant_is_a_step_with_what_its_step_promises_and_policies_of_its_own(ship: Step[[str], str, Any]) -> None:
    bike = ship.variant(flag="bikes", retry=Retry(5))(by_bike)

    assert (bike.name, bike.options.key, bike.options.effect) == ("by_bike", "ship:{item}", "once")
    assert bike.options.policies == Policies(retry=Retry(5), timeout="5s")
    assert [(variant.flag, variant.when, variant.step) for variant in ship.variants] == [(Flag("bikes"), True, bike)]


def test_a_step_may_have_a_variant_for_each_value_of_a_flag_and_for_several_flags(ship: Step[[str], str, Any]) -> None:
    ship.variant(flag=CARRIER, when="bike")(by_bike)
    ship.variant(flag=CARRIER, when="drone")(by_drone)
    ship.variant(flag="other")(by_bike)

    assert [variant.when for variant in ship.variants] == ["bike", "drone", True]


@pytest.mark.parametrize(
    ("flag", "when", "message"),
    [
        ("bikes", "v2", r"flag 'bikes' takes a boolean, as its default is False; this is 'v2'.*Flag\(.bikes., default"),
        (CARRIER, True, r"flag 'carrier' takes a text, as its default is 'post'; this is True"),
        (Flag("weight", 1), float("nan"), r"flag 'weight' takes a number, as its default is 1; this is nan"),
        (CARRIER, None, r"flag 'carrier' takes a text"),
    ],
)  # fmt: skip
def test_the_value_of_a_variant_is_one_that_the_flag_can_have(
    ship: Step[[str], str, Any], flag: str | Flag, when: FlagValue, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"variant by_bike of step ship: .*{message}.*\[invalid-option\]"):
        ship.variant(flag=flag, when=when)(by_bike)


@pytest.mark.parametrize("flag", ["", None, 5, True])
def test_a_flag_is_a_name_or_a_declaration(ship: Step[[str], str, Any], flag: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the name of a flag is .*\[invalid-option\]"):
        ship.variant(flag=flag)(by_bike)


def test_two_variants_cannot_stand_for_one_value(ship: Step[[str], str, Any]) -> None:
    ship.variant(flag="new-carrier")(by_bike)

    with pytest.raises(ConfigurationError, match=r"by_bike stands for New_Carrier=True already.*\[invalid-option\]"):
        ship.variant(flag="New_Carrier")(by_drone)


@pytest.mark.parametrize("default", [True, "bike", 0])
def test_the_flag_of_two_variants_has_one_default(ship: Step[[str], str, Any], default: FlagValue) -> None:
    ship.variant(flag="carrier")(by_bike)

    with pytest.raises(ConfigurationError, match=r"flag 'Carrier' has two defaults, .* and False.*\[invalid-option\]"):
        ship.variant(flag=Flag("Carrier", default), when=default)(by_drone)


def test_a_variant_has_no_options_but_policies(ship: Step[[str], str, Any]) -> None:
    options: Any = {"effect": "read"}

    with pytest.raises(ConfigurationError, match=r"variant by_bike .* has an option 'effect'.*\[unknown-option\]"):
        ship.variant(flag="bikes", **options)(by_bike)


def test_a_method_is_no_variant(ship: Step[[str], str, Any]) -> None:
    with pytest.raises(UsageError, match=r"variant by_van .* belongs to a class.*\[step-on-method\]"):

        class Van:
            @ship.variant(flag="vans")
            async def by_van(self, item: str) -> str:
                return item


def test_a_lambda_needs_a_name_by_which_it_is_stored(ship: Step[[str], str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"step <lambda> \(test_variants\.py:\d+\) has no name"):
        step(lambda item: item)
    with pytest.raises(ConfigurationError, match=r"variant <lambda> \(test_variants\.py:\d+\) has no name"):
        ship.variant(flag="bikes")(lambda item: item)

    assert step(name="same")(lambda item: item).name == "same"
