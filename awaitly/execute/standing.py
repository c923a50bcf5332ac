"""How the circuits, limiters and outboxes of a runtime stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from awaitly.policies.breaker import Circuit
from awaitly.policies.bulkhead import Bulkhead
from awaitly.policies.rate import Bucket, Window
from awaitly.policies.sharing import Shared

Limiting: TypeAlias = Bucket | Window | Bulkhead


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """How the deliveries of an outbox go here.

    Attributes:
        delivered: the events that were taken.
        failures: the attempts that failed.
        given_up: the events that are not tried any more.
        age: the seconds since the oldest of the events that are being sent, or were tried in vain; 0 if there is none.
        failing_for: the seconds since the first of the failures after which nothing could be delivered; None if there
            is none.
        last_error: why the last attempt failed, as long as that matters.
    """

    delivered: int = 0
    failures: int = 0
    given_up: int = 0
    age: float = 0.0
    failing_for: float | None = None
    last_error: str | None = None


def circuits(states: Shared) -> Mapping[str, Circuit]:
    """Return all circuits that are in use, by name. Looking at one may change it: do that in the runtime's loop."""
    return states.states(Circuit)


def limiters(states: Shared) -> Iterator[Limiting]:
    """Yield all limiters that are in use. Two of different kinds may have one name."""
    yield from states.states(Bucket).values()
    yield from states.states(Window).values()
    yield from states.states(Bulkhead).values()
