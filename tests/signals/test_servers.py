"""Under a web server a signal shuts the runtime down first, while requests are still answered, and then the server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from awaitly.model.state import Status
from tests.signals.conftest import Program

Started = Callable[..., Program]

APP = "tests.signals.site:app"
UVICORN = ("uvicorn", APP, "--port", "0")
GUNICORN = ("gunicorn", APP, "-b", "127.0.0.1:0", "-k", "uvicorn_worker.UvicornWorker", "--no-control-socket")

# Uvicorn raises the signal again once it has ended in order; gunicorn's own process is told by its worker.
SERVERS = pytest.mark.parametrize(
    ("server", "status"),
    [(UVICORN, -15), (GUNICORN, 0), ((*GUNICORN, "--preload"), 0)],
    ids=["uvicorn", "gunicorn", "gunicorn-preload"],
)


def asked(url: str, method: str, path: str) -> httpx.Response:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        return client.request(method, path)


@SERVERS
def test_requests_in_flight_are_answered_and_new_ones_refused_until_all_runs_have_ended(
    started: Started, server: Any, status: int
) -> None:
    program = started(*server)
    url = program.url()
    assert asked(url, "GET", "/ready").status_code == 200
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(asked, url, "POST", "/run/two/a")
        program.until("a-1 begins")
        program.tell()

        assert asked(url, "GET", "/ready").status_code == 503
        assert asked(url, "GET", "/live").status_code == 200
        refused = asked(url, "POST", "/run/two/b")
        assert (refused.status_code, refused.json(), refused.headers["Retry-After"]) == (
            503, {"error": "shutting-down"}, "1",
        )  # fmt: skip
        program.let("a-1")
        program.until("a-2 begins")
        program.let("a-2")
        assert (answer.result().status_code, answer.result().json()) == (200, "a-2")

    assert program.ended() == status
    assert program.log[-1] == "left"
    assert program.record("two:a").status is Status.SUCCEEDED


@SERVERS
def test_what_does_not_end_in_time_is_refused_and_can_be_asked_for_again(
    started: Started, server: Any, status: int
) -> None:
    program = started(*server, AWAITLY_SHUTDOWN_TIMEOUT="1s")
    url = program.url()
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(asked, url, "POST", "/run/two/a")
        program.until("a-1 begins")
        program.tell()
        assert answer.result().status_code == 503

    assert program.ended() == status
    assert "under way, which are abandoned: two:a" in program.errors
    program.let("a-1")
    program.let("a-2")
    again = started(*server)
    assert asked(again.url(), "POST", "/run/two/a").json() == "a-2"


@SERVERS
def test_without_handling_signals_itself_the_runtime_is_shut_down_by_the_lifespan(
    started: Started, server: Any, status: int
) -> None:
    program = started(*server, SIGNALS="no")
    url = program.url()
    assert asked(url, "POST", "/start/sleeping/b").json() == "sleeping:b"
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(asked, url, "POST", "/run/two/a")
        program.until("a-1 begins")
        program.process.terminate()
        program.let("a-1")
        program.let("a-2")
        assert answer.result().json() == "a-2"

    assert program.ended() == status
    assert program.log[-1] == "left"
    assert (program.record("sleeping:b").status, program.record("sleeping:b").owner) == (Status.PENDING, None)


def test_a_second_signal_ends_the_process_of_a_server_at_once(started: Started) -> None:
    program = started(*UVICORN)
    url = program.url()
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(asked, url, "POST", "/run/two/a")
        program.until("a-1 begins")
        program.tell()

        assert program.insist() == 143
        assert isinstance(answer.exception(), httpx.HTTPError)
