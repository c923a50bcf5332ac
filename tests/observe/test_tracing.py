"""Runs as spans, sent by the real SDK and exporter to a real receiver."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span as Recorded
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Span
from opentelemetry.trace import TracerProvider as AnyProvider

from awaitly import (
    Breaker,
    Concurrency,
    Err,
    Failure,
    Fallback,
    Hedge,
    Ok,
    Retry,
    Runtime,
    Workflow,
    gather,
    race,
    sleep,
    step,
    workflow,
)
from awaitly.model import attributes as names
from awaitly.model.attributes import MEANINGS
from awaitly.model.facts import Ending, Fact, RunFinished, RunStarted, StepFinished, StepStarted
from awaitly.model.notice import Notice
from awaitly.observe.otlp import providers
from awaitly.observe.tracing import EVENTS, FRESH, MOST, WAITING, Tracing
from awaitly.persist.ports import Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings, OtlpSettings
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life
from tests.observe.receiving import LAST, Received, Receiver, tree

T = TypeVar("T")


class Declined(Failure):
    code: str


class World:
    """One test's clock, store, and spans: those that were received when everything has been sent."""

    def __init__(self, receiver: Receiver) -> None:
        self.clock = VirtualClock(auto=True)
        self.memory = MemoryStore(monotonic=self.clock.monotonic)
        self.outside = 0  # how often something failed, by the steps' plan
        self.provider: AnyProvider = trace.NoOpTracerProvider()
        self.begun = asyncio.Event()
        self.held = asyncio.Event()
        self._receiver = receiver
        self.closed = False
        self._exporting = providers(OtlpSettings(endpoint=receiver.endpoint))
        assert self._exporting.traces is not None
        self.provider = self._exporting.traces

    def tracing(self, **options: Any) -> Tracing:
        return Tracing(self.provider, time=self.clock.time, **options)

    def runtime(self, *workflows: Workflow[..., Any, Any], store: Store | None = None, **options: Any) -> Runtime:
        settings = Settings(store="memory://", lease=LeaseSettings(ttl=15))
        options.setdefault("watchers", [self.tracing()])
        return Runtime(settings, store=store or self.memory, clock=self.clock, workflows=workflows, **options)

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        return self.clock.run(story, longest=20)

    def run(self, workflow: Workflow[..., Any, Any], *args: Any, **options: Any) -> Any:
        async def story() -> Any:
            async with self.runtime(**options) as rt:
                return await rt.run(workflow, *args)

        return self.play(story())

    def received(self) -> list[Received]:
        """Send everything, for the last time, and return what arrived in the order in which it ended."""
        self.provider.get_tracer("tests").start_span(LAST, context=Context()).end()
        self.closed = True
        assert self._exporting.shutdown(20)
        return self._receiver.spans()


_worlds: list[World] = []


@pytest.fixture
def world(receiver: Receiver) -> Iterator[World]:
    _worlds[:] = [World(receiver)]
    yield _worlds[0]
    if not _worlds[0].closed:
        _worlds[0].received()


# What steps do: they make client spans of their own, as an instrumented HTTP client would, and follow the plan.


def ask(name: str) -> str:
    with _worlds[0].provider.get_tracer("client").start_as_current_span(f"GET /{name}"):
        return name


@step(effect="read")
async def fetch(name: str) -> str:
    return ask(name)


@step
def store(name: str) -> str:
    return ask(name)


@workflow
async def order(name: str) -> str:
    return await fetch(name) + await store(name)


TWO_SECONDS = Retry(3, initial="2s", backoff="fixed", jitter=False)


async def fail_as_planned(name: str) -> str:
    world = _worlds[0]
    await pause(world.clock, 1)
    world.outside -= 1
    if world.outside >= 0:
        raise ConnectionError("busy")
    return name


@step(effect="read", retry=TWO_SECONDS)
async def flaky(name: str) -> str:
    ask(name)
    return await fail_as_planned(name)


@step(effect="read", retry=TWO_SECONDS, breaker=Breaker(failure_threshold=2))
async def fragile(name: str) -> str:
    return await fail_as_planned(name)


@workflow
async def tripping(name: str) -> str:
    return await fragile(name)


@step(
    effect="read",
    retry=replace(TWO_SECONDS, on=Exception),
    breaker=Breaker(failure_threshold=1, reset_timeout="3s"),
)
async def lasting(name: str) -> str:
    return await fail_as_planned(name)


@workflow
async def enduring(name: str) -> str:
    return await lasting(name)


@workflow
async def trying(name: str) -> str:
    return await flaky(name)


@step(errors=Declined)
async def charge(card: str) -> str:
    if card == "stolen":
        raise Declined(code="stolen_card")
    if card == "broken":
        raise ValueError("no such card")
    return f"payment with {card}"


@workflow(errors=Declined)
async def paying(card: str) -> str:
    return await charge(card)


@workflow
async def ordering(name: str) -> str:
    return await fetch("before") + await trying(name)


# The shape.


