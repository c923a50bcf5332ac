"""Those who wait before an open circuit have turns, and none of them is lost."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from awaitly.errors import CircuitOpen, StepDeadline
from awaitly.model.facts import BreakerOpened, BreakerRejected
from awaitly.policies.clock import pause
from awaitly.policies.course import Course
from awaitly.policies.sharing import Shared
from awaitly.policies.timeout import Deadline
from awaitly.testing.clock import VirtualClock, VirtualTimer
from tests.policies.bench import Bench, fail, fine, raising


async def test_a_thousand_who_wait_are_let_in_at_the_half_open_rate_and_none_is_lost(bench: Bench) -> None:
    bench.clock.auto = True
    circuit = bench.opened(when_open="wait", half_open_max=5, reset_timeout="30s")
    under_way = most = 0

    async def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await bench.work(number)
        under_way -= 1
        return number

    opened = bench.clock.now
    results = await asyncio.gather(*(circuit(partial(call, number), bench.course()) for number in range(1000)))

    assert results == bench.begun == list(range(1000))
    assert most == 5
    assert bench.clock.now - opened == 30 + 1000 / 5
    assert circuit.state() == "closed"


async def test_who_comes_to_a_closed_circuit_does_not_queue_behind_those_who_waited(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    tasks = bench.workers(circuit, range(3))
    await bench.clock.advance("31s")
    assert (circuit.state(), bench.begun) == ("closed", [0, 1])
    assert await circuit(fine, bench.course()) == "fine"
    await bench.clock.advance("2s")
    assert [task.result() for task in tasks] == bench.begun == [0, 1, 2]


async def test_a_probe_that_fails_leaves_the_others_waiting_for_the_next_time(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait", reset_growth=2)
    probe = asyncio.create_task(circuit(raising(OSError()), bench.course()))
    (waiter,) = bench.workers(circuit, range(1))
    await bench.clock.advance("30s")
    assert isinstance(probe.exception(), OSError)
    assert (circuit.state(), bench.begun) == ("open", [])
    await bench.clock.advance("60s")
    assert bench.begun == [0]
    await bench.clock.advance("1s")
    assert waiter.result() == 0
    assert bench.told(BreakerRejected) == []


async def test_a_waiter_that_is_cancelled_leaves_its_turn_to_the_next(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    first, second = bench.workers(circuit, range(2))
    await bench.clock.settle()
    first.cancel()
    await bench.clock.advance("31s")
    assert first.cancelled()
    assert (second.result(), bench.begun) == (1, [1])


async def test_a_place_that_was_given_in_the_instant_of_the_cancellation_goes_back(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    first, second = bench.workers(circuit, range(2))
    await bench.clock.settle()
    bench.clock.now += 30
    assert circuit.state() == "half-open"  # the first has its place, and does not know yet
    first.cancel()
    await bench.clock.advance("1s")
    assert first.cancelled()
    assert (second.result(), bench.begun) == (1, [1])


async def test_who_is_cancelled_in_the_instant_before_is_passed_over(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    first, second = bench.workers(circuit, range(2))
    await bench.clock.settle()
    first.cancel()
    bench.clock.now += 30
    assert circuit.state() == "half-open"
    await bench.clock.advance("1s")
    assert first.cancelled()
    assert (second.result(), bench.begun) == (1, [1])


async def test_nobody_is_let_in_while_it_is_open_by_hand(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    tasks = bench.workers(circuit, range(2))
    await bench.clock.advance("30s")
    circuit.force_open()
    await bench.clock.advance("60s")
    assert bench.begun == [0]
    circuit.reset()
    await bench.clock.advance("1s")
    assert [task.result() for task in tasks] == bench.begun == [0, 1]


async def test_those_who_wait_come_before_one_who_comes_when_the_time_is_over(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    first = bench.workers(circuit, range(1))
    await bench.clock.settle()
    bench.clock.now += 30
    late = bench.workers(circuit, range(1, 2))
    await bench.clock.advance("2s")
    assert [task.result() for task in first + late] == bench.begun == [0, 1]


async def test_there_is_a_timer_only_while_somebody_waits(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    assert bench.clock._next_due() is None
    tasks = bench.workers(circuit, range(3))
    await bench.clock.settle()
    assert bench.clock._next_due() == bench.clock.now + 30
    for task in tasks:
        task.cancel()
    await bench.clock.settle()
    assert bench.clock._next_due() is None


class Hasty(VirtualClock):
    """A clock whose timers ring too early."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> VirtualTimer:
        return super().call_later(delay / 2, callback)


def test_a_timer_that_rings_too_early_is_set_again(bench: Bench) -> None:
    bench.clock = Hasty(auto=True)
    bench.shared = Shared(bench.clock)

    async def story() -> None:
        circuit = bench.opened(when_open="wait")
        began = bench.clock.now
        assert await circuit(fine, bench.course()) == "fine"
        assert bench.clock.now - began == pytest.approx(30)

    bench.clock.run(story())


