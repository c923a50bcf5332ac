"""A receiver of Sentry's protocol in the test process, and what it received in the words of the tests."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 20.0  # seconds until something that does not arrive is given up


class Envelopes:
    """What arrived, by project: bodies of envelopes, and the items in them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._bodies: list[tuple[str, bytes]] = []
        self._news = threading.Condition()

    def dsn(self, project: int = 1) -> str:
        """Return the address of a project."""
        return f"http://key@127.0.0.1:{self._port}/{project}"

    def take(self, project: str, body: bytes) -> None:
        """Keep what arrived."""
        with self._news:
            self._bodies.append((project, body))
            self._news.notify_all()

    def items(self, kind: str, project: int = 1) -> list[dict[str, Any]]:
        """Return the items of a kind that have arrived, in order."""
        with self._news:
            bodies = [body for of, body in self._bodies if of == str(project)]
        return [item for body in bodies for item in items(body, kind)]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that have arrived."""
        return self.items("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The transactions that have arrived."""
        return self.items("transaction")

    @property
    def text(self) -> str:
        """All that has arrived."""
        with self._news:
            return b"\n".join(body for _, body in self._bodies).decode()


def items(body: bytes, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a kind in an envelope: lines of JSON, each item behind a header of its own."""
    lines = body.split(b"\n")[1:]
    for header, payload in zip(lines[::2], lines[1::2], strict=False):
        if header and json.loads(header)["type"] == kind:
            yield json.loads(payload)


@contextmanager
def receiving_envelopes() -> Iterator[Envelopes]:
    """Start a receiver on a free port, and stop it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.take(self.path.split("/")[2], body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Envelopes(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
