"""What the tests of pages share: workflows, a client that calls an application directly, and one over a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from awaitly import Breaker, Concurrency, Failure, RateLimit, Retry, Runtime, step, workflow
from awaitly.serve import app
from awaitly.serve.server import listening, served, url_of
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock

TOKEN = "open-sesame"
PATIENT: dict[str, Any] = {"max_loop_lag": "1h"}  # with the machine that the tests run on
PAGES = ("/", "/live", "/ready", "/health", "/health/workflows", "/health/circuits", "/health/limiters", "/metrics")


class Declined(Failure):
    code: str


@step(
    breaker=Breaker("bank", failure_threshold=2, reset_timeout="30s"),
    limiter=RateLimit("calls", limit=10, per="1s"),
    retry=Retry(1),
)
async def pay(amount: int) -> int:
    if amount < 0:
        raise ConnectionError("the bank is closed")
    return amount


@step(errors=Declined, limiter=Concurrency("desk", limit=3))
async def check(amount: int) -> int:
    if amount > 100:
        raise Declined(code="too_much")
    return amount


@workflow(key="order:{amount}", errors=Declined)
async def order(amount: int) -> int:
    return await pay(await check(amount))


@workflow
async def idle() -> None:
    pass


@asynccontextmanager
async def direct(application: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls an application without a network."""
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@asynccontextmanager
async def over_http(application: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server, on a free port of this machine."""
    listener = listening("127.0.0.1", 0, alone=True)
    async with served(application, listener), httpx.AsyncClient(base_url=url_of(listener), trust_env=False) as client:
        yield client


class Site:
    """An application around a runtime in virtual time."""

    def __init__(
        self, *, store: Any = "memory://", checks: Any = None, timeout: Any = "2s", sinks: Any = (), **settings: Any
    ) -> None:
        self.clock = VirtualClock(auto=True)
        self.runtime = Runtime(
            Settings(**PATIENT, **settings), store=store, clock=self.clock, workflows=[order, idle], sinks=sinks
        )
        self.app = app(self.runtime, checks, check_timeout=timeout)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Return what a page answers while the runtime is open."""

        async def story() -> httpx.Response:
            async with self.runtime, direct(self.app) as client:
                return await client.get(path, **more)

        return self.clock.run(story(), longest=20)

    async def settle(self) -> None:
        """Let the loop turn."""
        for _ in range(100):
            await asyncio.sleep(0)


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
