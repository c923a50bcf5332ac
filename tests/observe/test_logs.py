"""What is logged inside a run says where; a replay logs nothing again."""

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from pydantic_core import from_json

from awaitly import Failure, Ok, Retry, Runtime, sleep, step, workflow
from awaitly.observe.logs import Journalist, configure
from awaitly.observe.tracing import Tracing
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.settings.tables import LogSettings
from awaitly.testing.clock import VirtualClock


class Declined(Failure):
    code: str


tries: list[int] = []


@step(retry=Retry(3, initial="10ms"))
async def flaky(number: int) -> int:
    tries.append(number)
    logging.getLogger("shop").warning("trying", extra={"number": number})
    structlog.get_logger("shop").info("trying harder", number=number)
    if len(tries) < 2:
        raise ConnectionError("busy")
    return number


@step(errors=Declined)
def declining(code: str) -> None:
    logging.getLogger("shop").info("in a thread")
    raise Declined(code)


@workflow(key="job:{number}")
async def job(number: int) -> int:
    logging.getLogger("shop").info("the body begins")
    found = await flaky(number)
    logging.getLogger("shop").info("the body goes on")
    await sleep("1h")
    structlog.get_logger("shop").info("the body ends")
    return found


@workflow(errors=Declined)
async def declined(code: str) -> None:
    await declining(code)


