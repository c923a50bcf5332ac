"""Breakers in virtual time, the facts that they tell, and calls for them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from awaitly.model.facts import Fact
from awaitly.policies.breaker import Breaker, Circuit
from awaitly.policies.clock import pause
from awaitly.policies.course import Course
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock


class Bench:
    """One test's clock and circuits."""

    def __init__(self, *, auto: bool = False) -> None:
        self.clock = VirtualClock(auto=auto)
        self.facts: list[Fact] = []
        self.begun: list[Any] = []  # the names of work, in order
        self.shared = Shared(self.clock, self.facts.append)

    def play(self, story: Coroutine[Any, Any, None]) -> None:
        """Run a story in virtual time."""
        self.clock.run(story)

    def circuit(self, *args: Any, **kwargs: Any) -> Circuit:
        """Return the circuit of a breaker with these options."""
        return Breaker(*(args or ("payments",)), **kwargs).bound(self.shared, "charge")

    def opened(self, **options: Any) -> Circuit:
        """Return a circuit that one failure opens, and has opened."""
        circuit = self.circuit(failure_threshold=1, **options)
        fail(circuit)
        return circuit

    def course(self, *expected: type[BaseException]) -> Course:
        """Return the course of a call that may fail with these errors."""
        return Course(self.clock, "charge", expected, observe=self.facts.append)

    async def work(self, name: Any = None) -> Any:
        """Begin, and take a second."""
        self.begun.append(name)
        await pause(self.clock, 1)
        return name

    def workers(self, circuit: Circuit, names: range) -> "list[asyncio.Task[Any]]":
        """Let somebody call the circuit to work for each name."""
        return [asyncio.create_task(circuit(partial(self.work, name), self.course())) for name in names]

    def told(self, kind: type[Fact]) -> list[Fact]:
        """Return the facts of one kind."""
        return [fact for fact in self.facts if type(fact) is kind]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let breakers that are used by hand have their circuits here."""
        token = SHARED.set(self.shared)
        try:
            yield
        finally:
            SHARED.reset(token)


def fail(circuit: Circuit, times: int = 1) -> None:
    """Let calls fail."""
    for _ in range(times):
        circuit.admit().failed()


def succeed(circuit: Circuit, times: int = 1, seconds: float = 0.0) -> None:
    """Let calls succeed that took so long."""
    for _ in range(times):
        circuit.admit().succeeded(seconds)


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return what raises an error."""

    async def call() -> None:
        raise error

    return call


async def fine() -> str:
    """Succeed."""
    return "fine"
