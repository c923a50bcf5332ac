"""Sinks get what happens at their own pace, and none of them harms a run, another sink, or the end of the process."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from awaitly import Ok, Runtime, step, workflow
from awaitly.model.facts import Committed, Ending, Fact, LeaseLapsed, RunFinished, StepFinished, StepStarted
from awaitly.model.notice import Notice, Sorting, Watcher
from awaitly.observe.bus import CAPACITY, Bus, Sink
from awaitly.observe.health import Health
from awaitly.observe.logs import Journalist
from awaitly.observe.metrics import Metrics
from awaitly.observe.sentry import SentrySink
from awaitly.observe.tracing import Tracing
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock

PATIENCE = 20.0  # seconds until what a test waits for counts as never happening
SHORT = 0.05  # seconds that a shutdown may take


class Blocked:
    """A sink that takes one notice and does not give it back until it is released."""

    def __init__(self) -> None:
        self.taken: list[Notice] = []
        self.entered = threading.Event()
        self.released = threading.Event()
        self.closed = False

    def __call__(self, notice: Notice) -> None:
        self.taken.append(notice)
        self.entered.set()
        assert self.released.wait(PATIENCE)

    def close(self) -> None:
        self.closed = True


def publish(bus: Bus, times: int = 1) -> None:
    for number in range(times):
        bus.publish(f"r{number}", "shop", LeaseLapsed(at=1.0))


def test_every_sink_gets_every_notice_in_order_before_the_bus_is_closed() -> None:
    one, other = list[Notice](), list[Notice]()

    async def story() -> None:
        bus = Bus([one.append, other.append])
        publish(bus, 100)
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert [notice.run for notice in one] == [f"r{number}" for number in range(100)]
    assert other == one


def test_a_sink_that_raises_gets_the_next_notice_all_the_same_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    def failing(notice: Notice) -> None:
        seen.append(notice.run)
        raise RuntimeError("a defect")

    async def story() -> None:
        bus = Bus([failing])
        publish(bus, 3)
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert seen == ["r0", "r1", "r2"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "failing" in caplog.text


def test_the_failures_of_each_sink_are_counted() -> None:
    told = list[Notice]()

    def failing(notice: Notice) -> None:
        raise RuntimeError("a defect")

    async def refusing(notice: Notice) -> None:
        raise RuntimeError("a defect")

    async def story() -> None:
        bus = Bus([failing, refusing, told.append])
        publish(bus, 3)
        await bus.close(PATIENCE)

        assert bus.failures == {"failing": 3, "refusing": 3, "list.append": 0}

    asyncio.run(story())


def test_a_sink_that_ends_its_thread_gets_the_next_notice_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def exiting(notice: Notice) -> None:
        seen.append(notice.run)
        raise SystemExit(3)

    async def story() -> None:
        bus = Bus([exiting])
        publish(bus, 3)
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert seen == ["r0", "r1", "r2"]
    assert "exiting" in caplog.text


class Outside(BaseException):
    """No Exception, as what `pytest.fail()` raises."""


@pytest.mark.parametrize("raised", [asyncio.CancelledError, GeneratorExit, Outside])
def test_whatever_a_watcher_raises_harms_nobody(raised: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    told: list[Notice] = []

    def failing(notice: Notice) -> None:
        raise raised

    async def story() -> None:
        publish(Bus(watchers=[failing, told.append]), 2)

    asyncio.run(story())

    assert len(told) == 2
    assert caplog.text.count("failed to watch a run") == 1


class Sorted(Sorting):
    """A watcher that has a function for each kind of facts."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @property
    def handlers(self) -> Mapping[type[Fact], Watcher]:
        """Each time new ones."""
        return {LeaseLapsed: partial(self._lapsed), StepStarted: self._failing, Committed: self._failing}

    def _lapsed(self, notice: Notice) -> None:
        self.told.append(f"lapsed {notice.run}")

    def _failing(self, notice: Notice) -> None:
        self.told.append(f"failing {notice.run}")
        raise ValueError("wrong")


def test_a_watcher_with_functions_by_kind_is_told_through_them_and_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher = Sorted()

    async def story() -> None:
        bus = Bus(watchers=[watcher])
        started = StepStarted(at=1.0, call="a", step="a")
        committed = Committed(at=1.0, facts=1, seconds=[0.1])
        ended = RunFinished(at=1.0, ending=Ending.VALUE, payload=b"")
        for fact in (LeaseLapsed(at=1.0), started, started, committed, ended):
            bus.publish("r", "w", fact)

    asyncio.run(story())

    assert watcher.told == ["lapsed r", *["failing r"] * 3]
    assert caplog.text.count("Sorted failed to watch a run") == caplog.text.count("failed to watch") == 1


