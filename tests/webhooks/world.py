"""What the tests of outboxes share: runs, the virtual time and the store that they happen in, and a receiver."""

import json
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from awaitly import Runtime, sleep, step, workflow
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock
from awaitly.webhooks import SIGNATURE, Answer, Outbox, verify

T = TypeVar("T")

URL = "https://receiver.test/hooks?key=of-the-receiver"
SECRET = "whsec_of_the_tests"


class Broken(Exception):
    """What nobody declared."""


defects = {"broken"}  # items that cannot be shipped


@step
async def charge(card: str) -> str:
    return f"{card} charged"


@step
async def ship(item: str) -> str:
    if item in defects:
        raise Broken(f"it is {item}")
    return f"{item} shipped"


@workflow(key="order:{item}")
async def order(item: str) -> str:
    await charge("4242")
    return await ship(item)


@workflow(key="slow:{item}")
async def slow(item: str) -> str:
    await charge("4242")
    await sleep("1h")
    return await ship(item)


@workflow(key="brief:{item}", retention="10m")
async def brief(item: str) -> str:
    return await ship(item)


class Receiver:
    """The other end of the line, as a client of HTTP sees it: its clock, and what it answers to whom."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.log: list[tuple[float, dict[str, Any], int]] = []  # when, which event, which answer
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: deque[Any] = deque()  # then 200
        self.of: dict[str, deque[Any]] = {}  # likewise, by run
        self.seen: list[tuple[list[str], dict[str, Any]]] = []  # what is stored of a run when an event of it arrives

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        assert url == URL
        assert verify(body, headers[SIGNATURE], SECRET, now=self._world.clock.time())
        event = json.loads(body)
        stored = await self._world.store.read(event["run"])
        answers = self.of.get(event["run"]) or self.answers
        said = answers.popleft() if answers else 200
        self.headers.append(headers)
        self.bodies.append(body)
        self.seen.append(([type(fact).__name__ for fact in stored], event))
        self.log.append((self._world.clock.now, event, said if isinstance(said, int) else 0))
        match said:
            case "hang":
                await pause(self._world.clock, 1e9)
            case Exception():
                raise said
            case (status, more):
                return Answer(status, more)
        return Answer(said)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was answered well."""
        return [event for _, event, status in self.log if 200 <= status < 300]

    @property
    def runs(self) -> list[str]:
        """The runs of these events."""
        return [event["run"] for event in self.events]

    @property
    def times(self) -> list[float]:
        """When attempts were made, from the first one on."""
        return [at - self.log[0][0] for at, _, _ in self.log]


class World:
    """One test's clock, store and receiver."""

    def __init__(self) -> None:
        self.clock = VirtualClock(auto=True)
        self.store = MemoryStore(monotonic=self.clock.monotonic)
        self.receiver = Receiver(self)

    def outbox(self, **given: Any) -> Outbox:
        return Outbox(URL, **{"secret": SECRET, "client": self.receiver, **given})

    def runtime(self, store: Any = None, **given: Any) -> Runtime:
        return Runtime(Settings(), store=store or self.store, clock=self.clock, workflows=[order, slow, brief], **given)

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story in virtual time."""
        return self.clock.run(story, longest=20)

    def deliver(self, *items: str, **given: Any) -> Outbox:
        """Run orders, and return when a quarter of an hour is over after that."""
        outbox = self.outbox(**given)

        async def story() -> None:
            async with self.runtime() as rt, outbox.following(rt):
                for item in items:
                    await rt.run(order, item)
                await self.clock.advance("15m")

        self.clock.run(story())
        return outbox