@workflow
async def broken() -> None:
    raise RuntimeError("a bug")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator["Lines"]:
    """Return what is logged as JSON; the set-up of logs before the test is restored after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    tries.clear()
    yield Lines(capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Lines:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._read: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._read += map(json.loads, self._capsys.readouterr().err.splitlines())
        return iter(self._read)

    def written(self) -> list[str]:
        """Return the lines since the last time, as they were written."""
        return self._capsys.readouterr().err.splitlines()

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self if line["logger"] == logger]


def logged(level: str = "info") -> Settings:
    return Settings(logs=LogSettings(format="json", level=level))  # type: ignore[arg-type]  # a parameter of the tests


def test_every_line_inside_a_run_says_where_it_was_logged(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock) as rt:
            assert await rt.run(job, 7) == Ok(7)

    clock.run(story())

    assert [
        (line["event"], line["run_id"], line["workflow"], line.get("step"), line.get("attempt"), line.get("number"))
        for line in lines.of("shop")
    ] == [
        ("the body begins", "job:7", "job", None, None, None),
        ("trying", "job:7", "job", "flaky", 1, 7),
        ("trying harder", "job:7", "job", "flaky", 1, 7),
        ("trying", "job:7", "job", "flaky", 2, 7),
        ("trying harder", "job:7", "job", "flaky", 2, 7),
        ("the body goes on", "job:7", "job", None, None, None),
        ("the body ends", "job:7", "job", None, None, None),
    ]


def test_a_replay_logs_nothing_again(lines: Lines, tmp_path: object) -> None:
    store = f"sqlite:///{tmp_path}/runs.db"

    async def first(clock: VirtualClock) -> None:
        async with Runtime(logged(), store=store, clock=clock) as rt:
            await rt.start(job, 7)
            await clock.advance("1m")

    async def second(clock: VirtualClock) -> None:
        async with Runtime(logged(), store=store, clock=clock, workflows=[job]) as rt:
            assert await (await rt.handle("job:7")).result() == Ok(7)

    once, again = VirtualClock(), VirtualClock(auto=True)
    once.run(first(once))
    before = len(lines.of("shop"))
    again.run(second(again))

    assert [line["event"] for line in lines.of("shop")][before:] == ["the body ends"]


hangs = True


@step
async def keep() -> None:
    pass


@step
async def hold() -> None:
    logging.getLogger("shop").info("the step begins")
    if hangs:
        await asyncio.Event().wait()


@workflow(key="held")
async def held() -> None:
    logging.getLogger("shop").info("the body begins")
    await keep()
    logging.getLogger("shop").info("the body goes on")
    await hold()


def test_what_was_logged_after_the_last_stored_outcome_is_logged_again(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(auto=True)
    store = MemoryStore(monotonic=clock.monotonic)

    async def story() -> None:
        async with Runtime(logged(), store=store, clock=clock) as rt:
            await rt.start(held)
            await clock.advance("1s")
        monkeypatch.setattr(f"{__name__}.hangs", False)
        async with Runtime(logged(), store=store, clock=clock, workflows=[held]) as rt:
            assert await (await rt.handle("held")).result() == Ok(None)

    clock.run(story())

    told = ["the body goes on", "the step begins"]
    assert [line["event"] for line in lines.of("shop")] == ["the body begins", *told, *told]


def test_a_plain_step_logs_from_its_thread_like_any_other(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock) as rt:
            await rt.run(declined, "stolen")

    clock.run(story())

    (line,) = lines.of("shop")
    assert (line["event"], line["step"], line["attempt"]) == ("in a thread", "declining", 1)


def test_what_happens_to_runs_is_logged_at_the_level_that_it_deserves(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock) as rt:
            await rt.run(job, 7)
            await rt.run(declined, "stolen")
            await rt.run(broken)

    clock.run(story())

    assert [(line["level"], line["event"], line["workflow"]) for line in lines.of("awaitly.runs")] == [
        ("info", "run started", "job"),
        ("warning", "step failed, trying again", "job"),
        ("info", "run finished", "job"),
        ("info", "run started", "declined"),
        ("info", "step failed as declared", "declined"),
        ("warning", "run ended without a result", "declined"),
        ("info", "run started", "broken"),
        ("error", "run failed unexpectedly", "broken"),
    ]


def test_lines_about_a_run_say_the_trace_that_it_began_in(lines: Lines) -> None:
    clock, provider = VirtualClock(auto=True), TracerProvider(shutdown_on_exit=False)
    journalist = Journalist()

    async def story() -> None:
        watchers = [Tracing(provider, time=clock.time)]
        async with Runtime(logged(), store="memory://", clock=clock, watchers=watchers, sinks=[journalist]) as rt:
            await rt.run(job, 7)
            await rt.run(declined, "stolen")

    clock.run(story())

    own = {line["run_id"]: line["trace_id"] for line in lines.of("shop")}  # where the span is current
    told = {(line["run_id"], line["trace_id"]) for line in lines.of("awaitly.runs")}
    assert len(own) == 2
    assert told == set(own.items())
    assert journalist._traces == {}


def test_the_call_of_a_child_that_ended_with_its_parent_is_no_unexpected_failure(lines: Lines) -> None:
    clock = VirtualClock()

    @workflow(deadline="1m")
    async def late() -> None:
        await sleep("1h")

    @workflow
    async def parent() -> int:
        return await job(7)

    @workflow
    async def parent_of_late() -> None:
        await late()

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock) as rt:
            handle = await rt.start(parent)
            await clock.advance("5s")
            await handle.cancel()
            await handle.result()
            other = await rt.start(parent_of_late)
            await clock.advance("2m")
            await other.result()

    clock.run(story())

    calls = [line for line in lines.of("awaitly.runs") if line.get("step") in ("job", "late")]
    said = [(line["level"], line["event"]) for line in calls]
    assert said == [("info", "step cancelled"), ("warning", "step ended too late")]


def test_a_journalist_that_is_given_writes_no_line_twice(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock, sinks=[Journalist()]) as rt:
            await rt.run(declined, "stolen")

    clock.run(story())

    assert [line["event"] for line in lines.of("awaitly.runs")].count("run started") == 1


def test_a_line_has_the_time_at_which_it_happened_not_that_at_which_it_was_written(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged(), store="memory://", clock=clock) as rt:
            await rt.run(job, 7)

    clock.run(story())

    times = {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in lines.of("awaitly.runs")}
    assert times["step failed, trying again"] < times["run started"] + timedelta(minutes=1)
    assert times["run finished"] >= times["run started"] + timedelta(hours=1)  # the body slept for so long


def test_a_run_that_waits_for_room_has_a_line_when_it_does_and_one_when_it_has_room(lines: Lines) -> None:
    clock = VirtualClock(auto=True)
    settings = Settings(logs=LogSettings(format="json"), max_active_runs=1)

    async def story() -> None:
        async with Runtime(settings, store="memory://", clock=clock) as rt:
            await asyncio.gather(*(rt.run(job, number) for number in (7, 8)))

    clock.run(story())

    of_second = [line for line in lines.of("awaitly.runs") if line["run_id"] == "job:8"]
    times = [datetime.fromisoformat(line["timestamp"]) for line in of_second]
    assert [line["event"] for line in of_second] == ["run started", "run queued", "run admitted", "run finished"]
    assert (of_second[1]["ahead"], of_second[2]["seconds"]) == (0, pytest.approx(3600, abs=10))
    assert times[1] - times[0] < timedelta(seconds=1)
    assert times[2] - times[1] >= timedelta(hours=1)
    assert times == sorted(times)


def test_an_unexpected_failure_is_logged_with_its_traceback(lines: Lines) -> None:
    clock = VirtualClock(auto=True)

    async def story() -> None:
        async with Runtime(logged("error"), store="memory://", clock=clock) as rt:
            await rt.run(broken)

    clock.run(story())

    (line,) = lines
    (raised,) = line["exception"]
    assert (raised["exc_type"], raised["exc_value"]) == ("RuntimeError", "a bug")
    assert "locals" not in raised["frames"][0]  # they may hold secrets


def test_logging_is_left_alone_unless_settings_ask_for_it() -> None:
    clock = VirtualClock(auto=True)
    handlers = logging.getLogger().handlers[:]

    async def story() -> None:
        async with Runtime(Settings(), store="memory://", clock=clock) as rt:
            await rt.run(declined, "stolen")

    clock.run(story())

    assert logging.getLogger().handlers == handlers


class Textless:
    def __str__(self) -> str:
        raise ValueError("it has no text")


def around_itself() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary()
ODD = st.sampled_from(["caf\udce9", float("nan"), float("-inf"), OSError("\ud800")]) | st.one_of(
    st.builds(Textless), st.builds(around_itself), st.integers(4000, 6000).map(lambda digits: 10**digits)
)
ANYTHING = st.recursive(
    SIMPLE | ODD,
    lambda inner: (
        st.lists(inner) | st.dictionaries(SIMPLE | st.tuples(SIMPLE), inner) | st.tuples(inner) | st.sets(SIMPLE)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANYTHING)
def test_whatever_is_logged_is_a_line_of_valid_json(lines: Lines, value: Any) -> None:
    configure(lambda: None, style="json")

    logging.getLogger("shop").info("odd", extra={"value": value})
    structlog.get_logger("shop").info("odd", value=value)

    written = lines.written()
    assert len(written) == 2
    assert all(from_json(line, allow_inf_nan=False)["event"] == "odd" for line in written)


def test_a_line_that_cannot_be_formatted_is_one_that_says_so(lines: Lines) -> None:
    configure(lambda: None, style="json")

    logging.getLogger("shop").info("sold %d", "a lamp")
    logging.getLogger("shop").info(Textless())

    first, second = lines.of("shop")
    assert first["event"].startswith("sold %d (cannot be formatted where test_logs.py:")
    assert "TypeError: %d format: a real number is required, not str" in first["event"]
    assert second["event"].startswith("a line (cannot be formatted where test_logs.py:")
    assert second["level"] == "info"
