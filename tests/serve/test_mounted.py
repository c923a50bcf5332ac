"""The application inside another one, and over a real server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from awaitly import Runtime, step, workflow
from awaitly.errors import ConfigurationError
from awaitly.serve import app
from awaitly.serve.server import listening, url_of
from awaitly.settings import Settings
from tests.serve.site import PAGES, PATIENT, direct, order, over_http

blocked = threading.Event()
held: dict[str, asyncio.Event] = {}


@step
async def block(seconds: float) -> None:
    blocked.set()
    time.sleep(seconds)  # noqa: ASYNC251 - which nobody should do


@workflow
async def blocking(seconds: float) -> None:
    await block(seconds)


@step
async def hold(name: str) -> str:
    await held[name].wait()
    return name


@workflow(key="holding:{name}")
async def holding(name: str) -> str:
    return await hold(name) + await hold(name)


def fastapi(runtime: Runtime) -> FastAPI:
    """A service of somebody, with a runtime for its lifetime and our application under a path."""

    @asynccontextmanager
    async def lifespan(service: FastAPI) -> AsyncIterator[None]:
        async with runtime:
            yield

    service = FastAPI(lifespan=lifespan)

    @service.post("/orders/{amount}")
    async def place(amount: int) -> Any:
        return (await runtime.run(order, amount)).unwrap()

    service.mount("/internal", app(runtime))
    return service


async def until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(1000):
        if (await client.get("/ready")).status_code == 200:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not become ready")


def test_every_page_is_there_under_the_path_of_a_mount() -> None:
    service = fastapi(Runtime(Settings(prometheus=True, **PATIENT), store="memory://"))

    async def story() -> list[int]:
        async with service.router.lifespan_context(service), direct(service) as client:
            assert (await client.post("/orders/3")).json() == 3
            reported = (await client.get("/internal/health/workflows")).json()["workflows"]
            assert [(each["name"], each["succeeded"]) for each in reported] == [("order", 1)]
            return [(await client.get(f"/internal{path}")).status_code for path in PAGES]

    assert asyncio.run(story()) == [200] * len(PAGES)


def test_links_lead_to_the_pages_wherever_they_are_mounted() -> None:
    service = fastapi(Runtime(Settings(**PATIENT), store="memory://"))

    async def story() -> list[httpx.Response]:
        async with service.router.lifespan_context(service), direct(service) as client:
            page = await client.get("/internal", follow_redirects=True)
            links = [part.partition('"')[0] for part in page.text.split('href="')[1:]]
            return [await client.get(str(page.url.join(link))) for link in links]

    answers = asyncio.run(story())

    assert [answer.url.path for answer in answers] == [f"/internal{path}" for path in PAGES[1:]]
    assert {answer.status_code for answer in answers} == {200, 501}


def test_what_is_not_there_is_said_as_json_under_a_mount_too() -> None:
    service = fastapi(Runtime(Settings(**PATIENT), store="memory://"))

    async def story() -> httpx.Response:
        async with direct(service) as client:
            return await client.get("/internal/nothing")

    answer = asyncio.run(story())

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not-found")


def test_every_page_is_answered_over_http() -> None:
    runtime = Runtime(Settings(prometheus=True, **PATIENT), store="memory://", workflows=[order])

    async def story() -> list[tuple[int, int]]:
        async with over_http(app(runtime)) as client, runtime:
            await order.run(3)
            got = [await client.get(path) for path in PAGES]
            heads = [await client.head(path) for path in PAGES]
            assert [head.content for head in heads] == [b""] * len(PAGES)
            return [(get.status_code, head.status_code) for get, head in zip(got, heads, strict=True)]

    assert asyncio.run(story()) == [(200, 200)] * len(PAGES)


def test_clients_that_waited_while_a_step_blocked_the_loop_are_told_so() -> None:
    runtime = Runtime(Settings(max_loop_lag="100ms"), store="memory://", workflows=[blocking])
    blocked.clear()

    def ask(url: str) -> httpx.Response:
        blocked.wait()
        return httpx.get(f"{url}/ready", timeout=20, trust_env=False)

    async def story() -> list[httpx.Response]:
        async with over_http(app(runtime)) as client, runtime:
            await until_ready(client)
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(50) as clients:
                asking = [loop.run_in_executor(clients, ask, str(client.base_url).rstrip("/")) for _ in range(50)]
                await runtime.run(blocking, 0.3)
                answers = await asyncio.gather(*asking)
            await until_ready(client)
            return answers

    answers = asyncio.run(story())

    reasons = [answer.json()["reasons"] for answer in answers]
    assert {reason["code"] for each in reasons for reason in each} == {"loop-blocked"}
    assert all((answer.status_code == 503) == bool(each) for answer, each in zip(answers, reasons, strict=True))


def test_it_says_that_it_is_not_ready_while_its_runs_go_on() -> None:
    runtime = Runtime(Settings(**PATIENT), store="memory://", workflows=[holding])

    async def story() -> None:
        held["a"] = asyncio.Event()
        async with over_http(app(runtime)) as client:
            async with runtime:
                await runtime.start(holding, "a")
                await until_ready(client)
                ending = asyncio.ensure_future(runtime.shutdown("20s"))
                answer = await client.get("/ready")
                assert (answer.status_code, answer.json()["reasons"][0]["code"]) == (503, "shutting-down")
                details = (await client.get("/health")).json()
                assert (details["status"], details["runtime"]["active"]) == ("healthy", 1)
                assert (await client.get("/live")).status_code == 200
                held["a"].set()
                await ending
            assert (await client.get("/ready")).json()["reasons"][0]["code"] == "not-open"
            assert (await client.get("/live")).status_code == 200

    asyncio.run(story())


def test_a_server_in_another_loop_asks_the_runtime_in_its_own() -> None:
    runtime = Runtime(Settings(**PATIENT), store="memory://", workflows=[order])
    application = app(runtime)
    open_, done = threading.Event(), threading.Event()

    async def home() -> None:
        async with runtime:
            await order.run(1)
            open_.set()
            await asyncio.to_thread(done.wait)

    async def elsewhere() -> list[int]:
        async with over_http(application) as client:
            return [(await client.get(path)).status_code for path in PAGES[:-1]]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, home())
        assert open_.wait(20)
        try:
            found = asyncio.run(elsewhere())
        finally:
            done.set()
        running.result()

    assert found == [200] * len(PAGES[:-1])
    assert asyncio.run(elsewhere()) == [200, 200, 503, 503, 200, 200, 200]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_token_it_does_not_listen_where_others_reach_it(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no serve\.token") as raised:
        listening(host, 0, alone=True)

    assert raised.value.code == "invalid-setting"


def test_with_a_token_it_does() -> None:
    with listening("0.0.0.0", 0, alone=False) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_this_machine_alone_is_reached_by_several_names(host: str) -> None:
    with listening(host, 0, alone=True) as listener:
        assert url_of(listener).startswith("http://")


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with listening("127.0.0.1", 0, alone=True) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}") as raised:
            listening("127.0.0.1", port, alone=True)

    assert "--port" in raised.value.hint


def test_a_host_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="which is no address"):
        listening("not a host", 0, alone=True)
