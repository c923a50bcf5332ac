"""What each page tells."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from awaitly import Ok, Runtime
from awaitly.errors import StoreError
from awaitly.model.notice import Notice
from awaitly.model.state import RunRecord
from awaitly.observe.health import Health
from awaitly.persist.stores.memory import MemoryStore
from awaitly.policies.clock import pause
from awaitly.serve import app
from tests.serve.site import PAGES, Site, direct, order


def test_a_process_that_answers_is_alive_also_before_its_runtime_is_open() -> None:
    site = Site()

    async def story() -> httpx.Response:
        async with direct(site.app) as client:
            return await client.get("/live")

    answer = asyncio.run(story())

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_an_open_runtime_is_ready() -> None:
    answer = Site().get("/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": []})


def test_a_runtime_is_not_ready_before_it_is_open_nor_after() -> None:
    site = Site()
    found: list[Any] = []

    async def story() -> None:
        async with direct(site.app) as client:
            found.append(await client.get("/ready"))
            async with site.runtime:
                pass
            found.append(await client.get("/ready"))

    site.clock.run(story())

    assert [(answer.status_code, answer.json()) for answer in found] == [
        (503, {"status": "not ready", "reasons": [{"code": "not-open", "message": "the runtime is not open"}]})
    ] * 2


def test_the_store_is_checked_unasked() -> None:
    answer = Site().get("/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "checks": [{"name": "store", "status": "ok", "seconds": 0.0}],
        "runtime": {
            "phase": "open", "active": 0, "queued": 0, "queue_age": 0.0,
            "loop_lag": answer.json()["runtime"]["loop_lag"], "dropped": {}, "sink_failures": {},
        },
        "outboxes": [],
    }  # fmt: skip


def test_a_sink_that_raises_is_shown_and_changes_no_status() -> None:
    calls = threading.Semaphore(0)

    def archive(notice: Notice) -> None:
        calls.release()
        raise RuntimeError("the disk is full")

    site = Site(sinks=[archive])

    async def story() -> httpx.Response:
        async with site.runtime, direct(site.app) as client:
            await order.run(1)
            for _ in range(2):  # when the second begins, the first has been counted
                assert await asyncio.to_thread(calls.acquire, timeout=20)
            return await client.get("/health")

    answer = site.clock.run(story(), longest=20)

    assert answer.status_code == 200
    assert answer.json()["runtime"]["sink_failures"]["archive"] >= 1


def test_a_runtime_that_is_not_open_is_not_healthy() -> None:
    site = Site()

    async def story() -> httpx.Response:
        async with direct(site.app) as client:
            return await client.get("/health")

    answer = asyncio.run(story())

    assert answer.status_code == 503
    assert answer.json()["checks"] == [
        {
            "name": "store", "status": "failed", "seconds": 0.0,
            "error": "RunStopped", "message": "the runtime is not open",
        }
    ]  # fmt: skip


class Broken(MemoryStore):
    """A store that says too much when it fails."""

    async def find(self, run: str) -> RunRecord | None:
        raise StoreError("no route to postgres://bob:hunter2@db:5432/runs", code="store-unavailable")


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_a_store_that_fails_is_reported_without_its_password(path: str) -> None:
    answer = Site(store=Broken()).get(path)

    assert answer.status_code == 503
    assert "no route to postgres://bob:***@db:5432/runs" in answer.text
    assert "hunter2" not in answer.text


def test_runs_are_counted_by_how_they_ended() -> None:
    site = Site()

    async def story() -> list[dict[str, Any]]:
        async with site.runtime, direct(site.app) as client:
            assert await order.run(1) == Ok(1)
            await order.run(500)
            await order.run(-1)
            found: list[dict[str, Any]] = (await client.get("/health/workflows")).json()["workflows"]
            return found

    unused, used = site.clock.run(story())

    assert unused == {
        "name": "idle", "active": 0, "succeeded": 0, "failed": 0, "unexpected": 0, "deadline": 0, "cancelled": 0,
        "latest": 0, "success_rate": None, "average": None, "p95": None, "last_error": None,
        "rejected": 0,
    }  # fmt: skip
    assert used == {
        "name": "order", "active": 0, "succeeded": 1, "failed": 1, "unexpected": 1, "deadline": 0, "cancelled": 0,
        "latest": 3, "success_rate": 0.3333, "average": 0.0, "p95": 0.0,
        "last_error": {"error": "ConnectionError", "at": "2023-11-14T22:13:20.000Z"}, "rejected": 0,
    }  # fmt: skip


def test_who_was_called_too_late_to_watch_says_how_to_be_in_time() -> None:
    async def story() -> httpx.Response:
        async with Runtime(store="memory://") as runtime, direct(app(runtime)) as client:
            return await client.get("/health/workflows")

    answer = asyncio.run(story())

    assert answer.status_code == 501
    assert answer.json()["error"]["hint"].startswith("call awaitly.serve.app before the runtime is opened")


def test_a_runtime_that_has_a_watcher_of_health_needs_no_other() -> None:
    health = Health()
    runtime = Runtime(store="memory://", watchers=[health])

    async def story() -> httpx.Response:
        async with runtime, direct(app(runtime)) as client:
            await order.run(7)
            return await client.get("/health/workflows")

    assert asyncio.run(story()).json()["workflows"][0]["succeeded"] == 1
    app(runtime)
    assert runtime.watchers == (health,)


def test_circuits_and_limiters_are_shown_as_they_stand() -> None:
    site = Site()

    async def story() -> tuple[Any, Any]:
        async with site.runtime, direct(site.app) as client:
            await order.run(1)
            await order.run(-1)
            await order.run(-2)
            await pause(site.clock, 10)
            return (await client.get("/health/circuits")).json(), (await client.get("/health/limiters")).json()

    circuits, limiters = site.clock.run(story())

    assert circuits == {
        "circuits": [{"name": "bank", "state": "open", "failures": 2, "calls": 3, "half_open_in": 20.0}]
    }
    assert limiters == {
        "limiters": [
            {"name": "calls", "limit": 10, "per": 1.0, "available": 10.0, "waiting": 0},
            {"name": "desk", "limit": 3, "per": None, "available": 3, "waiting": 0},
        ]
    }


def test_metrics_are_shown_if_they_are_kept() -> None:
    site = Site(prometheus=True)

    async def story() -> httpx.Response:
        async with site.runtime, direct(site.app) as client:
            await order.run(1)
            return await client.get("/metrics")

    answer = site.clock.run(story())

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'awaitly_run_duration_seconds_count{outcome="value",workflow="order"} 1.0' in answer.text


def test_metrics_that_are_not_kept_say_how_to_keep_them() -> None:
    answer = Site().get("/metrics")

    assert answer.status_code == 501
    assert answer.json()["error"]["hint"] == "set AWAITLY_PROMETHEUS=true"


def test_metrics_that_cannot_be_kept_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awaitly.serve.application.find_spec", lambda name: None)

    answer = Site().get("/metrics")

    assert answer.status_code == 501
    assert answer.json()["error"]["hint"] == "install awaitly[prometheus], and set AWAITLY_PROMETHEUS=true"


def test_there_are_no_metrics_while_the_runtime_is_not_open() -> None:
    site = Site(prometheus=True)

    async def story() -> tuple[httpx.Response, httpx.Response]:
        async with direct(site.app) as client:
            before = await client.get("/metrics")
            async with site.runtime:
                pass
            return before, await client.get("/metrics")

    before, after = site.clock.run(story())

    assert (before.status_code, after.status_code) == (503, 503)


def test_the_page_for_people_leads_to_all_others() -> None:
    answer = Site().get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert [path for path in PAGES[1:] if f'<a href="{path[1:]}">{path}</a>' not in answer.text] == []


@pytest.mark.parametrize("path", PAGES)
def test_head_gets_the_status_and_headers_of_get(path: str) -> None:
    site = Site(prometheus=True)

    async def story() -> tuple[httpx.Response, httpx.Response]:
        async with site.runtime, direct(site.app) as client:
            return await client.get(path), await client.head(path)

    get, head = site.clock.run(story())

    assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])
    assert head.headers["cache-control"] == "no-store"


def test_what_is_not_there_is_said_as_json() -> None:
    answer = Site().get("/health/nothing")

    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "not-found", "message": "there is nothing at /health/nothing"}}


def test_nothing_can_be_posted() -> None:
    site = Site()

    async def story() -> httpx.Response:
        async with site.runtime, direct(site.app) as client:
            return await client.post("/ready", json={})

    answer = site.clock.run(story())

    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert answer.json()["error"] == {
        "code": "method-not-allowed", "message": "POST is not answered: send GET or HEAD"
    }  # fmt: skip


def test_callers_see_nothing_of_a_defect() -> None:
    site = Site()

    class Defective(Health):
        def reports(self) -> Any:
            raise RuntimeError("secret internals")

    site.runtime.watchers = (Defective(),)
    site.app = app(site.runtime)
    answer = site.get("/health/workflows")

    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"code": "unexpected-error", "message": "this could not be answered; the log says why"}
    }
