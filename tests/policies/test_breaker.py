"""A breaker opens by its rules, lets probes decide, and loses nobody who waits."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import pytest

from awaitly.errors import CircuitOpen, ConfigurationError, Failure, StepDeadline, StepTimeout, UsageError
from awaitly.model.facts import BreakerClosed, BreakerHalfOpened, BreakerOpened, BreakerRejected, Fact
from awaitly.policies.breaker import Breaker, Circuit
from awaitly.policies.circuit import Snapshot
from awaitly.policies.course import Course
from awaitly.policies.sharing import SHARED, Shared
from awaitly.policies.timeout import Deadline
from awaitly.testing.clock import VirtualClock, VirtualTimer


class Declined(Failure):
    """An answer, though not the one that was hoped for."""


class Bench:
    """States in virtual time, and the facts that they tell."""

    def __init__(self, *, auto: bool = False) -> None:
        self.clock = VirtualClock(auto=auto)
        self.facts: list[Fact] = []
        self.shared = Shared(self.clock, self.facts.append)

    def circuit(self, *args: Any, **kwargs: Any) -> Circuit:
        return Breaker(*(args or ("payments",)), **kwargs).bound(self.shared, "charge")

    def course(self, *expected: type[BaseException]) -> Course:
        return Course(self.clock, "charge", expected, observe=self.facts.append)

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if type(fact) is kind]

    @contextmanager
    def active(self) -> Iterator[None]:
        token = SHARED.set(self.shared)
        try:
            yield
        finally:
            SHARED.reset(token)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def fail(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        circuit.admit().failed()


def succeed(circuit: Circuit, times: int = 1, seconds: float = 0.0) -> None:
    for _ in range(times):
        circuit.admit().succeeded(seconds)


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    async def call() -> None:
        raise error

    return call


async def fine() -> str:
    return "fine"


# What opens a circuit


def test_the_fifth_failure_in_the_window_opens_it_if_nothing_else_is_said(bench: Bench) -> None:
    circuit = bench.circuit()
    fail(circuit, 4)
    succeed(circuit, 100)
    assert circuit.state() == "closed"

    fail(circuit)

    assert circuit.state() == "open"


def test_failures_older_than_the_window_are_forgotten(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=2, window="10s")
    fail(circuit)
    bench.clock.now += 10
    fail(circuit)
    assert circuit.state() == "closed"

    bench.clock.now += 9.9
    fail(circuit)

    assert circuit.state() == "open"


def test_a_window_of_calls_forgets_the_oldest_whenever_it_was(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=2, window_calls=3)
    fail(circuit)
    succeed(circuit, 2)
    fail(circuit)
    assert circuit.state() == "closed"

    bench.clock.now += 1_000_000
    succeed(circuit)
    fail(circuit)

    assert circuit.state() == "open"


def test_a_share_of_failures_counts_from_the_minimum_of_calls_on(bench: Bench) -> None:
    circuit = bench.circuit(failure_ratio=0.5, minimum_calls=4)
    fail(circuit, 3)
    assert circuit.state() == "closed"

    succeed(circuit)  # the call that was missing

    assert circuit.state() == "open"


def test_a_share_below_the_ratio_opens_nothing(bench: Bench) -> None:
    circuit = bench.circuit(failure_ratio=0.5)
    for _ in range(50):
        succeed(circuit, 2)
        fail(circuit)

    assert circuit.state() == "closed"


def test_a_ratio_takes_the_place_of_the_default_threshold(bench: Bench) -> None:
    circuit = bench.circuit(failure_ratio=0.9)
    succeed(circuit, 10)
    fail(circuit, 9)

    assert circuit.state() == "closed"


def test_a_threshold_given_beside_a_ratio_is_in_force_too(bench: Bench) -> None:
    circuit = bench.circuit(failure_ratio=0.9, failure_threshold=3)
    succeed(circuit, 10)
    fail(circuit, 3)

    assert circuit.state() == "open"


def test_the_minimum_is_ten_calls_or_all_of_a_smaller_window(bench: Bench) -> None:
    large, small = bench.circuit("large", failure_ratio=0.5), bench.circuit("small", failure_ratio=0.5, window_calls=4)
    fail(large, 9)
    fail(small, 3)
    assert (large.state(), small.state()) == ("closed", "closed")

    fail(large)
    fail(small)

    assert (large.state(), small.state()) == ("open", "open")


def test_a_share_of_slow_calls_opens_it_though_they_succeed(bench: Bench) -> None:
    circuit = bench.circuit(slow_call="2s", slow_ratio=0.5, minimum_calls=4)
    succeed(circuit, 2, seconds=2.0)
    succeed(circuit, 1, seconds=2.1)
    assert circuit.state() == "closed"

    succeed(circuit, 1, seconds=2.1)

    assert circuit.state() == "open"


def test_calls_are_timed_by_the_clock(bench: Bench) -> None:
    async def slow() -> None:
        bench.clock.now += 3

    async def story() -> None:
        circuit = bench.circuit(slow_call="2s", slow_ratio=1, minimum_calls=2)
        await circuit(slow, bench.course())
        await circuit(slow, bench.course())
        assert circuit.state() == "open"

    bench.clock.run(story())


def test_slow_calls_are_forgotten_like_failures(bench: Bench) -> None:
    circuit = bench.circuit(slow_call="1s", slow_ratio=0.5, minimum_calls=2, window="10s")
    succeed(circuit, seconds=2)
    bench.clock.now += 10
    succeed(circuit, 2)
    succeed(circuit, seconds=2)

    assert circuit.state() == "closed"


def test_looking_at_it_forgets_call_after_call(bench: Bench) -> None:
    circuit = bench.circuit(window="10s")
    for _ in range(3):
        fail(circuit)
        bench.clock.now += 3
    left = []
    for _ in range(3):
        bench.clock.now += 3
        left.append(circuit.snapshot().failures)

    assert left == [2, 1, 0]


def test_calls_that_share_a_slice_are_forgotten_with_its_first(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=100, window="64s")
    fail(circuit)
    bench.clock.now += 0.9
    fail(circuit)
    bench.clock.now += 0.1
    fail(circuit)
    bench.clock.now += 63

    assert circuit.snapshot().failures == 1


def test_a_window_holds_no_more_slices_than_it_has(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=10_000, window="64s")
    for _ in range(5_000):
        bench.clock.now += 0.1
        fail(circuit)

    assert len(circuit._window._slices) <= 65  # type: ignore[attr-defined]
    assert circuit.snapshot().failures == pytest.approx(640, abs=10)


# What an open and a half-open circuit do


def test_an_open_circuit_says_who_it_is_and_when_to_come_again(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1)
    fail(circuit)
    bench.clock.now += 12

    with pytest.raises(CircuitOpen, match=r"breaker 'payments' is open for another 18s: 1 failure in 1m") as caught:
        circuit.admit()

    assert (caught.value.breaker, caught.value.retry_after) == ("payments", 18.0)


def test_it_is_half_open_as_soon_as_the_timeout_is_over(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, reset_timeout="100ms")
    for _ in range(50):
        fail(circuit)
        assert circuit.state() == "open"
        bench.clock.now += 0.1

        assert circuit.state() == "half-open"


def test_no_more_probes_are_under_way_than_allowed(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, half_open_max=2)
    fail(circuit)
    bench.clock.now += 30
    probes = [circuit.admit(), circuit.admit()]

    with pytest.raises(CircuitOpen, match="half-open, and all its probes are under way") as caught:
        circuit.admit()
    assert caught.value.retry_after == 0

    probes[0].abandoned()
    assert circuit.admit().good_for(circuit)


def test_enough_successes_close_it(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, success_threshold=2)
    fail(circuit)
    bench.clock.now += 30
    succeed(circuit)
    assert circuit.state() == "half-open"

    succeed(circuit)

    assert circuit.state() == "closed"
    assert circuit.snapshot() == Snapshot("closed", 0, 0, None)


def test_one_failure_of_a_probe_opens_it_again(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=5, success_threshold=5)
    fail(circuit, 5)
    bench.clock.now += 30
    succeed(circuit, 4)

    fail(circuit)

    assert circuit.state() == "open"


def test_a_slow_probe_opens_it_again_if_slow_calls_count(bench: Bench) -> None:
    circuit = bench.circuit(slow_call="1s", slow_ratio=0.5, minimum_calls=1)
    succeed(circuit, seconds=2)
    bench.clock.now += 30

    succeed(circuit, seconds=2)

    assert circuit.state() == "open"


def test_the_timeout_grows_with_each_reopening_up_to_its_maximum(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, reset_timeout="10s", reset_growth=2, reset_max="35s")
    waits = []
    for _ in range(4):
        fail(circuit)
        waits.append(circuit.snapshot().half_open_in)
        bench.clock.now += waits[-1] or 0

    assert waits == [10, 20, 35, 35]


def test_the_timeout_is_as_at_first_once_it_has_closed(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, reset_timeout="10s", reset_growth=2)
    fail(circuit)
    bench.clock.now += 10
    fail(circuit)
    bench.clock.now += 20
    succeed(circuit)

    fail(circuit)

    assert circuit.snapshot() == Snapshot("open", 1, 1, 10)


def test_a_permit_counts_once(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=2)
    permit = circuit.admit()

    permit.failed()
    permit.failed()
    permit.succeeded()

    assert circuit.snapshot() == Snapshot("closed", 1, 1, None)


def test_a_permit_of_an_earlier_state_changes_nothing(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1)
    first, second = circuit.admit(), circuit.admit()
    fail(circuit)
    bench.clock.now += 30
    assert circuit.state() == "half-open"
    first.succeeded()
    assert circuit.state() == "half-open"
    second.failed()
    assert circuit.state() == "half-open"
    succeed(circuit)

    assert circuit.snapshot() == Snapshot("closed", 0, 0, None)


def test_a_probe_of_an_earlier_half_open_state_still_holds_its_place(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1, half_open_max=2)
    fail(circuit)
    bench.clock.now += 30
    straggler = circuit.admit()
    fail(circuit)
    bench.clock.now += 30
    circuit.admit()

    with pytest.raises(CircuitOpen):
        circuit.admit()
    straggler.failed()

    assert circuit.state() == "half-open"
    circuit.admit()


def test_one_that_was_opened_by_hand_stays_so_until_it_is_reset(bench: Bench) -> None:
    circuit = bench.circuit()
    circuit.force_open()
    bench.clock.now += 1_000_000
    with pytest.raises(CircuitOpen, match="opened by hand") as caught:
        circuit.admit()
    assert caught.value.retry_after is None
    assert circuit.snapshot() == Snapshot("open", 0, 0, None)

    circuit.reset()

    assert circuit.state() == "closed"


def test_reset_forgets_failures_and_probes_under_way(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=2)
    fail(circuit, 2)
    bench.clock.now += 30
    circuit.admit()  # never comes back
    circuit.reset()
    fail(circuit)
    assert circuit.state() == "closed"
    fail(circuit)
    bench.clock.now += 30

    succeed(circuit)

    assert circuit.state() == "closed"


# What counts as a failure


def test_a_timeout_counts_even_if_it_is_declared(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1)

    circuit.settle(circuit.admit(), StepTimeout("slow"), 1.0, (StepTimeout, Declined))

    assert circuit.state() == "open"


@pytest.mark.parametrize(
    ("options", "error", "counts"),
    [
        ({}, OSError(), True),
        ({}, Declined(), False),
        ({"on": Declined}, Declined(), True),
        ({"on": (KeyError, OSError)}, ConnectionError(), True),
        ({"on": KeyError}, OSError(), False),
        ({"unless": OSError}, ConnectionError(), False),
        ({"on": OSError, "unless": (ConnectionError,)}, ConnectionError(), False),
    ],
)
def test_errors_count_unless_they_are_declared_or_told_otherwise(
    bench: Bench, options: dict[str, Any], error: Exception, counts: bool
) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=2, **options)
        with pytest.raises(type(error)):
            await circuit(raising(error), bench.course(Declined))
        assert circuit.snapshot() == Snapshot("closed", int(counts), 1, None)

    bench.clock.run(story())


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), StepDeadline("too late")])
def test_a_call_that_was_ended_from_outside_counts_as_nothing(bench: Bench, error: BaseException) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1)
        with pytest.raises(type(error)):
            await circuit(raising(error), bench.course())
        assert circuit.snapshot() == Snapshot("closed", 0, 0, None)
        fail(circuit)
        bench.clock.now += 30
        with pytest.raises(type(error)):
            await circuit(raising(error), bench.course())
        assert circuit.state() == "half-open"
        assert await circuit(fine, bench.course()) == "fine"
        assert circuit.state() == "closed"

    bench.clock.run(story())


# What it tells


def test_changes_and_refusals_are_facts(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1)
        fail(circuit)
        with pytest.raises(CircuitOpen):
            await circuit(fine, bench.course())
        bench.clock.now += 30
        await circuit(fine, bench.course())
        at = bench.clock.now
        assert bench.facts == [
            BreakerOpened(at=at - 30, breaker="payments", seconds=30, reason="1 failure in 1m"),
            BreakerRejected(at=at - 30, call="", step="charge", breaker="payments"),
            BreakerHalfOpened(at=at, breaker="payments"),
            BreakerClosed(at=at, breaker="payments"),
        ]

    bench.clock.run(story())


def test_listeners_hear_of_each_change_until_they_leave(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1)
    heard: list[tuple[str, str]] = []
    leave = circuit.subscribe(lambda old, new: heard.append((old, new)))
    fail(circuit)
    circuit.force_open()  # open before and after
    circuit.reset()
    circuit.reset()
    leave()
    leave()
    fail(circuit)

    assert heard == [("closed", "open"), ("open", "closed")]


def test_a_listener_that_raises_harms_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    circuit = bench.circuit(failure_threshold=1)
    heard: list[str] = []

    def broken(old: str, new: str) -> None:
        raise RuntimeError("broken")

    circuit.subscribe(broken)
    circuit.subscribe(lambda old, new: heard.append(new))
    fail(circuit)

    assert heard == ["open"]
    assert "a listener of breaker payments failed" in caplog.text


def test_all_listeners_hear_in_order_of_a_change_that_one_of_them_makes(bench: Bench) -> None:
    circuit = bench.circuit(failure_threshold=1)
    heard: list[str] = []
    circuit.subscribe(lambda old, new: circuit.reset())
    circuit.subscribe(lambda old, new: heard.append(new))
    fail(circuit)

    assert heard == ["open", "closed"]


# What a declaration refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_threshold": 0}, r"failure_threshold of breaker 'payments' is 0.*at least 1"),
        ({"failure_threshold": True}, "failure_threshold .* is True"),
        ({"failure_threshold": 7, "window_calls": 6}, "failure_threshold .* is 7.*at most 6"),
        ({"minimum_calls": 7, "window_calls": 6}, "minimum_calls .* is 7.*at most 6"),
        ({"failure_ratio": 1.1}, r"failure_ratio .* is 1\.1.*up to 1"),
        ({"failure_ratio": 0}, "failure_ratio .* is 0"),
        ({"slow_ratio": 0.5}, r"slow_ratio .* is 0\.5.*slow_call"),
        ({"slow_call": "1s"}, "slow_call .* is '1s'.*slow_ratio"),
        ({"slow_call": "soon", "slow_ratio": 0.5}, "slow_call .* is 'soon'"),
        ({"window": 0}, "window .* is 0"),
        ({"window_calls": 1.5}, r"window_calls .* is 1\.5"),
        ({"reset_timeout": "-1s"}, "reset_timeout .* is '-1s'"),
        ({"reset_growth": 0.5}, r"reset_growth .* is 0\.5"),
        ({"reset_growth": float("inf")}, "reset_growth .* is inf"),
        ({"reset_max": "10s"}, "reset_max .* is '10s'.*at least reset_timeout, 30s"),
        ({"half_open_max": 0}, "half_open_max .* is 0"),
        ({"success_threshold": None}, "success_threshold .* is None"),
        ({"on": "OSError"}, "on .* is 'OSError'"),
        ({"on": asyncio.CancelledError}, "on .* is .*CancelledError.*subclasses of Exception"),
        ({"unless": 3}, "unless .* is 3"),
        ({"when_open": "maybe"}, "when_open .* is 'maybe'.*'fail', 'wait'"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Breaker("payments", **options)


def test_a_name_is_text() -> None:
    with pytest.raises(ConfigurationError, match="name of a breaker is ' '"):
        Breaker(" ")


# Whose circuit it is


def test_steps_that_name_one_breaker_share_its_circuit(bench: Bench) -> None:
    assert Breaker("payments").bound(bench.shared, "a") is Breaker("payments").bound(bench.shared, "b")


def test_a_breaker_without_a_name_is_its_steps(bench: Bench) -> None:
    breaker = Breaker(failure_threshold=1)
    ours, theirs = breaker.bound(bench.shared, "a"), breaker.bound(bench.shared, "b")
    fail(ours)

    assert (ours.name, ours.state(), theirs.state()) == ("step a", "open", "closed")
    assert breaker.bound(bench.shared, "a") is ours


def test_the_declaration_in_force_is_what_counts() -> None:
    shared = Shared(VirtualClock(), effective=lambda declared: Breaker("payments", failure_threshold=1))
    circuit = Breaker("payments").bound(shared, "charge")
    fail(circuit)

    assert circuit.state() == "open"


# By hand


def test_a_block_is_a_call(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1)

    async def story() -> None:
        with bench.active():
            async with breaker:
                pass
            with pytest.raises(OSError, match="down"):
                async with breaker:
                    raise OSError("down")
            assert breaker.state() == "open"
            with pytest.raises(CircuitOpen):
                async with breaker:
                    pytest.fail("it was let in")
            assert len(bench.told(BreakerRejected)) == 1
            breaker.reset()
            assert breaker.state() == "closed"
            breaker.force_open()
            assert breaker.state() == "open"

    bench.clock.run(story())


def test_blocks_of_many_tasks_and_blocks_in_blocks_hold_their_own_places(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1, half_open_max=3)

    async def probe() -> None:
        async with breaker:
            await asyncio.Event().wait()

    async def story() -> None:
        with bench.active():
            fail(breaker.bound(bench.shared, ""))
            await bench.clock.advance("30s")
            async with breaker:
                inner = [asyncio.create_task(probe()), asyncio.create_task(probe())]
                await bench.clock.settle()
                with pytest.raises(CircuitOpen):
                    async with breaker:
                        pass
                inner[0].cancel()
                await bench.clock.settle()
                assert breaker.state() == "half-open"
                with pytest.raises(OSError, match="inner"):
                    async with breaker:
                        raise OSError("inner")
                assert breaker.state() == "open"
            assert breaker.state() == "open"  # the outer block succeeded too late
            inner[1].cancel()

    bench.clock.run(story())


def test_a_block_that_ends_in_another_task_is_refused(bench: Bench) -> None:
    async def story() -> None:
        breaker = Breaker("payments")
        await asyncio.create_task(breaker.__aenter__())
        with pytest.raises(UsageError, match="another task"):
            await breaker.__aexit__(None, None, None)

    bench.clock.run(story())


def test_a_function_is_called_through_it(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1)

    @breaker
    async def divide(a: float, *, by: float) -> float:
        """Divide."""
        return a / by

    async def story() -> None:
        with bench.active():
            assert await divide(6, by=2) == 3
            assert await breaker.call(divide.__wrapped__, 6, by=3) == 2  # type: ignore[attr-defined]
            with pytest.raises(ZeroDivisionError):
                await divide(6, by=0)
            with pytest.raises(CircuitOpen):
                await divide(6, by=2)
            heard: list[str] = []
            breaker.subscribe(lambda old, new: heard.append(new))
            breaker.reset()
            assert heard == ["closed"]

    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    bench.clock.run(story())


# Those who wait


def taking(bench: Bench, seconds: float, begun: list[Any], name: Any = None) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        begun.append(name)
        over = asyncio.get_running_loop().create_future()
        bench.clock.call_later(seconds, lambda: over.done() or over.set_result(name))
        return await over

    return call


def waiters(bench: Bench, circuit: Circuit, names: range, begun: list[Any], seconds: float = 1.0) -> list[Any]:
    return [
        asyncio.create_task(circuit(taking(bench, seconds, begun, name), bench.course()))  # type: ignore[arg-type]
        for name in names
    ]


def test_a_thousand_who_wait_are_let_in_at_the_half_open_rate_and_none_is_lost() -> None:
    bench = Bench(auto=True)
    under_way = most = 0
    begun: list[int] = []

    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait", half_open_max=5, reset_timeout="30s")
        fail(circuit)

        async def call(number: int) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await taking(bench, 1, begun, number)()
            under_way -= 1
            return number

        opened = bench.clock.now
        results = await asyncio.gather(*(circuit(lambda n=n: call(n), bench.course()) for n in range(1000)))

        assert results == begun == list(range(1000))
        assert most == 5
        assert bench.clock.now - opened == 30 + 1000 / 5
        assert circuit.state() == "closed"

    bench.clock.run(story())


def test_who_comes_to_a_closed_circuit_does_not_queue_behind_those_who_waited(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        tasks = waiters(bench, circuit, range(3), begun)
        await bench.clock.advance("31s")
        assert (circuit.state(), begun) == ("closed", [0, 1])
        assert await circuit(fine, bench.course()) == "fine"
        await bench.clock.advance("2s")
        assert [task.result() for task in tasks] == begun == [0, 1, 2]

    bench.clock.run(story())


def test_a_probe_that_fails_leaves_the_others_waiting_for_the_next_time(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait", reset_growth=2)
        fail(circuit)
        probe = asyncio.create_task(circuit(raising(OSError()), bench.course()))
        (waiter,) = waiters(bench, circuit, range(1), begun)
        await bench.clock.advance("30s")
        assert isinstance(probe.exception(), OSError)
        assert (circuit.state(), begun) == ("open", [])
        await bench.clock.advance("60s")
        assert begun == [0]
        await bench.clock.advance("1s")
        assert waiter.result() == 0
        assert bench.told(BreakerRejected) == []

    bench.clock.run(story())


def test_a_waiter_that_is_cancelled_leaves_its_turn_to_the_next(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        first, second = waiters(bench, circuit, range(2), begun)
        await bench.clock.settle()
        first.cancel()
        await bench.clock.advance("31s")
        assert first.cancelled()
        assert (second.result(), begun) == (1, [1])

    bench.clock.run(story())


def test_a_place_that_was_given_in_the_instant_of_the_cancellation_goes_back(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        first, second = waiters(bench, circuit, range(2), begun)
        await bench.clock.settle()
        bench.clock.now += 30
        assert circuit.state() == "half-open"  # the first has its place, and does not know yet
        first.cancel()
        await bench.clock.advance("1s")
        assert first.cancelled()
        assert (second.result(), begun) == (1, [1])

    bench.clock.run(story())


def test_who_is_cancelled_in_the_instant_before_is_passed_over(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        first, second = waiters(bench, circuit, range(2), begun)
        await bench.clock.settle()
        first.cancel()
        bench.clock.now += 30
        assert circuit.state() == "half-open"
        await bench.clock.advance("1s")
        assert first.cancelled()
        assert (second.result(), begun) == (1, [1])

    bench.clock.run(story())


def test_nobody_is_let_in_while_it_is_open_by_hand(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        tasks = waiters(bench, circuit, range(2), begun)
        await bench.clock.advance("30s")
        circuit.force_open()
        await bench.clock.advance("60s")
        assert begun == [0]
        circuit.reset()
        await bench.clock.advance("1s")
        assert [task.result() for task in tasks] == begun == [0, 1]

    bench.clock.run(story())


def test_those_who_wait_come_before_one_who_comes_when_the_time_is_over(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        first = waiters(bench, circuit, range(1), begun)
        await bench.clock.settle()
        bench.clock.now += 30
        late = waiters(bench, circuit, range(1, 2), begun)
        await bench.clock.advance("2s")
        assert [task.result() for task in first + late] == begun == [0, 1]

    bench.clock.run(story())


def test_there_is_a_timer_only_while_somebody_waits(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        assert bench.clock._next_due() is None
        tasks = waiters(bench, circuit, range(3), [])
        await bench.clock.settle()
        assert bench.clock._next_due() == bench.clock.now + 30
        for task in tasks:
            task.cancel()
        await bench.clock.settle()
        assert bench.clock._next_due() is None

    bench.clock.run(story())


class Hasty(VirtualClock):
    """A clock whose timers ring too early."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> VirtualTimer:
        return super().call_later(delay / 2, callback)


