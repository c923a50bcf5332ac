"""What is committed is delivered: at least once, in order for each run, and whatever the receiver does."""

import json
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from pydantic_core import from_json

from awaitly import Err, Ok, Retry
from awaitly.errors import ConfigurationError, StoreError
from awaitly.model.facts import Fact
from awaitly.persist.ports import Undelivered
from awaitly.persist.stores.memory import MemoryStore
from awaitly.testing.crash import CrashingStore, Life
from awaitly.webhooks import SIGNATURE, DeliveryFailed, Outbox
from awaitly.webhooks.delivering import PAGE
from tests.webhooks.world import SECRET, URL, World, brief, order, slow

# What is delivered.


def test_the_end_of_a_run_is_delivered_once_signed_and_with_an_id(world: World) -> None:
    outbox = world.deliver("lamp")

    [event] = world.receiver.events
    identity = event.pop("id")
    assert event == {
        "type": "RunFinished",
        "run": "order:lamp",
        "workflow": "order",
        "sequence": 3,
        "at": "2023-11-14T22:13:20.000000+00:00",
        "data": {"ending": "value", "blame": None},
    }
    headers = world.receiver.headers[0]
    assert headers["Awaitly-Event"] == identity
    assert headers["Content-Type"] == "application/json"
    assert outbox.counts.delivered == 1


def test_other_facts_are_delivered_if_they_are_asked_for_in_the_order_of_their_run(world: World) -> None:
    world.deliver("lamp", "broken", facts=("RunStarted", "StepFinished", "RunFinished"))

    told = [(event["run"], event["type"], event["sequence"]) for event in world.receiver.events]
    assert [one for one in told if one[0] == "order:lamp"] == [
        ("order:lamp", "RunStarted", 0),
        ("order:lamp", "StepFinished", 1),
        ("order:lamp", "StepFinished", 2),
        ("order:lamp", "RunFinished", 3),
    ]
    assert len(told) == 8
    assert len({event["id"] for event in world.receiver.events}) == 8


def test_whatever_is_delivered_is_committed(world: World) -> None:
    world.deliver("lamp", "broken", facts=("RunStarted", "StepFinished", "RunFinished"))

    assert all(kinds[event["sequence"]] == event["type"] for kinds, event in world.receiver.seen)


def test_arguments_results_and_errors_are_not_in_events(world: World) -> None:
    world.deliver("secret-lamp", facts=("RunStarted", "StepFinished", "RunFinished"))

    bodies = json.dumps([event["data"] for event in world.receiver.events])
    assert "4242" not in bodies
    assert "shipped" not in bodies
    assert "secret-lamp" not in bodies


def test_with_payloads_they_are(world: World) -> None:
    world.deliver("lamp", "broken", facts=("RunStarted", "RunFinished"), payloads=True)

    started, finished = (event["data"] for event in world.receiver.events if event["run"] == "order:lamp")
    assert started["arguments"] == {"item": "lamp"}
    assert finished["payload"] == "lamp shipped"
    failed = world.receiver.events[-1]["data"]
    assert failed["ending"] == "unexpected"
    assert "it is broken" in json.dumps(failed["payload"])


def test_headers_that_are_given_are_sent_along(world: World) -> None:
    world.deliver("lamp", headers={"X-Api-Key": "k"})

    assert world.receiver.headers[0]["X-Api-Key"] == "k"


def test_a_run_that_waits_is_followed_until_its_end(world: World) -> None:
    outbox = world.outbox(facts=("StepFinished", "RunFinished"))

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt):
            await rt.start(slow, "lamp")
            await world.clock.advance("10m")
            assert [event["sequence"] for event in world.receiver.events] == [1]
            await world.clock.advance("1h")

    world.clock.run(story())

    assert [event["type"] for event in world.receiver.events] == ["StepFinished", "StepFinished", "RunFinished"]


def test_more_runs_than_fit_on_a_page_are_all_delivered_oldest_first(world: World) -> None:
    names = [f"item-{number:03}" for number in range(PAGE + 5)]

    world.deliver(*names, at_once=1)

    assert world.receiver.runs == [f"order:{name}" for name in names]


