"""The steps of generated workflows: each asks the world of the test what happens."""

from collections.abc import Callable

from awaitly import Breaker, Cache, Concurrency, Failure, Fallback, Retry, current, step
from tests.properties import world

SHORT = Retry(4, initial="3ms", jitter=False)  # what chance decides would differ from play to play
LONG = Retry(4, initial="2s", jitter=False)


class Boom(Failure):
    tag: int


class Refused(Failure, retryable=True, not_executed=True):
    tag: int


class Flaky(Exception):
    """What an attempt fails with that another one will get over."""


@step(effect="write", errors=Boom)
async def write(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails)


@step(effect="read", errors=Boom)
async def read(tag: int, x: int, fails: bool) -> int:
    return await act("read", tag, x, fails)


@step(effect="none", errors=Boom)
async def none(tag: int, x: int, fails: bool) -> int:
    return await act("none", tag, x, fails)


@step(effect="once", on_ambiguous="retry", errors=Boom)
async def once(tag: int, x: int, fails: bool) -> int:
    return await act("once", tag, x, fails)


@step(key="k:{k}")
async def keyed(k: int) -> int:
    return await act("write", k, 0, False)


@step(effect="write", retry=SHORT, errors=Boom)
async def again(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails, flaky=Flaky)


@step(effect="read", retry=SHORT, errors=Boom)
async def again_read(tag: int, x: int, fails: bool) -> int:
    return await act("read", tag, x, fails, flaky=Flaky)


@step(effect="write", retry=LONG, errors=Boom)
async def patient(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails, flaky=Flaky)


@step(effect="once", on_ambiguous="retry", retry=SHORT, errors=(Boom, Refused))
async def refused(tag: int, x: int, fails: bool) -> int:
    return await act("once", tag, x, fails, flaky=lambda: Refused(tag))


async def instead(tag: int, x: int, fails: bool) -> int:
    found = await world.current_world().act("write", tag, x, attempt=0)
    return outcome("write", tag, found, fails, attempt=0)


@step(effect="write", fallback=Fallback(instead, on=Flaky), errors=Boom)
async def replaced(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails, flaky=Flaky)


@step(effect="read", cache=Cache("1h", where="store"), errors=Boom)
async def cached(tag: int, x: int, fails: bool) -> int:
    return await act("read", tag, x, fails)


@step(effect="write", limiter=Concurrency("seats", limit=1), errors=Boom)
async def seated(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails)


@step(
    effect="write", retry=LONG, errors=Boom,
    breaker=Breaker("bank", failure_threshold=1, reset_timeout="5s", when_open="wait"),
)  # fmt: skip
async def braked(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails, flaky=Flaky)


async def act(effect: str, tag: int, x: int, fails: bool, *, flaky: Callable[[], Exception] | None = None) -> int:
    """Do what the world of the test has in store; with ``flaky``, as many attempts fail as the tag says: up to two."""
    attempt = current().attempt
    found = await world.current_world().act(effect, tag, x, attempt=attempt)
    if flaky is not None and attempt <= tag % 3:
        raise flaky()
    return outcome(effect, tag, found, fails, attempt)


def outcome(effect: str, tag: int, found: int, fails: bool, attempt: int) -> int:
    """Return what a step found, unless it is to fail."""
    if fails:
        raise Boom(tag)
    world.current_world().succeed(effect, attempt)
    return found


def note(*entry: object) -> None:
    """What the body observes, in the order in which it does."""
    world.current_world().note(entry)
