"""A cache answers again for a while, lets those who ask the same at once ask once, and keeps no failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitly.errors import ConfigurationError
from awaitly.model.facts import CacheHit, Fact
from awaitly.policies.cache import Cache, Cached, Recent
from awaitly.policies.clock import pause
from awaitly.policies.course import Call, Course
from awaitly.policies.sharing import SHARED, Shared
from awaitly.testing.clock import VirtualClock


class Down(Exception):
    pass


class Kitchen:
    """Makes answers that take a second each, and counts what was asked of it at once."""

    def __init__(self) -> None:
        self.clock = VirtualClock(auto=True)
        self.shelf: Recent[str, bytes] = Recent(self.clock, 100)
        self.cached = Cached(self.shelf, 60.0, self.clock)
        self.asked = 0
        self.at_once = 0
        self.most = 0

    def asking(self, answer: bytes | Exception | None = b"soup", *, takes: float = 1) -> Callable[[], Awaitable[Any]]:
        async def ask() -> bytes | None:
            self.asked += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await pause(self.clock, takes)
            finally:
                self.at_once -= 1
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    async def answer(self, answer: bytes | Exception | None = b"soup", *, key: str = "k") -> tuple[bytes | None, bool]:
        return await self.cached.answer(key, self.asking(answer))


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def test_an_answer_is_given_again_until_its_time_is_over(kitchen: Kitchen) -> None:
    """Its time begins when it is there; at the end of it, it is over."""

    async def story() -> None:
        assert await kitchen.answer() == (b"soup", False)
        await pause(kitchen.clock, 59.5)
        assert await kitchen.answer(b"other") == (b"soup", True)
        await pause(kitchen.clock, 0.5)
        assert await kitchen.answer(b"other") == (b"other", False)

    kitchen.clock.run(story())


def test_another_key_is_another_question(kitchen: Kitchen) -> None:
    async def story() -> None:
        await kitchen.answer()
        assert await kitchen.answer(b"bread", key="other") == (b"bread", False)

    kitchen.clock.run(story())


@pytest.mark.parametrize("failure", [None, Down()])
def test_a_failure_is_not_kept(kitchen: Kitchen, failure: Exception | None) -> None:
    async def story() -> None:
        for _ in range(2):
            failed, *_ = await asyncio.gather(kitchen.answer(failure), return_exceptions=True)
            assert failed in ((None, False), failure)
        assert await kitchen.answer() == (b"soup", False)

    kitchen.clock.run(story())


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    """As long as there is room, nothing goes."""
    clock = VirtualClock()

    async def story() -> None:
        shelf: Recent[str, int] = Recent(clock, 3)
        for number, key in enumerate("abc"):
            await shelf.put(key, number, clock.time() + 60)
        await shelf.get("a")
        await shelf.put("b", 10, clock.time() + 60)
        await shelf.put("d", 3, clock.time() + 60)
        assert [await shelf.get(key) for key in "abcd"] == [0, 10, None, 3]
        assert len(shelf) == 3

    clock.run(story())


def test_those_who_ask_the_same_at_once_ask_once(kitchen: Kitchen) -> None:
    async def story() -> None:
        answers = await asyncio.gather(*(kitchen.answer() for _ in range(1000)))
        assert sorted(answers) == [(b"soup", False)] + [(b"soup", True)] * 999
        assert kitchen.asked == 1

    kitchen.clock.run(story())


@pytest.mark.parametrize("failure", [None, Down()])
def test_when_the_one_who_asks_fails_the_others_ask_for_themselves_all_at_once(
    kitchen: Kitchen, failure: Exception | None
) -> None:
    """One after another, the last would wait for all the failures before; and nobody gets another's failure."""

    async def story() -> None:
        first = asyncio.ensure_future(kitchen.answer(failure))
        others = [asyncio.ensure_future(kitchen.answer(b"%d" % number)) for number in range(50)]
        await asyncio.wait([first, *others])
        assert kitchen.clock.monotonic() == 1002
        assert [other.result() for other in others] == [(b"%d" % number, False) for number in range(50)]
        assert await kitchen.answer() == (b"49", True)
        first.exception()

    kitchen.clock.run(story())


def test_when_the_one_who_asks_is_cancelled_one_of_the_others_takes_over(kitchen: Kitchen) -> None:
    async def story() -> None:
        kitchen.clock.auto = False
        first, second, third = (asyncio.ensure_future(kitchen.answer()) for _ in range(3))
        await kitchen.clock.settle()
        first.cancel()
        await kitchen.clock.advance(1)
        assert first.cancelled()
        assert (second.result(), third.result()) == ((b"soup", False), (b"soup", True))
        assert (kitchen.asked, kitchen.most) == (2, 1)

    kitchen.clock.run(story())


