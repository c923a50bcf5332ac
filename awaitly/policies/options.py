"""What every declaration checks about what it is given; each check names what is allowed."""

from collections.abc import Iterable
from typing import Any

from awaitly.errors import ConfigurationError
from awaitly.model.durations import seconds
from awaitly.texts import NAMED, named


def refuse(what: str, value: object, allowed: str) -> ConfigurationError:
    """Return the error for an option's value."""
    return ConfigurationError(f"{what} is {value!r}", hint=allowed, code="invalid-option")


def check_count(value: object, what: str, *, least: int = 1) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise refuse(what, value, f"give a whole number of at least {least}")


def check_number(value: object, what: str, *, least: float = 0.0, most: float | None = None) -> None:
    """Refuse what is not a number between ``least`` and ``most``.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= (most or value):
        between = f"of at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise refuse(what, value, f"give a number {between}")


def check_ratio(value: object, what: str) -> None:
    """Refuse what is not a share above 0 and up to 1.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise refuse(what, value, "give a share above 0 and up to 1, such as 0.5")


def check_duration(value: Any, what: str, *, positive: bool = True) -> None:
    """Refuse what is not a duration, or none above zero.

    Raises:
        ConfigurationError: ``invalid-duration``, or ``invalid-option`` for zero.
    """
    if seconds(value, what=what) == 0 and positive:
        raise refuse(what, value, 'give a duration above zero, such as "30s"')


def check_choice(value: object, allowed: Iterable[str], what: str) -> None:
    """Refuse what is not one of some words.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    words = tuple(allowed)
    if value not in words:
        raise refuse(what, value, f"choose one of {', '.join(map(repr, words))}")


def check_name(value: object, what: str) -> None:
    """Refuse a name that is no text, blank, or cannot be stored; none at all is fine.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if value is not None and not named(value):
        raise refuse(what, value, NAMED)


def error_classes(value: object, what: str) -> tuple[type[BaseException], ...]:
    """Return ``value``, an exception class or a tuple of them, as a tuple.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    found = value if isinstance(value, tuple) else (value,)
    for entry in found:
        if not (isinstance(entry, type) and issubclass(entry, BaseException)):
            raise refuse(what, entry, "give an exception class, or a tuple of them")
    return found
