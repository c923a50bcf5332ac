"""A budget of retries, shared by name, so that retrying cannot multiply the load on what is already failing."""

from dataclasses import dataclass

from awaitly.model.clock import Clock
from awaitly.policies.options import check_name, check_number, refuse
from awaitly.policies.sharing import Shared

SAVED = 100.0  # retries that good times may save up for bad ones
RESERVE = 10.0  # seconds' worth of the minimum that a quiet budget holds
ROUNDING = 1e-9  # ten tenths are less than one


@dataclass(frozen=True, slots=True)
class Budget:
    """How many retries all calls together may make of one dependency.

    Every call earns ``ratio`` of a retry and every retry costs one, so that the load grows by ``ratio`` at most. What
    a quiet service has not earned is lent to it: ``minimum`` retries come back every second, up to ten seconds' worth
    (at least one). From its beginning, with ``n`` calls in ``s`` seconds, a budget allows at most
    ``ratio * n + minimum * s`` retries and that loan. Good times save up to 100 retries for bad ones. When
    nothing is left, a failed attempt is the last one: its error is raised with a note.

    The bucket is that of gRPC's retry throttling (proposal A6), the loan that of Finagle's ``RetryBudget``.

    Args:
        name: What it is shared by: all that declare this name draw on the same budget.
        ratio: The retries that a call earns, from 0 to 1; 0.2 by default, one retry for five calls.
        minimum: The retries per second that nobody needs to earn; 1 by default. 0 lends nothing.

    Raises:
        ConfigurationError: ``invalid-option``.
    """

    name: str
    ratio: float = 0.2
    minimum: float = 1.0

    def __post_init__(self) -> None:
        if self.name is None:
            raise refuse("the name of Budget", self.name, 'name what it protects, such as Budget("stripe")')
        check_name(self.name, "the name of Budget")
        check_number(self.ratio, f"ratio of Budget({self.name!r})", most=1.0)
        check_number(self.minimum, f"minimum of Budget({self.name!r})")

    def bound(self, shared: Shared) -> "Tokens":
        """Return the state that everybody with this name shares."""
        return shared.state(Tokens, self, lambda declared: Tokens(declared, shared.clock))


class Tokens:
    """What is left of a budget: one token is one retry."""

    __slots__ = ("_at", "_clock", "_level", "_loan", "_minimum", "_ratio", "_saved", "name")

    def __init__(self, declared: Budget, clock: Clock) -> None:
        self.name = declared.name
        self._clock = clock
        self._ratio = declared.ratio
        self._minimum = declared.minimum
        self._loan = max(1.0, RESERVE * declared.minimum) if declared.minimum else 0.0
        self._saved = max(SAVED, self._loan)
        self._level = self._loan
        self._at = clock.monotonic()

    @property
    def left(self) -> int:
        """The retries that could be made now."""
        self._refill()
        return int(self._level + ROUNDING)

    def earn(self) -> None:
        """Note that a call begins."""
        self._level = min(self._saved, self._level + self._ratio)

    def spend(self) -> bool:
        """Take the right to one retry; False if there is none."""
        self._refill()
        if self._level < 1.0 - ROUNDING:
            return False

        self._level -= 1.0
        return True

    def _refill(self) -> None:
        now = self._clock.monotonic()
        lent = min(self._loan, self._level + self._minimum * (now - self._at))
        self._level, self._at = max(self._level, lent), now
