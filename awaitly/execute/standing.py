"""How the circuits and limiters of a runtime stand."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from awaitly.policies.breaker import Circuit
from awaitly.policies.bulkhead import Bulkhead
from awaitly.policies.rate import Bucket, Window
from awaitly.policies.sharing import Shared

Limiting: TypeAlias = Bucket | Window | Bulkhead


def circuits(states: Shared) -> Mapping[str, Circuit]:
    """Return all circuits that are in use, by name. Looking at one may change it: do that in the runtime's loop."""
    return states.states(Circuit)


def limiters(states: Shared) -> Iterator[Limiting]:
    """Yield all limiters that are in use. Two of different kinds may have one name."""
    yield from states.states(Bucket).values()
    yield from states.states(Window).values()
    yield from states.states(Bulkhead).values()
