"""Who heeds signals before a runtime does, meanwhile and afterwards."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from awaitly import Runtime
from awaitly.errors import RunStopped
from awaitly.execute.vitals import Phase

HEEDED = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """Somebody who heeds signals before: what was heard."""
    numbers: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        numbers.append(number)

    before = [(number, signal.signal(number, hear)) for number in HEEDED]
    yield numbers
    for number, handler in before:
        signal.signal(number, handler)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("number", HEEDED)
def test_who_heeded_a_signal_before_is_told_of_it_once_the_runtime_is_shut_down(number: int, heard: list[int]) -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as runtime:
            runtime.install_signals()
            signal.raise_signal(number)
            assert heard == []
            await until(lambda: heard)
            assert runtime.state().phase is Phase.CLOSED

    asyncio.run(story())

    assert heard == [number]


def test_a_runtime_that_is_shut_down_leaves_signals_to_them(heard: list[int]) -> None:
    async def story() -> None:
        before = [signal.getsignal(number) for number in HEEDED]
        async with Runtime(store="memory://") as runtime:
            runtime.install_signals()
            runtime.install_signals()
        assert [signal.getsignal(number) for number in HEEDED] == before

    asyncio.run(story())


def test_it_does_not_take_signals_from_who_heeds_them_later() -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as runtime:
            runtime.install_signals()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    asyncio.run(story())


def test_what_is_ignored_stays_ignored() -> None:
    async def story() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        async with Runtime(store="memory://") as runtime:
            runtime.install_signals()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    asyncio.run(story())


def test_one_signal_shuts_all_runtimes_down_that_heed_it(heard: list[int]) -> None:
    async def story() -> None:
        async with Runtime(store="memory://") as one, Runtime(store="memory://") as other:
            one.install_signals()
            other.install_signals()
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: heard)
            assert {one.state().phase, other.state().phase} == {Phase.CLOSED}

    asyncio.run(story())

    assert heard == [signal.SIGTERM]


def test_in_another_thread_there_are_no_signals_to_heed() -> None:
    async def story() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with Runtime(store="memory://") as runtime:
            runtime.install_signals()
            assert signal.getsignal(signal.SIGTERM) == before

    thread = threading.Thread(target=asyncio.run, args=(story(),))
    thread.start()
    thread.join()


def test_who_waits_for_a_signal_goes_on_too_when_the_runtime_is_shut_down_without_one() -> None:
    async def story() -> int:
        async with Runtime(store="memory://") as runtime:
            waiting = asyncio.create_task(runtime.until_signal())
            await asyncio.sleep(0)
            await runtime.shutdown()
            return await waiting

    assert asyncio.run(story()) == 0


def test_a_runtime_that_is_not_open_heeds_none() -> None:
    with pytest.raises(RunStopped):
        Runtime(store="memory://").install_signals()