def test_spans_of_clients_are_inside_the_steps_that_are_inside_the_run(world: World) -> None:
    """Also where a step is a plain function, which runs in a thread."""
    assert world.run(order, "lamp") == Ok("lamplamp")

    assert tree(world.received()) == [
        "workflow order", "  step fetch", "    GET /lamp", "  step store", "    GET /lamp",
    ]  # fmt: skip


def test_a_run_is_in_the_trace_of_who_started_it(world: World) -> None:
    async def story() -> None:
        async with world.runtime() as rt:
            with world.provider.get_tracer("server").start_as_current_span("POST /orders"):
                await rt.run(order, "lamp")

    world.play(story())

    found = by_name(world.received())
    assert found["workflow order"].parent == found["POST /orders"].id
    assert found["workflow order"].kind == 1  # internal


def test_spans_say_what_they_are_of(world: World) -> None:
    world.run(paying.options(id="pay:1"), "visa")

    found = by_name(world.received())
    assert found["workflow paying"].attributes == {
        "awaitly.run.id": "pay:1", "awaitly.workflow": "paying", "awaitly.outcome": "value",
    }  # fmt: skip
    assert found["step charge"].attributes == {
        "awaitly.run.id": "pay:1", "awaitly.workflow": "paying", "awaitly.step": "charge", "awaitly.call": "charge#0",
        "awaitly.outcome": "value",
    }  # fmt: skip


def test_a_version_is_said_once_of_its_run(world: World) -> None:
    @workflow(version="7")
    async def versioned() -> None: ...

    world.run(versioned)

    assert by_name(world.received())["workflow versioned"].attributes[names.VERSION] == "7"


def test_spans_begin_and_end_with_the_times_in_their_facts(world: World) -> None:
    world.run(trying, "a")

    (call,) = [span for span in world.received() if span.name == "step flaky"]
    assert call.ends - call.starts == 1_000_000_000


# Attempts.


