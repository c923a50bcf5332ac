"""A circuit does what a small model of it does, whatever happens in whatever order."""

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from awaitly.errors import CircuitOpen
from awaitly.policies.breaker import Breaker, Circuit
from awaitly.policies.sharing import Shared
from awaitly.testing.clock import VirtualClock

SLOW = 2.0
WINDOW = 16


@dataclass(eq=False)
class Ticket:
    """What the model knows of a permit."""

    epoch: int
    probe: bool
    life: int


@dataclass(eq=False)
class Model:
    """A circuit as one would explain it: every call in a list, every rule looked up when it is asked."""

    options: dict[str, Any]
    now: int = 0
    mode: str = "closed"
    epoch: int = 0  # of the mode
    life: int = 0  # since the latest reset
    ended: list[tuple[int, bool, bool]] = field(default_factory=list)
    successes: int = 0
    reopenings: int = 0
    until: float = 0
    probes: list[Ticket] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)

    def state(self) -> str:
        if self.mode == "open" and self.now >= self.until:
            self.turn("half-open")
            self.successes = 0
        return "open" if self.mode == "forced" else self.mode

    def turn(self, mode: str) -> None:
        shown = ["open" if each == "forced" else each for each in (self.mode, mode)]
        if shown[0] != shown[1]:
            self.changes.append((shown[0], shown[1]))
        self.mode = mode
        self.epoch += 1

    def admit(self) -> Ticket | None:
        state = self.state()
        if state == "open" or (state == "half-open" and self.busy() >= self.options["half_open_max"]):
            return None
        ticket = Ticket(self.epoch, state == "half-open", self.life)
        if ticket.probe:
            self.probes.append(ticket)
        return ticket

    def busy(self) -> int:
        return sum(probe.life == self.life for probe in self.probes)

    def end(self, ticket: Ticket, failed: bool | None, slow: bool) -> None:
        if ticket.probe:
            self.probes.remove(ticket)
        if failed is None or ticket.epoch != self.epoch:
            return
        if ticket.probe:
            self.successes += 1
            if failed or slow:
                self.open()
            elif self.successes == self.options["success_threshold"]:
                self.close()
        else:
            self.ended.append((self.now, failed, slow))
            if self.too_bad():
                self.open()

    def seen(self) -> list[tuple[int, bool, bool]]:
        if "window_calls" in self.options:
            return self.ended[-self.options["window_calls"] :]
        return [call for call in self.ended if self.now - call[0] < WINDOW]

    def too_bad(self) -> bool:
        seen, options = self.seen(), self.options
        failures = sum(failed for _, failed, _ in seen)
        slow = sum(slow for _, _, slow in seen)
        if failures >= options.get("failure_threshold", 1_000_000):
            return True
        if len(seen) < options["minimum_calls"]:
            return False
        return failures / len(seen) >= options.get("failure_ratio", 2) or slow / len(seen) >= options.get(
            "slow_ratio", 2
        )

    def open(self) -> None:
        wait = self.options["reset_timeout"] * self.options["reset_growth"] ** self.reopenings
        self.until = self.now + min(wait, self.options["reset_max"])
        self.reopenings += 1
        self.turn("open")

    def close(self) -> None:
        self.ended, self.reopenings = [], 0
        self.turn("closed")

    def force_open(self) -> None:
        self.state()
        if self.mode != "forced":
            self.turn("forced")

    def reset(self) -> None:
        self.state()
        self.life += 1
        self.close()


RULES = st.fixed_dictionaries(
    {
        "minimum_calls": st.integers(1, 5),
        "reset_timeout": st.integers(1, 6),
        "reset_growth": st.sampled_from([1, 1.5, 2]),
        "reset_max": st.integers(6, 20),
        "half_open_max": st.integers(1, 3),
        "success_threshold": st.integers(1, 4),
    },
    optional={
        "failure_threshold": st.integers(1, 5),
        "failure_ratio": st.sampled_from([0.25, 0.5, 1.0]),
        "slow_ratio": st.sampled_from([0.25, 0.5, 1.0]),
        "window_calls": st.integers(5, 8),
    },
).filter(lambda options: options.keys() & {"failure_threshold", "failure_ratio", "slow_ratio"})


SELDOM = st.sampled_from([False] * 7 + [True])


