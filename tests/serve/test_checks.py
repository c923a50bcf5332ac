"""Checks of what a program depends on do no harm, whatever they do."""

import asyncio
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from awaitly import Err, Ok
from awaitly.errors import ConfigurationError
from awaitly.policies.clock import SystemClock, pause
from awaitly.serve.checks import Checks
from awaitly.serve.masks import LONGEST, public
from tests.serve.site import Site, direct


def checked(answer: httpx.Response) -> dict[str, str]:
    """Return what an answer says of each check but that of the store."""
    return {
        check["name"]: f"{check['error']}: {check['message']}" if check["status"] == "failed" else "ok"
        for check in answer.json()["checks"]
        if check["name"] != "store"
    }


async def fine() -> None:
    pass


async def refused() -> None:
    raise ConnectionError("refused")


async def leaves() -> None:
    raise SystemExit(1)


async def hangs() -> None:
    await asyncio.Event().wait()


async def gives_up() -> None:
    raise asyncio.CancelledError


async def awaits_nothing() -> bool:
    return False


class Pinging:
    async def __call__(self) -> str:
        return "pong"


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (fine, "ok"),
        (lambda: None, "ok"),
        (lambda: "anything", "ok"),
        (lambda: Ok("fine"), "ok"),
        (lambda: fine(), "ok"),
        (Pinging(), "ok"),
        (refused, "ConnectionError: refused"),
        (lambda: refused(), "ConnectionError: refused"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: next(iter(())), "Unwell: it raised StopIteration"),
        (leaves, "SystemExit: 1"),
        (lambda: exit(2), "SystemExit: 2"),
        (gives_up, "CancelledError: "),
        (awaits_nothing, "Unwell: it returned False"),
        (lambda: False, "Unwell: it returned False"),
        (lambda: Err("no disk"), "Unwell: no disk"),
        (lambda: Err(OSError("no disk")), "OSError: no disk"),
        (lambda needed: needed, "TypeError: <lambda>() missing 1 required positional argument: 'needed'"),
    ],
)
def test_a_check_fails_if_it_raises_or_says_so(check: Callable[..., Any], says: str) -> None:
    async def story() -> str:
        answer = (await Checks({"it": check}, 20, SystemClock()).answers())["it"]
        return "ok" if answer.well else f"{answer.error}: {answer.message}"

    assert asyncio.run(story()) == says


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


def test_an_error_that_has_no_text_is_an_answer_all_the_same() -> None:
    async def mute() -> None:
        raise Mute

    answer = Site(checks={"it": mute}).get("/health")

    assert (answer.status_code, checked(answer)) == (503, {"it": "Mute: "})


async def yields() -> AsyncIterator[None]:
    yield


def counts() -> Iterator[int]:
    yield 1


class Yielding:
    async def __call__(self) -> AsyncIterator[None]:
        yield


@pytest.mark.parametrize("check", [yields, counts, Yielding(), partial(counts)])
def test_a_function_with_yield_is_refused_as_nothing_of_it_would_run(check: Callable[..., Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the check 'db' of awaitly.serve.app is a function with yield"
    ) as got:
        Site(checks={"db": check})

    assert got.value.code == "invalid-option"


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'db' of awaitly.serve.app is str, which cannot be called"):
        Site(checks={"db": "ping"})


async def nested() -> object:
    return asyncio.get_running_loop().create_future()


@types.coroutine
def of_old() -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("check", "kind"), [(lambda: yields(), "async_generator"), (lambda: counts(), "generator"), (nested, "Future")]
)
def test_a_check_that_returns_what_nobody_runs_fails(check: Callable[..., Any], kind: str) -> None:
    answer = Site(checks={"db": check}).get("/health")

    assert (answer.status_code, checked(answer)) == (
        503,
        {"db": f"Unwell: it returned an object of type {kind}, which nobody runs: await it in the check"},
    )


def test_a_coroutine_made_of_a_generator_is_awaited() -> None:
    answer = Site(checks={"db": of_old}).get("/health")

    assert checked(answer) == {"db": "ok"}


def test_text_that_stands_for_no_character_is_shown_escaped() -> None:
    async def reads() -> None:
        raise OSError("cannot read \udcff.txt")

    answer = Site(checks={"disk \ud800": reads}).get("/health")

    assert (answer.status_code, checked(answer)) == (503, {r"disk \ud800": r"OSError: cannot read \udcff.txt"})


def test_one_that_fails_makes_all_of_it_unhealthy_and_hides_none_of_the_others() -> None:
    answer = Site(checks={"bank": refused, "mail": fine}).get("/health")

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert checked(answer) == {"bank": "ConnectionError: refused", "mail": "ok"}