def test_a_new_outbox_does_not_deliver_the_past(world: World) -> None:
    async def before() -> None:
        async with world.runtime() as rt:
            await rt.run(order, "old")
            await rt.start(slow, "going")

    async def after() -> None:
        async with world.runtime() as rt, world.outbox(facts=("RunStarted", "RunFinished")).following(rt):
            await rt.run(order, "new")
            await world.clock.advance("2h")

    world.clock.run(before())
    world.clock.run(after())

    assert [(event["run"], event["type"]) for event in world.receiver.events] == [
        ("order:new", "RunStarted"), ("order:new", "RunFinished"), ("slow:going", "RunFinished"),
    ]  # fmt: skip


# When the receiver fails.


def test_what_is_not_taken_is_sent_again_with_the_same_id_and_a_signature_of_its_own(world: World) -> None:
    world.receiver.answers.extend([500, 503, ConnectionError("refused"), "hang", 200])

    outbox = world.deliver("lamp")

    ids = {event["id"] for _, event, _ in world.receiver.log}
    assert len(ids) == 1
    assert len({headers[SIGNATURE] for headers in world.receiver.headers}) == 5
    assert (outbox.counts.delivered, outbox.counts.failures) == (1, 4)


def test_a_receiver_that_is_down_is_asked_less_and_less_often_and_nothing_is_lost(world: World) -> None:
    world.receiver.answers.extend([500] * 8)

    world.deliver("a", "b", "c", at_once=1)

    pauses = [later - before for before, later in pairwise(world.receiver.times[:9])]
    for attempt, pause_ in enumerate(pauses):
        assert min(2**attempt, 300) / 2 <= pause_ <= min(2**attempt, 300) + 1
    assert Counter(world.receiver.runs) == {"order:a": 1, "order:b": 1, "order:c": 1}


@pytest.mark.parametrize("how", ["seconds", "date"])
def test_the_time_that_a_receiver_asks_for_is_kept(world: World, how: str) -> None:
    later = "100" if how == "seconds" else formatdate(world.clock.now + 100, usegmt=True)
    world.receiver.answers.append((429, {"retry-after": later}))

    world.deliver("lamp")

    assert 99 <= world.receiver.times[1] <= 101


def test_an_event_that_is_refused_does_not_hold_other_runs_up_but_those_after_it(world: World) -> None:
    world.receiver.of["order:a"] = deque([400] * 3)

    world.deliver("a", "b", facts=("StepFinished", "RunFinished"))

    events = [(event["run"], event["sequence"]) for event in world.receiver.events]
    assert events == [
        ("order:b", 1), ("order:b", 2), ("order:b", 3), ("order:a", 1), ("order:a", 2), ("order:a", 3),
    ]  # fmt: skip


def test_a_receiver_that_never_answers_is_given_up_on_in_time(world: World) -> None:
    world.receiver.answers.append("hang")

    world.deliver("lamp", timeout="3s")

    assert 3.5 <= world.receiver.times[1] <= 4.6


def test_an_event_is_given_up_if_retry_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.receiver.of["order:a"] = deque([400] * 9)

    outbox = world.deliver("a", "b", retry=Retry(3, initial="1s"), facts=("RunFinished",))

    assert world.receiver.runs == ["order:b"]
    assert (outbox.counts.given_up, outbox.counts.failures) == (1, 3)
    assert "gave up event" in caplog.text
    assert "of-the-receiver" not in caplog.text


def test_which_failures_are_worth_another_attempt_can_be_said(world: World) -> None:
    def worth(error: Exception) -> bool:
        return isinstance(error, DeliveryFailed) and error.status != 410

    world.receiver.answers.extend([500, 410])

    outbox = world.deliver("lamp", retry=Retry(9, initial="1s", on=worth))

    assert (outbox.counts.given_up, outbox.counts.failures) == (1, 2)