class Empty(list[Notice]):
    """A watcher that is false as long as it has not been told anything."""

    def __call__(self, notice: Notice) -> None:
        self.append(notice)


def test_a_watcher_may_be_empty() -> None:
    watcher = Empty()

    async def story() -> None:
        publish(Bus(watchers=[watcher]))

    asyncio.run(story())

    assert len(watcher) == 1


class Counting(Sorted):
    """One that has a word in whatever is told."""

    def __call__(self, notice: Notice) -> None:
        self.told.append("counted")
        super().__call__(notice)


class Named:
    """A watcher that has something else under that name, and watchers inside."""

    def __init__(self, *inside: Watcher) -> None:
        self.handlers = list(inside)

    def __call__(self, notice: Notice) -> None:
        for watcher in self.handlers:
            watcher(notice)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_watcher_that_has_a_word_in_whatever_is_told_is_not_passed_over(wrapped: bool) -> None:
    watcher = Counting()

    async def story() -> None:
        bus = Bus(watchers=[Named(watcher) if wrapped else watcher])
        bus.publish("r", "w", LeaseLapsed(at=1.0))

    asyncio.run(story())

    assert watcher.told == ["counted", "lapsed r"]


class Raising(Sorted):
    """One that fails when it is asked what it wants to be told."""

    @property
    def facts(self) -> Collection[type[Fact]]:
        raise ValueError("facts")


class RaisingSink:
    """Likewise."""

    @property
    def facts(self) -> Collection[type[Fact]]:
        raise ValueError("facts")

    def __call__(self, notice: Notice) -> None:
        pass


def test_who_fails_when_asked_what_to_be_told_is_told_nothing_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Notice] = []

    async def story() -> None:
        bus = Bus(sinks=[RaisingSink()], watchers=[Raising(), told.append])
        publish(bus, 2)
        bus.publish("r", "w", RunFinished(at=1.0, ending=Ending.VALUE, payload=b""))
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert len(told) == 3
    assert [record.message.partition(" ")[0] for record in caplog.records] == ["Raising", "RaisingSink"]


class Fewer(Sorted):
    """One that wants to be told less."""

    @property
    def facts(self) -> Collection[type[Fact]]:
        return {LeaseLapsed}


class Other(Sorted):
    """Another one, with the same functions."""

    def __init__(self, one: Sorted) -> None:
        super().__init__()
        self._handlers = one.handlers

    @property
    def handlers(self) -> Mapping[type[Fact], Watcher]:
        return self._handlers


def test_a_class_derived_from_one_with_functions_may_want_less() -> None:
    async def story() -> list[bool]:
        bus = Bus(watchers=[Fewer()])
        return [bus.wants(LeaseLapsed), bus.wants(StepStarted)]

    assert asyncio.run(story()) == [True, False]


def test_of_two_watchers_with_the_same_functions_each_is_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    one = Sorted()

    async def story() -> None:
        Bus(watchers=[one, Other(one)]).publish("r", "w", StepStarted(at=1.0, call="a", step="a"))

    asyncio.run(story())

    assert [record.message.partition(" ")[0] for record in caplog.records] == ["Sorted", "Other"]


@pytest.mark.parametrize("kind", [Tracing, Metrics])
def test_what_a_watcher_of_ours_is_told_of_can_be_asked(kind: type[Sorting]) -> None:
    watcher = kind()

    assert set(watcher.facts) == set(watcher.handlers) >= {StepFinished, RunFinished}


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_what_is_raised_in_a_watcher_to_end_the_process_ends_it_once_the_run_waits(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Notice] = []

    def ending(notice: Notice) -> None:
        raise raised

    async def story() -> None:
        publish(Bus(watchers=[ending, told.append]))
        assert len(told) == 1
        await asyncio.Event().wait()

    with pytest.raises(raised):
        asyncio.run(story())

    assert caplog.text == ""


def test_what_is_raised_to_end_the_process_is_raised_at_once_where_no_loop_is_running() -> None:
    def ending(notice: Notice) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        publish(Bus(watchers=[ending]))


