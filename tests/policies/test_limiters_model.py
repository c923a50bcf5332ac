"""Whatever callers do, and whenever they give up: limiters do as small models of them, which compute with fractions.

The models know nothing of tasks and timers: they serve those who ask in order, and say exactly when.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from awaitly.errors import LimitReached
from awaitly.policies.bulkhead import Bulkhead, Concurrency
from awaitly.policies.course import Course
from awaitly.policies.rate import Bucket, RateLimit, SlidingWindow, Window
from awaitly.policies.turns import EARLY, Turns
from awaitly.testing.clock import VirtualClock

TICK = Fraction(1, 8)  # of a second: what happens in the machines happens at whole numbers of it
NEAR = 2 * EARLY
SETTINGS = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

Permits = list[tuple[float, int]]  # when, and how many


class BucketModel:
    """A bucket of ``burst`` tokens that earns ``rate`` a second."""

    def __init__(self, rate: Fraction, burst: int, tokens: Fraction, at: Fraction) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = tokens
        self.at = at

    def next(self, cost: int, now: Fraction) -> Fraction:
        return now + max(Fraction(0), cost - self.held(now)) / self.rate

    def take(self, cost: int, now: Fraction) -> "BucketModel":
        return BucketModel(self.rate, self.burst, self.held(now) - cost, now)

    def held(self, now: Fraction) -> Fraction:
        return min(Fraction(self.burst), self.tokens + (now - self.at) * self.rate)

    def check(self, permits: Permits) -> None:
        """In no time have there been more permits than a full bucket gives and earns in it."""
        rate = float(self.rate)
        for first, (start, _) in enumerate(permits):
            spent = 0
            for end, cost in permits[first:]:
                spent += cost
                assert spent <= self.burst + (end - start + NEAR) * rate


class WindowModel:
    """All permits that were ever granted, one by one."""

    def __init__(self, limit: int, per: Fraction, permits: tuple[Fraction, ...] = ()) -> None:
        self.limit = limit
        self.per = per
        self.permits = permits

    def next(self, cost: int, now: Fraction) -> Fraction:
        """The last of these permits has to be out of the window of the one that is ``limit`` before it."""
        before = self.limit - cost + 1
        return max(now, self.permits[-before] + self.per) if len(self.permits) >= before else now

    def take(self, cost: int, now: Fraction) -> "WindowModel":
        return WindowModel(self.limit, self.per, self.permits + (now,) * cost)

    def check(self, permits: Permits) -> None:
        """No window that begins with a permit has had more than the limit."""
        per = float(self.per) - NEAR
        for start, _ in permits:
            assert sum(cost for at, cost in permits if start <= at < start + per) <= self.limit


Model = BucketModel | WindowModel


@dataclass
class Guest:
    """One who asks for a turn."""

    cost: int
    task: "asyncio.Task[None]"
    wait: Fraction | None = None  # for which it was turned away
    gone: bool = False
    due: Fraction | None = None  # when the model served it
    served: float | None = None  # when it really was


class Machine(RuleBasedStateMachine):
    """One limiter in virtual time, those who want something from it, and in what order the model will serve them."""

    state: Turns

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.runner = asyncio.Runner(loop_factory=self.clock.new_loop)
        self.began = self.clock.monotonic()
        self.now = Fraction(0)
        self.guests: list[Guest] = []
        self.line: list[Guest] = []
        self.order: list[Guest] = []  # in which they were really served

    def teardown(self) -> None:
        try:
            if hasattr(self, "state"):
                self.end()
        finally:
            self.runner.close()

    def end(self) -> None:
        """Check what holds when nobody comes any more."""

    @invariant()
    def nobody_is_forgotten(self) -> None:
        if hasattr(self, "state"):
            assert self.state.waiting == len(self.line)

    def play(self, story: Coroutine[Any, Any, None]) -> None:
        self.runner.run(story)

    def serve(self, guest: Guest) -> None:
        guest.served = self.clock.monotonic() - self.began
        self.order.append(guest)

    def impatient(self, data: st.DataObject) -> tuple[list[Guest], list[Guest]]:
        """Return who leaves: anybody, or the first ones, of whom the others leave when it has become their turn."""
        if data.draw(st.booleans()):
            return data.draw(st.lists(st.sampled_from(self.line), unique_by=id, min_size=1, max_size=4)), []
        first = data.draw(st.integers(1, 2))
        return self.line[:first], self.line[first : first + data.draw(st.integers(0, 3))]

    def abandon(self, at_once: list[Guest], then: list[Guest], doors: tuple[asyncio.Event, ...] = ()) -> None:
        """Cancel some, and others in the instant in which those, or who goes through a door, give their turns away."""

        async def story() -> None:
            for door in doors:
                door.set()
            for guest in at_once:
                guest.task.cancel()
            for guest in then:
                asyncio.get_running_loop().call_soon(guest.task.cancel)
            await self.clock.settle()

        self.play(story())
        for guest in at_once + then:
            assert guest.task.cancelled()
            guest.gone = True
        self.line = [guest for guest in self.line if not guest.gone]


class Rates(Machine):
    """Callers of a rate limit."""

    model: Model
    largest: int
    max_wait: Fraction | None

    def begin(self, state: Turns, model: Model, largest: int, max_wait: int | None) -> None:
        self.state = state
        self.model = model
        self.largest = largest
        self.max_wait = None if max_wait is None else max_wait * TICK
        self.until = Fraction(0)  # the model has served its line up to here

    @rule(costs=st.lists(st.integers(1, 6), min_size=1, max_size=4))
    def come(self, costs: list[int]) -> None:
        async def story() -> None:
            for cost in costs:
                self.ask(min(cost, self.largest))
            await self.clock.settle()

        self.play(story())
        self.compare()

    @rule(ticks=st.integers(1, 24))
    def pass_time(self, ticks: int) -> None:
        self.advance(ticks * TICK)

    @precondition(lambda self: len(self.line) > 0)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.abandon(*self.impatient(data))
        self.compare()

    def ask(self, cost: int) -> None:
        async def call() -> None:
            self.serve(guest)

        async def visit() -> None:
            await self.state(call, Course(self.clock), cost)

        wait = self.expected(cost) - self.now
        guest = Guest(cost, asyncio.get_running_loop().create_task(visit()))
        self.guests.append(guest)
        if self.max_wait is not None and wait > self.max_wait:
            guest.wait = wait
        else:
            self.line.append(guest)

    def expected(self, cost: int) -> Fraction:
        """Return when somebody who comes now would be served."""
        model, at = self.model, self.now
        for guest in self.line:
            at = model.next(guest.cost, at)
            model = model.take(guest.cost, at)
        return model.next(cost, at)

    def advance(self, seconds: Fraction) -> None:
        self.now += seconds
        self.play(self.clock.advance(float(seconds)))
        self.compare()

    def compare(self) -> None:
        """Serve the model's line up to now; the same guests have been served, at the same times, in this order."""
        at = self.until
        while self.line and (at := self.model.next(self.line[0].cost, at)) <= self.now:
            guest = self.line.pop(0)
            guest.due = at
            self.model = self.model.take(guest.cost, at)
        self.until = self.now

        assert self.order == [guest for guest in self.guests if guest.due is not None]
        assert all(abs(guest.served - guest.due) < NEAR for guest in self.order)  # type: ignore[operator]
        for guest in self.guests:
            if guest.wait is not None:
                error = guest.task.exception()
                assert isinstance(error, LimitReached)
                assert error.retry_after == pytest.approx(float(guest.wait), abs=NEAR)

    def end(self) -> None:
        """All who have not gone are served when enough time passes, and never were there too many."""
        left = list(self.line)
        self.advance(Fraction(24 * (1 + sum(guest.cost for guest in left))))
        assert self.line == []
        assert all(guest.served is not None for guest in left)
        self.model.check([(guest.served or 0, guest.cost) for guest in self.order])


