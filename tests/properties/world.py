"""What outlives the processes of a test: the store, the ledger of effects, and what each life observed."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

from awaitly import current
from awaitly.declare.host import HOST
from awaitly.model.facts import StepFinished
from awaitly.model.identity import idempotency_key
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life
from tests.properties.programs import value

TURNS = (0, 0, 0, 1, 1, 2, 3, 4, 5, 8)
MILLISECONDS = (0, 0, 0, 0, 1, 1, 2, 5, 20)


@dataclass(frozen=True)
class Begun:
    """A step's function was called."""

    life: int
    key: str  # the idempotency key: run and call
    attempt: int  # 0: the fallback
    effect: str


@dataclass
class Observed:
    """What the bodies of one life saw, run by run, with the length of the run's journal at that time."""

    life: Life
    traces: dict[str, list[tuple[Any, int]]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)  # at its death: the facts of each run
    finished: set[str] = field(default_factory=set)  # and the calls that have an outcome


class World:
    """One test's world."""

    def __init__(self, seed: object, clock: VirtualClock | None = None) -> None:
        self.seed = seed
        self.clock = clock or VirtualClock(auto=True)
        self.store = MemoryStore(monotonic=self.clock.monotonic)
        self.ledger: list[Begun] = []
        self.succeeded: list[Begun] = []
        self.lives: list[Observed] = []
        self.complaints: list[str] = []

    def new_life(self, dies_at: int | None) -> tuple[Life, CrashingStore]:
        """Begin a life on the store that outlives it."""
        life = Life(dies_at=dies_at)
        observed = Observed(life)
        self.lives.append(observed)
        life.on_death(lambda: self._died(observed))
        turns = Random(f"{self.seed}:{len(self.lives)}").choice((0, 0, 1, 2, 4))
        return life, CrashingStore(self.store, life, turns=turns)

    def rehearse(self) -> None:
        """Begin a life that only replays."""
        self._died(self.lives[-1])
        self.lives.append(Observed(Life()))

    def _died(self, observed: Observed) -> None:
        for run, stored in self.store._runs.items():
            observed.stored[run] = len(stored.facts)
            for _, fact in stored.facts:
                if isinstance(fact, StepFinished):
                    observed.finished.add(idempotency_key(run, fact.call))

    async def act(self, effect: str, tag: int, x: int, attempt: int = 1) -> int:
        """Have an effect, after some turns of the loop and some time."""
        number, life = len(self.lives) - 1, self.lives[-1].life
        key = current().idempotency_key
        random = Random(f"{self.seed}:{number}:{key}:{attempt}")
        life.boundary(f"before {effect} {key}")
        self.ledger.append(Begun(number, key, attempt, effect))
        for _ in range(random.choice(TURNS)):
            await asyncio.sleep(0)
            life.check()
        delay = random.choice(MILLISECONDS)
        if delay:
            await pause(self.clock, delay / 1000)
        life.boundary(f"after {effect} {key}")
        return value(tag, x)

    def succeed(self, effect: str, attempt: int) -> None:
        """Note that a step's function returns."""
        self.succeeded.append(Begun(len(self.lives) - 1, current().idempotency_key, attempt, effect))

    def note(self, entry: Any) -> None:
        """Note what a body observes."""
        observed = self.lives[-1]
        if observed.life.dead:
            return
        branch: Any = HOST.get()
        if branch is None or branch.run.stopped is not None:  # on its way out
            return
        observed.traces.setdefault(branch.run.id, []).append((entry, branch.run.log.appended))


_current: list[World] = []


def current_world() -> World:
    """Return the world of the test that is running."""
    return _current[-1]


def enter(world: World) -> None:
    """Make this the world of the test that is running."""
    _current[:] = [world]
