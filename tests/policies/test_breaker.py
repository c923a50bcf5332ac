"""A breaker opens by its rules, lets probes decide, and tells what it does."""

import asyncio
from typing import Any

import pytest

from awaitly.errors import CircuitOpen, ConfigurationError, Failure, StepDeadline, StepTimeout, UsageError
from awaitly.model.facts import BreakerClosed, BreakerHalfOpened, BreakerOpened, BreakerRejected
from awaitly.policies.breaker import Breaker
from awaitly.policies.circuit import Snapshot
from awaitly.policies.sharing import Shared
from awaitly.testing.clock import VirtualClock
from tests.policies.bench import Bench, fail, fine, raising, succeed


class Declined(Failure):
    """An answer, though not the one that was hoped for."""


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


async def test_calls_are_timed_by_the_clock(bench: Bench) -> None:
    async def slow() -> None:
        bench.clock.now += 3

    circuit = bench.circuit(slow_call="2s", slow_ratio=1, minimum_calls=2)
    await circuit(slow, bench.course())
    await circuit(slow, bench.course())

    assert circuit.state() == "open"


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
    circuit = bench.opened()
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
    circuit = bench.opened(half_open_max=2)
    bench.clock.now += 30
    probes = [circuit.admit(), circuit.admit()]

    with pytest.raises(CircuitOpen, match="half-open, and all its probes are under way") as caught:
        circuit.admit()
    assert caught.value.retry_after == 0

    probes[0].abandoned()
    assert circuit.admit().good_for(circuit)


def test_enough_successes_close_it(bench: Bench) -> None:
    circuit = bench.opened(success_threshold=2)
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
    circuit = bench.opened(reset_timeout="10s", reset_growth=2)
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
    circuit = bench.opened(half_open_max=2)
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
async def test_errors_count_unless_they_are_declared_or_told_otherwise(
    bench: Bench, options: dict[str, Any], error: Exception, counts: bool
) -> None:
    circuit = bench.circuit(failure_threshold=2, **options)
    with pytest.raises(type(error)):
        await circuit(raising(error), bench.course(Declined))

    assert circuit.snapshot() == Snapshot("closed", int(counts), 1, None)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), StepDeadline("too late")])
async def test_a_call_that_was_ended_from_outside_counts_as_nothing(bench: Bench, error: BaseException) -> None:
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


# What it tells


async def test_changes_and_refusals_are_facts(bench: Bench) -> None:
    circuit = bench.opened()
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


async def test_a_block_is_a_call(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1)

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


async def test_blocks_of_many_tasks_and_blocks_in_blocks_hold_their_own_places(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1, half_open_max=3)

    async def probe() -> None:
        async with breaker:
            await asyncio.Event().wait()

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


async def test_a_block_that_ends_in_another_task_is_refused(bench: Bench) -> None:
    breaker = Breaker("payments")
    await asyncio.create_task(breaker.__aenter__())
    with pytest.raises(UsageError, match="another task"):
        await breaker.__aexit__(None, None, None)


async def test_a_function_is_called_through_it(bench: Bench) -> None:
    breaker = Breaker("payments", failure_threshold=1)

    @breaker
    async def divide(a: float, *, by: float) -> float:
        """Divide."""
        return a / by

    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
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