WAITS = st.none() | st.integers(0, 48)
PERIODS = st.sampled_from([1, 4, 8, 16])  # ticks
RATES = st.sampled_from([1, 2, 4, 8])  # powers of two, so that the clock does not round where the model does not


class Buckets(Rates):
    """Callers of a token bucket."""

    @initialize(limit=RATES, per=PERIODS, burst=st.integers(1, 7), max_wait=WAITS)
    def start(self, limit: int, per: int, burst: int, max_wait: int | None) -> None:
        wait = None if max_wait is None else max_wait / 8
        declared = RateLimit(limit=limit, per=per / 8, burst=burst, max_wait=wait)
        model = BucketModel(limit / (per * TICK), burst, Fraction(burst), Fraction(0))
        self.begin(Bucket(declared, self.clock), model, burst, max_wait)


class Windows(Rates):
    """Callers of a sliding window."""

    @initialize(limit=st.integers(1, 7), per=PERIODS, max_wait=WAITS)
    def start(self, limit: int, per: int, max_wait: int | None) -> None:
        wait = None if max_wait is None else max_wait / 8
        declared = SlidingWindow(limit=limit, per=per / 8, max_wait=wait)
        self.begin(Window(declared, self.clock), WindowModel(limit, per * TICK), limit, max_wait)


