"""Requests over real connections: what an answer means, and what counts as none."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from awaitly.webhooks.posting import Answer, _tls, post
from tests.http.server import Answer as Scripted
from tests.http.server import Server, Wire, close, gibberish, half_close, reset, status, trickle


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def posted(server: Server, *answers: Scripted, path: str = "/hooks?a=b") -> Answer:
    server.script(path, *answers)

    async def story() -> Answer:
        async with asyncio.timeout(20):
            return await post(f"{server.url}{path}", b"", {"X-Key": "k"})

    return asyncio.run(story())


def test_an_answer_has_a_status_and_headers(server: Server) -> None:
    answer = posted(server, status(429, "later", Retry_After="7"))

    assert answer.status == 429
    assert answer.headers["Retry-After"] == "7"
    assert (server.log[0].path, server.log[0].headers["x-key"]) == ("/hooks?a=b", "k")
    assert server.log[0].headers["host"] == server.url.removeprefix("http://")


def test_a_redirect_is_an_answer_and_not_followed(server: Server) -> None:
    assert posted(server, status(302, Location="/elsewhere")).status == 302
    assert len(server.log) == 1


@pytest.mark.parametrize("rest", [trickle, half_close])
def test_the_body_of_an_answer_is_not_waited_for(server: Server, rest: Scripted) -> None:
    assert posted(server, rest).status == 200


def test_a_huge_answer_is_not_read(server: Server) -> None:
    async def huge(wire: Wire) -> None:
        await wire.finish(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000))

    assert posted(server, huge).status == 200


def test_an_answer_that_breaks_off_before_its_body_is_an_error(server: Server) -> None:
    async def broken(wire: Wire) -> None:
        await wire.finish(b"HTTP/1.1 200 OK\r\nContent-")

    with pytest.raises(EOFError):
        posted(server, broken)


@pytest.mark.parametrize("answer", [reset, close, gibberish])
def test_what_is_no_answer_is_an_error(server: Server, answer: Scripted) -> None:
    with pytest.raises((OSError, EOFError, ValueError)):
        posted(server, answer)


def test_interim_answers_are_passed_over(server: Server) -> None:
    async def early(wire: Wire) -> None:
        await wire.finish(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    assert posted(server, early).status == 204


def test_headers_without_an_end_are_an_error(server: Server) -> None:
    async def endless(wire: Wire) -> None:
        await wire.finish(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000)

    with pytest.raises(ValueError, match="longer than"):
        posted(server, endless)


def test_nobody_listening_is_an_error() -> None:
    with Server(listening=False) as server, pytest.raises(OSError, match="Connect"):
        asyncio.run(post(server.url, b"", {}))


def test_over_https_the_receiver_has_to_prove_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def story() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}/hooks"
            _tls.cache_clear()
            with pytest.raises(ssl.SSLCertVerificationError):
                await post(url, b"hello", {})
            _tls.cache_clear()
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
            assert (await post(url, b"hello", {})).status == 204

    asyncio.run(story())
    _tls.cache_clear()