async def test_who_has_no_time_to_wait_for_the_next_probe_is_turned_away_at_once(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    course = bench.course()
    course.limit(29)
    with pytest.raises(CircuitOpen) as caught:
        await circuit(fine, course)
    assert caught.value.retry_after == 30
    assert len(bench.told(BreakerRejected)) == 1


async def test_who_waits_is_turned_away_when_the_circuit_opens_again_for_too_long(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
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


async def test_a_deadline_ends_a_wait_whose_end_nobody_knows(bench: Bench) -> None:
    circuit = bench.circuit(when_open="wait")
    circuit.force_open()
    course = bench.course()
    task = asyncio.create_task(Deadline(5)(lambda: circuit(fine, course), course))
    (other,) = bench.workers(circuit, range(1))
    await bench.clock.advance("5s")
    assert isinstance(task.exception(), StepDeadline)
    circuit.reset()
    await bench.clock.advance("1s")
    assert other.result() == 0


def test_a_circuit_outlives_the_loop_in_which_somebody_waited() -> None:
    bench = Bench(auto=True)
    circuit = bench.opened(when_open="wait")

    async def waiting() -> None:
        await asyncio.wait([asyncio.create_task(circuit(fine, bench.course()))], timeout=0)

    bench.clock.auto = False
    bench.clock.run(waiting())
    bench.clock.auto = True

    assert bench.clock.run(circuit(fine, bench.course())) == "fine"


def test_who_waited_in_a_loop_that_was_closed_under_them_takes_no_place() -> None:
    bench = Bench(auto=True)
    circuit = bench.opened(when_open="wait")
    loop = asyncio.new_event_loop()
    call = circuit(fine, bench.course())
    task = loop.create_task(call)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert bench.clock.run(circuit(fine, bench.course())) == "fine"

    task._log_destroy_pending = False  # type: ignore[attr-defined]
    call.close()


# The gate


async def test_a_gate_keeps_the_probes_place_for_the_circuit_below(bench: Bench) -> None:
    circuit = bench.opened(success_threshold=3, when_open="wait")

    async def call(course: Course) -> Any:
        async def limited() -> Any:
            await bench.work()  # a limiter that takes its time
            return await circuit(fine, course)

        return await circuit.gate(limited, course)

    tasks = [asyncio.create_task(call(bench.course())) for _ in range(3)]
    await bench.clock.advance("30s")
    assert len(bench.begun) == 1
    await bench.clock.advance("1s")
    assert len(bench.begun) == 2
    await bench.clock.advance("2s")
    assert [task.result() for task in tasks] == ["fine"] * 3
    assert circuit.state() == "closed"


async def test_a_place_that_nobody_asks_for_behind_the_gate_goes_back(bench: Bench) -> None:
    circuit = bench.opened()
    with pytest.raises(CircuitOpen):
        await circuit.gate(fine, bench.course())
    bench.clock.now += 30
    with pytest.raises(OSError, match="limiter"):
        await circuit.gate(raising(OSError("limiter")), bench.course())
    assert circuit.state() == "half-open"
    assert await circuit(fine, bench.course()) == "fine"


async def test_the_place_that_a_gate_keeps_serves_one_call(bench: Bench) -> None:
    circuit = bench.opened()
    bench.clock.now += 30

    async def twice() -> None:
        probe = asyncio.create_task(circuit(bench.work, bench.course()))
        await bench.clock.settle()
        with pytest.raises(CircuitOpen):
            await circuit(fine, bench.course())
        probe.cancel()

    await circuit.gate(twice, bench.course())


async def test_the_circuit_asks_again_if_it_opened_between_the_gate_and_the_call(bench: Bench) -> None:
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


@pytest.mark.parametrize("comes", ["early", "late"])
async def test_a_place_that_is_kept_for_a_call_without_room_serves_one_that_holds_the_room(
    bench: Bench, comes: str
) -> None:
    """Else each would wait for the other: one has the place of a probe, and the other that of the bulkhead."""
    circuit = bench.circuit(failure_threshold=1, when_open="wait")
    room = asyncio.Lock()

    async def limited() -> str:
        async with room:
            await pause(bench.clock, 40 if comes == "late" and not order else 1)
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


async def test_those_who_hold_what_others_wait_for_are_let_in_first(bench: Bench) -> None:
    circuit = bench.opened(when_open="wait")
    order: list[str] = []

    async def call(name: str, gated: bool) -> None:
        inner = partial(circuit, fine, bench.course())
        await (circuit.gate(inner, bench.course()) if gated else inner())
        order.append(name)

    tasks = [asyncio.create_task(call(name, name.isupper())) for name in "AbCd"]
    await bench.clock.advance("31s")
    await asyncio.gather(*tasks)
    assert order == ["b", "d", "A", "C"]


async def test_a_place_of_an_earlier_state_is_nobodys_while_its_call_still_waits_for_room(bench: Bench) -> None:
    circuit = bench.opened(half_open_max=2, when_open="wait")

    async def limited() -> str:
        await pause(bench.clock, 60)
        return await circuit(fine, bench.course())

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
        await pause(self.bench.clock, self.moment(60))
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
        await pause(self.bench.clock, self.moment(2))
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
