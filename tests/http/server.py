"""A real HTTP server on a loopback port, in a thread of its own: it does what a test's script says, and keeps a log.

Its times are those of the machine's monotonic clock, which all processes share. An exchange counts as answered from
before the last of its answer is sent, so what a client does because of the answer is always later.
"""

import asyncio
import math
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from itertools import pairwise
from types import TracebackType
from typing import Self, TypeAlias

PATIENCE = 20.0  # seconds until what a test waits for counts as never happening
DRIP = 0.01  # seconds between two bytes of a slow answer
PROMPTLY = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


@dataclass(eq=False, slots=True)
class Exchange:
    """One request, and what became of it."""

    path: str
    headers: Mapping[str, str]  # by lower-case name
    arrived: float
    said: dict[str, str] = field(default_factory=dict)  # headers of the answer
    answered: float | None = None  # or the connection broken by the server
    dropped: float | None = None  # when the client was seen to go before that

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-attempt"])

    @property
    def over(self) -> float:
        """When it was over; infinity while it is under way."""
        return min(time for time in (self.answered, self.dropped, math.inf) if time is not None)


class Wire:
    """One connection, as the answer to its request sees it."""

    def __init__(self, server: "Server", exchange: Exchange, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.exchange = exchange
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send a part of the answer."""
        self._writer.write(data)
        await self._writer.drain()

    async def finish(self, data: bytes) -> None:
        """Send the last of the answer."""
        self.conclude()
        await self.send(data)

    def end(self) -> None:
        """Send nothing any more, and go on listening."""
        self.conclude()
        self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection, so that the client reads an error and not an end."""
        self.conclude()
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, PROMPTLY)
        self._writer.transport.abort()

    def conclude(self) -> None:
        """Note that the client may know the answer from now on."""
        self.exchange.answered = time.monotonic()
        self.server.changed()


Answer: TypeAlias = Callable[[Wire], Awaitable[None]]


def status(code: int, body: str = "", **headers: str) -> Answer:
    """Answer with a status, headers and a body."""

    async def answer(wire: Wire) -> None:
        wire.exchange.said = {name.replace("_", "-"): value for name, value in headers.items()}
        await wire.finish(_head(code, len(body), wire.exchange.said) + body.encode())

    return answer


def ok(body: str = "done") -> Answer:
    """Answer well."""
    return status(200, body)


def slow(seconds: float, then: Answer) -> Answer:
    """Answer after a while."""

    async def answer(wire: Wire) -> None:
        await asyncio.sleep(seconds)
        await then(wire)

    return answer


def held(then: Answer) -> Answer:
    """Answer when the test lets it."""

    async def answer(wire: Wire) -> None:
        await wire.server.gate.acquire()
        await then(wire)

    return answer


async def busy_until(wire: Wire) -> None:
    """Ask to be left alone until a date: dates have whole seconds, so it is the next one or the one after that."""
    await status(429, retry_after=formatdate(math.ceil(time.time() + 0.1), usegmt=True))(wire)


async def hang(wire: Wire) -> None:
    """Say nothing, ever."""
    await asyncio.Event().wait()


async def trickle(wire: Wire) -> None:
    """Begin an answer and go on for ever, a byte at a time."""
    await wire.send(_head(200, 1_000_000))
    while True:
        await wire.send(b".")
        await asyncio.sleep(DRIP)


async def reset(wire: Wire) -> None:
    """Break the connection in place of an answer."""
    wire.reset()


async def reset_midway(wire: Wire) -> None:
    """Break the connection in the middle of an answer."""
    await wire.send(_head(200, 10) + b"half")
    wire.reset()


async def close(wire: Wire) -> None:
    """Close the connection in place of an answer."""
    wire.conclude()


async def half_close(wire: Wire) -> None:
    """End the answer in its middle, and wait for the client to go."""
    await wire.send(_head(200, 10) + b"half")
    wire.end()
    await asyncio.Event().wait()


async def gibberish(wire: Wire) -> None:
    """Answer with what is not HTTP."""
    await wire.finish(b"\x00 no such thing\r\n\r\n")


class Server:
    """The server and its log. A path that no script has is answered well.

    Args:
        listening: Whether it listens from the beginning; before it does, connections are refused.
    """

    def __init__(self, *, listening: bool = True) -> None:
        self.log: list[Exchange] = []
        self.gate = asyncio.Semaphore(0)
        self._scripts: dict[str, list[Answer]] = {}
        self._watchers: list[Callable[[], object]] = []
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._listening = listening
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve_forever)

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def script(self, path: str, *answers: Answer) -> None:
        """Say how requests of a path are answered, one after another; the last answer is given ever after."""
        self._scripts[path] = list(answers)

    def listen(self) -> None:
        """Begin to listen."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)

    def release(self, number: int = 1) -> None:
        """Let some of the answers go that are held, or will be."""
        for _ in range(number):
            self._loop.call_soon_threadsafe(self.gate.release)

    def requests(self, path: str | None = None) -> Sequence[Exchange]:
        """Return what has arrived, in order."""
        return [exchange for exchange in tuple(self.log) if path in (None, exchange.path)]

    def pauses(self, path: str) -> Sequence[float]:
        """Return the seconds from the answer to each request until the next one arrived."""
        seen = self.requests(path)
        return [following.arrived - before.over for before, following in pairwise(seen)]

    def peak(self) -> int:
        """Return the most requests that were under way at once."""
        seen = self.requests()
        return max(sum(other.arrived <= one.arrived < other.over for other in seen) for one in seen)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the log."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(news.set)

        self._watchers.append(tell)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    news.clear()
                    if holds():
                        return
                    await news.wait()
        except TimeoutError:
            raise AssertionError(f"it did not happen: {self.log}") from None
        finally:
            self._watchers.remove(tell)

    async def arrived(self, number: int) -> None:
        """Wait until so many requests have arrived."""
        await self.until(lambda: len(self.log) >= number)

    def changed(self) -> None:
        """Tell those who wait that the log has changed."""
        for tell in tuple(self._watchers):
            tell()

    def __enter__(self) -> Self:
        self._thread.start()
        if self._listening:
            self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def _serve_forever(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._socket, backlog=2000)

    async def _close(self) -> None:
        if hasattr(self, "_server"):
            self._server.close()
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, which the log says if it matters
        finally:
            self._connections.discard(connection)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = lines[0].split()[1]
        pairs = (line.partition(": ") for line in lines[1:] if line)
        exchange = Exchange(path, {name.lower(): value for name, _, value in pairs}, time.monotonic())
        self.log.append(exchange)
        self.changed()

        answer = asyncio.ensure_future(self._next(path)(Wire(self, exchange, writer)))
        absence = asyncio.ensure_future(_gone(reader))
        try:
            await asyncio.wait([answer, absence], return_when=asyncio.FIRST_COMPLETED)
            if exchange.answered is None:
                exchange.dropped = time.monotonic()
                self.changed()
        finally:
            answer.cancel()
            absence.cancel()
            await asyncio.gather(answer, absence, return_exceptions=True)

    def _next(self, path: str) -> Answer:
        answers = self._scripts.get(path)
        if answers is None:
            return ok()
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def _gone(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()


def _head(code: int, length: int, headers: Mapping[str, str] | None = None) -> bytes:
    given = {"Content-Length": str(length), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode()