def test_cancelling_one_that_waits_harms_nobody(kitchen: Kitchen) -> None:
    async def story() -> None:
        kitchen.clock.auto = False
        first, second, third = (asyncio.ensure_future(kitchen.answer()) for _ in range(3))
        await kitchen.clock.settle()
        second.cancel()
        await kitchen.clock.advance(1)
        assert (first.result(), third.result()) == ((b"soup", False), (b"soup", True))
        assert kitchen.asked == 1

    kitchen.clock.run(story())


def test_one_that_is_cancelled_in_the_instant_of_its_turn_passes_it_on(kitchen: Kitchen) -> None:
    async def story() -> None:
        kitchen.clock.auto = False
        first, second, third = (asyncio.ensure_future(kitchen.answer()) for _ in range(3))
        await kitchen.clock.settle()
        first.cancel()
        await asyncio.sleep(0)  # the turn is the second one's, who does not know it yet
        second.cancel()
        await kitchen.clock.advance(1)
        assert (first.cancelled(), second.cancelled()) == (True, True)
        assert third.result() == (b"soup", False)
        assert kitchen.most == 1

    kitchen.clock.run(story())


def test_those_who_wait_for_a_store_share_what_it_has(kitchen: Kitchen) -> None:
    """Looking is done once too."""
    looks: list[str] = []

    class Slow:
        async def get(self, key: str, /) -> bytes | None:
            looks.append(key)
            await pause(kitchen.clock, 1)
            return b"stew"

        async def put(self, key: str, data: bytes, expires: float, /) -> None:
            raise AssertionError("nothing is new")

    async def story() -> None:
        kitchen.cached = Cached(Slow(), 60.0, kitchen.clock)
        assert await asyncio.gather(*(kitchen.answer() for _ in range(10))) == [(b"stew", True)] * 10
        assert (looks, kitchen.asked) == (["k"], 0)

    kitchen.clock.run(story())


