"""A collector that takes whatever it is sent over HTTP, and forgets it; says its port first."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Collector(BaseHTTPRequestHandler):
    """Answers every request with an empty one."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read what is sent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing of it."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    print(server.server_port, flush=True)
    server.serve_forever()
