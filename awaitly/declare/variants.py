"""Variants: other functions that take a step's place in the runs for which a feature flag says so."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Flag, FlagValue, misfit
from awaitly.model.names import spelt

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
    wrong = misfit(meant, when)
    if wrong is not None:
        raise _refuse(
            base, step, f"when= does not fit: {wrong}",
            f'give a value of that kind, or the flag another default: flag=Flag("{meant.name}", default=...)',
        )  # fmt: skip
    for other in base.variants:
        if not meant.agrees(other.flag):
            raise _refuse(
                base, step, f"flag {meant.name!r} has two defaults, {meant.default!r} and {other.flag.default!r}",
                "declare the Flag once and use it for both",
            )  # fmt: skip
        if spelt(other.flag.name) == spelt(meant.name) and other.when == when:
            raise _refuse(
                base, step, f"{other.step.name} stands for {meant.name}={when!r} already",
                "give it another flag or value",
            )  # fmt: skip
    return Variant(meant, when, step)


def _refuse(base: "Step[..., Any, Any]", step: "Step[..., Any, Any]", found: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"variant {step.name} of step {base.name}: {found}", hint=hint, code="invalid-option")