def test_a_store_that_fails_is_a_miss_and_is_logged_once(kitchen: Kitchen, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def get(self, key: str, /) -> bytes | None:
            raise OSError("the disk is gone")

        async def put(self, key: str, data: bytes, expires: float, /) -> None:
            raise OSError("the disk is gone")

    async def story() -> None:
        kitchen.cached = Cached(Broken(), 60.0, kitchen.clock)
        for _ in range(3):
            assert await kitchen.answer() == (b"soup", False)

    with caplog.at_level(logging.WARNING, "awaitly"):
        kitchen.clock.run(story())
    assert [record.getMessage() for record in caplog.records] == [
        "the store of a cache fails; calls are made as if nothing was kept: the disk is gone"
    ]


Caller = tuple[str, int, int, str, int | None]
CALLERS = st.lists(
    st.tuples(
        st.sampled_from("ab"),  # is what it asks for
        st.integers(0, 6),  # it comes then
        st.integers(0, 4),  # its own asking takes so long
        st.sampled_from(["answers", "answers", "fails", "raises"]),
        st.none() | st.integers(0, 12),  # it is cancelled then
    ),
    min_size=1,
    max_size=12,
)


class Crowd:
    """Callers as drawn; what happens, happens at whole seconds, so that much of it happens at once."""

    def __init__(self, callers: list[Caller]) -> None:
        self.callers = callers
        self.clock = VirtualClock(auto=True)
        # An answer holds for so short a time that some expire meanwhile.
        self.cached = Cached(Recent[str, bytes](self.clock, 100), 2.0, self.clock)
        self.under_way = {"a": 0, "b": 0}
        self.failed: set[str] = set()
        self.beside: set[str] = set()  # what was asked beside another one who asked it, before anybody had failed

    async def call(self, number: int) -> tuple[bytes | None, bool]:
        key, comes, takes, ends, _ = self.callers[number]

        async def ask() -> bytes | None:
            if self.under_way[key] and key not in self.failed:
                self.beside.add(key)
            self.under_way[key] += 1
            try:
                await pause(self.clock, takes)
            finally:
                self.under_way[key] -= 1
            if ends == "answers":
                return b"%d" % number
            self.failed.add(key)
            if ends == "raises":
                raise Down(number)
            return None

        await pause(self.clock, comes)
        return await self.cached.answer(key, ask)

    async def play(self) -> list[asyncio.Task[tuple[bytes | None, bool]]]:
        """Return the tasks of all callers, all of them over: one that waits for ever would be waited for here."""
        tasks = [asyncio.create_task(self.call(number)) for number in range(len(self.callers))]
        for task, (*_, cancelled) in zip(tasks, self.callers, strict=True):
            if cancelled is not None:
                self.clock.call_later(cancelled, task.cancel)
        await asyncio.wait(tasks)
        return tasks


@given(CALLERS)
def test_whatever_happens_everybody_gets_an_answer_to_his_question_or_his_own_failure(callers: list[Caller]) -> None:
    crowd = Crowd(callers)
    tasks = crowd.clock.run(crowd.play(), longest=10)
    for number, (task, (key, _, _, ends, cancelled)) in enumerate(zip(tasks, callers, strict=True)):
        if task.cancelled():
            assert cancelled is not None
        elif error := task.exception():
            assert (type(error), error.args, ends) == (Down, (number,), "raises")
        else:
            answer, hit = task.result()
            assert hit or answer == (b"%d" % number if ends == "answers" else None)
            assert not hit or (answer is not None and callers[int(answer)][0] == key)


@given(CALLERS)
def test_whatever_happens_nobody_asks_beside_another_unless_somebody_failed(callers: list[Caller]) -> None:
    """Nor is anything left of those who asked."""
    crowd = Crowd(callers)
    for task in crowd.clock.run(crowd.play(), longest=10):
        _ = task.cancelled() or task.exception()
    assert crowd.beside == set()
    assert crowd.cached._lines == {}


class Plain:
    """A coding of text, which can encode no empty one."""

    def key(self, course: Course, /) -> str:
        return f"{course.name}:{course.args[0]}"

    def encode(self, value: Any, /) -> bytes | None:
        return value.encode() if value else None

    def decode(self, data: bytes, /) -> Any:
        return data.decode()


class Steps:
    """Calls of one step within a cache."""

    def __init__(self, cache: Cache, **store: Any) -> None:
        self.clock = VirtualClock(auto=True)
        self.facts: list[Fact] = []
        self.calls = 0
        self.around = cache.bound(Shared(self.clock), "fetch", coding=Plain(), **store)

    async def fetch(self, user: str, answer: str = "found") -> tuple[str, str]:
        """Return the answer and the source of it."""
        course = Course(self.clock, "fetch", observe=self.facts.append)
        course.args = (user,)

        async def call() -> str:
            self.calls += 1
            return answer

        wrapped: Call[str] = call
        return await self.around(wrapped, course), course.source


def test_a_hit_is_an_answer_of_its_own_marked_with_its_source_and_told() -> None:
    steps = Steps(Cache("1h"))

    async def story() -> None:
        assert await steps.fetch("bob") == ("found", "")
        assert await steps.fetch("bob", "changed") == ("found", "cache")
        assert await steps.fetch("eve", "hers") == ("hers", "")
        assert [(type(fact), fact.key) for fact in steps.facts if isinstance(fact, CacheHit)] == [
            (CacheHit, "fetch:bob")
        ]

    steps.clock.run(story())


def test_what_cannot_be_encoded_is_the_answer_but_is_not_kept() -> None:
    steps = Steps(Cache("1h"))

    async def story() -> None:
        assert await steps.fetch("bob", "") == ("", "")
        assert await steps.fetch("bob") == ("found", "")

    steps.clock.run(story())


def test_what_cannot_be_decoded_any_more_is_a_miss_and_is_replaced() -> None:
    """Also in the store, where an earlier version of the program may have left it."""

    class Store(dict[str, tuple[bytes, float]]):
        async def get(self, key: str, /) -> bytes | None:
            return super().get(key, (None,))[0]

        async def put(self, key: str, data: bytes, expires: float, /) -> None:
            self[key] = data, expires

    store = Store({"fetch:bob": (b"\xff", 0.0)})
    steps = Steps(Cache("1h", where="store"), store=store)

    async def story() -> None:
        assert await steps.fetch("bob") == ("found", "")
        assert store["fetch:bob"] == (b"found", steps.clock.time() + 3600)
        assert await steps.fetch("bob") == ("found", "cache")

    steps.clock.run(story())


def test_in_memory_nothing_goes_to_the_store_and_without_a_store_all_is_in_memory() -> None:
    async def story(steps: Steps) -> None:
        assert [await steps.fetch("bob") for _ in range(2)] == [("found", ""), ("found", "cache")]

    for steps in (Steps(Cache("1h"), store=object()), Steps(Cache("1h", where="store"))):
        steps.clock.run(story(steps))


def alone(story: Callable[[VirtualClock], Awaitable[None]]) -> None:
    """Play a story with functions outside of runs, in virtual time."""
    clock = VirtualClock(auto=True)

    async def play() -> None:
        SHARED.set(Shared(clock))
        await story(clock)

    clock.run(play())


def test_it_decorates_async_functions_whose_live_values_it_keeps() -> None:
    """The same object, also None, until the time is over."""
    calls: list[object] = []

    @Cache("1h")
    async def fetch(user: str, *, fresh: bool = False) -> object:
        """Fetch it."""
        calls.append(user)
        return None if user == "nobody" else object()

    async def story(clock: VirtualClock) -> None:
        assert fetch.__doc__ == "Fetch it."
        found = await fetch("bob")
        assert await fetch("bob") is found
        assert await fetch("bob", fresh=True) is not found
        await fetch("nobody")
        await fetch("nobody")
        assert calls == ["bob", "bob", "nobody"]
        await pause(clock, 3600)
        assert await fetch("bob") is not found

    alone(story)


def test_it_raises_what_the_function_raises_and_asks_again() -> None:
    async def story(_: VirtualClock) -> None:
        answers: list[Any] = [Down("once"), "found"]

        async def fetch() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        cache = Cache("1h")
        with pytest.raises(Down, match="once"):
            await cache.call(fetch)
        assert [await cache.call(fetch) for _ in range(2)] == ["found", "found"]

    alone(story)


@dataclass(frozen=True)
class Size:
    width: float


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), (True,)),
        ((1, (2,)), (1, (2.0,))),
        (frozenset([1]), frozenset([1.0])),
        (0.0, -0.0),
        ((0.0,), (-0.0,)),
        (Size(1), Size(True)),
        (Size(0.0), Size(-0.0)),
    ],
    ids=repr,
)
def test_arguments_that_are_equal_and_not_the_same_are_told_apart(one: object, other: object) -> None:
    async def story(_: VirtualClock) -> None:
        @Cache("1h")
        async def shown(value: object) -> str:
            return repr(value)

        assert [await shown(one), await shown(other), await shown(one)] == [repr(one), repr(other), repr(one)]

    alone(story)


