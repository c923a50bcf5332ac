"""A real receiver of webhooks on a loopback port: it answers as a test's script says, and verifies what arrives."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from awaitly.webhooks import SIGNATURE, verify

PATIENCE = 20.0  # seconds until what a test waits for counts as never happening
SECRET = "whsec_of_the_tests"
HANG = 0  # in place of a status: no answer until the test lets it

Said: TypeAlias = int | tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Taken:
    """One request."""

    event: dict[str, Any]
    headers: dict[str, str]  # by lower-case name
    genuine: bool
    answered: int  # with which status; HANG: not at once

    @property
    def run(self) -> str:
        return str(self.event["run"])


class Hooks:
    """What arrived, in order, and what is answered next: well, if the script is at its end."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks"
        self.taken: list[Taken] = []
        self.released = threading.Event()
        self._script: deque[Said] = deque()
        self._news = threading.Condition()

    def script(self, *answers: Said) -> None:
        """Say what is answered, one after another."""
        with self._news:
            self._script.extend(answers)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what arrived."""
        with self._news:
            assert self._news.wait_for(holds, PATIENCE), [taken.event for taken in self.taken]

    @property
    def accepted(self) -> list[Taken]:
        """Those that were answered well."""
        return [taken for taken in self.taken if 200 <= taken.answered < 300]

    def take(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        """Keep a request and return the answer."""
        with self._news:
            said = self._script.popleft() if self._script else 200
            status, more = (said, {}) if isinstance(said, int) else said
            genuine = verify(body, headers.get(SIGNATURE.lower()), SECRET)
            self.taken.append(Taken(json.loads(body), headers, genuine, status))
            self._news.notify_all()
        if status == HANG:
            self.released.wait(PATIENCE)
            status = 200
        return status, more


@contextmanager
def receiving_hooks() -> Iterator[Hooks]:
    """Start a receiver on a free port, and stop it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, more = hooks.take(body, {name.lower(): value for name, value in self.headers.items()})
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hooks = Hooks(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hooks
        finally:
            hooks.released.set()
            server.shutdown()
            thread.join()