def test_what_does_not_fit_into_the_queue_of_a_blocked_sink_is_dropped_and_counted() -> None:
    blocked, others = Blocked(), list[Notice]()

    async def story() -> None:
        bus = Bus([blocked, others.append])
        publish(bus)
        assert await asyncio.to_thread(blocked.entered.wait, PATIENCE)

        publish(bus, CAPACITY + 3)

        assert bus.dropped["Blocked"] == 3
        blocked.released.set()
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert len(blocked.taken) == CAPACITY + 1
    assert blocked.closed


def test_two_sinks_of_one_name_are_counted_apart() -> None:
    blocked, other = Blocked(), Blocked()
    other.released.set()

    async def story() -> None:
        bus = Bus([blocked, other])
        publish(bus)
        assert await asyncio.to_thread(blocked.entered.wait, PATIENCE)
        publish(bus, CAPACITY + 1)

        assert bus.dropped["Blocked"] == 1
        assert "Blocked 2" in bus.dropped
        blocked.released.set()
        await bus.close(PATIENCE)

    asyncio.run(story())


def test_closing_waits_for_a_blocked_sink_no_longer_than_it_may_counts_what_is_lost_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked, other = Blocked(), Blocked()

    async def story() -> None:
        bus = Bus([blocked, other])
        publish(bus, 5)
        assert await asyncio.to_thread(blocked.entered.wait, PATIENCE)
        assert await asyncio.to_thread(other.entered.wait, PATIENCE)

        await bus.close(SHORT)

        assert bus.dropped == {"Blocked": 4, "Blocked 2": 4}
        assert "sink Blocked 2 is not done: it is not waited for any longer, 4 notices are lost" in caplog.text

    try:
        asyncio.run(story())
        assert not blocked.closed
    finally:
        blocked.released.set()
        other.released.set()


def test_a_sink_whose_queue_is_full_takes_all_of_it_before_it_is_closed() -> None:
    blocked = Blocked()

    async def story() -> None:
        bus = Bus([blocked])
        publish(bus)
        assert await asyncio.to_thread(blocked.entered.wait, PATIENCE)
        publish(bus, CAPACITY)
        closing = asyncio.ensure_future(bus.close(PATIENCE))
        await asyncio.sleep(0)
        blocked.released.set()
        await closing

    asyncio.run(story())

    assert len(blocked.taken) == CAPACITY + 1
    assert blocked.closed


def test_an_async_sink_is_awaited_on_the_loop_and_closed_there() -> None:
    happened: list[tuple[str, bool]] = []
    main = threading.get_ident()

    class Writer:
        async def __call__(self, notice: Notice) -> None:
            happened.append((notice.run, threading.get_ident() == main))

        async def close(self) -> None:
            happened.append(("closed", threading.get_ident() == main))

    async def story() -> None:
        bus = Bus([Writer()])
        publish(bus, 2)
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert happened == [("r0", True), ("r1", True), ("closed", True)]


