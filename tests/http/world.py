"""The world of one test: a real server, a real client, a store, and workflows whose steps ask the server."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import pytest

from awaitly import Err, Result, Runtime, UnexpectedError, Workflow, step, workflow
from awaitly.observe.bus import Notice
from awaitly.settings import Settings
from tests.http.client import PLAIN, headers
from tests.http.server import Server

T = TypeVar("T")

LONGEST = 30.0  # seconds that a story may take
EARLY = 0.001  # seconds by which a timer may be early: the loop's own clock has grains

on_disk = pytest.mark.parametrize("world", ["sqlite"], indirect=True)  # where the store plays no part in what is shown


class World:
    """One test's server and store.

    Args:
        server: The server, which serves already.
        store: The URL of the store.
    """

    def __init__(self, server: Server, store: str) -> None:
        self.server = server
        self.store = store
        self.notices: list[Notice] = []
        self._client: httpx.AsyncClient | None = None

    def play(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a story in a loop of its own, with a client."""

        async def played() -> T:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            async with (
                asyncio.timeout(LONGEST),
                httpx.AsyncClient(base_url=self.server.url, limits=limits, **PLAIN) as client,
            ):
                self._client = client
                return await story()

        return asyncio.run(played())

    def runtime(self, *workflows: Workflow[..., Any, Any]) -> Runtime:
        """Return a runtime of this world."""
        return Runtime(Settings(store=self.store), workflows=workflows, sinks=[self.notices.append])

    async def get(self, path: str) -> str:
        """Ask the server from inside a step; whatever is not a success is raised."""
        assert self._client is not None
        response = await self._client.get(path, headers=headers())
        response.raise_for_status()
        return response.text

    def get_blocking(self, path: str) -> str:
        """Ask the server from a thread."""
        with httpx.Client(base_url=self.server.url, timeout=None, trust_env=False) as client:
            return client.get(path, headers=headers()).raise_for_status().text

    def asking(self, *, name: str = "asking", errors: Any = (), **options: Any) -> Workflow[[str], str, Any]:
        """Return a workflow of one step, which asks the server with these policies around it."""

        @step(name=f"ask_{name}", errors=errors, **options)
        async def ask(path: str) -> str:
            return await self.get(path)

        @workflow(name=name)
        async def asking(path: str) -> str:
            return await ask(path)

        return asking


def error_of(result: Result[object, BaseException]) -> UnexpectedError:
    """Return the error of a run that ended with one that nobody expected."""
    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    return result.error
