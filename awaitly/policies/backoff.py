"""Delays between attempts, as values: how long to wait, and how long a server asks to be left alone.

The kinds of jitter and their formulas are those of "Exponential Backoff And Jitter" (Marc Brooker, AWS Architecture
Blog, 2015).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["fixed", "linear", "exponential"]
Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]

DECORRELATED = 3.0  # how much longer than the one before a decorrelated delay may be

_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How delays grow with the attempts.

    Args:
        shape: Whether all are the same, or grow by a summand, or by a factor.
        initial: The delay after the first attempt, in seconds; a linear one grows by as much.
        most: The longest delay, in seconds.
        multiplier: The factor of exponential growth.
        jitter: How much of a delay is left to chance, so that callers who failed together do not come back together.
    """

    shape: Shape
    initial: float
    most: float
    multiplier: float
    jitter: Jitter

    def ceiling(self, attempt: int) -> float:
        """Return the longest delay, in seconds, that may follow the attempt of this number (from 1)."""
        match self.shape:
            case "fixed":
                longest = self.initial
            case "linear":
                longest = self.initial * attempt
            case "exponential":
                factor = DECORRELATED if self.jitter == "decorrelated" else self.multiplier
                longest = _grown(self.initial, factor, attempt if self.jitter == "decorrelated" else attempt - 1)
        return min(longest, self.most)

    def delay(self, attempt: int, random: Callable[[], float], previous: float | None = None) -> float:
        """Return the delay, in seconds, that follows the attempt of this number (from 1).

        Args:
            attempt: Its number.
            random: Gives numbers from 0 up to 1, such as ``random.random``.
            previous: The delay before this one, which decides how long a decorrelated one may be.
        """
        match self.jitter:
            case "none":
                return self.ceiling(attempt)
            case "full":
                return random() * self.ceiling(attempt)
            case "equal":
                return (0.5 + random() / 2) * self.ceiling(attempt)
            case "decorrelated":
                longest = DECORRELATED * (self.initial if previous is None else previous)
                return min(self.initial + random() * max(0.0, longest - self.initial), self.most)


def _grown(initial: float, factor: float, times: int) -> float:
    try:
        return initial * factor**times if initial else 0.0
    except OverflowError:
        return math.inf


def asked(error: BaseException, now: float) -> float | None:
    """Return the seconds for which a server asks to be left alone, or None if it does not say, or not clearly.

    It says so in an attribute ``retry_after`` of the error (a number of seconds, a ``timedelta``, or the text of an
    HTTP header), or in the header ``Retry-After`` of the error's ``response`` (RFC 9110, section 10.2.3).

    Args:
        error: What an attempt failed with.
        now: The time in seconds since the epoch, as the header may name a date.
    """
    try:
        said = _meant(getattr(error, "retry_after", None), now)
        return said if said is not None else _meant(_header(error), now)
    except Exception:  # noqa: BLE001 - a property of foreign code, which must not hide the error
        return None


def _header(error: BaseException) -> object:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    return next((headers[name] for name in headers if str(name).lower() == "retry-after"), None)


def _meant(value: object, now: float) -> float | None:
    match value:
        case bool():
            return None
        case int() | float():
            return max(0.0, float(value)) if math.isfinite(value) else None
        case timedelta():
            return max(0.0, value.total_seconds())
        case str():
            text = value.strip()
            return float(text) if _SECONDS.fullmatch(text) else _until(text, now)
        case _:
            return None


def _until(date: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime  # heavy, and rarely needed

    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
