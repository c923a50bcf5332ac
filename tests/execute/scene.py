"""What the steps of these tests do: they ask the scene of the test, which logs, delays, fails and holds them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from awaitly import Failure, Runtime, Workflow, current, step
from awaitly.errors import StoreError
from awaitly.model.facts import Fact
from awaitly.persist.ports import Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life

T = TypeVar("T")
F = TypeVar("F", bound=Fact)


class Declined(Failure):
    name: str


class Scene:
    """One test's clock, store and script."""

    def __init__(self) -> None:
        self.clock = VirtualClock(auto=True)
        self.memory = MemoryStore(monotonic=self.clock.monotonic)
        self.store = self.view()
        self.log: list[str] = []  # what steps did, in order
        self.fails: dict[str, Exception] = {}  # by the step's argument
        self.failing: dict[str, list[Exception]] = {}  # likewise: the errors of its next attempts
        self.attempts: dict[str, list[int]] = {}  # likewise: their numbers
        self.keys: dict[str, set[str]] = {}  # likewise: their idempotency keys
        self.delays: dict[str, float] = {}
        self._gates: dict[str, asyncio.Event] = {}

    def view(self) -> CrashingStore:
        """Return the store as another process sees it, with commits and reads counted."""
        return CrashingStore(self.memory, Life(), turns=1)

    def runtime(
        self, *workflows: Workflow[..., Any, Any], store: Store | None = None, ttl: float = 15, **given: Any
    ) -> Runtime:
        """Return a runtime of this scene, with further settings."""
        settings = Settings(store="memory://", lease=LeaseSettings(ttl=ttl), **given)
        return Runtime(settings, store=store or self.store, clock=self.clock, workflows=workflows)

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story in virtual time."""
        return self.clock.run(story, longest=20)

    async def run(self, flow: Workflow[..., Any, Any], *arguments: Any, **settings: Any) -> Any:
        """Return how a run ends that one process executes."""
        async with self.runtime(**settings) as rt:
            return await rt.run(flow.options(id="run"), *arguments)

    async def interrupt(
        self, flow: Workflow[..., Any, Any], *arguments: Any, at: str, after: float = 0, id: str = "run"
    ) -> None:
        """Let a process end while a step with the argument ``at`` is under way, which comes to nothing."""
        self.hold(at)
        async with self.runtime() as rt:
            await rt.start(flow.options(id=id), *arguments)
            await self.clock.advance(after)
            await self.until(at)
            await rt.shutdown(0)
        self.release(at)

    async def resume(self, flow: Workflow[..., Any, Any], **settings: Any) -> Any:
        """Return how the run ends when another process takes it over."""
        async with self.runtime(flow, store=self.view(), **settings) as rt:
            return await (await rt.handle("run")).result()

    def cut_off(self, call: str = "renew", *, code: str = "store-unavailable") -> None:
        """Let the store refuse a call of this process from now on; by default it cannot renew its lease."""

        async def away(*arguments: Any, **named: Any) -> None:
            raise StoreError(f"the store is away: no {call}", code=code)

        setattr(self.store, call, away)

    def reconnect(self, call: str = "renew") -> None:
        """Let the store take that call again."""
        delattr(self.store, call)

    def hold(self, name: str) -> None:
        """Let steps with this argument wait until it is released."""
        self._gates[name] = asyncio.Event()

    def release(self, name: str) -> None:
        """Let them go on."""
        self._gates.pop(name).set()

    async def until(self, entry: str) -> None:
        """Wait until an entry is in the log."""
        for _ in range(10_000):
            if entry in self.log:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"{entry!r} did not happen: {self.log}")

    async def turns(self, number: int = 100) -> None:
        """Let the loop turn, without time passing."""
        for _ in range(number):
            await asyncio.sleep(0)

    async def act(self, name: str) -> str:
        """Do what the script says."""
        self.log.append(name)
        try:
            if name in self._gates:
                await self._gates[name].wait()
            if name in self.delays:
                await pause(self.clock, self.delays[name])
        except asyncio.CancelledError:
            self.log.append(f"{name} cancelled")
            raise
        if self.failing.get(name):
            self.log.append(f"{name} failed")
            raise self.failing[name].pop(0)
        if name in self.fails:
            self.log.append(f"{name} failed")
            raise self.fails[name]
        self.log.append(f"{name} done")
        return name

    async def attempt(self, name: str) -> str:
        """Do what the script says, noting which attempt this is."""
        context = current()
        self.attempts.setdefault(name, []).append(context.attempt)
        self.keys.setdefault(name, set()).add(context.idempotency_key)
        return await self.act(name)

    def stored(self, run: str, kind: type[F]) -> list[F]:
        """Return the stored facts of a run that are of one kind."""
        return [fact for _, fact in self.memory._runs[run].facts if isinstance(fact, kind)]

    def facts(self, run: str) -> list[str]:
        """Return the stored facts of a run, in short."""
        return [
            " ".join(filter(None, (type(fact).__name__, getattr(fact, "call", ""), str(getattr(fact, "ending", "")))))
            for _, fact in self.memory._runs[run].facts
        ]  # fmt: skip


_scenes: list[Scene] = []


def new_scene() -> Scene:
    """Begin a scene: steps ask it from now on."""
    _scenes[:] = [Scene()]
    return _scenes[0]


def current_scene() -> Scene:
    """Return the scene of the test that is running."""
    return _scenes[0]


@step(errors=Declined)
async def write(name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="read", errors=Declined)
async def read(name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="none")
async def none(name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="once", errors=Declined)
async def once(name: str) -> str:
    return await _scenes[0].act(name)


@step(key="key:{key}")
async def keyed(key: str, name: str) -> str:
    return await _scenes[0].act(name)


@step(effect="read", key="look:{key}")
async def looked(key: str) -> str:
    return await _scenes[0].act(key)


@step(timeout="5s")
async def limited(name: str) -> str:
    return await _scenes[0].act(name)


@step
async def who(name: str) -> str:
    context = current()
    _scenes[0].log.append(name)
    return f"{context.run_id}|{context.step}|{context.idempotency_key}|{context.fence}"