def test_each_of_several_attempts_has_a_span_the_first_one_too(world: World) -> None:
    world.outside = 2

    world.run(trying, "a")

    spans = world.received()
    call = by_name(spans)["step flaky"]
    attempts = sorted((span for span in spans if span.name == "attempt flaky"), key=lambda span: span.starts)
    assert [span.attributes["awaitly.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.status for span in (call, *attempts)] == ["", "ERROR", "ERROR", ""]
    assert [span.message for span in attempts] == ["busy", "busy", ""]
    assert [(span.starts - call.starts, span.ends - call.starts) for span in attempts] == [
        (0, 1_000_000_000), (3_000_000_000, 4_000_000_000), (6_000_000_000, 7_000_000_000),
    ]  # fmt: skip
    assert call.attributes["awaitly.attempts"] == 3
    retrying = {"awaitly.seconds": 2.0, "exception.type": "ConnectionError", "exception.message": "busy"}
    assert call.events == (
        ("awaitly.step.retrying", {"awaitly.attempt": 1, **retrying}),
        ("awaitly.step.retrying", {"awaitly.attempt": 2, **retrying}),
    )


def test_what_later_attempts_ask_is_inside_their_own_spans(world: World) -> None:
    """What the first one asked is inside the call's: it was not known that another would follow."""
    world.outside = 1

    world.run(trying, "a")

    spans = world.received()
    known = {span.id: span for span in spans}
    parents = [known[span.parent] for span in sorted(spans, key=lambda span: span.starts) if span.name == "GET /a"]
    assert [parent.name for parent in parents] == ["step flaky", "attempt flaky"]
    assert parents[1].attributes["awaitly.attempt"] == 2


def test_an_attempt_that_a_circuit_refused_has_no_span_and_is_not_counted(world: World) -> None:
    world.outside = 9

    result = world.run(tripping, "a")

    assert result.error.notes[1] == "gave up after 2 attempts and 1 refusal in 6s"
    spans = world.received()
    assert by_name(spans)["step fragile"].attributes["awaitly.attempts"] == 2
    assert [span.attributes["awaitly.attempt"] for span in spans if span.name == "attempt fragile"] == [1, 2]


def test_the_first_attempt_failed_with_its_own_error_though_a_circuit_refused_what_came_next(world: World) -> None:
    world.outside = 1

    world.run(enduring, "a")

    attempts = [span for span in world.received() if span.name == "attempt lasting"]
    assert sorted((span.attributes["awaitly.attempt"], span.message) for span in attempts) == [(1, "busy"), (2, "")]


def test_a_single_attempt_has_no_span_of_its_own(world: World) -> None:
    world.run(trying, "a")

    assert tree(world.received()) == ["workflow trying", "  step flaky", "    GET /a"]


@step(effect="read", hedge=Hedge("1s"))
async def slow(name: str) -> str:
    world = _worlds[0]
    world.outside += 1
    ask(f"{world.outside}")
    await pause(world.clock, 60 if world.outside == 1 else 1)
    return name


@workflow
async def hedging() -> str:
    return await slow("a")


def test_attempts_beside_one_another_have_their_own_spans(world: World) -> None:
    world.run(hedging)

    spans = world.received()
    call = by_name(spans)["step slow"]
    attempts = [span for span in spans if span.name == "attempt slow"]
    assert sorted(span.attributes["awaitly.attempt"] for span in attempts) == [1, 2]
    assert {span.parent for span in attempts} == {call.id}
    assert by_name(spans)["GET /2"].parent == next(
        span.id for span in attempts if span.attributes["awaitly.attempt"] == 2
    )
    assert ("awaitly.step.hedged", {"awaitly.attempt": 2}) in call.events


# How it ended.


def test_an_expected_failure_is_no_error_but_says_its_class(world: World) -> None:
    world.run(paying, "stolen")

    found = by_name(world.received())
    for span in (found["step charge"], found["workflow paying"]):
        assert (span.status, span.attributes["awaitly.outcome"]) == ("", "failure")
        assert span.attributes["error.type"].endswith(".Declined")
        assert span.events == ()


def test_an_unexpected_error_is_one_and_is_recorded_where_it_was_raised(world: World) -> None:
    world.run(paying, "broken")

    found = by_name(world.received())
    step_, run = found["step charge"], found["workflow paying"]
    assert [(span.status, span.message, span.attributes["error.type"]) for span in (step_, run)] == [
        ("ERROR", "no such card", "ValueError")
    ] * 2
    ((name, about),) = step_.events
    assert (name, about["exception.type"], about["exception.message"]) == ("exception", "ValueError", "no such card")
    assert 'raise ValueError("no such card")' in about["exception.stacktrace"]
    assert run.events == ()


def test_an_error_of_the_body_is_recorded_with_the_run(world: World) -> None:
    @workflow
    async def broken() -> None:
        raise ValueError("a bug")

    world.run(broken)

    run = by_name(world.received())["workflow broken"]
    assert (run.status, run.message, run.attributes["error.type"]) == ("ERROR", "a bug", "ValueError")
    assert [name for name, _ in run.events] == ["exception"]


@step(timeout="1s", effect="read")
async def endless() -> None:
    await pause(_worlds[0].clock, 60)


@step(effect="read")
async def waiting() -> None:
    await pause(_worlds[0].clock, 600)


@workflow
async def timing_out() -> None:
    await endless()


@workflow(deadline="5s")
async def late() -> None:
    await waiting()


@workflow
async def racing() -> str | None:
    return await race(fetch("a"), waiting())


def test_an_error_of_awaitly_says_its_code(world: World) -> None:
    world.run(timing_out)

    assert by_name(world.received())["step endless"].attributes["awaitly.error.code"] == "step-timeout"


def test_a_run_that_took_too_long_is_an_error(world: World) -> None:
    world.run(late)

    run = by_name(world.received())["workflow late"]
    assert (run.status, run.message) == ("ERROR", "its deadline passed")
    assert (run.attributes["awaitly.outcome"], run.attributes["error.type"]) == ("deadline", "deadline-exceeded")
    assert run.events == (("awaitly.run.deadline_passed", {}),)


def test_a_cancelled_run_and_its_cancelled_steps_are_no_errors(world: World) -> None:
    async def story() -> None:
        async with world.runtime() as rt:
            handle = await rt.start(late)
            await world.clock.advance("1s")
            await handle.cancel("no more")
            await handle.result()

    world.play(story())

    found = by_name(world.received())
    assert [(span.status, span.attributes["awaitly.outcome"]) for span in found.values()] == [("", "cancelled")] * 2
    assert found["workflow late"].events == (("awaitly.run.cancel_requested", {"awaitly.reason": "no more"}),)


def test_who_lost_a_race_was_cancelled(world: World) -> None:
    world.run(racing)

    lost = by_name(world.received())["step waiting"]
    assert (lost.attributes["awaitly.outcome"], lost.status) == ("cancelled", "")


# What happened on the way.


@step(effect="read", cache="1h")
async def rate(currency: str) -> str:
    return ask(currency)


@step(effect="read", fallback=Fallback(value="nothing"))
async def guess() -> str:
    raise ConnectionError("away")


@step(effect="read", limiter=Concurrency("seats", limit=1, queue=1))
async def sit(name: str) -> str:
    await pause(_worlds[0].clock, 3)
    return name


@step(breaker=Breaker("payments", failure_threshold=1, reset_timeout="30s"))
async def pay() -> str:
    raise ConnectionError("away")


@step(effect="read")
async def receipt() -> str:
    return "on paper"


@receipt.variant(flag="mail")
async def by_mail() -> str:
    return "by mail"


@workflow
async def caching() -> str:
    return await rate("EUR") + await rate("EUR")


@workflow
async def guessing() -> str:
    return await guess()


@workflow
async def sitting(number: int) -> int:
    return len(await gather(*(sit(str(each)) for each in range(number))))


@workflow
async def paying_twice() -> None:
    await pay.attempt()
    await pay()


@workflow
async def mailing() -> str:
    return await receipt()


def test_an_answer_from_the_cache_is_a_span_of_no_time(world: World) -> None:
    world.run(caching)

    asked, cached = (span for span in world.received() if span.name == "step rate")  # in the order of their ends
    assert asked.events == ()
    assert cached.events == (("awaitly.cache.hit", {}),)
    assert (cached.attributes["awaitly.source"], cached.attributes["awaitly.attempts"]) == ("cache", 0)
    assert cached.starts == cached.ends


def test_a_fallback_is_an_event_and_the_source_of_the_outcome(world: World) -> None:
    assert world.run(guessing) == Ok("nothing")

    span = by_name(world.received())["step guess"]
    assert span.events == (("awaitly.fallback.taken", {"exception.type": "ConnectionError"}),)
    assert (span.attributes["awaitly.source"], span.status) == ("fallback", "")


def test_the_wait_for_a_limiter_is_part_of_the_call(world: World) -> None:
    world.run(sitting, 2)

    _, waited = sorted((span for span in world.received() if span.name == "step sit"), key=lambda span: span.ends)
    assert waited.ends - waited.starts == 6_000_000_000
    assert waited.events == (("awaitly.limiter.waited", {"awaitly.limiter": "seats", "awaitly.seconds": 3.0}),)


def test_who_is_turned_away_by_a_limiter_says_so(world: World) -> None:
    world.run(sitting, 3)

    rejected = [span for span in world.received() if span.attributes.get("awaitly.error.code") == "limit-reached"]
    assert [span.events[0] for span in rejected if span.name == "step sit"] == [
        ("awaitly.limiter.rejected", {"awaitly.limiter": "seats"})
    ]


def test_who_is_turned_away_by_an_open_circuit_says_so(world: World) -> None:
    world.run(paying_twice)

    _, rejected = (span for span in world.received() if span.name == "step pay")
    assert rejected.attributes["awaitly.error.code"] == "circuit-open"
    assert rejected.events[0] == ("awaitly.breaker.rejected", {"awaitly.breaker": "payments"})


def test_a_wait_for_room_is_within_the_span_of_its_run_which_holds_its_steps(world: World) -> None:
    async def story() -> None:
        settings = Settings(max_active_runs=1)
        async with Runtime(settings, store=world.memory, clock=world.clock, watchers=[world.tracing()]) as rt:
            await asyncio.gather(rt.run(trying, "a"), rt.run(paying.options(id="second"), "visa"))

    world.play(story())

    found = by_name(world.received())
    run, call = found["workflow paying"], found["step charge"]
    assert [name for name, _ in run.events] == ["awaitly.run.queued", "awaitly.run.admitted"]
    assert run.events[1][1]["awaitly.seconds"] == pytest.approx(1)
    assert (call.parent, call.starts - run.starts >= 1_000_000_000) == (run.id, True)


def test_a_decision_about_a_flag_is_an_event_of_the_run(world: World) -> None:
    world.run(mailing, flags={"mail": True})

    found = by_name(world.received())
    ((name, about),) = found["workflow mailing"].events
    assert (name, about["feature_flag.key"], about["feature_flag.result.value"]) == (
        "feature_flag.evaluation", "mail", True,
    )  # fmt: skip
    assert found["step receipt"].attributes["awaitly.variant"] == "by_mail"


# Children.


def test_a_child_run_is_inside_the_span_of_its_call(world: World) -> None:
    world.run(ordering.options(id="o"), "a")

    spans = world.received()
    found = by_name(spans)
    assert found["workflow trying"].parent == found["step trying"].id
    assert found["step trying"].parent == found["workflow ordering"].id
    assert found["workflow trying"].attributes["awaitly.run.parent"] == "o"
    assert found["step fetch"].parent == found["workflow ordering"].id


@workflow
async def held_child() -> str:
    return await holding()


def test_a_child_that_is_cancelled_with_its_parent_is_no_error(world: World) -> None:
    async def story() -> None:
        async with world.runtime(holding) as rt:
            handle = await rt.start(held_child)
            await world.begun.wait()
            await handle.cancel("the customer left")
            await handle.result()

    world.play(story())

    found = by_name(world.received())
    told = {name: found[name].attributes["awaitly.outcome"] for name in ("workflow holding", "step holding")}
    assert told == {"workflow holding": "cancelled", "step holding": "cancelled"}
    assert not [span.name for span in found.values() if span.status == "ERROR"]
    assert found["step holding"].events == ()


@workflow(deadline="30s")
async def late_child() -> str:
    return await holding()


def test_the_call_of_a_child_whose_deadline_passed_is_too_late_and_what_its_parent_did_not_expect(world: World) -> None:
    @workflow
    async def waiting_for_late() -> str:
        return await late_child()

    world.run(waiting_for_late)

    found = by_name(world.received())
    call, run = found["step late_child"], found["workflow waiting_for_late"]
    assert (call.attributes["awaitly.outcome"], call.attributes["error.type"]) == ("deadline", "deadline-exceeded")
    assert call.events == ()
    assert (run.attributes["awaitly.outcome"], [name for name, _ in run.events]) == ("unexpected", ["exception"])


def test_a_child_that_is_retried_with_its_parent_is_inside_the_new_span_of_its_call(world: World) -> None:
    world.outside = 3

    async def story() -> Any:
        async with world.runtime(trying) as rt:
            handle = await rt.start(ordering.options(id="o"), "a")
            assert isinstance(await handle.result(), Err)
            return await (await rt.retry("o")).result()

    assert world.play(story()) == Ok("beforea")

    spans = sorted(world.received(), key=lambda span: span.starts)
    first, again = (span for span in spans if span.name == "workflow ordering")
    child, child_again = (span for span in spans if span.name == "workflow trying")
    call, call_again = (span for span in spans if span.name == "step trying")
    assert (child.parent, child_again.parent) == (call.id, call_again.id)
    assert (again.links, child_again.links) == ((first.trace,), (first.trace,))
    assert again.trace == child_again.trace != first.trace


# After a crash.


class Mortal(Tracing):
    """Sees nothing of what the simulation does to tidy up after a death."""

    def __init__(self, life: Life, provider: AnyProvider, *, time: Callable[[], float]) -> None:
        super().__init__(provider, time=time)
        self._life = life

    def __call__(self, notice: Notice) -> None:
        if not self._life.dead:
            super().__call__(notice)


def test_a_run_that_another_process_resumes_is_linked_to_its_first_trace(world: World) -> None:
    """What is replayed makes no spans."""
    world.outside = 0
    life = Life()

    async def first() -> None:
        watchers = [Mortal(life, world.provider, time=world.clock.time)]
        async with world.runtime(store=CrashingStore(world.memory, life), watchers=watchers) as rt:
            await rt.start(napping.options(id="n"))
            await world.clock.advance("10s")
            life.die()
            await asyncio.Event().wait()

    async def second() -> Any:
        async with world.runtime(napping) as rt:
            return await (await rt.handle("n")).result()

    assert life.run(first(), clock=world.clock) is None
    assert world.play(second()) == Ok("beforeafter")

    spans = world.received()
    (resumed,) = [span for span in spans if span.name.startswith("workflow")]
    dead = [span for span in spans if span.attributes.get("awaitly.run.id") and span.trace != resumed.trace]
    assert [span.name for span in dead] == ["step fetch"]
    assert resumed.links == (dead[0].trace,)
    assert (resumed.parent, resumed.attributes["awaitly.run.resumed"]) == ("", True)
    assert tree([span for span in spans if span.trace == resumed.trace]) == [
        "workflow napping", "  step store", "    GET /after",
    ]  # fmt: skip


@workflow
async def napping() -> str:
    before = await fetch("before")
    await sleep("1h")
    return before + await store("after")


def test_a_run_that_stops_here_ends_its_spans_and_goes_on_in_others(world: World, tmp_path: Path) -> None:
    """The same on a real file, in real time: the runtime is closed in the middle of a step, and opened again."""
    settings = Settings(store=f"sqlite:///{tmp_path}/runs.db")
    tracing = Tracing(world.provider)

    async def first() -> None:
        async with Runtime(settings, watchers=[tracing]) as rt:
            await rt.start(holding.options(id="h"))
            await world.begun.wait()
            await rt.shutdown(0)

    async def second() -> Any:
        world.held = asyncio.Event()
        world.held.set()
        async with Runtime(settings, watchers=[tracing], workflows=[holding]) as rt:
            return await (await rt.handle("h")).result()

    asyncio.run(first())
    assert asyncio.run(second()) == Ok("a")

    spans = sorted(world.received(), key=lambda span: span.starts)
    stopped, resumed = (span for span in spans if span.name == "workflow holding")
    held, again = (span for span in spans if span.name == "step hold")
    assert (stopped.attributes["awaitly.run.released"], stopped.attributes["awaitly.outcome"]) == (
        "shutting-down", "interrupted",
    )  # fmt: skip
    assert (stopped.status, held.attributes["awaitly.outcome"]) == ("", "interrupted")
    assert resumed.links == (stopped.trace,)
    assert (held.parent, again.parent) == (stopped.id, resumed.id)
    assert again.attributes["awaitly.outcome"] == "value"
    assert len([span for span in spans if span.name == "step fetch"]) == 1
    assert len(tracing._runs) == 0


def test_a_child_that_goes_on_by_itself_is_linked_from_the_call_that_waits_for_it(world: World) -> None:
    """A parent and its child are taken over one by one: the child may be under way when its parent comes to it."""

    async def story() -> Any:
        async with world.runtime() as rt:
            await rt.start(outer.options(id="o"))
            await world.begun.wait()
            await rt.shutdown(0)
        world.begun.clear()
        async with world.runtime(holding) as rt:
            await world.begun.wait()
            handle = await rt.start(outer.options(id="o"))
            await world.clock.advance("1s")
            world.held.set()
            return await handle.result()

    assert world.play(story()) == Ok("a")

    spans = world.received()
    inner, inner_again = (span for span in spans if span.name == "workflow holding")
    call, call_again = (span for span in spans if span.name == "step holding")
    assert inner.parent == call.id
    assert inner_again.parent == ""
    assert inner_again.links == (inner.trace,)
    assert call_again.links == (inner_again.trace,)


@workflow
async def outer() -> str:
    return await holding()


@step(effect="read")
async def hold() -> None:
    world = _worlds[0]
    world.begun.set()
    await world.held.wait()


@workflow
async def holding() -> str:
    found = await fetch("a")
    await hold()
    return found


# Whose trace it is.


def test_the_store_keeps_the_trace_that_a_run_began_in(world: World) -> None:
    async def story() -> str:
        async with world.runtime() as rt:
            await rt.run(order.options(id="o"), "lamp")
            (started, *_) = await rt.facts("o")
            assert isinstance(started, RunStarted)
            return started.trace

    traceparent = world.play(story())

    run = by_name(world.received())["workflow order"]
    assert traceparent == f"00-{run.trace}-{run.id}-{traceparent[-2:]}"


def test_two_who_start_one_run_at_once_begin_one_span_that_ends(world: World) -> None:
    async def story() -> str:
        async with world.runtime() as rt:
            await asyncio.gather(*(rt.run(order.options(id="o"), "lamp") for _ in range(2)))
            (started, *_) = await rt.facts("o")
            assert isinstance(started, RunStarted)
            return started.trace

    traceparent = world.play(story())

    (run,) = [span for span in world.received() if span.name == "workflow order"]
    assert run.id in traceparent


def test_who_starts_a_run_that_is_executed_already_is_linked_to_it(world: World) -> None:
    async def story() -> None:
        async with world.runtime() as rt:
            handle = await rt.start(late.options(id="l"))
            with world.provider.get_tracer("server").start_as_current_span("POST /again"):
                await rt.start(late.options(id="l"))
            await handle.result()

    world.play(story())

    found = by_name(world.received())
    assert found["POST /again"].links == (found["workflow late"].trace,)


def test_a_run_that_is_continued_because_it_is_started_again_is_in_the_trace_of_who_did(world: World) -> None:
    async def story() -> None:
        async with world.runtime(recover=False) as rt:
            await rt.start(holding.options(id="h"))
            await world.begun.wait()
            await rt.shutdown(0)
        world.held.set()
        async with world.runtime(recover=False) as rt:
            with world.provider.get_tracer("server").start_as_current_span("POST /again"):
                await rt.run(holding.options(id="h"))

    world.play(story())

    spans = world.received()
    first, again = (span for span in spans if span.name == "workflow holding")
    assert again.parent == by_name(spans)["POST /again"].id
    assert again.links == (first.trace,)


def test_a_fork_has_a_trace_of_its_own(world: World) -> None:
    async def story() -> None:
        async with world.runtime() as rt:
            await rt.run(order.options(id="o"), "lamp")
            await (await rt.fork("o", at="store", id="fork")).result()
            await (await rt.handle("fork")).result()

    world.play(story())

    first, fork = (span for span in world.received() if span.name == "workflow order")
    assert first.trace != fork.trace
    assert fork.attributes["awaitly.run.forked_from"] == "o"


def test_spans_of_the_body_are_between_the_run_and_its_steps(world: World) -> None:
    @workflow
    async def shipping() -> str:
        with _worlds[0].provider.get_tracer("shop").start_as_current_span("packing"):
            return await fetch("box")

    world.run(shipping)

    assert tree(world.received()) == ["workflow shipping", "  packing", "    step fetch", "      GET /box"]


# What others add.


def test_enrich_gets_the_spans_with_what_began_and_ended_them(world: World) -> None:
    seen = []

    def enrich(span: Span, fact: Fact) -> None:
        seen.append((span.name, type(fact)))  # type: ignore[attr-defined]  # a span of the SDK has a name
        span.set_attribute("shop", "Basel")

    world.run(paying, "visa", watchers=[world.tracing(enrich=enrich)])

    assert seen == [
        ("workflow paying", RunStarted), ("step charge", StepStarted),
        ("step charge", StepFinished), ("workflow paying", RunFinished),
    ]  # fmt: skip
    assert [span.attributes["shop"] for span in world.received()] == ["Basel", "Basel"]


def test_an_enrich_that_raises_harms_nobody_and_is_reported_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def enrich(span: Span, fact: Fact) -> None:
        raise ValueError("no tenant")

    assert world.run(paying, "visa", watchers=[world.tracing(enrich=enrich)]) == Ok("payment with visa")

    assert [span.attributes["awaitly.outcome"] for span in world.received()] == ["value", "value"]
    assert [record.message for record in caplog.records if record.name == "awaitly"] == [
        "enrich= of Tracing failed; further failures of it are not logged"
    ]


class Outside(BaseException):
    """No Exception, as what `pytest.fail()` raises."""


@pytest.mark.parametrize("raised", [asyncio.CancelledError, GeneratorExit, Outside])
@pytest.mark.parametrize("kind", [RunStarted, StepStarted, StepFinished, RunFinished])
def test_whatever_enrich_raises_harms_no_run_and_leaves_no_span_open(
    world: World, raised: type[BaseException], kind: type[Fact]
) -> None:
    def enrich(span: Span, fact: Fact) -> None:
        if isinstance(fact, kind):
            raise raised

    assert world.run(paying, "visa", watchers=[world.tracing(enrich=enrich)]) == Ok("payment with visa")

    assert [span.attributes["awaitly.outcome"] for span in world.received()] == ["value", "value"]


def test_what_is_raised_in_enrich_to_end_the_process_ends_it_and_not_the_step(world: World) -> None:
    charged = []

    @step
    async def charging(card: str) -> str:
        charged.append(card)
        return f"payment with {card}"

    @workflow(key="paying once")
    async def paying_once(card: str) -> str:
        return await charging(card)

    def enrich(span: Span, fact: Fact) -> None:
        if isinstance(fact, StepStarted):
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        world.run(paying_once, "visa", watchers=[world.tracing(enrich=enrich)])

    assert world.run(paying_once, "visa") == Ok("payment with visa")
    assert charged == ["visa"]


# What is sent away.


@step(effect="read")
async def login(user: str, password: str) -> dict[str, str]:
    return {"user": user, "session_token": "hush"}


@workflow
async def visiting(user: str, password: str) -> str:
    return (await login(user, password))["user"]


def test_arguments_and_values_are_not_recorded(world: World) -> None:
    world.run(visiting, "ada", "hush")

    assert "ada" not in str(world.received())


def test_arguments_and_values_are_recorded_without_their_secrets_if_asked_for(world: World) -> None:
    world.run(visiting, "ada", "hush", watchers=[world.tracing(inputs=True)])

    found = by_name(world.received())
    assert found["workflow visiting"].attributes["awaitly.input"] == '{"user": "ada", "password": "***"}'
    assert found["workflow visiting"].attributes["awaitly.result"] == '"ada"'
    assert found["step login"].attributes["awaitly.result"] == '{"user": "ada", "session_token": "***"}'


@step(effect="read")
async def fetch_token(user: str) -> str:
    return f"hush of {user}"


@step(effect="read")
async def check_keys(keys: list[str]) -> dict[str, int]:
    return {"checked": len(keys)}


@workflow
async def unlocking(user: str, api_keys: list[str]) -> int:
    token = await fetch_token(user)
    return (await check_keys([token, *api_keys]))["checked"]


def test_a_bare_value_has_the_name_of_its_step_and_is_masked_if_that_is_one_of_a_secret(world: World) -> None:
    world.run(unlocking, "ada", ["hush"], watchers=[world.tracing(inputs=True)])

    found = by_name(world.received())
    assert found["step fetch_token"].attributes["awaitly.result"] == '"***"'
    assert found["step check_keys"].attributes["awaitly.result"] == '{"checked": 2}'
    assert found["workflow unlocking"].attributes["awaitly.input"] == '{"user": "ada", "api_keys": "***"}'
    assert found["workflow unlocking"].attributes["awaitly.result"] == "2"


def test_redact_decides_about_what_is_recorded(world: World) -> None:
    def redact(name: str, value: object) -> object:
        return f"{name}?" if value == "ada" else value

    world.run(visiting, "ada", "hush", watchers=[world.tracing(inputs=True, redact=redact)])

    found = by_name(world.received())
    assert found["workflow visiting"].attributes["awaitly.input"] == '{"user": "user?", "password": "***"}'
    assert found["workflow visiting"].attributes["awaitly.result"] == '"visiting?"'


def test_what_redact_fails_at_is_masked(world: World) -> None:
    def redact(name: str, value: object) -> object:
        raise KeyError(name)

    world.run(visiting, "ada", "hush", watchers=[world.tracing(inputs=True, redact=redact)])

    assert by_name(world.received())["workflow visiting"].attributes["awaitly.input"] == '"***"'


@pytest.mark.parametrize("raised", [asyncio.CancelledError, Outside])
def test_whatever_redact_raises_harms_no_run_and_leaves_no_span_open(world: World, raised: type[BaseException]) -> None:
    def redact(name: str, value: object) -> object:
        raise raised

    world.run(visiting, "ada", "hush", watchers=[world.tracing(inputs=True, redact=redact)])

    assert [span.name for span in world.received()] == ["step login", "workflow visiting"]


def test_of_long_values_the_beginning_is_recorded_of_very_long_ones_their_size(world: World) -> None:
    async def story() -> None:
        async with world.runtime(watchers=[world.tracing(inputs=True)]) as rt:
            await rt.run(paying, "x" * 2_000)
            await rt.run(paying, "x" * 100_000)

    world.play(story())

    long, longer = (span.attributes["awaitly.input"] for span in world.received() if span.name == "workflow paying")
    assert (len(long), long[-3:]) == (1000, "xx…")
    assert longer == "(100011 bytes)"


# Whatever the SDK is.


def test_without_an_sdk_nothing_is_kept(world: World) -> None:
    tracing = Tracing(time=world.clock.time)

    async def story() -> str:
        async with world.runtime(watchers=[tracing]) as rt:
            handle = await rt.start(late.options(id="l"))
            assert not tracing._runs
            assert not tracing._begun
            await handle.result()
            (started, *_) = await rt.facts("l")
            assert isinstance(started, RunStarted)
            return started.trace

    assert world.play(story()) == ""


@step(effect="read")
async def sampled() -> bool:
    about = trace.get_current_span().get_span_context()
    assert about.is_valid
    return about.trace_flags.sampled


@workflow
async def sampling() -> bool:
    return await sampled()


def test_a_run_that_is_not_sampled_makes_no_spans_and_says_so_to_those_whom_it_calls(world: World) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracing = Tracing(provider, time=world.clock.time)

    assert world.run(sampling, watchers=[tracing]) == Ok(False)

    assert memory.get_finished_spans() == ()
    assert not tracing._runs


class Broken(SpanProcessor):
    """What somebody plugged into the SDK."""

    def on_start(self, span: Recorded, parent_context: Context | None = None) -> None:
        raise ValueError("out of order")


def test_an_sdk_that_raises_harms_no_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())

    assert world.run(paying, "visa", watchers=[Tracing(provider)]) == Ok("payment with visa")

    assert "an OpenTelemetry SDK failed to begin the span of a run" in caplog.text


# What is kept.


def test_nothing_is_kept_of_runs_that_have_ended(world: World) -> None:
    tracing = world.tracing()
    world.outside = 1

    async def story() -> None:
        async with world.runtime(watchers=[tracing]) as rt:
            await asyncio.gather(rt.run(racing), rt.run(order, "a"), rt.run(trying, "a"), rt.run(late))
            assert (tracing._runs, tracing._begun) == ({}, {})

    world.play(story())


def test_of_starts_that_become_no_runs_here_few_are_kept(world: World) -> None:
    tracing = world.tracing()

    traces = [tracing.begin(f"run:{number}", "order") for number in range(WAITING)]
    world.play(world.clock.advance(f"{FRESH + 1}s"))
    tracing.begin("another", "order")

    assert len(tracing._begun) == WAITING
    began = RunStarted(
        at=world.clock.time(), workflow="order", version=None, fingerprint="", arguments=b"", arguments_digest="",
        seed=1, trace=traces[0],
    )  # fmt: skip
    copy_context().run(tracing, Notice("run:0", "order", began))
    tracing(Notice("run:0", "order", RunFinished(at=world.clock.time(), ending=Ending.VALUE, payload=b"null")))
    (span,) = world.received()
    assert (span.trace, span.parent) == tuple(traces[0].split("-")[1:3])  # in the trace that was promised, all the same


def test_of_a_burst_of_starts_none_is_forgotten_before_it_can_have_become_a_run() -> None:
    """A sampler that records nothing makes them quickly."""
    tracing = Tracing(TracerProvider(sampler=ALWAYS_OFF), time=lambda: 0.0)

    for number in range(MOST):
        tracing.begin(f"run:{number}", "order")

    assert len(tracing._begun) == MOST
    tracing.begin("one more", "order")
    assert len(tracing._begun) == MOST


def test_every_event_has_attributes_that_the_table_explains() -> None:
    assert {name for _, fields in EVENTS.values() for name in fields.values()} <= MEANINGS.keys()


def by_name(spans: Sequence[Received]) -> dict[str, Received]:
    """Return spans by their names, and check that the table of attributes has theirs."""
    ours = [span for span in spans if span.name.startswith(("workflow ", "step ", "attempt "))]
    keys = {key for span in ours for about in (span.attributes, *(held for _, held in span.events)) for key in about}
    assert keys <= MEANINGS.keys()
    return {span.name: span for span in spans}


def test_text_that_is_no_valid_unicode_loses_no_spans(world: World) -> None:
    odd = "caf\udce9"

    @step(effect="none", retry=Retry(2, initial="1s", jitter=False))
    async def opens(name: str) -> str:
        raise OSError(odd)

    @workflow
    async def opening(name: str) -> str:
        return await opens(name)

    @workflow
    async def waiting() -> None:
        await sleep("1h")

    async def story() -> None:
        async with world.runtime() as rt:
            await rt.run(opening, "lamp")
            handle = await rt.start(waiting)
            await handle.cancel(odd)
            await handle.result()

    world.play(story())

    spans = world.received()
    assert [span.name for span in spans if span.name.startswith("workflow")] == ["workflow opening", "workflow waiting"]
    messages = [
        value
        for span in spans
        for event in span.events
        for value in event[1].values()
        if isinstance(value, str) and value.startswith("caf")
    ]
    assert messages
    assert set(messages) == {"caf\\udce9"}
