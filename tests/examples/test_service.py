"""The shop takes each order once, and answers, looks up and tells what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from awaitly import Runtime
from examples.checkout import PaymentServer
from examples.service.app import create

Run = Callable[[Any], Any]

ORDER = {
    "id": "o-1", "user_id": "u1", "sku": "teapot", "quantity": 2, "amount": "49.80", "card": "card-ada",
    "placed_at": "2026-03-02T08:00:00Z",
}  # fmt: skip
WAIT = {"wait": "20"}


@pytest.fixture(autouse=True)
def calm(payments: PaymentServer, workplace: Path) -> None:
    """A payment service without trouble, and a folder for the store."""
    payments.trouble = 0.0


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[httpx.AsyncClient, Runtime]]:
    """The application as a server runs it, and a client of it."""
    application = create()
    transport = httpx.ASGITransport(application)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        yield client, application.state.runtime


def asked(run: Run, story: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Return what a story says of one life of the shop."""

    async def told() -> Any:
        async with shop() as (client, _):
            return await story(client)

    return run(told())


def test_an_order_is_accepted_at_once_and_found_paid_later(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        accepted = await client.post("/orders", json=ORDER)
        assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")
        while (found := (await client.get(accepted.headers["Location"])).json())["status"] == "accepted":
            pass
        assert (found["status"], found["receipt"]["amount"]) == ("paid", "49.80")

    asked(run, story)


def test_who_waits_gets_the_outcome(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post("/orders", json=ORDER, params=WAIT)
        assert (answer.status_code, answer.json()["status"]) == (200, "paid")

    asked(run, story)


def test_who_does_not_wait_long_enough_gets_it_later(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        early = await client.post("/orders", json=ORDER | {"card": "card-slow"}, params={"wait": "0.01"})
        assert early.status_code == 202
        assert (await client.post("/orders", json=ORDER | {"card": "card-slow"}, params=WAIT)).status_code == 200

    asked(run, story)


def test_an_order_that_is_sent_again_is_the_same_order_in_another_process_too(
    run: Run, payments: PaymentServer
) -> None:
    async def story(client: httpx.AsyncClient) -> list[Any]:
        return [(await client.post("/orders", json=ORDER, params=WAIT)).json() for _ in range(2)]

    answers = asked(run, story) + asked(run, story)

    assert answers == [answers[0]] * 4
    assert list(payments.requests.values()) == [1]


def test_another_order_of_the_same_id_is_a_conflict(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await client.post("/orders", json=ORDER)
        answer = await client.post("/orders", json=ORDER | {"quantity": 3})
        assert (answer.status_code, answer.json()) == (409, {"error": "run-conflict"})

    asked(run, story)


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"card": "card-stolen"}, 409, "card declined: stolen_card"),
        ({"sku": "globe"}, 409, "0 of globe left"),
        ({"user_id": "u9"}, 409, "there is no user u9"),
        ({"card": "card-broken"}, 500, "we are looking into it"),
    ],
)
def test_a_refusal_says_why_and_an_outage_does_not(
    run: Run, changes: dict[str, str], status: int, problem: str
) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post("/orders", json=ORDER | changes, params=WAIT)
        assert (answer.status_code, answer.json()["problem"]) == (status, problem)
        assert (await client.get("/orders/o-1")).json() == answer.json()

    asked(run, story)


def test_what_is_no_order_is_refused(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        assert (await client.post("/orders", json={"id": "o-1"})).status_code == 422
        assert (await client.get("/orders/o-1")).json() == {"error": "run-not-found"}
        assert (await client.get("/orders/o-1/events")).status_code == 404

    asked(run, story)


def test_what_happens_to_an_order_is_streamed_without_what_is_secret(run: Run) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        await client.post("/orders", json=ORDER)
        stream = (await client.get("/orders/o-1/events")).text
        events = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
        assert (events[0], events[-1]) == ("RunStarted", "RunFinished")
        assert '"step": "charge"' in stream
        assert "card-ada" not in stream
        rest = (await client.get("/orders/o-1/events", headers={"Last-Event-ID": "0"})).text
        assert stream.endswith(rest)
        assert "RunStarted" not in rest

    asked(run, story)


def test_a_shop_that_shuts_down_says_so_and_takes_no_orders(run: Run) -> None:
    async def story() -> None:
        async with shop() as (client, runtime):
            await client.post("/orders", json=ORDER | {"card": "card-slow"})
            assert (await client.get("/ready")).status_code == 200
            ending = asyncio.create_task(runtime.shutdown())
            await asyncio.sleep(0)
            assert (await client.get("/ready")).json()["reasons"][0]["code"] == "shutting-down"
            answer = await client.post("/orders", json=ORDER | {"id": "o-2"})
            assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (
                503, {"error": "shutting-down"}, "1",
            )  # fmt: skip
            assert (await client.get("/orders/o-1")).json()["status"] in ("accepted", "paid")
            assert (await ending).ended == 1

    run(story())


def test_it_is_configured_by_the_environment(run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "sqlite:///shop.db")
    monkeypatch.setenv("AWAITLY_FLAGS__HTML_RECEIPTS", "1.0")

    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post("/orders", json=ORDER, params=WAIT)
        assert answer.json()["receipt"]["file"] == "receipts/o-1.html"
        assert [check["name"] for check in (await client.get("/health")).json()["checks"]] == ["store", "payments"]

    asked(run, story)

    assert (workplace / "shop.db").exists()