class CircuitMachine(RuleBasedStateMachine):
    @initialize(options=RULES)
    def begin(self, options: dict[str, Any]) -> None:
        self.clock = VirtualClock()
        self.model = Model(options)
        slow_call = SLOW if "slow_ratio" in options else None
        breaker = Breaker("payments", window=WINDOW, slow_call=slow_call, **options)
        self.circuit = Circuit(breaker, self.clock, Shared(self.clock).notice)
        self.changes: list[tuple[str, str]] = []
        self.circuit.subscribe(lambda old, new: self.changes.append((old, new)))
        self.under_way: list[tuple[Any, Ticket]] = []
        self.given_back: list[Any] = []

    @rule()
    def admit(self) -> None:
        ticket = self.model.admit()
        if ticket is not None:
            self.under_way.append((self.circuit.admit(), ticket))
            return
        with pytest.raises(CircuitOpen) as refusal:
            self.circuit.admit()
        assert refusal.value.retry_after == self.retry_after()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failed=st.booleans(), seconds=st.sampled_from([0.0, SLOW, SLOW + 1]))
    def end(self, data: st.DataObject, failed: bool, seconds: float) -> None:
        self.finish(data.draw(st.integers(0, len(self.under_way) - 1)), failed, seconds)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        permit, ticket = self.one(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.model.end(ticket, None, False)
        permit.abandoned()

    @precondition(lambda self: self.given_back)
    @rule(data=st.data())
    def give_back_again(self, data: st.DataObject) -> None:
        permit = data.draw(st.sampled_from(self.given_back))
        data.draw(st.sampled_from([permit.failed, permit.succeeded, permit.abandoned]))()

    @rule(seconds=st.integers(0, 8))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds
        self.model.now += seconds

    @precondition(lambda self: self.model.mode == "closed")
    @rule(calls=st.lists(st.sampled_from(["well", "badly", "slowly"]), min_size=2, max_size=8))
    def many_calls(self, calls: list[str]) -> None:
        for how in calls:
            self.admit()
            if self.under_way:
                self.finish(-1, how == "badly", SLOW + (how == "slowly"))

    @precondition(lambda self: self.model.mode == "open")
    @rule(early=st.sampled_from([0, 0, 0, 1]))
    def nearly_recover(self, early: int) -> None:
        self.pass_time(max(0, ceil(self.model.until) - self.model.now - early))

    @precondition(lambda self: self.model.mode == "half-open")
    @rule(probes=st.integers(1, 4))
    def probe(self, probes: int) -> None:
        for _ in range(probes):
            self.admit()

    # By hand it happens seldom, so that there is a life in between.

    @precondition(lambda self: self.model.mode != "forced")
    @rule(chance=SELDOM)
    def force_open(self, chance: bool) -> None:
        if chance:
            self.model.force_open()
            self.circuit.force_open()

    @rule(chance=SELDOM)
    def reset(self, chance: bool) -> None:
        if chance or self.model.mode == "forced":
            self.model.reset()
            self.circuit.reset()

    @invariant()
    def states_are_equal(self) -> None:
        assert self.circuit.state() == self.model.state()
        assert self.changes == self.model.changes

    @invariant()
    def no_more_probes_are_under_way_than_allowed(self) -> None:
        assert self.circuit._places.taken == self.model.busy() <= self.model.options["half_open_max"]

    @invariant()
    def the_snapshot_tells_what_is_in_the_window(self) -> None:
        found = self.circuit.snapshot()
        seen = self.model.seen()
        assert (found.calls, found.failures) == (len(seen), sum(failed for _, failed, _ in seen))
        assert found.half_open_in == (self.retry_after() if self.model.mode == "open" else None)

    def finish(self, index: int, failed: bool, seconds: float) -> None:
        permit, ticket = self.one(index)
        self.model.end(ticket, failed, seconds > SLOW and "slow_ratio" in self.model.options)
        (permit.failed if failed else permit.succeeded)(seconds)

    def one(self, index: int) -> tuple[Any, Ticket]:
        permit, ticket = self.under_way.pop(index)
        self.given_back.append(permit)
        return permit, ticket

    def retry_after(self) -> float | None:
        match self.model.mode:
            case "forced":
                return None
            case "open":
                return self.model.until - self.model.now
            case _:
                return 0.0


CircuitMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestCircuit = CircuitMachine.TestCase
