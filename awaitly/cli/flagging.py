"""--flag NAME=VALUE: the values of feature flags for one run."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue, scalar
from awaitly.model.names import overlaid, spelt

F = TypeVar("F", bound=Callable[..., Any])


class GivenFlags:
    """Knows the flags of the command line, so that nobody warns of them; it is the run that has their values."""

    name = "command line"

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(spelt, names))

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        """Leave it to others: the run may be another one, which is continued."""
        return None

    def knows(self, flag: str) -> bool:
        """Return whether it was given."""
        return spelt(flag) in self._names


def flags_option(command: F) -> F:
    """Give a command ``--flag``, which may be given several times."""
    return click.option(
        "--flag", "flags", multiple=True, metavar="NAME=VALUE", callback=_read,
        help="The value of a feature flag for the new run: true, false, a number or text. May be given several times.",
    )(command)  # fmt: skip


def _read(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, FlagValue]:
    return overlaid(*(dict([_one(text)]) for text in given))


def _one(text: str) -> tuple[str, FlagValue]:
    name, given, value = text.partition("=")
    if not (name.strip() and given):
        raise click.UsageError(f"--flag {text} has no value: write it as in --flag new-payment-flow=true")
    return name.strip(), _value(value)


def _value(text: str) -> FlagValue:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if scalar(found) else text
