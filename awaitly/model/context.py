"""What a step's function may know about its call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """The call that is being executed, from inside the step's function.

    ``idempotency_key`` is the same for all attempts and resumes of one piece of work and different for every other:
    hand it to the payment provider. ``fence`` grows whenever the run changes hands. Outside of a run, ``run_id`` is
    None and the key is fresh for every call.
    """

    run_id: str | None
    step: str
    attempt: int
    idempotency_key: str
    fence: int
    time_left: Callable[[], float | None] = field(repr=False)

    def remaining(self) -> float | None:
        """Return the seconds left before the attempt's timeout or the run's deadline, whichever is nearer; or None."""
        return self.time_left()


class Whereabouts(NamedTuple):
    """Where in a run code is executed: in its body, or in a step's function. While ``replaying`` it ran before."""

    run: str
    workflow: str
    step: str | None = None
    attempt: int | None = None
    replaying: bool = False