def test_functions_and_arguments_of_different_types_are_told_apart() -> None:
    """One cache may serve several functions, also of one name; 1, 1.0 and True are not the same."""

    def named(answer: str) -> Callable[[object], Awaitable[str]]:
        async def same(number: object) -> str:
            return f"{answer} {number!r}"

        return same

    async def story(_: VirtualClock) -> None:
        cache = Cache("1h")
        one, two = cache(named("one")), cache(named("two"))  # type: ignore[arg-type]
        assert [await one(1), await two(1)] == ["one 1", "two 1"]
        assert [await one(True), await one(1.0)] == ["one True", "one 1.0"]

    alone(story)


def test_a_key_says_what_the_same_is() -> None:
    """Its fields are compared one by one: what they look like joined does not matter."""
    calls: list[tuple[Any, ...]] = []

    @Cache("1h", key="{shop}:{order[id]}")
    async def fetch(shop: str, order: dict[str, str], trace: int = 0) -> int:
        calls.append((shop, order["id"]))
        return len(calls)

    async def story(_: VirtualClock) -> None:
        assert [await fetch("a", {"id": "b"}, number) for number in range(3)] == [1, 1, 1]
        assert await fetch(order={"id": "b"}, shop="a") == 1
        assert await fetch("a:b", {"id": "c"}) == 2
        assert await fetch("a", {"id": "b:c"}) == 3

    alone(story)


def test_arguments_that_cannot_be_told_apart_need_a_key() -> None:
    async def story(_: VirtualClock) -> None:
        async def total(items: list[int]) -> int:
            return sum(items)

        with pytest.raises(ConfigurationError, match=r"total apart: unhashable type: 'list'.*key=") as caught:
            await Cache("1h").call(total, [1])
        assert caught.value.code == "invalid-option"

    alone(story)


@pytest.mark.parametrize("key", ["{order.id}", "{user.id}", "{}", "{0}", "{user", "{user:Q}"])
def test_a_key_that_does_not_fit_the_arguments_is_named(key: str) -> None:
    async def story(_: VirtualClock) -> None:
        async def fetch(user: int) -> int:
            return user

        with pytest.raises(ConfigurationError, match="does not fit the arguments user") as caught:
            await Cache("1h", key=key).call(fetch, 1)
        assert repr(key) in str(caught.value)

    alone(story)


def test_outside_of_runs_the_store_cannot_be_used() -> None:
    async def story(_: VirtualClock) -> None:
        async def fetch() -> int:
            return 1

        with pytest.raises(ConfigurationError, match='where="memory"'):
            await Cache("1h", where="store").call(fetch)

    alone(story)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Cache(0), "invalid-option"),
        (lambda: Cache("for ever"), "invalid-duration"),
        (lambda: Cache("1h", where="disk"), "invalid-option"),  # type: ignore[arg-type]
        (lambda: Cache("1h", size=0), "invalid-option"),
        (lambda: Cache("1h", key=" "), "invalid-option"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Cache], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.code == code
