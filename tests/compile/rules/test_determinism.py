"""What a durable body must not do, because a replay could not repeat it."""

# ruff: noqa: ASYNC240, ASYNC251 - they are what is tested
import asyncio
import datetime as dt
import glob
import os
import random
import secrets
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from awaitly.declare.combinators import each, gather
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow


@step
async def work(item: str) -> str:
    return item


@step(effect="read")
async def names() -> set[str]:
    return set()


@workflow
async def asyncio_timers_are_refused(item: str) -> None:
    await asyncio.sleep(1)  # nondeterministic-body
    async with asyncio.timeout(5):  # nondeterministic-body
        await work(item)
    await asyncio.wait_for(work(item), 5)  # nondeterministic-body


@workflow
async def what_orders_by_completion_is_refused(items: list[str]) -> None:
    tasks = [asyncio.create_task(work(item)) for item in items]
    await asyncio.wait(tasks)  # nondeterministic-body
    for first in asyncio.as_completed(tasks):  # nondeterministic-body
        await first
    await asyncio.gather(*tasks)


@workflow
async def queues_locks_and_events_are_refused(item: str) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()  # nondeterministic-body
    lock = asyncio.Lock()  # nondeterministic-body
    done = asyncio.Event()  # nondeterministic-body
    limit = asyncio.Semaphore(3)  # nondeterministic-body
    async with lock, limit:
        await work(item)
    done.set()
    queue.put_nowait(item)


@workflow
async def threads_are_refused(item: str) -> None:
    threading.Thread(target=print).start()  # nondeterministic-body
    await asyncio.to_thread(print, item)  # nondeterministic-body
    ThreadPoolExecutor()  # nondeterministic-body
    time.sleep(1)  # io-outside-step
    await work(item)


@workflow
async def the_environment_is_refused(item: str) -> None:
    await work(os.environ["HOME"])  # nondeterministic-body
    await work(os.environ.get("HOME", ""))  # nondeterministic-body
    await work(os.getenv("HOME", ""))  # nondeterministic-body
    await work(item)


@workflow
async def file_listings_are_refused(folder: Path) -> None:
    for name in os.listdir(folder):  # nondeterministic-body
        await work(name)
    for path in sorted(folder.iterdir()):  # nondeterministic-body
        await work(path.name)
    await each(work, glob.glob("*.txt"))  # nondeterministic-body


@workflow
async def identity_and_hashes_are_refused(item: str) -> None:
    await work(str(id(item)))  # nondeterministic-body
    await work(str(hash(item)))  # nondeterministic-body


@workflow
async def sets_that_feed_steps_are_refused(items: list[str]) -> None:
    unique = set(items)
    for item in unique:  # nondeterministic-body
        await work(item)
    await gather(*[work(item) for item in {"a", "b"}])  # nondeterministic-body
    await each(work, unique)  # nondeterministic-body
    await each(work, list(unique))  # nondeterministic-body
    for item in set(items):  # nondeterministic-body
        await work(item)
    await each(work, set(items))  # nondeterministic-body
    for item in await names():  # nondeterministic-body
        await work(item)
    found = await names()
    for item in found:  # nondeterministic-body
        await work(item)


@workflow
async def sets_that_are_sorted_or_feed_no_step_are_fine(items: list[str]) -> int:
    unique = set(items)
    for item in sorted(unique):
        await work(item)
    await each(work, sorted(unique))
    total = 0
    for item in unique:
        total += len(item)
    return total


@workflow
async def the_clock_is_reported(item: str) -> None:
    await work(str(datetime.now()))  # nondeterministic-call
    await work(str(dt.datetime.now(dt.UTC)))  # nondeterministic-call
    await work(str(dt.date.today()))  # nondeterministic-call
    await work(str(time.time()))  # nondeterministic-call
    await work(str(dt.datetime(2024, 1, 1)))


@workflow
async def chance_is_reported(items: list[str]) -> None:
    await work(random.choice(items))  # nondeterministic-call
    await work(str(random.random()))  # nondeterministic-call
    await work(str(uuid.uuid4()))  # nondeterministic-call
    await work(secrets.token_hex())  # nondeterministic-call
    await work(str(random.Random(7).random()))  # nondeterministic-call
    await work(str(uuid.uuid5(uuid.NAMESPACE_DNS, "a")))


@workflow(durable=False)
async def a_body_that_is_not_durable_may_do_as_it_likes(items: set[str]) -> None:
    await asyncio.sleep(1)
    for item in items:
        await work(f"{item}{time.time()}{os.environ['HOME']}")


async def helper(item: str) -> None:
    await asyncio.sleep(1)  # nondeterministic-body
    await work(item)


@workflow
async def helpers_are_looked_into(item: str) -> None:
    await helper(item)


def named() -> str:
    return f"{prefix()}{uuid.uuid4()}"


def prefix() -> str:
    return f"{os.getenv('PREFIX')}{hash('a')}"


async def pause() -> None:
    await asyncio.sleep(1)


@workflow
async def helpers_without_steps_too(item: str) -> None:
    await work(named())  # nondeterministic-body, nondeterministic-call
    await pause()  # nondeterministic-body
    await work(item)


WORKFLOWS = [value for value in list(globals().values()) if type(value).__name__ == "Workflow"]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.name)
def test_the_marked_lines_and_no_others_are_reported(body: Any, found: Any, marked: Any) -> None:
    assert found(body) == marked(body, *([helper] if body is helpers_are_looked_into else []))


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (asyncio_timers_are_refused, "awaitly.sleep"),
        (queues_locks_and_events_are_refused, "awaitly.each"),
        (threads_are_refused, "make it a step"),
        (the_environment_is_refused, "pass the value as an argument"),
        (file_listings_are_refused, "list the files in a step"),
        (sets_that_feed_steps_are_refused, "iterate sorted(unique)"),
        (the_clock_is_reported, "awaitly.now()"),
        (chance_is_reported, "awaitly.random()"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_each_hint_names_the_replacement(body: Any, hint: str, diagnosed: Any) -> None:
    assert hint in diagnosed(body)[0].hint


def test_what_a_helper_does_is_said_with_its_place(diagnosed: Any) -> None:
    message = diagnosed(helpers_without_steps_too)[0].message

    assert "os.getenv() in a durable body" in message
    assert "(in prefix, " in message
    assert "test_determinism.py:" in message
