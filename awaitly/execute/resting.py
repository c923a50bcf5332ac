"""Runs that stopped here without ending: each is left alone for a while, every time for twice as long."""

from awaitly.model.clock import Clock

SHORTEST = 1.0  # seconds
LONGEST = 60.0


class Resting:
    """Which runs are not to be taken over by themselves yet: the store that failed them may fail again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rests: dict[str, tuple[float, float]] = {}  # until when, and for how long

    def __contains__(self, run: str) -> bool:
        rest = self._rests.get(run)
        return rest is not None and self._clock.monotonic() < rest[0]

    def add(self, run: str) -> None:
        """Let a run rest that has stopped; one that did well for long since its last rest begins anew."""
        now = self._clock.monotonic()
        self._rests = {known: rest for known, rest in self._rests.items() if now < rest[0] + LONGEST}
        known = self._rests.get(run)
        seconds = SHORTEST if known is None else min(LONGEST, 2 * known[1])
        self._rests[run] = now + seconds, seconds

    def discard(self, run: str) -> None:
        """Forget a run that has ended."""
        self._rests.pop(run, None)
