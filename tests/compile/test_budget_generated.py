"""No way through a generated body takes longer than its budget: calls in real policies, bodies in a simulation."""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from awaitly import Policies, RateLimit, Retry
from awaitly.compile.bindings import bind_step
from awaitly.compile.budget import Budget, Part
from awaitly.compile.costs import Costs
from awaitly.compile.worst import Worst
from awaitly.declare.step import step
from awaitly.model.graph import (
    BranchArm,
    BranchNode,
    HelperNode,
    LoopNode,
    Node,
    ParallelNode,
    RaceNode,
    RaiseNode,
    ReturnNode,
    StepNode,
    TryHandler,
    TryNode,
    WaitNode,
)
from awaitly.policies.clock import pause
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock

SLACK = 1e-6

# A call: its policies are the real ones, in virtual time.

SHORT = st.sampled_from([0.1, 0.5, 1.0, 4.0])


@st.composite
def policies(draw: Any) -> Policies:
    jitter = draw(st.sampled_from(["full", "equal", "none", "decorrelated"]))
    shape: Any = (
        "exponential" if jitter == "decorrelated" else draw(st.sampled_from(["fixed", "linear", "exponential"]))
    )
    retry = Retry(
        draw(st.integers(1, 4)), backoff=shape, initial=draw(st.sampled_from([0, 0.1, 2.0])), max=5.0, jitter=jitter,
        within=draw(st.none() | SHORT), on=Exception, retry_after=False,
    )  # fmt: skip
    return Policies(
        retry=draw(st.just(retry) | st.none()),
        timeout=draw(SHORT),
        deadline=draw(st.none() | SHORT),
        hedge=draw(st.none() | SHORT),
        limiter=draw(st.just(()) | st.builds(RateLimit, st.just("l"), limit=st.just(1), per=SHORT, max_wait=SHORT)),
    )


def cost(declared: Policies) -> Budget:
    @step(effect="read", policies=declared)
    async def some() -> None: ...

    return Costs(lambda name, policies: policies).call(bind_step(some))


@settings(max_examples=100)
@given(policies(), st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.9, 3.0, 100.0]), min_size=1), st.booleans())
def test_no_call_takes_longer_than_its_cost(declared: Policies, times: list[float], busy: bool) -> None:
    clock = VirtualClock(auto=True)
    states = Shared(clock)
    calls = 0

    async def some() -> None:
        nonlocal calls
        calls += 1
        await pause(clock, times[calls % len(times)])
        raise RuntimeError("down")

    async def story() -> float:
        token = SHARED.set(states)
        try:
            if busy:
                await pause(clock, 0.01)
                for limiter in declared.limiter:  # type: ignore[union-attr]  # normal, once it is made
                    await limiter.acquire()  # type: ignore[union-attr]
            began = clock.monotonic()
            with suppress(Exception):
                await declared.call(some)
            return clock.monotonic() - began
        finally:
            SHARED.reset(token)

    assert clock.run(story()) <= cost(declared).seconds + SLACK


# A body: every step has its time, and whatever may go one way or another does so by chance.

TIMES = {"a": 1.0, "b": 2.0, "c": 5.0, "r": 3.0}


@step(timeout=1)
async def a() -> None: ...


@step(timeout=2)
async def b() -> None: ...


@step(timeout=5)
async def c() -> None: ...


@step(effect="read", timeout=3)
async def r() -> None: ...


BINDINGS = {one.name: bind_step(one) for one in (a, b, c, r)}


def called(name: str) -> Node:
    return StepNode(site=f"{name}#0", step=name)


