"""Durations as people write them: seconds, a ``timedelta``, or text such as ``"1m30s"``."""

import math
import re
from datetime import timedelta
from typing import TypeAlias

from awaitly.errors import ConfigurationError

Duration: TypeAlias = float | int | str | timedelta

_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d|w)")
_SMALL = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def seconds(duration: Duration, *, what: str = "duration") -> float:
    """Return ``duration`` in seconds.

    Args:
        duration: A number of seconds, a ``timedelta``, or text: numbers with the units ``us ms s m h d w``.
        what: The name of the setting, for the message.

    Raises:
        ConfigurationError: ``invalid-duration``, if it is none of these, negative, or not finite.
    """
    value = _parsed(duration)
    if value is None or not math.isfinite(value) or value < 0:
        raise ConfigurationError(
            f"{what} is {duration!r}, which is not a duration",
            hint='write seconds as a number, a timedelta, or text such as "250ms", "1m30s" or "24h"',
            code="invalid-duration",
        )
    return value


def _parsed(duration: object) -> float | None:
    match duration:
        case bool():
            return None
        case int() | float():
            return float(duration)
        case timedelta():
            return duration.total_seconds()
        case str():
            text = duration.replace(" ", "")
            if _WHOLE.fullmatch(text):
                return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
            try:
                return float(text)
            except ValueError:
                return None
        case _:
            return None


def humanised(value: float) -> str:
    """Return ``value`` seconds as short text: ``90.0`` becomes ``1m30s``. :func:`seconds` understands it."""
    if value == 0:
        return "0s"
    if round(value, 1) < 60:
        for unit, size in _SMALL.items():
            text = f"{value / size:.3g}"
            if float(text) < 1000:
                return f"{text}{unit}"
    parts: list[str] = []
    rest = round(value)
    for unit in ("d", "h", "m", "s"):
        size = int(_UNITS[unit])
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
