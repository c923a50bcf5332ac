"""What is asked about a feature flag, and what anybody who answers looks like."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from awaitly.errors import ConfigurationError
from awaitly.model.names import spelt
from awaitly.texts import NAMED, named

FlagValue: TypeAlias = bool | int | float | str  # what JSON can hold in one piece


def scalar(value: object) -> bool:
    """Return whether this can be the value of a flag."""
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


@dataclass(frozen=True, slots=True)
class Flag:
    """A feature flag as declared.

    Args:
        name: Its name, such as ``new-payment-flow``.
        default: Its value if nobody decides otherwise. Only values of the same kind are accepted for it: a boolean,
            a number, or a text.

    Raises:
        ConfigurationError: ``invalid-option``.
    """

    name: str
    default: FlagValue = False

    def __post_init__(self) -> None:
        if not named(self.name):
            raise ConfigurationError(
                f"the name of a flag is {self.name!r}",
                hint=f'{NAMED}, such as "new-payment-flow"',
                code="invalid-option",
            )
        if not scalar(self.default):
            raise ConfigurationError(
                f"the default of flag {self.name!r} is {self.default!r}",
                hint="give a boolean, a finite number or a string",
                code="invalid-option",
            )

    def agrees(self, other: "Flag") -> bool:
        """Return whether both can be declared: they are two flags, or one flag with one default."""
        if spelt(self.name) != spelt(other.name):
            return True
        return misfit(self, other.default) is None and self.default == other.default


@dataclass(frozen=True, slots=True)
class FlagContext:
    """For whom a flag is decided: a run, its workflow, and the metadata that it was started with."""

    run_id: str
    workflow: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The value of a flag for a run.

    Attributes:
        value: The value.
        provider: The name of who decided.
        variant: The decider's name for the value, if it has one.
        reason: Why, in the decider's words.
    """

    value: FlagValue
    provider: str
    variant: str = ""
    reason: str = ""


@runtime_checkable
class FlagProvider(Protocol):
    """Somebody who decides flags. A provider need not remember: each run asks once, and records the answer."""

    @property
    def name(self) -> str:
        """What it is called in records and messages."""

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        """Return the flag's value for this run; None if the flag is not known here. It may raise."""

    def knows(self, flag: str) -> bool | None:
        """Return whether the flag is known here; None if one cannot say, as with a service that is far away."""


def misfit(flag: Flag, value: object) -> str | None:
    """Return what is wrong with a value for a flag; None if nothing is."""
    kind = _kind(flag.default)
    if scalar(value) and _kind(value) == kind:
        return None
    return f"flag {flag.name!r} takes a {kind}, as its default is {flag.default!r}; this is {value!r}"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "text"
