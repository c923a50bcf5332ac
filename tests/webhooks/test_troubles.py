"""What cannot be delivered is seen: in two lines of the log, in health and in metrics, as long as it lasts."""

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from awaitly import Retry, Runtime
from awaitly.errors import UsageError
from awaitly.execute.standing import Outgoing
from awaitly.model.facts import RunRetried
from awaitly.observe.metrics import Metrics
from awaitly.serve import app
from awaitly.webhooks import SIGNATURE, Answer, DeliveryFailed, verify
from tests.serve.site import direct
from tests.webhooks.world import World, order

NAME = "receiver.test/hooks"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of the outbox."""
    return [record.getMessage() for record in caplog.records if "outbox" in record.getMessage()]


def standing(runtime: Runtime) -> Outgoing:
    """Return how the deliveries go."""
    return runtime.state().outboxes[NAME]


# What is logged.


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.receiver.answers.extend([503] * 5)

    world.deliver("lamp")

    began, over = lines(caplog)
    assert began == f"outbox {NAME} cannot deliver, and tries again less and less often: it answered 503"
    assert over.startswith(f"outbox {NAME} delivers again, after 5 failed attempts in ")
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_that_it_fails_in_another_way_is_not_logged_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.receiver.answers.extend([500, ConnectionError("refused"), "hang", 500, 429, 400, 502])

    world.deliver("lamp")

    assert len(lines(caplog)) == 2
    assert "after 7 failed attempts" in lines(caplog)[1]


def test_a_second_outage_is_logged_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.receiver.answers.extend([500, 200, 500, 500, 200])

    world.deliver("a", "b", at_once=1)

    assert [line.split(",")[0] for line in lines(caplog)] == [
        f"outbox {NAME} cannot deliver", f"outbox {NAME} delivers again",
    ] * 2  # fmt: skip


def test_a_receiver_that_takes_events_and_asks_for_a_pause_is_no_outage(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.receiver.answers.extend([200, 200, (429, {"Retry-After": "1"})] * 5)

    world.deliver(*"abcdefghij", at_once=1, every="10s")

    assert sorted(world.receiver.runs) == [f"order:{item}" for item in "abcdefghij"]
    assert lines(caplog) == []


def test_an_event_that_is_refused_while_others_are_taken_is_named_once_and_when_it_is_taken(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.receiver.of["order:a"] = deque([400] * 4)

    world.deliver("a", "b", "c", every="1s")

    refused, taken = lines(caplog)
    assert refused.startswith(f"outbox {NAME} delivers, but not event ")
    assert "of run order:a, which is tried again less and less often: it answered 400" in refused
    assert "of run order:a after 4 failed attempts in " in taken


def test_a_receiver_that_refuses_everything_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.receiver.answers.extend([401] * 40)

    world.deliver(*"abcde")

    assert lines(caplog)[0] == f"outbox {NAME} cannot deliver, and tries again less and less often: it answered 401"
    assert len(lines(caplog)) == 2


class Response:
    """Of a client of HTTP with names of its own."""

    status_code = 204


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


MUST = "it must return awaitly.webhooks.Answer(status, headers), an int and a mapping"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Response(), f"client= returned an object of type Response: {MUST}"),
        (None, f"client= returned an object of type NoneType: {MUST}"),
        (Answer("204"), f"client= returned an Answer with a status of type str, headers of type dict: {MUST}"),  # type: ignore[arg-type]  # which is the mistake
        (Answer(204, []), f"client= returned an Answer with a status of type int, headers of type list: {MUST}"),  # type: ignore[arg-type]  # which is the mistake
        (asyncio.CancelledError(), "CancelledError: client= was cancelled, by none of ours"),
        (Mute(), "Mute: it has no text"),
    ],
)  # fmt: skip
def test_a_client_that_returns_no_answer_has_not_delivered_and_is_asked_less_and_less_often(
    world: World, caplog: pytest.LogCaptureFixture, wrong: Any, says: str
) -> None:
    times: list[float] = []

    async def client(url: str, body: bytes, headers: Mapping[str, str]) -> Any:
        times.append(world.clock.now)
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong

    outbox = world.deliver("lamp", client=client)

    waits = [after - before for before, after in pairwise(times)]
    assert lines(caplog) == [f"outbox {NAME} cannot deliver, and tries again less and less often: {says}"]
    assert (outbox.counts.delivered, outbox.counts.failures) == (0, len(times))
    assert 3 < len(times) < 20
    assert waits[-1] > 30 > waits[0]


def test_an_answer_of_another_class_will_do_if_it_has_a_status_and_headers(world: World) -> None:
    async def client(url: str, body: bytes, headers: Mapping[str, str]) -> Any:
        return SimpleNamespace(status=204, headers={b"raw": 1})

    assert world.deliver("lamp", client=client).counts.delivered == 1


def test_the_query_of_the_url_is_not_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def raising(url: str, body: bytes, headers: object) -> None:
        raise OSError(f"404 for url {url}")

    world.deliver("lamp", client=raising)

    assert lines(caplog) == [
        f"outbox {NAME} cannot deliver, and tries again less and less often: OSError: 404 for url {NAME}"
    ]


# What is shown.


async def test_an_outage_is_shown_as_long_as_it_lasts(world: World) -> None:
    world.receiver.answers.extend([503] * 8)
    outbox = world.outbox()

    async with world.runtime() as rt, outbox.following(rt):
        assert standing(rt) == Outgoing()
        await rt.run(order, "lamp")
        await world.clock.advance("60s")

        now = standing(rt)
        assert (now.delivered, now.last_error) == (0, "it answered 503")
        assert now.failures > 1
        assert now.failing_for == pytest.approx(now.age, abs=1)
        assert 58 < now.age <= 60

        await world.clock.advance("15m")
        assert standing(rt) == Outgoing(delivered=1, failures=8)
    assert rt.state().outboxes == {}


async def test_the_age_of_an_event_counts_from_when_it_happened_also_in_the_next_process(world: World) -> None:
    world.receiver.answers.extend([503] * 40)
    async with world.runtime() as rt, world.outbox().following(rt):
        await rt.run(order, "lamp")
    await world.clock.advance("1h")

    async with world.runtime() as rt, world.outbox().following(rt):
        await world.clock.advance("1s")
        assert 3600 < standing(rt).age < 3610


async def test_an_event_that_is_on_its_way_has_an_age_but_has_not_failed(world: World) -> None:
    world.receiver.answers.append("hang")

    async with world.runtime() as rt, world.outbox(timeout="1h").following(rt, timeout="1s"):
        await rt.run(order, "lamp")
        await world.clock.advance("10s")

        assert 9 < standing(rt).age <= 10
        assert standing(rt).failing_for is None


async def test_one_refused_event_has_an_age_while_others_are_taken(world: World) -> None:
    world.receiver.of["order:a"] = deque([410] * 99)

    async with world.runtime() as rt, world.outbox().following(rt):
        await rt.run(order, "a")
        await rt.run(order, "b")
        await world.clock.advance("1h")

        now = standing(rt)
        assert (now.delivered, now.failing_for, now.last_error) == (1, None, "it answered 410")
        assert 3590 < now.age <= 3600


async def test_an_outage_is_not_over_when_its_events_were_given_up(world: World) -> None:
    world.receiver.answers.extend([503] * 2)

    async with world.runtime() as rt, world.outbox(retry=Retry(2, initial="1s")).following(rt):
        await rt.run(order, "a")
        await world.clock.advance("1h")
        gone = standing(rt)
        assert (gone.given_up, gone.age, gone.last_error) == (1, 0.0, "it answered 503")
        assert gone.failing_for is not None
        assert gone.failing_for > 3000

        await rt.run(order, "b")
        await world.clock.advance("1m")
        assert standing(rt) == Outgoing(delivered=1, failures=2, given_up=1)


async def test_a_refused_event_of_a_run_that_is_retried_is_forgotten(world: World) -> None:
    world.receiver.of["order:broken"] = deque([400])

    async with world.runtime() as rt, world.outbox(every="1m").following(rt):
        await rt.run(order, "broken")
        await world.clock.advance("61s")
        assert standing(rt).age > 0

        claim = await world.store.claim("order:broken", rt.owner, ended=True)
        assert claim is not None
        assert await world.store.truncate("order:broken", claim.fence, 2, RunRetried(at=world.clock.time()))
        await world.clock.advance("61s")

        assert standing(rt) == Outgoing(failures=1)


async def test_of_two_processes_the_one_that_delivers_shows_the_outage(world: World) -> None:
    world.receiver.answers.extend([503] * 99)

    first, second = world.runtime(), world.runtime()
    async with first, second, world.outbox().following(first), world.outbox().following(second):
        await first.run(order, "lamp")
        await world.clock.advance("1m")

        assert standing(first).failing_for is not None
        assert standing(second) == Outgoing()


async def test_health_shows_an_outage_and_is_well_unless_the_outbox_is_checked(world: World) -> None:
    world.receiver.answers.extend([503] * 8)
    outbox, rt = world.outbox(), world.runtime()
    shown = app(rt)
    checked = app(rt, checks={"webhook": outbox.check, "patient": partial(outbox.check, "1h")})

    async with rt, outbox.following(rt), direct(shown) as client, direct(checked) as strict:
        await rt.run(order, "lamp")
        await world.clock.advance("50s")
        assert (await strict.get("/health")).status_code == 200
        await world.clock.advance("15s")

        well, unwell = await client.get("/health"), await strict.get("/health")
        assert (well.status_code, unwell.status_code) == (200, 503)
        [told] = well.json()["outboxes"]
        assert told["name"] == NAME
        assert told["last_error"] == "it answered 503"
        assert told["failing_for"] > 60
        failed = [check["name"] for check in unwell.json()["checks"] if check["status"] == "failed"]
        assert failed == ["webhook"]
        assert (await client.get("/ready")).status_code == 200

        await world.clock.advance("15m")
        assert (await strict.get("/health")).status_code == 200


async def test_a_check_says_for_how_long_and_why(world: World) -> None:
    world.receiver.answers.extend([503] * 99)
    outbox = world.outbox()
    await outbox.check()

    async with world.runtime() as rt, outbox.following(rt):
        await rt.run(order, "lamp")
        await world.clock.advance("2m")
        with pytest.raises(DeliveryFailed, match=r"nothing could be delivered for (1m|2m).*: it answered 503"):
            await outbox.check()
    await outbox.check()


async def test_deliveries_are_measured_by_outbox(world: World) -> None:
    reader = InMemoryMetricReader()
    watch = Metrics(MeterProvider(metric_readers=[reader]))
    world.receiver.of["order:a"] = deque([400] * 3)
    world.receiver.of["order:b"] = deque([(400, {"Retry-After": "60"})])

    async with world.runtime(watchers=[watch]) as rt, world.outbox(retry=Retry(3, initial="1s")).following(rt):
        for item in "ac":
            await rt.run(order, item)
        await world.clock.advance("1m")
        await rt.run(order, "b")
        await world.clock.advance("1s")

        assert numbers(reader) == {"delivered": 1, "failures": 4, "given_up": 1, "age": 1.0}


def numbers(reader: InMemoryMetricReader) -> dict[str, float]:
    """Return what is measured of the outbox."""
    data = reader.get_metrics_data()
    assert data is not None
    found = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        if metric.name.startswith("awaitly.outbox."):
            [point] = metric.data.data_points
            assert point.attributes == {"outbox": NAME}
            found[metric.name.removeprefix("awaitly.outbox.")] = round(point.value)  # type: ignore[union-attr]  # no histogram
    return found


# What else a receiver does.


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 409, 410, 413, 422, 451])
def test_what_is_about_one_event_holds_up_its_run_alone(world: World, status: int) -> None:
    world.receiver.of["order:a"] = deque([status])

    world.deliver("a", "b")

    assert world.receiver.runs == ["order:b", "order:a"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_is_about_the_receiver_holds_up_everything(world: World, status: int) -> None:
    world.receiver.of["order:a"] = deque([status])

    world.deliver("a", "b", at_once=1)

    assert world.receiver.runs == ["order:a", "order:b"]


def test_while_a_secret_is_replaced_receivers_may_know_either(world: World) -> None:
    world.deliver("lamp", secret=("the next one", "whsec_of_the_tests"))

    [body], [signature] = world.receiver.bodies, [headers[SIGNATURE] for headers in world.receiver.headers]
    [(at, _, _)] = world.receiver.log
    for secret in ("whsec_of_the_tests", "the next one", ("another", "the next one")):
        assert verify(body, signature, secret, now=at)
    assert not verify(body, signature, "another", now=at)


# What is refused.


async def test_two_outboxes_of_one_name_may_not_follow_one_runtime(world: World) -> None:
    async with world.runtime() as rt:
        async with world.outbox().following(rt):
            with pytest.raises(UsageError, match=NAME) as caught:
                async with world.outbox(facts=["RunStarted"]).following(rt):
                    pass
            assert caught.value.code == "outbox-followed"
            async with world.outbox(facts=["RunStarted"], name="starts").following(rt):
                await rt.run(order, "a")
        async with world.outbox().following(rt):
            await rt.run(order, "b")

    assert sorted(event["type"] for event in world.receiver.events) == ["RunFinished", "RunFinished", "RunStarted"]
