"""What rules say for runs."""

import asyncio
from collections.abc import Mapping

import pytest

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue
from awaitly.flags.rules import Rule, ruled
from awaitly.flags.settings import SettingsFlags

INSIDE, OUTSIDE = "order:11", "order:7"  # of a quarter of new-payment-flow


def decision(
    rule: object, default: FlagValue = False, *, run: str = OUTSIDE, metadata: Mapping[str, str] | None = None
) -> Decision:
    flags = SettingsFlags(ruled({"new-payment-flow": rule}))
    found = asyncio.run(flags.decide(Flag("new-payment-flow", default), FlagContext(run, "checkout", metadata or {})))
    assert found is not None
    assert found.provider == "settings"
    return found


def answer(
    rule: object, default: FlagValue = False, *, run: str = OUTSIDE, metadata: Mapping[str, str] | None = None
) -> tuple[FlagValue, str, str]:
    found = decision(rule, default, run=run, metadata=metadata)
    return found.value, found.variant, found.reason


def test_a_flag_without_a_rule_is_not_known() -> None:
    flags = SettingsFlags(ruled({"new-payment-flow": True}))

    assert (flags.knows("NEW_PAYMENT_FLOW"), flags.knows("other")) == (True, False)
    assert asyncio.run(flags.decide(Flag("other"), FlagContext("order:7", "checkout"))) is None


@pytest.mark.parametrize("name", ["new-payment-flow", "new_payment_flow", "NEW_PAYMENT_FLOW"])
def test_a_rule_is_found_under_every_spelling_of_the_flag(name: str) -> None:
    flags = SettingsFlags(ruled({name: True}))

    found = asyncio.run(flags.decide(Flag("New-Payment-Flow"), FlagContext("order:7", "checkout")))

    assert found == Decision(True, "settings", reason="static")


def test_two_rules_of_one_flag_are_refused_unless_they_say_the_same() -> None:
    SettingsFlags(ruled({"new-flow": True, "NEW_FLOW": True}))

    with pytest.raises(ConfigurationError, match=r"flag 'NEW_FLOW' has two rules that differ.*\[policy-conflict\]"):
        SettingsFlags(ruled({"new-flow": True, "NEW_FLOW": False}))


@pytest.mark.parametrize("value", [True, False])
def test_a_value_is_everybodys(value: bool) -> None:
    assert answer(value) == (value, "", "static")


def test_a_share_is_true_for_the_runs_in_it() -> None:
    assert answer(0.25, run=INSIDE) == (True, "", "share 0.25")
    assert answer(0.25, run=OUTSIDE) == (False, "", "not in share 0.25")


def test_the_whole_and_nothing_are_shares_as_well() -> None:
    assert (answer("1")[0], answer("0")[0]) == (True, False)


def test_a_run_outside_the_share_gets_false_whatever_the_default() -> None:
    assert answer(0.25, True, run=OUTSIDE)[0] is False


def test_every_spelling_of_a_flag_has_the_same_share() -> None:
    context = FlagContext(INSIDE, "checkout")

    for name in ("new-payment-flow", "NEW_PAYMENT_FLOW"):
        found = asyncio.run(SettingsFlags(ruled({name: 0.25})).decide(Flag(name), context))
        assert found == Decision(True, "settings", reason="share 0.25")


def test_a_salt_chooses_other_runs() -> None:
    assert answer({"share": 0.25, "salt": "spring-2025"}, run=OUTSIDE)[0] is True
    assert answer({"share": 0.2, "salt": "spring-2025"}, run=OUTSIDE)[0] is False


def test_shares_give_their_variants_and_the_rest_the_rules_default() -> None:
    rule = {"shares": {"v2": 0.5, "v3": 0.1}, "default": "v1"}
    found = {run: answer(rule, "v0", run=run) for run in ("order:11", "order:7", "order:8")}

    assert found["order:11"] == ("v2", "v2", "share 0.5")
    assert found["order:7"] == ("v3", "v3", "share 0.1")
    assert answer({"shares": {"v2": 0.2, "v3": 0.1}, "default": "v1"}, "v0", run=OUTSIDE) == (
        "v1", "", "not in shares v2 0.2, v3 0.1",
    )  # fmt: skip


