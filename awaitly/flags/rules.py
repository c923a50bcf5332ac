"""Rules for flags, as operators write them: a value, a share of the runs, or a table that says more."""

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import FlagValue, scalar

_ALLOWED = "give true or false, a share of the runs from 0 to 1, a text, or a table with one of value, share and shares"


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def number(text: str) -> int | float | None:
    """Return the finite number that a text is; None if it is none."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None or not math.isfinite(found := float(text)):
        return None
    return int(text) if text.lstrip("+-").isdigit() else found


def _share(given: object) -> float:
    share = number(given) if isinstance(given, str) else given
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError("give a share of the runs from 0 to 1, such as 0.25 for every fourth")
    return float(share)


def _scalar(given: object) -> object:
    if not scalar(given):
        raise ValueError("give a boolean, a finite number or a text")
    return given


def _table(given: object) -> object:
    """Return a table; one that is text, as in a variable, is JSON."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError as error:
        raise ValueError(f"this should be a table in JSON, and is not: {error}") from error


def _alternatives(given: object) -> object:
    return (given,) if isinstance(given, str | int | float) else given


Share = Annotated[float, BeforeValidator(_share)]
Scalar = Annotated[FlagValue, PlainValidator(_scalar, json_schema_input_type=bool | int | float | str)]
Alternatives = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_alternatives)]


class Rule(BaseModel):
    """What a flag is for which runs.

    Short forms: ``true`` and a text are ``{value: ...}``, a number is ``{share: ...}``. Text that is a number is one
    too, and text that begins with ``{`` is a table in JSON, so that all of it can stand in an environment variable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    value: Scalar | None = Field(default=None, description="The value for every run.")
    share: Share | None = Field(
        default=None,
        description="The share of runs, from 0 to 1, for which a flag that is a boolean is true. A run stays in a share"
        " that grows.",
    )
    shares: Annotated[dict[str, Share], Field(min_length=1), BeforeValidator(_table)] | None = Field(
        default=None,
        description="Values, each with its share of the runs; together at most 1. A run stays where it is if the last"
        " one grows.",
    )
    default: Scalar | None = Field(
        default=None, description="The value for runs that are in none of the shares; else the flag's default."
    )
    where: Annotated[dict[str, Alternatives], BeforeValidator(_table)] = Field(
        default={},
        description="Metadata that a run must have for the rule to hold: for every key one of the values. Other runs"
        " get the flag's default.",
    )
    salt: str | None = Field(
        default=None,
        min_length=1,
        description="What shuffles the runs, by default the flag's name. Flags of one salt choose the same runs.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_short_form(cls, given: Any) -> Any:
        match _parsed(given) if isinstance(given, str) else given:
            case bool() | str() as value:
                return {"value": value}
            case int() | float() as share if 0 <= share <= 1:
                return {"share": share}
            case int() | float() as other:
                raise ValueError(
                    f"a number is a share of the runs, from 0 to 1; for the number itself write {{value: {other}}}"
                )
            case Mapping() | Rule() as table:
                return table
            case _:
                raise ValueError(_ALLOWED)

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Rule":
        kinds = [kind for kind in ("value", "share", "shares") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a rule has one of value, share and shares; this has {' and '.join(kinds) or 'none'}")
        if self.default is not None and self.shares is None:
            raise ValueError("default is for the runs that are in none of the shares, and there are no shares")
        if self.shares is not None and (total := math.fsum(self.shares.values())) > 1 + 1e-9:
            raise ValueError(f"the shares come to {total:g}; together they may be 1 at most")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """Describe the short forms too."""
        short: list[JsonSchemaValue] = [
            {"type": "boolean"},
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string"},
        ]
        return {"anyOf": [*short, handler(core_schema)]}


def _parsed(text: str) -> object:
    if text.lstrip().startswith("{"):
        return _table(text)
    found = number(text)
    return text if found is None else found


def ruled(given: Mapping[str, object]) -> dict[str, Rule]:
    """Return rules by flag, from what a program gives: each a :class:`Rule` or anything that one is written as.

    Raises:
        ConfigurationError: ``invalid-option``, with a line for each problem.
    """
    rules: dict[str, Rule] = {}
    problems: list[str] = []
    for name, rule in given.items():
        try:
            rules[name] = Rule.model_validate(rule)
        except ValidationError as error:
            problems += (
                f"\n  {'.'.join(map(str, (name, *detail['loc'])))}: {detail['msg'].removeprefix('Value error, ')}"
                f" (found {detail['input']!r})"
                for detail in error.errors(include_url=False)
            )
    if problems:
        raise ConfigurationError(
            f"the rules of flags do not fit:{''.join(problems)}\n", hint=_ALLOWED, code="invalid-option"
        )
    return rules
