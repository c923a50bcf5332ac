"""What nobody expected is reported to Sentry once, by the real SDK to a real receiver of its protocol."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.sdk.trace import TracerProvider

from awaitly import (
    Breaker,
    Err,
    Failure,
    Ok,
    Retry,
    Runtime,
    UnexpectedError,
    Workflow,
    sleep,
    step,
    workflow,
)
from awaitly.errors import ConfigurationError
from awaitly.execute.perform import Performer
from awaitly.model.facts import RunReleased, RunStarted
from awaitly.model.notice import Notice
from awaitly.observe.sentry import CRUMBS, SentrySink
from awaitly.observe.tracing import Tracing
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.settings.tables import SentrySettings
from awaitly.testing.clock import VirtualClock
from tests.observe.envelopes import PATIENCE, Envelopes, receiving_envelopes

REPOSITORY = Path(__file__).parents[2]


class Declined(Failure):
    code: str


class Broken(Exception):
    """What nobody declared."""


@step(retry=Retry(3, initial="1s"))
async def charge(card: str) -> str:
    raise Broken(f"no answer for {len(card)} digits")


@step(errors=Declined)
async def decline(card: str) -> str:
    raise Declined(code="stolen")


@step
async def ship(item: str) -> str:
    return item


@workflow(key="order:{item}")
async def order(item: str, card: str) -> str:
    return await ship(item) + await charge(card)


@workflow(errors=Declined)
async def declined(card: str) -> str:
    return await decline(card)


@workflow
async def parent(item: str) -> str:
    return await order.options(id=f"child:{item}")(item, "4242")


@workflow(key="top:{item}")
async def grandparent(item: str) -> str:
    return await parent(item)


@workflow
async def both(first: str, second: str) -> None:
    errors = []
    for item in (first, second):
        try:
            await order(item, "4242")
        except UnexpectedError as error:
            errors.append(error)
    raise ExceptionGroup("both are lost", errors)


@workflow
async def turned(item: str) -> str:
    try:
        return await order(item, "4242")
    except UnexpectedError as error:
        raise RuntimeError("the order is lost") from error


@step
async def bill(card: str) -> str:
    return card


@bill.variant(flag="by-invoice")
async def invoice(card: str) -> str:
    raise Broken("no invoices")


@workflow
async def billed(card: str) -> str:
    return await bill(card)


@step
async def lose(item: str) -> str:
    raise Broken(f"{item} is lost")


@workflow(key="late:{item}")
async def late(item: str) -> None:
    try:
        await lose(item)
    finally:
        await sleep("1h")


@workflow(deadline="1h")
async def slow(item: str) -> str:
    await sleep("2h")
    return item


@workflow
async def impatient(item: str) -> str:
    return await slow(item)


class World:
    """One test's clock, store and receiver; the SDK is set up as a program does it."""

    def __init__(self, envelopes: Envelopes) -> None:
        self.envelopes = envelopes
        self.clock = VirtualClock(auto=True)
        self.store = MemoryStore(monotonic=self.clock.monotonic)

    def init(self, **options: Any) -> None:
        """Set the SDK up, without what changes this process for ever."""
        sentry_sdk.init(
            self.envelopes.dsn(), default_integrations=False, auto_enabling_integrations=False,
            shutdown_timeout=PATIENCE, **options,
        )  # fmt: skip

    def runtime(self, *sinks: Any, **given: Any) -> Runtime:
        return Runtime(Settings(), store=self.store, clock=self.clock, sinks=sinks, **given)

    def run(self, flow: Workflow[..., Any, Any], *args: Any, sink: SentrySink | None = None) -> Any:
        """Run a workflow to its end, and return when everything has been sent."""

        async def story() -> Any:
            async with self.runtime(sink or SentrySink()) as rt:
                return await rt.run(flow, *args)

        return self.clock.run(story())

    @property
    def event(self) -> dict[str, Any]:
        """The one event that has arrived."""
        [event] = self.envelopes.events
        return event


@pytest.fixture
def world() -> Iterator[World]:
    with receiving_envelopes() as envelopes:
        yield World(envelopes)
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)
        sentry_sdk.get_isolation_scope().clear()