def test_a_timer_that_rings_too_early_is_set_again(bench: Bench) -> None:
    bench.clock = Hasty(auto=True)
    bench.shared = Shared(bench.clock)

    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        began = bench.clock.now
        assert await circuit(fine, bench.course()) == "fine"
        assert bench.clock.now - began == pytest.approx(30)

    bench.clock.run(story())


def test_who_has_no_time_to_wait_for_the_next_probe_is_turned_away_at_once(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        course = bench.course()
        course.limit(29)
        with pytest.raises(CircuitOpen) as caught:
            await circuit(fine, course)
        assert caught.value.retry_after == 30
        assert len(bench.told(BreakerRejected)) == 1

    bench.clock.run(story())


def test_who_waits_is_turned_away_when_the_circuit_opens_again_for_too_long(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        fail(circuit)
        hurried = bench.course()
        hurried.limit(59)
        probe = asyncio.create_task(circuit(raising(OSError()), bench.course()))
        refused = asyncio.create_task(circuit(fine, hurried))
        patient = asyncio.create_task(circuit(fine, bench.course()))
        await bench.clock.advance("30s")
        assert isinstance(probe.exception(), OSError)
        assert isinstance(refused.exception(), CircuitOpen)
        assert len(bench.told(BreakerRejected)) == 1
        await bench.clock.advance("30s")
        assert patient.result() == "fine"

    bench.clock.run(story())


def test_a_deadline_ends_a_wait_whose_end_nobody_knows(bench: Bench) -> None:
    async def story() -> None:
        begun: list[Any] = []
        circuit = bench.circuit(when_open="wait")
        circuit.force_open()
        course = bench.course()
        task = asyncio.create_task(Deadline(5)(lambda: circuit(fine, course), course))
        (other,) = waiters(bench, circuit, range(1), begun)
        await bench.clock.advance("5s")
        assert isinstance(task.exception(), StepDeadline)
        circuit.reset()
        await bench.clock.advance("1s")
        assert other.result() == 0

    bench.clock.run(story())


def test_a_circuit_outlives_the_loop_in_which_somebody_waited() -> None:
    bench = Bench(auto=True)
    circuit = bench.circuit(failure_threshold=1, when_open="wait")
    fail(circuit)

    async def waiting() -> None:
        await asyncio.wait([asyncio.create_task(circuit(fine, bench.course()))], timeout=0)

    bench.clock.auto = False
    bench.clock.run(waiting())
    bench.clock.auto = True

    assert bench.clock.run(circuit(fine, bench.course())) == "fine"


def test_who_waited_in_a_loop_that_was_closed_under_them_takes_no_place() -> None:
    bench = Bench(auto=True)
    circuit = bench.circuit(failure_threshold=1, when_open="wait")
    fail(circuit)
    loop = asyncio.new_event_loop()
    call = circuit(fine, bench.course())
    task = loop.create_task(call)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert bench.clock.run(circuit(fine, bench.course())) == "fine"

    task._log_destroy_pending = False  # type: ignore[attr-defined]
    call.close()


# The gate


def test_a_gate_keeps_the_probes_place_for_the_circuit_below(bench: Bench) -> None:
    async def story() -> None:
        asked: list[Any] = []
        circuit = bench.circuit(failure_threshold=1, success_threshold=3, when_open="wait")
        fail(circuit)

        async def call(course: Course) -> Any:
            async def limited() -> Any:
                await taking(bench, 1, asked)()  # a limiter that takes its time
                return await circuit(fine, course)

            return await circuit.gate(limited, course)

        tasks = [asyncio.create_task(call(bench.course())) for _ in range(3)]
        await bench.clock.advance("30s")
        assert len(asked) == 1
        await bench.clock.advance("1s")
        assert len(asked) == 2
        await bench.clock.advance("2s")
        assert [task.result() for task in tasks] == ["fine"] * 3
        assert circuit.state() == "closed"

    bench.clock.run(story())


def test_a_place_that_nobody_asks_for_behind_the_gate_goes_back(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1)
        fail(circuit)
        with pytest.raises(CircuitOpen):
            await circuit.gate(fine, bench.course())
        bench.clock.now += 30
        with pytest.raises(OSError, match="limiter"):
            await circuit.gate(raising(OSError("limiter")), bench.course())
        assert circuit.state() == "half-open"
        assert await circuit(fine, bench.course()) == "fine"

    bench.clock.run(story())


def test_the_place_that_a_gate_keeps_serves_one_call(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1)
        fail(circuit)
        bench.clock.now += 30

        async def twice() -> None:
            probe = asyncio.create_task(circuit(taking(bench, 1, []), bench.course()))  # type: ignore[arg-type]
            await bench.clock.settle()
            with pytest.raises(CircuitOpen):
                await circuit(fine, bench.course())
            probe.cancel()

        await circuit.gate(twice, bench.course())

    bench.clock.run(story())


def test_the_circuit_asks_again_if_it_opened_between_the_gate_and_the_call(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1)

        async def limited() -> str:
            fail(circuit)
            return await circuit(fine, bench.course())

        with pytest.raises(CircuitOpen):
            await circuit.gate(limited, bench.course())
        bench.clock.now += 30
        circuit.state()

        async def probed() -> str:
            circuit.force_open()
            return await circuit(fine, bench.course())

        with pytest.raises(CircuitOpen):
            await circuit.gate(probed, bench.course())

    bench.clock.run(story())


@pytest.mark.parametrize("comes", ["early", "late"])
def test_a_place_that_is_kept_for_a_call_without_room_serves_one_that_holds_the_room(bench: Bench, comes: str) -> None:
    """Else each would wait for the other: one has the place of a probe, and the other that of the bulkhead."""

    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        room = asyncio.Lock()

        async def limited() -> str:
            async with room:
                await taking(bench, 40 if comes == "late" and not order else 1, [])()
                return await circuit(fine, bench.course())

        async def call(name: str) -> None:
            await circuit.gate(limited, bench.course())
            order.append(name)

        order: list[str] = []
        first = asyncio.create_task(call("while it was closed"))
        await bench.clock.settle()
        fail(circuit)
        second = asyncio.create_task(call("by the gate"))
        await bench.clock.advance("60s")
        await asyncio.gather(first, second)
        assert order == ["while it was closed", "by the gate"]
        assert circuit._places.taken == len(circuit._spare) == 0

    bench.clock.run(story())


def test_those_who_hold_what_others_wait_for_are_let_in_first(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, when_open="wait")
        order: list[str] = []

        async def call(name: str, gated: bool) -> None:
            inner = partial(circuit, fine, bench.course())
            await (circuit.gate(inner, bench.course()) if gated else inner())
            order.append(name)

        fail(circuit)
        tasks = [asyncio.create_task(call(name, name.isupper())) for name in "AbCd"]
        await bench.clock.advance("31s")
        await asyncio.gather(*tasks)
        assert order == ["b", "d", "A", "C"]

    bench.clock.run(story())


def test_a_place_of_an_earlier_state_is_nobodys_while_its_call_still_waits_for_room(bench: Bench) -> None:
    async def story() -> None:
        circuit = bench.circuit(failure_threshold=1, half_open_max=2, when_open="wait")

        async def limited() -> str:
            await taking(bench, 60, [])()
            return await circuit(fine, bench.course())

        fail(circuit)
        waiting = [asyncio.create_task(circuit.gate(limited, bench.course())) for _ in range(2)]
        await bench.clock.advance("30s")
        assert circuit._places.taken == 2
        circuit._open("by a call that nobody knows of")
        ready = asyncio.create_task(circuit(fine, bench.course()))
        await bench.clock.advance("30s")
        assert ready.done()
        await bench.clock.advance("60s")
        assert [task.result() for task in waiting] == ["fine"] * 2
        assert circuit._places.taken == len(circuit._spare) == 0

    bench.clock.run(story())


# All of it at once


@pytest.mark.parametrize("seed", range(3))
def test_of_thousands_who_come_and_go_nobody_is_lost_and_turns_go_in_order(seed: int) -> None:
    Crowd(seed).play()


class Crowd:
    """Callers who come, fail, are cancelled and wait, at random times."""

    CALLERS = 2000

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.bench = Bench(auto=True)
        self.circuit = self.bench.circuit(
            failure_threshold=3,
            window="5s",
            reset_timeout="2s",
            reset_growth=1.5,
            reset_max="4s",
            half_open_max=4,
            success_threshold=2,
            when_open="wait",
        )
        self.asked: list[int] = []  # by those who had to wait
        self.begun: list[int] = []
        self.ended: dict[int, str] = {}

    def play(self) -> None:
        self.bench.clock.run(self.story())

    async def story(self) -> None:
        callers = [asyncio.create_task(self.caller(number)) for number in range(self.CALLERS)]
        for task in callers:
            if self.random.random() < 0.3:
                self.bench.clock.call_later(self.moment(70), task.cancel)
        await asyncio.wait(callers)
        self.check(callers)

    def moment(self, most: int) -> float:
        return self.random.randrange(most * 4) / 4  # so that much happens in the same instant

    async def caller(self, number: int) -> None:
        await taking(self.bench, self.moment(60), [])()
        call = self.circuit(lambda: self.work(number), self.bench.course())
        waits = not self.room()
        if waits:
            self.asked.append(number)
        try:
            await call
            self.ended[number] = "well"
        except OSError:
            self.ended[number] = "badly"
        except asyncio.CancelledError:
            self.ended[number] = "cancelled"
            raise

    def room(self) -> bool:
        try:
            self.circuit.admit().abandoned()
        except CircuitOpen:
            return False
        return True

    async def work(self, number: int) -> None:
        self.begun.append(number)
        bad = self.random.random() < 0.12
        await taking(self.bench, self.moment(2), [])()
        assert self.circuit._places.taken <= 4
        if bad:
            raise OSError

    def check(self, callers: list["asyncio.Task[None]"]) -> None:
        lost = [
            n for n, task in enumerate(callers) if not task.cancelled() and self.ended.get(n) not in ("well", "badly")
        ]
        assert lost == []
        assert len(self.begun) == len(set(self.begun))

        waited = [number for number in self.asked if number in set(self.begun)]
        assert len(waited) > 200
        assert len(self.bench.told(BreakerOpened)) > 5
        assert waited == [number for number in self.begun if number in set(self.asked)]

        circuit = self.circuit
        assert (circuit._places.taken, len(circuit._queue), len(circuit._ready), circuit._alarm) == (0, 0, 0, None)
