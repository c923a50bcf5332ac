"""Steps with variants behind feature flags, workflows of them, and somebody who decides."""

import asyncio
from typing import Any

from awaitly import Breaker, Flag, Retry, Runtime, Workflow, gather, sleep, step, workflow
from awaitly.flags.provider import Decision, FlagContext
from awaitly.model.facts import FlagDecided, RunStarted, StepFinished
from awaitly.persist.ports import Store
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.crash import Life
from tests.execute.scene import Declined, Scene, current_scene, read, write

FLAG = "new-charge"
CARRIER = Flag("carrier", default="post")


LIVES: list[Life] = []  # of simulated processes: steps are boundaries too


async def act(name: str, by: str) -> str:
    for life in LIVES[-1:]:
        life.boundary(f"before {name}")
    await current_scene().act(f"{name} by {by}")
    for life in LIVES[-1:]:
        life.boundary(f"after {name}")
    return f"{name} by {by}"


@step(errors=Declined)
async def charge(name: str) -> str:
    return await act(name, "v1")


@charge.variant(flag=FLAG, retry=Retry(attempts=2, initial="1s", jitter="none"))
async def charge_v2(name: str) -> str:
    return await act(name, "v2")


@step(effect="read")
async def quote(name: str) -> str:
    return await act(name, "q1")


@quote.variant(flag="New_Charge")
async def quote_v2(name: str) -> str:
    return await act(name, "q2")


@step
async def ship(name: str) -> str:
    return await act(name, "post")


@ship.variant(flag=CARRIER, when="bike")
async def ship_by_bike(name: str) -> str:
    return await act(name, "bike")


@ship.variant(flag=CARRIER, when="drone", breaker=Breaker("drones", failure_threshold=1))
async def ship_by_drone(name: str) -> str:
    return await act(name, "drone")


@step(errors=Declined)
async def late(name: str) -> str:
    return await act(name, "v1")


async def late_v2(name: str) -> str:
    return await act(name, "v2")


@workflow
async def one(name: str) -> str:
    return await charge(name)


@workflow
async def two(name: str) -> str:
    first = await charge("first")
    await sleep("1h")
    return f"{first}, {await charge('second')}"


@workflow
async def both(name: str) -> tuple[str, str, str]:
    return await gather(charge("a"), quote("b"), charge("c"))


@workflow
async def quoted(name: str) -> str:
    await read("looked")
    return await quote(name)


@workflow
async def shipped(name: str) -> str:
    return await ship(name)


@workflow
async def unflagged(name: str) -> str:
    return await write(name)


@workflow
async def caught(name: str) -> str:
    try:
        found = await charge(name)
    except Declined as declined:
        found = f"declined {declined.name}"
    await sleep("1h")
    return found


@workflow(errors=Declined)
async def failing(name: str) -> str:
    await charge("before")
    return await write(name)


@workflow
async def parent(name: str) -> str:
    found = await charge("parent")
    return f"{found}, {await one('child')}"


@workflow
async def only_parent(name: str) -> str:
    found = await one("child")
    return f"{found}, {await charge('parent')}"


@workflow
async def mere_parent(name: str) -> str:
    return await one("child")


@workflow
async def mere_grandparent(name: str) -> str:
    return await mere_parent(name)


HIDDEN = {"x": one}


@workflow
async def hiding_parent(name: str) -> str:
    return await HIDDEN[name](name)


@workflow
async def beside_its_child(name: str) -> tuple[str, str]:
    return await gather(quote("parent"), one("child"))


@workflow
async def before_its_child(name: str) -> tuple[str, str]:
    return await gather(one("child"), quote("parent"))


@workflow(durable=False)
async def passing_beside_its_child(name: str) -> tuple[str, str]:
    return await gather(quote("parent"), one("child"))


@workflow
async def choosing_parent(name: str) -> str:
    return await one.options(flags={"new_charge": False})("child")


@workflow
async def mistaken_parent(name: str) -> str:
    return await one.options(flags={"new-chrage": True})("child")


@workflow
async def lately(name: str) -> str:
    first = await late("first")
    await sleep("1h")
    return f"{first}, {await late('second')}"


@workflow(durable=False)
async def passing(name: str) -> tuple[str, str]:
    return await gather(charge("a"), quote("b"))


@workflow(durable=False)
async def passing_parent(name: str) -> str:
    found = await charge("parent")
    return f"{found}, {await one('child')}, {await passing_child('small')}"


@workflow(durable=False)
async def passing_child(name: str) -> str:
    return await charge(name)


class Provider:
    """Somebody who decides flags, and counts how often."""

    name = "own"

    def __init__(self, value: Any = True, *, hangs: bool = False) -> None:
        self.value = value
        self.asked: list[str] = []
        self.go = asyncio.Event()
        if not hangs:
            self.go.set()

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        self.asked.append(f"{flag.name} for {context.run_id} of {context.workflow}")
        await self.go.wait()
        if isinstance(self.value, Exception):
            raise self.value
        return Decision(self.value, self.name, "B", "as tested")

    def knows(self, flag: str) -> bool | None:
        return None


def runtime(
    scene: Scene,
    decider: object = None,
    *workflows: Workflow[..., Any, Any],
    store: Store | None = None,
    **settings: Any,
) -> Runtime:
    """Return a runtime of the scene with somebody who decides flags; ``settings`` are as in a file."""
    found = Settings(store="memory://", lease=LeaseSettings(ttl=15), **settings)
    return Runtime(found, store=store or scene.store, clock=scene.clock, flags=decider, workflows=workflows)


def decisions(scene: Scene, run: str = "run") -> list[tuple[object, ...]]:
    """Return the recorded decisions of a run."""
    facts = [fact for _, fact in scene.memory._runs[run].facts]
    return [(f.flag, f.value, f.provider, f.variant, f.reason) for f in facts if isinstance(f, FlagDecided)]


def variants(scene: Scene, run: str = "run") -> list[tuple[str, str]]:
    """Return the recorded calls of a run, each with the variant that stood in for the step."""
    return [(f.call, f.variant) for _, f in scene.memory._runs[run].facts if isinstance(f, StepFinished)]


def given(scene: Scene, run: str) -> dict[str, object]:
    """Return the flags that a run was started with."""
    started = scene.memory._runs[run].facts[0][1]
    assert isinstance(started, RunStarted)
    return dict(started.flags)
