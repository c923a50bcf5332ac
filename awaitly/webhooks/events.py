"""What is delivered of a fact: its JSON, and an id that is the same however often it is sent."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from awaitly.model import facts
from awaitly.model.facts import Fact, RunStarted
from awaitly.model.plain import jsonable, value_of
from awaitly.persist.rows import encoded

STORED: Final[Mapping[str, type[Fact]]] = {
    kind.__name__: kind
    for kind in (
        facts.RunStarted,
        facts.StepStarted,
        facts.StepFinished,
        facts.StepCancelled,
        facts.FlagDecided,
        facts.RetryScheduled,
        facts.StepWithheld,
        facts.TimeRead,
        facts.TimerSet,
        facts.TimerFired,
        facts.RaceWon,
        facts.CancelRequested,
        facts.DeadlinePassed,
        facts.RunRetried,
        facts.RunFinished,
    )
}
"""The facts that are in journals, by name: the others are only observed, and cannot be delivered for certain."""


class Event(NamedTuple):
    """A fact as it is sent."""

    id: str
    run: str
    sequence: int
    at: float
    body: bytes


def event(run: str, workflow: str, sequence: int, fact: Fact, *, payloads: bool) -> Event:
    """Return what is sent of a fact; arguments, results and errors only with ``payloads``."""
    row = encoded(fact)
    data = json.loads(row.detail)
    if row.call is not None:
        data["call"] = row.call
    if payloads and row.payload is not None:
        data["arguments" if isinstance(fact, RunStarted) else "payload"] = value_of(row.payload)
    # A retried run writes other facts under the same numbers: their times are others.
    made = sha256(f"{run}\n{sequence}\n{fact.at!r}".encode()).hexdigest()[:32]
    told = {
        "id": made, "type": row.kind, "run": run, "workflow": workflow, "sequence": sequence,
        "at": datetime.fromtimestamp(fact.at, UTC).isoformat(timespec="microseconds"), "data": data,
    }  # fmt: skip
    body = json.dumps(jsonable(told), ensure_ascii=False, separators=(",", ":")).encode()
    return Event(made, run, sequence, fact.at, body)
