"""What a flag, and a value for it, may be."""

from enum import IntEnum, StrEnum

import pytest

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Flag, FlagProvider, misfit
from awaitly.flags.settings import SettingsFlags


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_flag_has_a_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the name of a flag is .*new-payment-flow.*\[invalid-option\]"):
        Flag(name)


@pytest.mark.parametrize("default", [None, [], {}, float("nan"), float("inf"), b"on"])
def test_a_default_is_something_that_json_holds_in_one_piece(default: bool) -> None:
    with pytest.raises(ConfigurationError, match=r"the default of flag 'new-flow' is .*\[invalid-option\]"):
        Flag("new-flow", default)


class Size(IntEnum):
    SMALL = 1


class Variant(StrEnum):
    B = "b"


@pytest.mark.parametrize(
    ("default", "fits", "does_not"),
    [
        (False, (True, False), (1, 0, 1.0, "true", None)),
        (0, (1, 0.5, -3, Size.SMALL), (True, "1", None, float("nan"))),
        (0.5, (1, 0.25), (False, "0.5", float("inf"))),
        ("a", ("b", "", Variant.B), (True, 1, None, b"b", ["b"])),
    ],
)
def test_a_value_is_of_the_kind_of_the_default(
    default: bool, fits: tuple[object, ...], does_not: tuple[object, ...]
) -> None:
    flag = Flag("new-flow", default)

    assert [value for value in fits if misfit(flag, value) is not None] == []
    assert [value for value in does_not if misfit(flag, value) is None] == []


def test_a_misfit_says_what_the_flag_takes_and_why() -> None:
    assert misfit(Flag("new-flow"), "on") == "flag 'new-flow' takes a boolean, as its default is False; this is 'on'"


def test_anything_with_a_name_that_decides_and_says_what_it_knows_is_a_provider() -> None:
    assert isinstance(SettingsFlags({}), FlagProvider)
    assert not isinstance(lambda name, context: True, FlagProvider)