def raised(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the errors of an event without their notes, the outermost last."""
    return [(value["type"], value["value"].partition("\n")[0]) for value in event["exception"]["values"]]


def messages(event: dict[str, Any]) -> list[str]:
    """Return what the breadcrumbs of an event say."""
    return [crumb["message"] for crumb in event["breadcrumbs"]["values"]]


def frames(event: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the functions in which the outermost error was raised, and whether they count as the program's."""
    found = event["exception"]["values"][-1]["stacktrace"]["frames"]
    return [(frame["function"], frame["in_app"]) for frame in found]


# What is reported.


def test_an_unexpected_error_is_one_event_for_all_its_attempts_its_step_and_its_run(world: World) -> None:
    world.init()

    assert isinstance(world.run(order, "lamp", "4242"), Err)

    event = world.event
    assert raised(event) == [("Broken", "no answer for 4 digits")]
    assert frames(event)[-1] == ("charge", True)
    assert not any(ours for name, ours in frames(event)[:-1])
    assert (event["level"], event["transaction"]) == ("error", "order")
    assert event["exception"]["values"][0]["mechanism"] == {"type": "awaitly", "handled": False}
    assert event["tags"] == {
        "awaitly.workflow": "order",
        "awaitly.run_id": "order:lamp",
        "awaitly.step": "charge",
        "awaitly.attempt": "3",
        "awaitly.code": "unexpected-error",
    }


def test_a_run_that_succeeds_is_not_reported(world: World) -> None:
    world.init()

    @workflow
    async def shipping(item: str) -> str:
        return await ship(item)

    assert world.run(shipping, "lamp") == Ok("lamp")

    assert world.envelopes.events == []


def test_an_error_of_ours_has_its_own_code(world: World) -> None:
    world.init()

    @step(timeout="1s")
    async def hanging() -> None:
        await asyncio.Event().wait()

    @workflow
    async def hung() -> None:
        await hanging()

    world.run(hung)

    assert world.event["tags"]["awaitly.code"] == "step-timeout"


def test_a_childs_failure_that_fails_its_parents_is_one_event_of_the_child(world: World) -> None:
    world.init()

    assert isinstance(world.run(grandparent, "lamp"), Err)

    assert world.event["tags"]["awaitly.run_id"] == "child:lamp"
    assert world.event["contexts"]["awaitly"]["parent"].startswith("top:lamp/")


def test_each_of_two_children_that_fail_is_an_event_and_the_group_of_their_errors_is_none(world: World) -> None:
    world.init()

    assert isinstance(world.run(both, "lamp", "teapot"), Err)

    assert sorted(event["tags"]["awaitly.run_id"] for event in world.envelopes.events) == ["order:lamp", "order:teapot"]


def test_an_error_that_a_parent_raises_from_its_childs_is_another_one(world: World) -> None:
    world.init()

    assert isinstance(world.run(turned, "lamp"), Err)

    child, own = world.envelopes.events
    assert raised(child) == [("Broken", "no answer for 4 digits")]
    assert raised(own)[-1] == ("RuntimeError", "the order is lost")
    assert raised(own)[0] == raised(child)[0]


def test_a_failure_that_was_declared_is_not_reported(world: World) -> None:
    world.init()

    assert isinstance(world.run(declined, "4242"), Err)

    assert world.envelopes.events == []


def test_a_failure_that_was_declared_is_a_warning_if_it_is_asked_for(world: World) -> None:
    world.init()

    world.run(declined, "4242", sink=SentrySink(expected=True))

    event = world.event
    assert raised(event) == [("Declined", "code='stolen'")]
    assert event["level"] == "warning"
    assert event["exception"]["values"][0]["mechanism"]["handled"] is True
    assert event["tags"]["awaitly.step"] == "decline"


def test_a_failure_that_is_returned_is_reported_like_one_that_is_raised(world: World) -> None:
    world.init()

    @workflow
    async def returning() -> Ok[str] | Err[Declined]:
        return Err(Declined(code="stolen"))

    world.run(returning, sink=SentrySink(expected=True))

    assert raised(world.event) == [("Declined", "code='stolen'")]


def test_a_run_that_was_late_is_one_event_also_if_its_parent_fails_by_it(world: World) -> None:
    world.init()

    assert isinstance(world.run(impatient, "lamp"), Err)

    assert raised(world.event) == [("DeadlineExceeded", "the run was not done by its deadline")]
    assert world.event["tags"]["awaitly.workflow"] == "slow"
    assert world.event["tags"]["awaitly.code"] == "deadline-exceeded"


def test_a_run_that_was_cancelled_is_not_reported(world: World) -> None:
    world.init()

    async def story() -> None:
        async with world.runtime(SentrySink(expected=True)) as rt:
            handle = await rt.start(slow, "lamp")
            await handle.cancel("not wanted")
            assert isinstance(await handle.result(), Err)

    world.clock.run(story())

    assert world.envelopes.events == []


# What it says.


def test_breadcrumbs_tell_of_steps_and_attempts_in_order(world: World) -> None:
    world.init()

    world.run(order, "lamp", "4242")

    crumbs = world.event["breadcrumbs"]["values"]
    assert [(crumb["category"], crumb["message"], crumb["level"]) for crumb in crumbs] == [
        ("awaitly.step", "ship began", "info"),
        ("awaitly.step", "ship ended: value", "info"),
        ("awaitly.step", "charge began", "info"),
        ("awaitly.retry", "charge failed, and is tried again", "warning"),
        ("awaitly.step", "charge began", "info"),
        ("awaitly.retry", "charge failed, and is tried again", "warning"),
        ("awaitly.step", "charge began", "info"),
        ("awaitly.step", "charge ended: unexpected", "error"),
    ]  # fmt: skip


def test_breadcrumbs_tell_of_circuits_too(world: World) -> None:
    world.init()

    @step(breaker=Breaker("payments", failure_threshold=1, reset_timeout="10s"))
    async def pay(number: int) -> None:
        raise Broken("away")

    @workflow
    async def paying(number: int) -> None:
        await pay(number)

    async def story() -> None:
        async with world.runtime(SentrySink()) as rt:
            await rt.run(paying, 1)
            await rt.run(paying, 2)

    world.clock.run(story())

    refused = world.envelopes.events[1]
    assert refused["tags"]["awaitly.code"] == "circuit-open"
    assert messages(refused) == [
        "payments opened",
        "pay was refused: payments is open",
        "pay ended: unexpected",
    ]


def test_only_the_last_breadcrumbs_of_a_long_run_are_kept(world: World) -> None:
    world.init()

    @workflow
    async def long() -> None:
        for number in range(CRUMBS):
            await ship(str(number))
        raise Broken("at last")

    world.run(long)

    crumbs = world.event["breadcrumbs"]["values"]
    assert len(crumbs) == CRUMBS
    assert messages(world.event)[-2:] == ["ship began", "ship ended: value"]
    assert crumbs[-1]["data"]["call"] == f"ship#0.{CRUMBS - 1}"


def test_the_context_has_flags_and_the_names_of_metadata_but_no_arguments_or_values(world: World) -> None:
    world.init(include_local_variables=False)

    async def story() -> None:
        async with world.runtime(SentrySink(), flags={"by-invoice": True}) as rt:
            await rt.run(billed.options(id="one", metadata={"customer": "Ms Secretive"}), "4242-secret")

    world.clock.run(story())

    context = world.event["contexts"]["awaitly"]
    assert context["flags"] == {"by-invoice": True}
    assert context["metadata"] == ["customer"]
    assert (context["workflow"], context["run_id"], context["step"]) == ("billed", "one", "bill")
    assert context["attempts"] == 1
    assert "secret" not in world.envelopes.text.lower()


def test_an_event_is_in_the_trace_of_its_run(world: World) -> None:
    world.init()
    provider = TracerProvider()

    async def story() -> None:
        async with world.runtime(SentrySink(), watchers=[Tracing(provider)]) as rt:
            await rt.run(order.options(id="one"), "lamp", "4242")
            started = (await rt.facts("one"))[0]
            assert isinstance(started, RunStarted)
            traces.append(started.trace)

    traces: list[str] = []
    world.clock.run(story())

    trace = world.event["contexts"]["trace"]
    assert f"00-{trace['trace_id']}-{trace['span_id']}" == traces[0].rpartition("-")[0]


# Runs that stop and go on.


def test_after_a_resume_the_stored_text_and_type_of_an_error_are_reported(world: World) -> None:
    world.init()

    async def stopped() -> None:
        async with world.runtime() as rt:
            await rt.start(late.options(metadata={"customer": "7"}, flags={}), "lamp")
            await world.clock.advance("10m")
            await rt.shutdown(0)

    async def resumed() -> None:
        async with world.runtime(SentrySink()) as rt:
            await rt.run(late, "lamp")

    world.clock.run(stopped())
    assert world.envelopes.events == []
    world.clock.run(resumed())

    event = world.event
    assert raised(event) == [("Broken", "lamp is lost")]
    assert event["exception"]["values"][0]["module"] == __name__
    assert event["tags"]["awaitly.step"] == "lose"
    context = event["contexts"]["awaitly"]
    assert context["resumed_after"] == 3
    assert context["metadata"] == ["customer"]
    assert "in lose" in context["traceback"]


def test_a_run_that_stops_by_a_defect_of_ours_is_reported_with_its_frames_and_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.init()

    def broken(*_: object) -> None:
        raise AssertionError("a defect")

    async def story() -> None:
        async with world.runtime(SentrySink()) as rt:
            await rt.start(order.options(id="one"), "lamp", "4242")
            await world.clock.advance("1h")

    with monkeypatch.context() as patched:
        patched.setattr(Performer, "settled", broken)
        world.clock.run(story())

    event = world.event
    assert raised(event) == [("AssertionError", "a defect")]
    assert frames(event)[-1][0] == "broken"
    assert event["contexts"]["awaitly"]["stopped"] == "unexpected-error"


def test_a_run_that_does_not_fit_its_code_is_reported_with_our_code(world: World) -> None:
    world.init()
    sink = SentrySink()

    sink(Notice("one", "order", RunReleased(at=1.0, code="graph-mismatch", reason="it parts at charge")))
    sink.close()

    assert raised(world.event) == [("graph-mismatch", "it parts at charge")]


def test_a_shutdown_and_a_store_that_is_away_are_not_reported(world: World) -> None:
    world.init()
    sink = SentrySink()

    for code in ("run-stopped", "shutting-down", "lease-lost", "store-unavailable"):
        sink(Notice("one", "order", RunReleased(at=1.0, code=code, reason="")))
    sink.close()

    assert world.envelopes.events == []


def test_nothing_is_kept_of_runs_that_have_ended(world: World) -> None:
    world.init()
    sink = SentrySink(transactions=True)

    world.run(grandparent, "lamp", sink=sink)

    assert sink._runs == {}


# Its scopes and the program's.


def test_the_scope_of_the_program_is_neither_seen_nor_changed(world: World) -> None:
    world.init()
    sentry_sdk.get_isolation_scope().set_tag("request", "7")
    sentry_sdk.add_breadcrumb(message="the program began")
    sentry_sdk.get_global_scope().set_tag("region", "eu")

    try:
        world.run(order, "lamp", "4242")
        sentry_sdk.capture_message("the program ends")
        sentry_sdk.flush()
    finally:
        sentry_sdk.get_global_scope().remove_tag("region")

    ours, programs = world.envelopes.events
    assert "request" not in ours["tags"]
    assert ours["tags"]["region"] == "eu"
    assert programs["tags"] == {"request": "7", "region": "eu"}
    assert messages(programs) == ["the program began"]
    assert "awaitly" not in programs["contexts"]


def test_without_a_set_up_of_sentry_nothing_happens(world: World) -> None:
    assert isinstance(world.run(order, "lamp", "4242", sink=SentrySink(transactions=True)), Err)


# Transactions.


def test_a_run_is_a_transaction_with_its_steps_if_it_is_asked_for(world: World) -> None:
    world.init(traces_sample_rate=1.0)

    world.run(order, "lamp", "4242", sink=SentrySink(transactions=True))

    [transaction] = world.envelopes.transactions
    assert transaction["transaction"] == "order"
    assert transaction["contexts"]["trace"]["op"] == "awaitly.run"
    assert transaction["contexts"]["trace"]["status"] == "internal_error"
    assert transaction["tags"]["awaitly.run_id"] == "order:lamp"
    assert [(span["description"], span["status"]) for span in transaction["spans"]] == [
        ("ship", "ok"),
        ("charge", "internal_error"),
    ]
    charged = transaction["spans"][1]
    began, ended = (datetime.fromisoformat(charged[name]) for name in ("start_timestamp", "timestamp"))
    assert 0 < (ended - began).total_seconds() < 3  # of virtual time: two delays of at most 1 s and 2 s


def test_a_transaction_that_sentry_does_not_sample_is_not_sent(world: World) -> None:
    world.init(traces_sampler=lambda context: context["transaction_context"]["name"] == "shipped")

    @workflow
    async def shipped(item: str) -> str:
        return await ship(item)

    sink = SentrySink(transactions=True)
    world.run(order, "lamp", "4242", sink=sink)
    world.run(shipped, "lamp", sink=sink)

    assert [transaction["transaction"] for transaction in world.envelopes.transactions] == ["shipped"]


# Settings.


def configured(**given: Any) -> Settings:
    return Settings(sentry=SentrySettings(**given))


def run_with(world: World, settings: Settings) -> None:
    async def story() -> None:
        async with Runtime(settings, store=world.store, clock=world.clock) as rt:
            await rt.run(order, "lamp", "4242")

    world.clock.run(story())


def test_a_program_that_uses_sentry_gets_reports_without_a_word(world: World) -> None:
    world.init()

    run_with(world, Settings())

    assert raised(world.event) == [("Broken", "no answer for 4 digits")]


def test_reports_can_be_turned_off(world: World) -> None:
    world.init()

    run_with(world, configured(errors="off"))

    assert world.envelopes.events == []


def test_a_sink_that_is_given_is_not_joined_by_one_of_the_settings(world: World) -> None:
    world.init()

    world.run(order, "lamp", "4242", sink=SentrySink())

    assert len(world.envelopes.events) == 1


def test_a_dsn_in_settings_is_used_beside_a_set_up_for_another_project(world: World) -> None:
    world.init()

    run_with(world, configured(dsn=world.envelopes.dsn(2), environment="staging"))
    sentry_sdk.capture_message("the program ends")
    sentry_sdk.flush()

    [ours] = world.envelopes.items("event", project=2)
    assert raised(ours) == [("Broken", "no answer for 4 digits")]
    assert ours["environment"] == "staging"
    assert [event["message"] for event in world.envelopes.events] == ["the program ends"]


def test_a_dsn_that_is_none_is_refused_when_the_runtime_opens(world: World) -> None:
    with pytest.raises(ConfigurationError, match="DSN") as refused:
        run_with(world, configured(dsn="no address"))

    assert refused.value.code == "invalid-setting"


PROGRAM = """
from awaitly import Retry, step, workflow

@step(retry=Retry(2, initial="1ms"))
async def charge(card: str) -> str:
    raise RuntimeError("no answer")

@workflow
async def order(card: str) -> str:
    return await charge(card)

print(type(order.run_sync("a-secret-card")).__name__)
"""


def test_a_variable_is_enough_and_what_is_logged_of_it_is_no_second_event(world: World, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    settings = {
        "AWAITLY_SENTRY__DSN": world.envelopes.dsn(),
        "AWAITLY_SENTRY__ENVIRONMENT": "staging",
        "AWAITLY_SENTRY__TRANSACTIONS": "true",
        "AWAITLY_LOGS__FORMAT": "json",
        "PYTHONPATH": str(REPOSITORY),
    }

    said = subprocess.run(
        [sys.executable, "-W", "error", program], cwd=tmp_path, env={**os.environ, **settings}, capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip

    assert said.stdout == "Err\n"
    event = world.event
    assert raised(event) == [("RuntimeError", "no answer")]
    assert event["environment"] == "staging"
    assert [transaction["transaction"] for transaction in world.envelopes.transactions] == ["order"]
    assert "a-secret-card" not in world.envelopes.text
    assert any("run failed unexpectedly" in line for line in said.stderr.splitlines())


WITHOUT = """
import sys
sys.modules["sentry_sdk"] = None
from awaitly.errors import NotSupported
try:
    import awaitly.observe.sentry
except NotSupported as error:
    print(error)
"""


def test_without_the_package_it_is_said_what_to_install() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout == (
        "reports to Sentry need the package sentry-sdk, which is not installed. install awaitly[sentry]."
        " [not-supported]\n"
    )
