"""How rules are written, and what is said about those that do not fit."""

import pytest
from pydantic import ValidationError

from awaitly.errors import ConfigurationError
from awaitly.flags.rules import Rule, number, ruled


def said(rule: object) -> str:
    """Return what is said about a rule that does not fit."""
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate(rule)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}"
        for detail in caught.value.errors()
    )


@pytest.mark.parametrize(
    ("short", "table"),
    [
        (True, {"value": True}),
        (False, {"value": False}),
        (0.25, {"share": 0.25}),
        (0, {"share": 0}),
        (1, {"share": 1}),
        ("v2", {"value": "v2"}),
        ("", {"value": ""}),
    ],
)
def test_short_forms_are_tables(short: object, table: dict[str, object]) -> None:
    assert Rule.model_validate(short) == Rule.model_validate(table)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("0.25", {"share": 0.25}),
        (" .25 ", {"share": 0.25}),
        ("2.5e-1", {"share": 0.25}),
        ("1", {"share": 1}),
        ("0", {"share": 0}),
        ("v2", {"value": "v2"}),
        ("25%", {"value": "25%"}),
        ("NaN", {"value": "NaN"}),
        ('{"share": 0.5}', {"share": 0.5}),
        (' {"value": 25}', {"value": 25}),
    ],
)
def test_text_as_in_a_variable_is_read(text: str, table: dict[str, object]) -> None:
    assert Rule.model_validate(text) == Rule.model_validate(table)


def test_the_fields_of_a_table_may_be_text_too() -> None:
    rule = Rule.model_validate({"shares": '{"v2": "0.2"}', "where": '{"tier": "gold"}', "default": "v1"})

    assert (rule.shares, rule.where, rule.default) == ({"v2": 0.2}, {"tier": ("gold",)}, "v1")


def test_a_single_condition_and_numbers_are_short_for_a_list_of_texts() -> None:
    rule = Rule.model_validate({"value": True, "where": {"tier": "gold", "level": [2, 3]}, "salt": 2025})

    assert (rule.where, rule.salt) == ({"tier": ("gold",), "level": ("2", "3")}, "2025")


def test_values_keep_their_types() -> None:
    values = [Rule.model_validate({"value": value}).value for value in (True, 1, 1.5, "1")]

    assert [(value, type(value)) for value in values] == [(True, bool), (1, int), (1.5, float), ("1", str)]


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (25, ": a number is a share of the runs, from 0 to 1; for the number itself write {value: 25}"),
        ("-0.1", ": a number is a share of the runs, from 0 to 1; for the number itself write {value: -0.1}"),
        (None, ": give true or false, a share of the runs from 0 to 1, a text, or a table with one of value"),
        ([True], ": give true or false"),
        ({}, ": a rule has one of value, share and shares; this has none"),
        ({"where": {"tier": "gold"}}, ": a rule has one of value, share and shares; this has none"),
        ({"value": True, "share": 0.5}, ": a rule has one of value, share and shares; this has value and share"),
        ({"share": 1.5}, "share: give a share of the runs from 0 to 1, such as 0.25 for every fourth"),
        ({"share": "half"}, "share: give a share"),
        ({"share": True}, "share: give a share"),
        ({"share": float("nan")}, "share: give a share"),
        ({"value": [1]}, "value: give a boolean, a finite number or a text"),
        ({"value": float("inf")}, "value: give a boolean, a finite number or a text"),
        ({"shares": {}}, "shares: Dictionary should have at least 1 item"),
        ({"shares": "v2"}, "shares: this should be a table in JSON, and is not: "),
        ({"shares": {"a": 0.6, "b": 0.5}}, ": the shares come to 1.1; together they may be 1 at most"),
        ({"shares": {"a": 2}}, "shares.a: give a share"),
        ({"share": 0.5, "default": False}, ": default is for the runs that are in none of the shares"),
        ({"value": True, "where": {"tier": []}}, "where.tier: Tuple should have at least 1 item"),
        ({"value": True, "where": {"tier": True}}, "where.tier.0: Input should be a valid string"),
        ({"value": True, "salt": ""}, "salt: String should have at least 1 character"),
        ({"shaer": 0.5}, "shaer: Extra inputs are not permitted"),
        ('{"share": 0.5', ": this should be a table in JSON, and is not: "),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_with_what_is_allowed(rule: object, what: str) -> None:
    assert said(rule).startswith(what)


def test_shares_that_come_to_the_whole_may_be_off_by_how_numbers_are_rounded() -> None:
    Rule.model_validate({"shares": {str(number): 0.1 for number in range(10)}})
    Rule.model_validate({"shares": {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}})


def test_a_rule_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Rule.model_validate(True).value = False


@pytest.mark.parametrize(
    "text", ["", "one", "1_000", "0x10", "1e999", "inf", "nan", "1,5", "--1", "٣", "1" * 200_000 + "x"]
)
def test_what_only_resembles_a_number_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(("text", "meant"), [("3", 3), ("-3", -3), ("+0.5", 0.5), (" 1e3 ", 1000.0), ("1.", 1.0)])
def test_numbers_are_read(text: str, meant: float) -> None:
    assert (number(text), type(number(text))) == (meant, type(meant))


def test_every_field_says_what_it_is_for() -> None:
    assert [name for name, field in Rule.model_fields.items() if not field.description] == []


def test_the_schema_has_the_short_forms() -> None:
    forms = Rule.model_json_schema()["anyOf"]

    assert [form["type"] for form in forms] == ["boolean", "number", "string", "object"]


def test_a_program_is_told_of_every_rule_that_does_not_fit() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ruled({"new-flow": 7, "good": True, "old-flow": {"share": -1, "slat": "x"}})

    assert caught.value.code == "invalid-option"
    assert caught.value.message.splitlines() == [
        "the rules of flags do not fit:",
        "  new-flow: a number is a share of the runs, from 0 to 1; for the number itself write {value: 7} (found 7)",
        "  old-flow.share: give a share of the runs from 0 to 1, such as 0.25 for every fourth (found -1)",
        "  old-flow.slat: Extra inputs are not permitted (found 'x')",
    ]