class Bulkheads(Machine):
    """Callers of a bulkhead, who stay until they are told to go."""

    state: Bulkhead

    @initialize(limit=st.integers(1, 4), queue=st.none() | st.integers(0, 6), max_wait=st.none() | st.integers(1, 24))
    def start(self, limit: int, queue: int | None, max_wait: int | None) -> None:
        wait = None if max_wait is None else max_wait / 8
        self.state = Bulkhead(Concurrency(limit=limit, queue=queue, max_wait=wait), self.clock)
        self.limit = limit
        self.queue = queue
        self.max_wait = None if max_wait is None else max_wait * TICK
        self.inside: list[Guest] = []  # the model's
        self.doors: dict[int, asyncio.Event] = {}
        self.came: dict[int, Fraction] = {}
        self.here: list[Guest] = []  # really

    @rule(costs=st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def come(self, costs: list[int]) -> None:
        async def story() -> None:
            for cost in costs:
                self.ask(min(cost, self.limit))
            await self.clock.settle()

        self.play(story())
        self.compare()

    @rule(ticks=st.integers(1, 24))
    def pass_time(self, ticks: int) -> None:
        until = self.now + ticks * TICK
        while (
            self.max_wait is not None and self.line and (lapse := self.came[id(self.line[0])] + self.max_wait) <= until
        ):
            self.now = lapse
            self.line.pop(0).wait = self.max_wait
            self.admit()
        self.now = until
        self.play(self.clock.advance(float(ticks * TICK)))
        self.compare()

    @precondition(lambda self: len(self.line) > 0)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.abandon(*self.impatient(data))
        self.compare()

    @precondition(lambda self: len(self.inside) > 0)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Some go, by themselves or cancelled; others, who get their places, are cancelled before they know."""
        leaving = data.draw(st.lists(st.sampled_from(self.inside), unique_by=id, min_size=1, max_size=3))
        hasty = data.draw(st.booleans())
        unlucky = self.line[: data.draw(st.integers(0, 3))]
        for guest in leaving:
            self.inside.remove(guest)
        if hasty:
            self.abandon(leaving, unlucky)
        else:
            self.abandon([], unlucky, tuple(self.doors[id(guest)] for guest in leaving))
        self.compare()

    def ask(self, cost: int) -> None:
        door = asyncio.Event()

        async def call() -> None:
            self.serve(guest)
            self.here.append(guest)
            try:
                await door.wait()
            finally:
                self.here.remove(guest)

        async def visit() -> None:
            await self.state(call, Course(self.clock), cost)

        guest = Guest(cost, asyncio.get_running_loop().create_task(visit()))
        self.guests.append(guest)
        self.doors[id(guest)] = door
        self.came[id(guest)] = self.now
        self.admit()
        if self.queue is None or len(self.line) < self.queue or (not self.line and cost <= self.free()):
            self.line.append(guest)
            self.admit()
        else:
            guest.wait = Fraction(0)

    def free(self) -> int:
        return self.limit - sum(guest.cost for guest in self.inside)

    def admit(self) -> None:
        while self.line and self.line[0].cost <= self.free():
            guest = self.line.pop(0)
            guest.due = self.now
            self.inside.append(guest)

    def compare(self) -> None:
        """The same guests are inside, in the order of asking, and never too many; those turned away have been."""
        self.admit()
        assert self.here == self.inside
        assert sum(guest.cost for guest in self.here) <= self.limit
        assert self.order == [guest for guest in self.guests if guest.due is not None]
        assert all(abs(guest.served - guest.due) < NEAR for guest in self.order)  # type: ignore[operator]
        for guest in self.guests:
            if guest.wait is not None:
                assert isinstance(guest.task.exception(), LimitReached)

    def end(self) -> None:
        """All who have not gone are served when those inside go, and then every place is free."""
        left = list(self.line)
        while self.inside:
            self.doors[id(self.inside.pop(0))].set()
            self.play(self.clock.settle())
            self.compare()
        assert all(guest.served is not None for guest in left)
        assert self.state.snapshot().available == self.limit


TestBuckets = Buckets.TestCase
TestWindows = Windows.TestCase
TestBulkheads = Bulkheads.TestCase
TestBuckets.settings = TestWindows.settings = TestBulkheads.settings = SETTINGS


def crowd(
    state: Turns, clock: VirtualClock, seed: int, largest: int, stay: float
) -> tuple[list[int], set[int], Permits]:
    """Let 1,000 come at random and a third of them lose patience; return who was served, who gave up, and when."""
    random = Random(seed)
    served: list[int] = []
    gave_up: set[int] = set()
    permits: Permits = []

    async def visit(number: int, cost: int) -> None:
        async def call() -> None:
            served.append(number)
            permits.append((clock.monotonic(), cost))
            if stay:
                await asyncio.sleep(0) if random.random() < 0.1 else await nap(random.uniform(0, stay))

        await state(call, Course(clock), cost)

    async def nap(seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()
        clock.call_later(seconds, lambda: over.done() or over.set_result(None))
        await over

    async def give_up(task: "asyncio.Task[None]", number: int, after: float) -> None:
        await nap(after)
        if number not in served and task.cancel():
            gave_up.add(number)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                task = group.create_task(visit(number, random.randint(1, largest)))
                if random.random() < 1 / 3:
                    group.create_task(give_up(task, number, random.uniform(0, 10)))
                if random.random() < 1 / 4:
                    await nap(random.uniform(0, 0.04))

    clock.run(story())
    assert state.waiting == 0
    return served, gave_up, permits


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["bucket", "window", "bulkhead"])
def test_a_crowd_is_served_in_order_and_nobody_is_lost(kind: str, seed: int) -> None:
    clock = VirtualClock(auto=True)
    state, model = {
        "bucket": lambda: (
            Bucket(RateLimit(limit=100, burst=10), clock),
            BucketModel(Fraction(100), 10, Fraction(10), Fraction(0)),
        ),
        "window": lambda: (Window(SlidingWindow(limit=100), clock), WindowModel(100, Fraction(1))),
        "bulkhead": lambda: (Bulkhead(Concurrency(limit=10), clock), None),
    }[kind]()

    served, gave_up, permits = crowd(state, clock, seed, largest=6, stay=0.2 if model is None else 0)

    assert served == sorted(set(range(1000)) - gave_up)
    assert len(gave_up) > 50
    if model is not None:
        model.check(permits)
    else:
        assert state.snapshot().available == 10