async def test_runs_are_kept_for_longer_than_they_need_be_until_they_are_delivered(world: World) -> None:
    world.receiver.answers.append((503, {"Retry-After": "7200"}))

    async with world.runtime() as rt, world.outbox().following(rt):
        await rt.run(brief, "first")
        await world.clock.advance("30m")
        await rt.run(brief, "second")
        await world.clock.advance("1h")
        assert [record.id for record in await rt.runs()] == ["brief:second", "brief:first"]

        await world.clock.advance("1h")
        assert sorted(world.receiver.runs) == ["brief:first", "brief:second"]
        assert await rt.runs() == ()


# When processes come and go.


def test_another_process_goes_on_where_the_first_one_stopped(world: World) -> None:
    world.deliver("a", "b")
    world.deliver("c")

    assert world.receiver.runs == ["order:a", "order:b", "order:c"]


def test_what_was_not_delivered_before_the_end_is_delivered_by_the_next(world: World) -> None:
    world.receiver.answers.append("hang")
    outbox = world.outbox()

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt, timeout="1s"):
            await rt.run(order, "a")

    world.clock.run(story())
    assert world.receiver.runs == []
    world.deliver("b")

    assert world.receiver.runs == ["order:a", "order:b"]


def test_what_is_stored_by_the_end_is_delivered_before_it(world: World) -> None:
    outbox = world.outbox(every="1h")

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt):
            for item in "abc":
                await rt.run(order, item)

    world.clock.run(story())

    assert sorted(world.receiver.runs) == ["order:a", "order:b", "order:c"]


def test_what_ends_while_the_runtime_is_shut_down_is_delivered_before_the_store_is_closed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = world.outbox(every="1h")

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt):
            await rt.start(order, "a")
            await rt.shutdown()

    world.clock.run(story())

    assert world.receiver.runs == ["order:a"]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_receiver_that_hangs_does_not_hold_a_shutdown_up_for_longer_than_its_time(world: World) -> None:
    world.receiver.answers.append("hang")
    outbox = world.outbox(timeout="1h")

    async def story() -> float:
        async with world.runtime() as rt, outbox.following(rt):
            await rt.run(order, "a")
            before = world.clock.now
            await rt.shutdown("3s")
            return world.clock.now - before

    assert world.clock.run(story()) <= 3.0


def test_of_two_processes_one_delivers_and_the_other_goes_on_after_it(world: World) -> None:
    first, second = world.outbox(headers={"X-From": "first"}), world.outbox(headers={"X-From": "second"})

    async def story() -> None:
        going = AsyncExitStack()
        await going.enter_async_context(first.following(await going.enter_async_context(world.runtime())))
        async with world.runtime() as staying, second.following(staying):
            for item in "abc":
                await staying.run(order, item)
            await world.clock.advance("10s")
            await going.aclose()
            await staying.run(order, "d")
            await world.clock.advance("10s")

    world.clock.run(story())

    assert sorted(world.receiver.runs) == ["order:a", "order:b", "order:c", "order:d"]
    assert [headers["X-From"] for headers in world.receiver.headers] == ["first"] * 3 + ["second"]


def test_a_runs_second_end_after_a_retry_is_another_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = world.outbox(facts=("RunRetried", "RunFinished"))

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt):
            assert isinstance(await rt.run(order, "broken"), Err)
            await world.clock.advance("10s")
            monkeypatch.setattr("tests.webhooks.world.defects", set())
            assert await (await rt.retry("order:broken")).result() == Ok("broken shipped")
            await world.clock.advance("10s")

    world.clock.run(story())

    told = [(event["type"], event["data"].get("ending")) for event in world.receiver.events]
    assert told == [("RunFinished", "unexpected"), ("RunRetried", None), ("RunFinished", "value")]
    assert len({event["id"] for event in world.receiver.events}) == 3


def test_at_whatever_commit_a_process_dies_every_end_is_delivered_and_nothing_else() -> None:
    dies_at, lives, twice = 0, True, False
    while lives:
        world, life = World(), Life(dies_at=dies_at)
        life.run(orders(world, CrashingStore(world.store, life)), clock=world.clock)
        world.clock.run(orders(world, world.store))

        sent = {event["id"]: (event["run"], event["type"]) for event in world.receiver.events}
        ends = [(record, "RunFinished") for record in ("order:a", "order:b")]
        assert sorted(sent.values()) == ends, f"died at {life.boundaries[-1:]}"
        twice = twice or len(world.receiver.events) > len(sent)
        lives, dies_at = life.dead, dies_at + 1

    assert dies_at > 10
    assert twice  # it died after an event was taken and before that was noted


