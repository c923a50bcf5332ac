"""Variants: other functions that take a step's place in the runs for which a feature flag says so."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Flag, FlagValue

if TYPE_CHECKING:
    from awaitly.declare.step import Step


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A step that stands in for another one where ``flag`` has the value ``when``."""

    flag: Flag
    when: FlagValue
    step: "Step[..., Any, Any]"


def checked_variant(
    base: "Step[..., Any, Any]", step: "Step[..., Any, Any]", flag: str | Flag, when: FlagValue
) -> Variant:
    """Return a variant of a step.

    Raises:
        ConfigurationError: ``invalid-option``, if the value is none that the flag can have, or taken already.
    """
    meant = flag if isinstance(flag, Flag) else Flag(flag)
    if not isinstance(when, bool | int | float | str):
        raise _refuse(base, step, f"when= is {when!r}", "give a boolean, a number or a string")
    if isinstance(meant.default, bool) and not isinstance(when, bool):
        raise _refuse(
            base, step, f"when= is {when!r}, but flag {meant.name!r} is a switch: its default is {meant.default}",
            f'give the flag a default of that kind: flag=Flag("{meant.name}", default="...")',
        )  # fmt: skip
    for other in base.variants:
        if (other.flag.name, other.when) == (meant.name, when):
            raise _refuse(
                base,
                step,
                f"{other.step.name} stands for {meant.name}={when!r} already",
                "give it another flag or value",
            )
        if other.flag.name == meant.name and other.flag != meant:
            raise _refuse(
                base, step, f"flag {meant.name!r} has two defaults, {meant.default!r} and {other.flag.default!r}",
                "declare the Flag once and use it for both",
            )  # fmt: skip
    return Variant(meant, when, step)


def _refuse(base: "Step[..., Any, Any]", step: "Step[..., Any, Any]", found: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"variant {step.name} of step {base.name}: {found}", hint=hint, code="invalid-option")