def test_a_check_that_hangs_is_reported_with_its_time_and_delays_others_no_further() -> None:
    site = Site(checks={"hung": hangs, "mail": fine}, timeout="3s")

    async def story() -> tuple[httpx.Response, float]:
        async with site.runtime, direct(site.app) as client:
            began = site.clock.now
            return await client.get("/health"), site.clock.now - began

    answer, took = site.clock.run(story())

    assert checked(answer) == {"hung": "TimeoutError: no answer within 3s", "mail": "ok"}
    assert ([check["seconds"] for check in answer.json()["checks"]], took) == ([0.0, 3.0, 0.0], 3.0)


def test_checks_run_at_once() -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        first.set()
        await second.wait()

    async def other() -> None:
        second.set()
        await first.wait()

    answer = Site(checks={"one": one, "other": other}).get("/health")

    assert checked(answer) == {"one": "ok", "other": "ok"}


def test_many_who_ask_cost_one_call_of_each_check() -> None:
    calls: list[str] = []

    async def counted() -> None:
        calls.append("called")
        await pause(site.clock, 0.5)

    site = Site(checks={"it": counted})

    async def story() -> list[httpx.Response]:
        async with site.runtime, direct(site.app) as client:
            return await asyncio.gather(*(client.get("/health") for _ in range(50)))

    answers = site.clock.run(story())

    assert ({answer.status_code for answer in answers}, calls) == ({200}, ["called"])


def test_a_plain_function_that_hangs_holds_one_thread_and_nobody_else() -> None:
    hanging = threading.Event()
    calls: list[str] = []

    def hang() -> None:
        calls.append("called")
        hanging.wait()

    async def story() -> list[str]:
        checks = Checks({"hung": hang}, 0.01, SystemClock())
        found = []
        for _ in range(3):
            found.append((await checks.answers())["hung"].message)
            await _aged(checks)
        return found

    try:
        found = asyncio.run(story())  # which ends although the thread does not
    finally:
        hanging.set()

    assert found == ["no answer within 10ms", *["the call before has not returned yet"] * 2]
    assert calls == ["called"]


async def _aged(checks: Checks) -> None:
    """Let the last answers be too old."""
    for probe in checks._probes.values():
        assert probe._asking is not None
        await asyncio.sleep(0)
        probe._asking.ended -= 10


def test_a_plain_function_does_not_hold_the_event_loop() -> None:
    turned = threading.Event()

    def wait_for_the_loop() -> None:
        assert turned.wait(20)

    async def story() -> bool:
        checks = Checks({"it": wait_for_the_loop}, 20, SystemClock())
        asking = asyncio.ensure_future(checks.answers())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(turned.set)
        return (await asking)["it"].well

    assert asyncio.run(story())


def test_a_check_may_take_the_place_of_the_store_s() -> None:
    answer = Site(checks={"store": refused}).get("/health")

    assert [check["name"] for check in answer.json()["checks"]] == ["store"]
    assert answer.json()["checks"][0]["error"] == "ConnectionError"


def test_a_timeout_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="check_timeout= of app"):
        Site(timeout="soon")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no route to postgres://bob:hunter2@db/runs", "no route to postgres://bob:***@db/runs"),
        ("redis://:hunter2@cache and amqp://a:hunter2@q", "redis://:***@cache and amqp://a:***@q"),
        ("GET https://api/v1?api_key=hunter2&page=2", "GET https://api/v1?api_key=***"),
        ("host=db user=bob password=hunter2 dbname=runs", "host=db user=bob password=*** dbname=runs"),
        ("refused: {'token': 'hunter2', 'a': 1}", "refused: {'token': ***, 'a': 1}"),
        ("token=hunter2 secret=hunter2;a=b", "token=*** secret=***;a=b"),
        ("Authorization: Bearer hunter2 was refused", "Authorization: *** was refused"),
        ("plain words: nothing to hide", "plain words: nothing to hide"),
        ("x" * 1000, "x" * LONGEST + "..."),
        ("x" * 2_000_000, "x" * LONGEST + "..."),
        ("key=" + "x" * 1000, "key=***..."),
        ("x" * 480 + " db://bob:hunter2@db/runs", "x" * 480 + " db://***..."),
        ("x" * 485 + " password=hunter2", "x" * 485 + " password=***..."),
        ("x" * 491 + " password=hunter2", "x" * 491 + " password..."),
        ("k=1 " * 10 + "key=1 " * 200, ("k=1 " * 10 + "key=*** " * 76)[:LONGEST] + "..."),
        ("://" * 100 + "?a" * 50, "://" * 100 + "?a" * 50),
    ],
)
def test_messages_hold_no_secrets(message: str, shown: str) -> None:
    assert public(message) == shown