def nodes(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    body = st.lists(inner, max_size=3).map(tuple)
    arm = st.builds(BranchArm, label=st.just("x"), body=body)
    handler = st.builds(TryHandler, catches=st.just(("*",)), body=body)
    return st.one_of(
        st.builds(BranchNode, style=st.just("if"), text=st.just("x"), arms=st.tuples(arm, arm)),
        st.builds(LoopNode, style=st.just("for"), text=st.just("x"), body=body, orelse=body),
        st.builds(LoopNode, style=st.just("comprehension"), text=st.just("x"), body=body),
        st.builds(ParallelNode, site=st.just("g"), style=st.sampled_from(["gather", "each", "TaskGroup"]), body=body),
        st.builds(RaceNode, site=st.just("r"), body=st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(TryNode, body=body, handlers=st.lists(handler, max_size=2).map(tuple), orelse=body, final=body),
        st.builds(HelperNode, site=st.just("h"), function=st.just("h"), body=body),
        st.builds(
            WaitNode, site=st.just("t"), style=st.just("timeout"), text=st.just("timeout(1.5)"), body=body,
        ),
    )  # fmt: skip


LEAVES = st.one_of(
    st.sampled_from(sorted(TIMES)).map(called),
    st.builds(WaitNode, site=st.just("s"), style=st.just("sleep"), text=st.just("sleep('4s')")),
    st.just(ReturnNode()),
    st.just(RaiseNode()),
)
BODIES = st.lists(st.recursive(LEAVES, nodes, max_leaves=8), max_size=4).map(tuple)


class Left(Exception):
    """A function returned."""


class Failed(Exception):
    """Something was raised."""


class Simulated:
    """One way through a body, with the clock as a number. ``effect`` is when the effect under way will be over."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.log: list[tuple[float, float]] = []  # effects: from, to

    def all(self, body: tuple[Node, ...]) -> None:
        for node in body:
            self.one(node)

    def one(self, node: Node) -> None:
        match node:
            case StepNode(step=name):
                self._spend(TIMES[name] * self.chance.choice([0.0, 0.5, 1.0]), effect=name != "r")
                if self.chance.random() < 0.2:
                    raise Failed
            case WaitNode(style="sleep"):
                self._spend(4.0)
            case WaitNode(body=body):
                self._cut(lambda: self.all(body), self.now + 1.5)
            case BranchNode(arms=arms):
                self.all(self.chance.choice(arms).body)
            case LoopNode(body=body, orelse=orelse):
                if self.chance.random() < 0.8:
                    self.all(body)
                self.all(orelse)
            case ParallelNode(style="each", body=body):
                self.all(body)
            case ParallelNode(style="gather", body=body):
                self._together(body)
            case ParallelNode(body=body):
                self.all(body)
            case RaceNode(body=body):
                self._race(body)
            case TryNode():
                self._try(node)
            case HelperNode(body=body):
                self._function(body)
            case ReturnNode():
                raise Left
            case RaiseNode():
                raise Failed

    def _spend(self, seconds: float, *, effect: bool = False) -> None:
        if effect:
            self.log.append((self.now, self.now + seconds))
        self.now += seconds

    def _function(self, body: tuple[Node, ...]) -> None:
        with suppress(Left):
            self.all(body)

    def _branches(self, body: tuple[Node, ...]) -> list[tuple[float, bool, list[tuple[float, float]]]]:
        """Return when each branch would end, whether it would fail, and its effects."""
        began, log, found = self.now, self.log, []
        for branch in body:
            self.now, self.log, failed = began, [], False
            try:
                self.one(branch)
            except Failed:
                failed = True
            except Left:
                pass
            found.append((self.now, failed, self.log))
        self.now, self.log = began, log
        return found

    def _together(self, body: tuple[Node, ...]) -> None:
        ends = self._branches(body[:])
        inner = [branch for branch in ends if not branch[1]]
        failures = [branch for branch in ends if branch[1]]
        if failures:  # the first failure cancels the others; effects under way finish
            first = min(end for end, _, _ in failures)
            self._end_at(first, ends)
            raise Failed
        self.now = max([self.now, *(end for end, _, _ in inner)])
        self._keep(ends)

    def _race(self, body: tuple[Node, ...]) -> None:
        ends = self._branches(body)
        first = min(ends, key=lambda branch: branch[0])
        self._end_at(first[0], ends)
        if first[1]:
            raise Failed

    def _end_at(self, moment: float, ends: list[tuple[float, bool, list[tuple[float, float]]]]) -> None:
        under_way = [to for _, _, log in ends for began, to in log if began <= moment < to]
        self.now = max([moment, *under_way])
        self._keep(ends)

    def _keep(self, ends: list[tuple[float, bool, list[tuple[float, float]]]]) -> None:
        for _, _, log in ends:
            self.log += [(began, min(to, self.now)) for began, to in log if began <= self.now]

    def _cut(self, block: Callable[[], None], due: float) -> None:
        before, self.log = self.log, []
        error: Exception | None = None
        try:
            block()
        except (Failed, Left) as raised:
            error = raised
        log, self.log = self.log, before
        if self.now > due:
            self.now = max([due, *(to for began, to in log if began <= due < to)])
            error = Failed()
        self.log += [(began, min(to, self.now)) for began, to in log if began <= self.now]
        if error is not None:
            raise error

    def _try(self, node: TryNode) -> None:
        try:
            try:
                self.all(node.body)
            except Failed:
                if not node.handlers or self.chance.random() < 0.3:
                    raise
                self.all(self.chance.choice(node.handlers).body)
            else:
                self.all(node.orelse)
        finally:
            self.all(node.final)


@settings(max_examples=300)
@given(BODIES, st.integers(0, 2**32))
def test_no_way_through_a_body_takes_longer_than_its_budget(body: tuple[Node, ...], seed: int) -> None:
    worst = Worst(BINDINGS, Costs(lambda name, policies: policies), lambda name: Budget()).body(body)
    chance = random.Random(seed)

    assert worst.unlimited == ()
    for _ in range(8):
        way = Simulated(chance)
        with suppress(Left, Failed):
            way.all(body)
        assert way.now <= worst.seconds + SLACK


def test_a_sum_of_many_parts_shows_the_largest() -> None:
    parts = tuple(Part(f"step{n}", float(n)) for n in range(1, 9))

    assert Budget(parts).terms() == ("step4: 4s", "step5: 5s", "step6: 6s", "step7: 7s", "step8: 8s", "3 others: 6s")
