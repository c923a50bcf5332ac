"""A server for an ASGI application in a loop that runs already: its socket, and its beginning and end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any

from awaitly.errors import ConfigurationError, NotSupported

try:
    import uvicorn
except ModuleNotFoundError as error:
    raise NotSupported(
        f"serving needs the package {error.name}, which is not installed", hint="install awaitly[serve]"
    ) from error

BACKLOG = 2048
LAST_ANSWERS = 5  # seconds that requests have to be answered when it ends


def listening(host: str, port: int, *, alone: bool) -> socket.socket:
    """Return a socket that listens: who connects waits until it is served.

    Args:
        host: A name or an address of this machine.
        port: 0 is any free one.
        alone: Whether only this machine may reach it.

    Raises:
        ConfigurationError: ``invalid-setting``, if it cannot, or if others could reach it.
    """
    family, address = _resolved(host, port)
    if alone and not ip_address(address[0].partition("%")[0]).is_loopback:
        raise ConfigurationError(
            f"serve.host is {host!r}, where others can reach it, and there is no serve.token",
            hint="set AWAITLY_SERVE__TOKEN to a long random word, or serve on 127.0.0.1",
            code="invalid-setting",
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another one with --port or AWAITLY_SERVE__PORT; 0 is any free one",
            code="invalid-setting",
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return where a socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def served(application: Any, listener: socket.socket) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve an application while the block lasts; yields the task that does it, which should not end before."""
    # Nothing is logged but trouble, and the program's own set-up of logging stays.
    config = uvicorn.Config(
        application,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield serving
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
        listener.close()
    serving.result()


class _Server(uvicorn.Server):
    """A server that leaves signals to those who started it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _resolved(host: str, port: int) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"serve.host is {host!r}, which is no address: {error}",
            hint="write 127.0.0.1 for this machine alone, or 0.0.0.0 for everybody",
            code="invalid-setting",
        ) from error
    family, _, _, _, address = found[0]
    return family, address
