"""What the runtime asks of a clock. Reading one happens elsewhere: see ``execute.clock`` and ``testing``."""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Make sure that the callback does not run any more; harmless afterwards."""


class Clock(Protocol):
    """All time that awaitly sees goes through one of these, so that tests can own it."""

    def time(self) -> float:
        """Return the wall-clock time in seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean anything."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run ``callback`` on the event loop once ``delay`` seconds of this clock have passed."""
