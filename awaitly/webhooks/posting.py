"""Sending one request over HTTP, and what its answer means."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from awaitly.errors import Failure

LARGEST_HEAD = 65_536  # bytes of an answer's headers

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_TRY_LATER = frozenset({408, 425, 429})


class Answer(NamedTuple):
    """What a receiver answers; the names of headers in any case."""

    status: int
    headers: Mapping[str, str] = {}


class Post(Protocol):
    """Sends a request, such as with the HTTP client that a program has anyway. Whatever it raises is a failure."""

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str], /) -> Answer:
        """Send a body by POST and return the answer, without following redirects."""


class DeliveryFailed(Failure, retryable=True):
    """A receiver did not take an event.

    Attributes:
        reason: why, in a few words.
        status: the status of its answer; None if there was none.
        retry_after: for how long it asks to be left alone: its header ``Retry-After``.
    """

    reason: str
    status: int | None = None
    retry_after: str | None = None

    @property
    def everybodys(self) -> bool:
        """Whether other events would fare no better: it does not answer, is not well, or has too much to do."""
        return self.status is None or self.status >= 500 or self.status in _TRY_LATER


async def post(url: str, body: bytes, headers: Mapping[str, str], /) -> Answer:
    """Send a body by POST over a connection of its own; the body of the answer is not read.

    Raises:
        OSError: If there is no connection.
        ValueError: If the answer is not HTTP.
        EOFError: If the connection ends before the answer does.
    """
    parts = urlsplit(url)
    context = await asyncio.to_thread(_tls) if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or _port(parts), ssl=context, limit=LARGEST_HEAD
    )
    try:
        writer.write(_request(parts, body, headers))
        await writer.drain()
        while True:
            answer = await _answer(reader)
            if answer.status >= 200:  # those before are interim ones
                return answer
    finally:
        writer.close()


def _request(parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    about = {"Host": parts.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in about.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


async def _answer(reader: asyncio.StreamReader) -> Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError(f"the headers of the answer are longer than {LARGEST_HEAD} bytes") from None
    status = _STATUS.match(head)
    if status is None:
        raise ValueError(f"the answer is not HTTP: {head[:40]!r}")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return Answer(int(status[1]), {name.strip(): value.strip() for name, _, value in lines})


def _port(parts: SplitResult) -> int:
    return 443 if parts.scheme == "https" else 80


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all the machine's certificates
