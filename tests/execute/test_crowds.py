"""A thousand runs that wait for the same thing come through as it allows, and none is lost: in virtual time."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from random import Random
from typing import Any

import pytest

from awaitly import Breaker, Concurrency, Err, Ok, RateLimit, Result, RunCancelled, Runtime, Workflow, step, workflow
from awaitly.policies.clock import pause
from tests.execute.scene import Scene

SIZE = 1_000
WORK = 1.0  # seconds that a call takes
AT_ONCE = 1e-6  # seconds: changes that are nearer are one


class Crowd:
    """A thousand runs, some of which may fail or be given up, and a log of who came through when."""

    def __init__(self, scene: Scene, seed: int | None = None) -> None:
        rng = Random(seed)
        self.clock = scene.clock
        self.given_up = {} if seed is None else {who: rng.uniform(0, 150) for who in rng.sample(range(SIZE), SIZE // 4)}
        self.fails: set[int] = set()
        self.visits: list[tuple[int, float, float]] = []  # who, from when, until when

    def paying(self, **policies: Any) -> Workflow[[int], int, Any]:
        """Return the workflow of the runs: one step, which takes a while."""

        options: dict[str, Any] = {"effect": "read", **policies}

        @step(**options)
        async def pay(who: int) -> int:
            return await self._visit(who)

        @workflow
        async def paying(who: int) -> int:
            return await pay(who)

        return paying

    async def pass_through(self, rt: Runtime, flow: Workflow[[int], int, Any]) -> None:
        """Start everybody at once, give up on some, and see what became of each."""
        handles = [await rt.start(flow.options(id=f"run {who}"), who) for who in range(SIZE)]

        async def give_up(who: int, after: float) -> None:
            await pause(self.clock, after)
            await handles[who].cancel()

        await asyncio.gather(*(give_up(who, after) for who, after in self.given_up.items()))
        for who, handle in enumerate(handles):
            self._check(who, await handle.result())

    def _check(self, who: int, result: Result[int, Any]) -> None:
        if isinstance(result, Ok):
            assert result.value == who
        elif isinstance(result.error, RunCancelled):
            assert who in self.given_up
        else:
            assert who in self.fails, result

    async def _visit(self, who: int) -> int:
        began = self.clock.monotonic()
        try:
            await pause(self.clock, WORK)
            if who in self.fails:
                raise ConnectionError(who)
            return who
        finally:
            self.visits.append((who, began, self.clock.monotonic()))

    @property
    def began(self) -> list[float]:
        """When they came through, in order."""
        return sorted(began for _, began, _ in self.visits)

    def levels(self) -> Iterator[int]:
        """Return how many were there at once, between any two changes until the last one came."""
        changes = sorted([(at, 1) for _, at, _ in self.visits] + [(at, -1) for _, _, at in self.visits])
        level, last = 0, self.began[-1]
        for (at, change), (following, _) in pairwise([*changes, (inf, 0)]):
            level += change
            if following - at > AT_ONCE and at < last:
                yield level


@pytest.fixture(params=[None, 1], ids=["all stay", "some give up"])
def crowd(scene: Scene, request: pytest.FixtureRequest) -> Crowd:
    return Crowd(scene, request.param)


@pytest.mark.parametrize("successes", [1, SIZE], ids=["closing at once", "half-open throughout"])
def test_a_crowd_that_waits_for_an_open_circuit_drains_at_the_rate_of_probes(
    scene: Scene, crowd: Crowd, successes: int
) -> None:
    breaker = Breaker(
        "bank", failure_threshold=1, half_open_max=5, success_threshold=successes, reset_timeout="30s", when_open="wait"
    )
    flow = crowd.paying(breaker=breaker)

    async def story() -> float:
        async with scene.runtime(flow) as rt:
            crowd.fails.add(-1)
            assert isinstance(await rt.run(flow, -1), Err)
            opened = scene.clock.monotonic()
            crowd.visits.clear()
            await crowd.pass_through(rt, flow)
            return opened

    opened = scene.play(story())
    assert crowd.began[:5] == pytest.approx([opened + 30] * 5)
    assert set(crowd.levels()) == {5}
    assert len(crowd.visits) >= SIZE - len(crowd.given_up)


def test_a_crowd_waits_on_while_its_probes_fail_and_nobody_comes_through_an_open_circuit(
    scene: Scene, crowd: Crowd
) -> None:
    breaker = Breaker("bank", failure_threshold=1, half_open_max=10, reset_timeout="20s", when_open="wait")
    flow = crowd.paying(breaker=breaker)
    crowd.fails.update(range(-1, SIZE, 40))
    changes: list[tuple[float, str]] = []

    async def story() -> None:
        async with scene.runtime(flow) as rt:
            breaker.subscribe(lambda _, state: changes.append((scene.clock.monotonic(), state)))
            assert isinstance(await rt.run(flow, -1), Err)
            await crowd.pass_through(rt, flow)

    scene.play(story())
    closed = [(at, until) for (at, state), (until, _) in pairwise(changes) if state == "open"]
    assert len(closed) > 5
    assert not [began for began in crowd.began for at, until in closed if at < began < until - AT_ONCE]


def test_a_crowd_comes_through_a_bulkhead_with_every_place_taken_until_the_last_one(scene: Scene, crowd: Crowd) -> None:
    flow = crowd.paying(limiter=Concurrency("bank", limit=5))

    async def story() -> None:
        async with scene.runtime(flow) as rt:
            await crowd.pass_through(rt, flow)

    scene.play(story())
    assert set(crowd.levels()) == {5}
    assert len(crowd.visits) >= SIZE - len(crowd.given_up)


def test_a_crowd_comes_through_a_rate_limit_as_tokens_are_earned_and_none_is_wasted(scene: Scene, crowd: Crowd) -> None:
    flow = crowd.paying(limiter=RateLimit("bank", limit=5, per="1s", burst=20))

    async def story() -> float:
        async with scene.runtime(flow) as rt:
            began = scene.clock.monotonic()
            await crowd.pass_through(rt, flow)
            return began

    began = scene.play(story())
    assert crowd.began == pytest.approx([began + max(0, n - 19) / 5 for n in range(len(crowd.began))])
    assert len(crowd.visits) >= SIZE - len(crowd.given_up)


def test_a_crowd_in_front_of_everything_at_once_loses_nobody(scene: Scene, crowd: Crowd) -> None:
    flow = crowd.paying(
        breaker=Breaker("bank", failure_threshold=2, half_open_max=3, reset_timeout="10s", when_open="wait"),
        limiter=[RateLimit("bank", limit=20, per="1s", burst=5), Concurrency("wires", limit=8)],
        timeout="5s",
        retry=2,
    )
    crowd.fails.update(range(0, SIZE, 50))

    async def story() -> None:
        async with scene.runtime(flow) as rt:
            await crowd.pass_through(rt, flow)

    scene.play(story())
    assert max(crowd.levels()) <= 8
    came = [who for who, _, _ in crowd.visits]
    assert set(range(SIZE)) - set(crowd.given_up) <= set(came)
    assert all(came.count(who) == 2 for who in crowd.fails - set(crowd.given_up))


def test_steps_that_take_the_places_of_two_bulkheads_in_opposite_orders_do_not_wait_for_each_other(
    scene: Scene,
) -> None:
    """As each would hold what the other waits for; the rate limit in between lets both of them get there."""
    bank, wires = Concurrency("bank", limit=1), Concurrency("wires", limit=2).costing(2)
    pace = RateLimit("pace", limit=1, per="1s", burst=1)

    @step(limiter=[wires, pace, bank])
    async def pay(who: int) -> int:
        return who

    @step(limiter=[bank, pace, wires])
    async def refund(who: int) -> int:
        return who

    @workflow
    async def paying(who: int) -> int:
        return await pay(who)

    @workflow
    async def refunding(who: int) -> int:
        return await refund(who)

    async def story() -> None:
        async with scene.runtime(paying, refunding) as rt:
            flows = (paying, refunding) * 3
            results = await asyncio.gather(*(rt.run(flow, who) for who, flow in enumerate(flows)))
            assert results == [Ok(who) for who in range(6)]

    scene.play(story())
