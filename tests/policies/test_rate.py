"""Rate limits: what a bucket earns, what a window holds, and who comes when."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from awaitly.errors import CircuitOpen, ConfigurationError, LimitReached
from awaitly.model.facts import Fact, LimiterRejected, LimiterWaited
from awaitly.policies.course import Course
from awaitly.policies.rate import Bucket, RateLimit, SlidingWindow, Window
from awaitly.policies.sharing import SHARED, Shared
from awaitly.policies.turns import Limiter, LimiterSnapshot, Turns
from awaitly.testing.clock import VirtualClock, VirtualTimer

BOTH = pytest.mark.parametrize("kind", [RateLimit, SlidingWindow])


class Counter:
    """Callers of one limiter, and when each had its turn, in seconds since the beginning."""

    def __init__(self) -> None:
        self.clock = VirtualClock(auto=True)
        self.facts: list[Fact] = []
        self.shared = Shared(self.clock)
        self.served: list[tuple[str, float]] = []
        self.began = self.clock.monotonic()

    def course(self) -> Course:
        return Course(self.clock, "charge", observe=self.facts.append, call="charge#1")

    def now(self) -> float:
        return round(self.clock.monotonic() - self.began, 4)

    def come(self, state: Turns, name: str, cost: float = 1) -> asyncio.Task[None]:
        async def call() -> None:
            self.served.append((name, self.now()))

        async def ask() -> None:
            await state(call, self.course(), cost)

        return asyncio.create_task(ask(), name=name)

    def play(self, story: Coroutine[Any, Any, object]) -> None:
        token = SHARED.set(self.shared)
        try:
            self.clock.run(story)
        finally:
            SHARED.reset(token)


@pytest.fixture
def counter() -> Counter:
    return Counter()


async def called(state: Turns, course: Course) -> str:
    async def call() -> str:
        return "called"

    return await state(call, course)


async def test_a_bucket_starts_full_and_then_earns_its_tokens(counter: Counter) -> None:
    bucket = RateLimit(limit=2, per="1s").state(counter.shared)

    await asyncio.gather(*(counter.come(bucket, name) for name in "abcde"))

    assert counter.served == [("a", 0), ("b", 0), ("c", 0.5), ("d", 1), ("e", 1.5)]


async def test_a_bucket_never_holds_more_than_its_burst(counter: Counter) -> None:
    bucket = RateLimit(limit=2, per="1s", burst=3).state(counter.shared)

    await counter.clock.advance("1h")

    assert [bucket.try_acquire() for _ in range(4)] == [True, True, True, False]


async def test_a_bucket_of_less_than_one_call_per_period_holds_one(counter: Counter) -> None:
    bucket = RateLimit(limit=0.5, per="1s").state(counter.shared)

    await asyncio.gather(*(counter.come(bucket, name) for name in "ab"))

    assert counter.served == [("a", 0), ("b", 2)]


async def test_a_window_holds_its_limit_wherever_it_starts(counter: Counter) -> None:
    window = SlidingWindow(limit=2, per="1s").state(counter.shared)

    counter.come(window, "a")
    await counter.clock.advance("600ms")
    await asyncio.gather(*(counter.come(window, name) for name in "bcd"))

    assert counter.served == [("a", 0), ("b", 0.6), ("c", 1), ("d", 1.6)]


@BOTH
async def test_a_cheap_call_does_not_overtake_an_expensive_one(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=4, per="1s").state(counter.shared)  # type: ignore[call-arg]

    tasks = [counter.come(state, "first", 3), counter.come(state, "large", 4), counter.come(state, "small", 1)]
    await asyncio.gather(*tasks)

    assert [name for name, _ in counter.served] == ["first", "large", "small"]


@BOTH
async def test_who_asks_later_does_not_take_what_somebody_waits_for(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=4, per="1s").state(counter.shared)  # type: ignore[call-arg]

    await asyncio.gather(counter.come(state, "first", 3))
    waiting = counter.come(state, "large", 4)
    await asyncio.sleep(0)
    assert not state.try_acquire(1)
    await waiting


@BOTH
async def test_a_cancelled_call_gives_its_place_to_the_next(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=4, per="1s").state(counter.shared)  # type: ignore[call-arg]

    counter.clock.auto = False
    await asyncio.gather(counter.come(state, "first", 3))
    large = counter.come(state, "large", 4)
    small = counter.come(state, "small", 1)
    await asyncio.sleep(0)
    large.cancel()
    await small

    assert counter.served == [("first", 0), ("small", 0)]


@BOTH
async def test_a_turn_granted_in_the_instant_of_the_cancellation_is_the_next_ones(
    kind: type[Limiter], counter: Counter
) -> None:
    state = kind(limit=4, per="1s").state(counter.shared)  # type: ignore[call-arg]

    counter.clock.auto = False
    await asyncio.gather(counter.come(state, "first", 3))
    large, small, other = (counter.come(state, name, cost) for name, cost in (("l", 4), ("s", 1), ("o", 1)))
    await asyncio.sleep(0)
    large.cancel()  # its task gives the turn to the small one,
    asyncio.get_running_loop().call_soon(small.cancel)  # which is cancelled before it knows
    await other

    assert small.cancelled()
    assert counter.served == [("first", 0), ("o", 0)]


@BOTH
async def test_one_timer_serves_all_who_wait_and_none_is_set_when_nobody_does(
    kind: type[Limiter], counter: Counter
) -> None:
    state = kind(limit=1, per="1s").state(counter.shared)  # type: ignore[call-arg]

    def timers() -> int:
        return sum(not timer.cancelled for _, _, timer in counter.clock._timers)

    counter.clock.auto = False
    tasks = [counter.come(state, name) for name in "abcde"]
    await asyncio.sleep(0)
    assert timers() == 1
    tasks[2].cancel()
    await counter.clock.advance("1s")
    assert timers() == 1
    await counter.clock.advance("3s")

    assert timers() == 0
    assert [name for name, _ in counter.served] == ["a", "b", "d", "e"]


@BOTH
async def test_rejecting_says_when_there_will_be_room(kind: type[Limiter], counter: Counter) -> None:
    state = kind("stripe", limit=2, per="1s", mode="reject").state(counter.shared)  # type: ignore[call-arg]

    await asyncio.gather(*(counter.come(state, name) for name in "ab"))
    await counter.clock.advance("250ms")
    with pytest.raises(LimitReached, match="stripe") as caught:
        await called(state, counter.course())

    assert caught.value.limiter == "stripe"
    assert caught.value.retry_after == pytest.approx(0.25 if kind is RateLimit else 0.75)
    assert [type(fact) for fact in counter.facts] == [LimiterRejected]


@BOTH
async def test_a_wait_that_is_known_to_be_too_long_does_not_begin(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=1, per="1s", max_wait="2s").state(counter.shared)  # type: ignore[call-arg]

    tasks = [counter.come(state, name) for name in "abcd"]
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False, False, True]
    assert counter.now() == 0
    error = tasks[3].exception()
    assert isinstance(error, LimitReached)
    assert error.retry_after == pytest.approx(3)
    assert "max_wait is 2s" in str(error)
    await asyncio.gather(*tasks[:3])

    assert counter.served == [("a", 0), ("b", 1), ("c", 2)]


@BOTH
async def test_a_cancellation_ahead_makes_room_within_max_wait(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=1, per="1s", max_wait="2s").state(counter.shared)  # type: ignore[call-arg]

    _, early, _ = (counter.come(state, name) for name in "abc")
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.sleep(0)
    await counter.come(state, "d")

    assert counter.served == [("a", 0), ("c", 1), ("d", 2)]


@BOTH
async def test_a_call_that_would_be_over_before_its_turn_does_not_wait(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=1, per="1s").state(counter.shared)  # type: ignore[call-arg]

    await counter.come(state, "a")
    course = counter.course()
    course.limit(0.5)
    with pytest.raises(LimitReached, match="must be over in 500ms"):
        await called(state, course)

    assert counter.now() == 0


async def test_a_window_knows_the_wait_behind_costs_that_do_not_fill_it(counter: Counter) -> None:
    """Two calls that cost 6 of 10 never share a window, so three that wait take three windows and not two."""
    window = SlidingWindow(limit=10, per="1s", max_wait="3s").state(counter.shared)

    tasks = [counter.come(window, name, 6) for name in "abcd"]
    refused = counter.come(window, "e", 6)
    await asyncio.wait([refused])
    assert isinstance(refused.exception(), LimitReached)
    await asyncio.gather(*tasks)

    assert counter.served == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]


async def test_a_window_plans_again_when_a_line_has_ended(counter: Counter) -> None:
    """What went through while nobody waited counts for those who wait afterwards."""
    window = SlidingWindow(limit=2, per="125ms", max_wait="125ms").state(counter.shared)

    counter.clock.auto = False
    for name, cost in (("a", 2), ("b", 1), ("c", 1)):
        counter.come(window, name, cost)
    await counter.clock.advance("250ms")
    later = [counter.come(window, name, cost) for name, cost in (("d", 2), ("e", 1), ("f", 1), ("g", 1))]
    await counter.clock.advance("125ms")

    assert isinstance(later[3].exception(), LimitReached)
    assert counter.served == [("a", 0), ("b", 0.125), ("c", 0.125), ("d", 0.25), ("e", 0.375), ("f", 0.375)]


async def test_a_window_plans_again_when_a_turn_was_given_back(counter: Counter) -> None:
    window = SlidingWindow(limit=1, per="1s", max_wait="3s").state(counter.shared)
    later, leaving = counter.clock.call_later, list[asyncio.Task[None]]()

    def hasty(delay: float, callback: Callable[[], object]) -> VirtualTimer:
        """Cancel somebody when the timer has given out the turn, and nobody knows yet."""
        return later(delay, lambda: (callback(), *(task.cancel() for task in leaving)))

    counter.clock.auto = False
    counter.clock.call_later = hasty  # type: ignore[method-assign]
    leaving.append([counter.come(window, name) for name in "abce"][1])
    await counter.clock.advance("1s")
    tasks = [counter.come(window, name) for name in "fgh"]
    await counter.clock.advance("3s")

    assert isinstance(tasks[2].exception(), LimitReached)
    assert counter.served == [("a", 0), ("c", 1), ("e", 2), ("f", 3), ("g", 4)]


@BOTH
async def test_waiting_is_told_with_its_seconds_and_passing_is_not(kind: type[Limiter], counter: Counter) -> None:
    state = kind("stripe", limit=1, per="1s").state(counter.shared)  # type: ignore[call-arg]

    assert await called(state, counter.course()) == "called"
    assert counter.facts == []
    assert await called(state, counter.course()) == "called"
    (fact,) = counter.facts

    assert isinstance(fact, LimiterWaited)
    assert (fact.limiter, fact.seconds) == ("stripe", pytest.approx(1))


@BOTH
async def test_a_failing_call_has_spent_its_permit(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=1, per="1s").state(counter.shared)  # type: ignore[call-arg]

    async def fail() -> None:
        raise KeyError("gone")

    course = counter.course()
    with pytest.raises(KeyError):
        await state(lambda: course.attempt(fail), course)

    assert not state.try_acquire()


@BOTH
async def test_a_call_that_is_refused_before_it_began_gives_its_turn_back(
    kind: type[Limiter], counter: Counter
) -> None:
    state = kind(limit=1, per="1s").state(counter.shared)  # type: ignore[call-arg]

    async def refuse() -> None:
        raise CircuitOpen("further inside", breaker="bank", retry_after=None)

    with pytest.raises(CircuitOpen):
        await state(refuse, counter.course())

    assert state.try_acquire()


@BOTH
async def test_a_turn_that_is_given_back_is_that_of_who_waits(kind: type[Limiter], counter: Counter) -> None:
    state = kind(limit=1, per="10s").state(counter.shared)  # type: ignore[call-arg]

    leaving = asyncio.create_task(state(asyncio.Event().wait, counter.course()))
    await asyncio.sleep(0)
    waiting = counter.come(state, "b")
    await asyncio.sleep(0)
    leaving.cancel()
    await waiting

    assert counter.served == [("b", 0)]


async def test_a_bucket_takes_back_only_what_it_has_not_earned_meanwhile(counter: Counter) -> None:
    bucket = RateLimit(limit=2, per="1s").state(counter.shared)

    counter.clock.auto = False
    granted = bucket.take(2)
    assert granted is not None
    await counter.clock.advance("500ms")
    bucket.give(2, granted)
    assert bucket.snapshot().available == pytest.approx(2)
    assert bucket.take(2) is not None
    await counter.clock.advance("2s")
    bucket.give(2, granted)

    assert bucket.snapshot().available == pytest.approx(2)


async def test_a_bucket_that_was_full_again_lets_no_more_through_than_its_burst(counter: Counter) -> None:
    bucket = RateLimit(limit=2, per="1s").state(counter.shared)

    counter.clock.auto = False
    granted = bucket.take(1)
    assert granted is not None
    await counter.clock.advance("1s")
    assert bucket.take(2) is not None
    bucket.give(1, granted)

    assert not bucket.try_acquire()


@BOTH
async def test_steps_share_a_limiter_at_their_own_costs(kind: type[Limiter], counter: Counter) -> None:
    cheap = kind("stripe", limit=4, per="1s")  # type: ignore[call-arg]
    dear = cheap.costing(3)  # type: ignore[attr-defined]

    async def call() -> None:
        counter.served.append(("", counter.now()))

    for limiter in (dear, cheap, dear):
        await limiter.bound(counter.shared, "charge")(call, counter.course())

    assert [at for _, at in counter.served] == [0, 0, 0.75 if kind is RateLimit else 1]


@BOTH
def test_a_limiter_without_a_name_is_its_steps(kind: type[Limiter], counter: Counter) -> None:
    limiter = kind(limit=1)  # type: ignore[call-arg]

    bound = [limiter.bound(counter.shared, owner) for owner in ("charge", "charge", "refund")]

    assert bound[0] is bound[1]
    assert bound[0] is not bound[2]
    assert bound[0].name == "step charge"  # type: ignore[attr-defined]


@BOTH
def test_a_limiter_with_a_name_is_the_same_for_all_steps(kind: type[Limiter], counter: Counter) -> None:
    bound = [kind("x", limit=1).bound(counter.shared, owner) for owner in ("charge", "refund")]  # type: ignore[call-arg]

    assert bound[0] is bound[1]


def test_a_cost_above_the_limit_in_force_does_not_start(counter: Counter) -> None:
    """An operator may have lowered a limit that a cost fitted."""
    shared = Shared(counter.clock, effective=lambda _: RateLimit("stripe", limit=2))

    with pytest.raises(ConfigurationError, match="at most 2"):
        RateLimit("stripe", limit=10).costing(5).bound(shared, "charge")


@BOTH
async def test_by_hand_it_serves_as_call_context_and_decorator(kind: type[Limiter], counter: Counter) -> None:
    limiter = kind("stripe", limit=1, per="1s")  # type: ignore[call-arg]

    @limiter
    async def charge(amount: int, *, currency: str) -> str:
        """Charge."""
        counter.served.append(("decorated", counter.now()))
        return f"{amount} {currency}"

    await limiter.acquire()
    counter.served.append(("acquired", counter.now()))
    async with limiter:
        counter.served.append(("entered", counter.now()))

    assert await charge(3, currency="EUR") == "3 EUR"
    assert await limiter.call(charge.__wrapped__, 4, currency="EUR") == "4 EUR"  # type: ignore[attr-defined]
    assert charge.__doc__ == "Charge."
    assert counter.served == [("acquired", 0), ("entered", 1), ("decorated", 2), ("decorated", 3)]


@BOTH
async def test_by_hand_a_cost_is_kept_by_its_wrapper(kind: type[Limiter], counter: Counter) -> None:
    limiter = kind("stripe", limit=4, per="1s")  # type: ignore[call-arg]
    dear = limiter.costing(3)  # type: ignore[attr-defined]

    async with dear:
        assert limiter.snapshot().available == pytest.approx(1)
    await dear.acquire(1)
    assert dear.snapshot().available == pytest.approx(0)
    await limiter.acquire(4)

    assert counter.now() == 1


@pytest.mark.parametrize("cost", [0, -1, 5, float("nan"), True, "2"])
@BOTH
def test_a_cost_for_which_there_is_never_room_is_refused(kind: type[Limiter], counter: Counter, cost: Any) -> None:
    limiter = kind("stripe", limit=4, per="1s")  # type: ignore[call-arg]

    async def story() -> None:
        with pytest.raises(ConfigurationError, match="cost"):
            await limiter.acquire(cost)

    with pytest.raises(ConfigurationError, match="cost"):
        limiter.costing(cost)  # type: ignore[attr-defined]
    if cost is not True:  # which by hand is 1
        counter.play(story())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RateLimit(limit=0), r"RateLimit\(limit=\) is 0"),
        (lambda: RateLimit(limit=float("inf")), "limit"),
        (lambda: RateLimit(limit="many"), "limit"),  # type: ignore[arg-type]
        (lambda: RateLimit(limit=1, per=0), "per"),
        (lambda: RateLimit(limit=1, burst=0.5), "at least 1"),
        (lambda: RateLimit(limit=1, mode="queue"), "'wait', 'reject'"),  # type: ignore[arg-type]
        (lambda: RateLimit(limit=1, max_wait="soon"), "max_wait"),
        (lambda: RateLimit(limit=1, mode="reject", max_wait=1), "nobody waits"),
        (lambda: RateLimit(" ", limit=1), "name"),
        (lambda: SlidingWindow(limit=1.5), "whole number"),  # type: ignore[arg-type]
        (lambda: SlidingWindow(limit=0), "limit"),
        (lambda: SlidingWindow(limit=1, per="0s"), "per"),
    ],
)
def test_impossible_options_are_refused_where_they_are_written(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


async def test_a_snapshot_says_how_a_limiter_stands(counter: Counter) -> None:
    bucket = RateLimit("stripe", limit=2, per="1s").state(counter.shared)
    window = SlidingWindow("mail", limit=2, per="1m").state(counter.shared)

    tasks = [counter.come(state, name) for state in (bucket, window) for name in "abcd"]
    await asyncio.sleep(0)
    assert bucket.snapshot() == LimiterSnapshot("stripe", 2, 1.0, 0, 2)
    assert window.snapshot() == LimiterSnapshot("mail", 2, 60.0, 0, 2)
    await asyncio.gather(*tasks)
    await counter.clock.advance("1h")

    assert bucket.snapshot() == LimiterSnapshot("stripe", 2, 1.0, 2, 0)
    assert window.snapshot() == LimiterSnapshot("mail", 2, 60.0, 2, 0)


@pytest.mark.parametrize("state", [Bucket, Window])
def test_a_state_outlives_the_loop_in_which_somebody_waited(state: type[Bucket] | type[Window]) -> None:
    """A loop that is closed under its tasks leaves waiters behind; nobody waits for them."""
    clock = VirtualClock()
    kind = RateLimit if state is Bucket else SlidingWindow
    turns: Turns = state(kind(limit=1, per="1s"), clock)  # type: ignore[arg-type]

    async def wait() -> None:
        await turns.acquire()
        await turns.acquire()

    loop = clock.new_loop()
    coroutine = wait()
    task = loop.create_task(coroutine)
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert turns.waiting == 1
    loop.close()
    assert turns.waiting == 0

    async def story() -> None:
        second = asyncio.create_task(turns.acquire())
        await clock.advance("1s")
        await second

    clock.run(story())
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine.close()


async def test_a_bucket_does_not_owe_for_clocks_that_round(counter: Counter) -> None:
    """A tenth of a second is none on a clock that counts in powers of two; ten of them earn ten tokens all the same."""
    bucket = RateLimit(limit=10, per="1s").state(counter.shared)

    assert all(bucket.try_acquire() for _ in range(10))
    for _ in range(10):
        await counter.clock.advance("100ms")
        assert bucket.try_acquire()
        assert not bucket.try_acquire()


async def test_an_error_of_the_observer_gives_the_turn_back(counter: Counter) -> None:
    bucket = RateLimit(limit=1, per="1s").state(counter.shared)

    def complain(fact: Fact) -> None:
        raise OSError("no room for facts")

    async def call() -> None:
        raise AssertionError("it was not its turn")

    await bucket.acquire()
    with pytest.raises(OSError, match="no room"):
        await bucket(call, Course(counter.clock, observe=complain))

    assert bucket.try_acquire()


def test_the_decorated_function_keeps_its_types() -> None:
    limiter = RateLimit("stripe", limit=1)

    @limiter
    async def charge(amount: int) -> str:
        return str(amount)

    typed: Callable[[int], Awaitable[str]] = charge
    assert typed is charge