def test_without_a_default_of_the_rule_the_rest_gets_the_flags() -> None:
    assert answer({"shares": {"v2": 0.25}}, "v0", run=OUTSIDE)[0] == "v0"


GOLD = {"value": True, "where": {"tier": ["gold", "platinum"]}}


@pytest.mark.parametrize("tier", ["gold", "platinum"])
def test_a_condition_is_met_by_one_of_its_values(tier: str) -> None:
    assert answer(GOLD, metadata={"tier": tier, "other": "x"}) == (True, "", f"where tier={tier}")


@pytest.mark.parametrize("metadata", [{}, {"tier": "silver"}, {"tier": "Gold"}])
@pytest.mark.parametrize("default", [True, False])
def test_a_run_that_does_not_meet_it_gets_the_flags_default(metadata: dict[str, str], default: bool) -> None:
    assert answer(GOLD, default, metadata=metadata) == (default, "", "not where tier=gold|platinum")


def test_all_conditions_must_be_met() -> None:
    rule = {"value": True, "where": {"tier": "gold", "region": "eu"}}

    assert answer(rule, metadata={"tier": "gold", "region": "eu"}) == (True, "", "where tier=gold, region=eu")
    assert answer(rule, metadata={"tier": "gold"}) == (False, "", "not where tier=gold, region=eu")


def test_a_share_of_those_that_meet_a_condition() -> None:
    rule = {"share": 0.25, "where": {"tier": "gold"}}
    gold = {"tier": "gold"}

    assert answer(rule, run=INSIDE, metadata=gold) == (True, "", "share 0.25, where tier=gold")
    assert answer(rule, run=OUTSIDE, metadata=gold) == (False, "", "not in share 0.25, where tier=gold")
    assert answer(rule, run=INSIDE) == (False, "", "not where tier=gold")


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("on", False, True),
        ("Off", True, False),
        ("true", False, True),
        ("on", "a", "on"),
        ("true", "a", "true"),
        ({"value": "1"}, False, True),
        ({"value": "5"}, 3, 5),
        ({"value": "0.5"}, 3, 0.5),
        ({"value": "5"}, "3", "5"),
        ({"shares": {"8": 1}}, 3, 8),
        ({"shares": {"on": 1}}, False, True),
    ],
)
def test_text_is_read_as_the_flags_default_is(text: object, default: FlagValue, value: FlagValue) -> None:
    found = answer(text, default)[0]

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("rule", "default", "what"),
    [
        ("ture", False, "flag 'new-flow' takes a boolean, as its default is False; this is 'ture'"),
        (True, "a", "flag 'new-flow' takes a text, as its default is 'a'; this is True"),
        ({"value": 1}, False, "flag 'new-flow' takes a boolean, as its default is False; this is 1"),
        ("many", 3, "flag 'new-flow' takes a number, as its default is 3; this is 'many'"),
        ({"shares": {"8": 0.5, "many": 0.1}}, 3, "takes a number, as its default is 3; this is 'many'"),
        ({"shares": {"a": 0.5}, "default": 1}, "b", "takes a text, as its default is 'b'; this is 1"),
        (0.5, "a", "a share alone says true or false, and the default of flag 'new-flow' is 'a'; name values with"),
        (1, 3, "a share alone says true or false, and the default of flag 'new-flow' is 3; name values with"),
    ],
)
def test_a_rule_for_another_kind_of_flag_can_be_found_before_any_run_needs_it(
    rule: object, default: FlagValue, what: str
) -> None:
    flags = SettingsFlags(ruled({"new-flow": rule}))

    assert what in (flags.misfit(Flag("new-flow", default)) or "")
    with pytest.raises(ValueError, match="new-flow"):
        asyncio.run(flags.decide(Flag("new-flow", default), FlagContext("order:7", "checkout")))


def test_a_rule_that_fits_has_no_misfit_nor_has_a_flag_without_one() -> None:
    flags = SettingsFlags({"new-flow": Rule.model_validate(0.5)})

    assert (flags.misfit(Flag("new-flow")), flags.misfit(Flag("other"))) == (None, None)
