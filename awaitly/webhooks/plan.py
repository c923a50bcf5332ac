"""What an outbox is to do, and what it counts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from awaitly.model.clock import Clock
from awaitly.model.facts import Fact
from awaitly.policies.backoff import Backoff
from awaitly.policies.retry import Retry
from awaitly.webhooks.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an outbox delivers, and how; times in seconds."""

    name: str
    kinds: tuple[type[Fact], ...]
    payloads: bool
    retry: Retry | None  # when to give up; None: never
    delays: Backoff
    every: float
    at_once: int
    send: Callable[[Event, Clock], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """What became of events and attempts."""

    delivered: int = 0
    failures: int = 0
    given_up: int = 0