class Writer:
    """A sink of async methods, and what it is called as."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.told: list[str] = []

    async def __call__(self, notice: Notice) -> None:
        self.told.append(notice.run)

    async def write(self, notice: Notice, mark: str = "") -> None:
        self.told.append(notice.run + mark)


@pytest.mark.parametrize(
    "sink_of",
    [
        lambda writer: writer,
        lambda writer: writer.write,
        lambda writer: partial(writer.write, mark=""),
        lambda writer: partial(writer),
        lambda writer: lambda notice: writer(notice),
    ],
    ids=["object", "bound method", "partial of a method", "partial of an object", "lambda"],
)
def test_whatever_a_sink_returns_is_awaited_if_it_can_be(sink_of: Callable[[Writer], Sink]) -> None:
    writer = Writer()

    async def story() -> None:
        bus = Bus([sink_of(writer)])
        publish(bus, 3)
        await bus.close(PATIENCE)
        assert sum(bus.failures.values()) == 0

    asyncio.run(story())

    assert writer.told == ["r0", "r1", "r2"]


def test_a_sink_that_returns_something_else_has_not_failed() -> None:
    told = list[Notice]()

    class Numbering:
        def __call__(self, notice: Notice) -> int:
            told.append(notice)
            return len(told)

        async def close(self) -> None:
            pass

    async def story() -> None:
        bus = Bus([Numbering()])  # type: ignore[list-item]  # what a lambda may return, whatever its type says
        publish(bus, 3)
        await bus.close(PATIENCE)
        assert bus.failures == {"Numbering": 0}

    asyncio.run(story())

    assert len(told) == 3


def tell(notice: Notice) -> None:
    pass


def test_sinks_are_called_by_their_name_or_by_what_they_are() -> None:
    def nested(notice: Notice) -> None:
        pass

    named = partial(tell)
    named.name = "audit"  # type: ignore[attr-defined]  # a partial takes any attribute
    sinks: list[Sink] = [
        tell, nested, Writer("archive"), Writer(), Writer().write, partial(partial(Writer().write), mark=""),
        lambda notice: None, named, Writer("archive"), Writer("archive 2"), Journalist(), SentrySink(),
    ]  # fmt: skip

    async def story() -> None:
        bus = Bus(sinks)
        assert list(bus.dropped) == list(bus.failures) == [
            "tell", "nested", "archive", "Writer", "Writer.write", "Writer.write 2",
            "lambda", "audit", "archive 2", "archive 2 2", "logs", "sentry",
        ]  # fmt: skip
        await bus.close(PATIENCE)

    asyncio.run(story())


def test_an_async_sink_that_never_returns_does_not_keep_the_bus_open() -> None:
    entered = asyncio.Event()

    async def hanging(notice: Notice) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def story() -> None:
        bus = Bus([hanging])
        publish(bus, 2)
        await entered.wait()
        await bus.close(SHORT)
        assert sum(bus.dropped.values()) == 1

    asyncio.run(story())


@step
async def doubled(number: int) -> int:
    return 2 * number


@workflow
async def doubling(number: int) -> int:
    return await doubled(number)


def test_runs_go_on_beside_a_blocked_sink_and_the_shutdown_waits_only_its_time() -> None:
    blocked, ends = Blocked(), list[Notice]()

    async def story() -> None:
        settings = Settings(shutdown_timeout=SHORT)
        async with Runtime(
            settings, store="memory://", clock=VirtualClock(auto=True), sinks=[blocked, ends.append]
        ) as rt:
            for number in range(20):
                assert await rt.run(doubling, number) == Ok(2 * number)

    clock = VirtualClock(auto=True)
    try:
        clock.run(story())
    finally:
        blocked.released.set()

    assert len([notice for notice in ends if isinstance(notice.fact, RunFinished)]) == 20
    assert len(blocked.taken) == 1


class Ends:
    """A watcher of ends alone."""

    def __init__(self) -> None:
        self.facts = {RunFinished}
        self.seen: list[type[Fact]] = []

    def __call__(self, notice: Notice) -> None:
        self.seen.append(type(notice.fact))


def test_a_watcher_that_says_which_facts_it_wants_is_told_of_no_others() -> None:
    ends, everything = Ends(), list[Notice]()

    async def story() -> None:
        async with Runtime(store="memory://", watchers=[ends, everything.append]) as rt:
            await rt.run(doubling, 1)

    asyncio.run(story())

    assert ends.seen == [RunFinished]
    assert {StepStarted, StepFinished, Committed} < {type(notice.fact) for notice in everything}


def test_a_sink_that_says_which_facts_it_wants_is_told_of_no_others() -> None:
    class Ends:
        facts = frozenset({RunFinished})

        def __init__(self) -> None:
            self.told: list[Notice] = []

        def __call__(self, notice: Notice) -> None:
            self.told.append(notice)

    sink = Ends()

    async def story() -> None:
        bus = Bus([sink])
        publish(bus, 3)
        bus.publish("run", "shop", RunFinished(at=1.0, ending=Ending.VALUE, payload=b"", blame=None))
        assert not bus.wants(StepStarted)
        await bus.close(PATIENCE)

    asyncio.run(story())

    assert [notice.run for notice in sink.told] == ["run"]


def test_what_no_watcher_wants_is_not_wanted_unless_there_is_a_sink() -> None:
    async def story() -> None:
        assert not Bus(watchers=[Ends()]).wants(StepStarted)
        bus = Bus([list[Notice]().append], [Ends()])
        assert bus.wants(StepStarted)
        await bus.close(PATIENCE)

    asyncio.run(story())


def test_our_watchers_want_only_what_they_look_at() -> None:
    assert not Bus(watchers=[Metrics(MeterProvider())]).wants(StepStarted)
    assert not Bus(watchers=[Tracing()]).wants(Committed)
    assert not Bus(watchers=[Health()]).wants(StepFinished)


def test_a_bus_is_closed_while_all_threads_of_the_executor_are_busy() -> None:
    notices, idle = list[Notice](), threading.Event()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, idle.wait)
        bus = Bus([notices.append])
        publish(bus)
        async with asyncio.timeout(PATIENCE):
            await bus.close(PATIENCE)
        idle.set()
        await busy

    try:
        asyncio.run(story())
    finally:
        idle.set()

    assert len(notices) == 1