async def orders(world: World, store: Any) -> None:
    async with world.runtime(store) as rt, world.outbox().following(rt):
        for item in "ab":
            await rt.run(order, item)
        await world.clock.advance("1m")  # the dead keep what they hold for a while


# When the store fails.


class Failing(MemoryStore):
    """Cannot be asked what is to be delivered, some times."""

    fails = 3

    async def undelivered(
        self, outbox: str, limit: int, *, ended: bool = False, after: str | None = None
    ) -> Sequence[Undelivered]:
        self.fails -= 1
        if self.fails >= 0:
            raise StoreError("the store is away", code="store-unavailable")
        return await super().undelivered(outbox, limit, ended=ended, after=after)

    async def read(self, run: str, *, after: int = -1) -> Sequence[Fact]:
        if run == "order:unreadable" and after >= 0:
            raise StoreError("the disk is worn", code="store-corrupt")
        if run == "order:defective" and after >= 0:
            raise KeyError("a defect")
        return await super().read(run, after=after)


def test_a_store_that_is_away_is_asked_again_and_reported_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store = Failing(monotonic=world.clock.monotonic)

    world.deliver("lamp")

    assert world.receiver.runs == ["order:lamp"]
    assert caplog.text.count("the store is away") == 1


def test_a_run_that_cannot_be_read_holds_no_other_up(world: World) -> None:
    world.store = Failing(monotonic=world.clock.monotonic)

    world.deliver("unreadable", "lamp")

    assert world.receiver.runs == ["order:lamp"]


def test_a_run_that_cannot_be_told_of_holds_no_other_up_and_is_named_with_the_cause(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store = Failing(monotonic=world.clock.monotonic)

    world.deliver("defective", "lamp", "vase", at_once=1)

    assert world.receiver.runs == ["order:lamp", "order:vase"]
    assert "cannot go on with run order:defective: KeyError: 'a defect'" in caplog.text


def test_text_that_is_no_valid_unicode_is_delivered_with_escapes(world: World) -> None:
    named = order.options(metadata={"file": "caf\udce9", "share": float("nan")})
    outbox = world.outbox(facts=("RunStarted",), payloads=True)

    async def story() -> None:
        async with world.runtime() as rt, outbox.following(rt):
            await rt.run(named, "lamp")
            await rt.run(order, "vase")
            await world.clock.advance("1m")

    world.play(story())

    assert sorted(world.receiver.runs) == ["order:lamp", "order:vase"]
    lamp = next(body for body in world.receiver.bodies if b"order:lamp" in body)
    assert from_json(lamp)["data"]["metadata"] == {"file": "caf\\udce9", "share": "nan"}


# What is refused.


@pytest.mark.parametrize("name", [None, "orders"])
@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "https://", "receiver.test/hooks", "https://u:p4ss@host/", "https://:p4ss@host/", "http://a b/",
     "http://host:99999/", "https://u:p4ss@[host/"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_telling_its_password(url: str, name: str | None) -> None:
    with pytest.raises(ConfigurationError, match="url of Outbox") as caught:
        Outbox(url, secret=SECRET, name=name)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize(
    "headers", [{"X Key": "a"}, {"": "a"}, {"X-Key": "s3cret\r\nX-Other: b"}, {"X-Key": "s3cret\u2713"}]
)
def test_headers_that_cannot_be_sent_are_refused_without_telling_their_values(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="headers of Outbox") as caught:
        Outbox(URL, secret=SECRET, headers=headers)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", (), ("a", "")])
def test_an_empty_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret of Outbox"):
        Outbox(URL, secret=secret)


def test_a_fact_that_is_not_stored_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match="RunFinished"):
        Outbox(URL, secret=SECRET, facts=["RunFinish"])
    with pytest.raises(ConfigurationError, match="no fact that is stored"):
        Outbox(URL, secret=SECRET, facts=["BreakerOpened"])
