"""What the programs of these tests execute: steps that wait until the test lets them go on."""

import asyncio
import sys
import time
from pathlib import Path

from awaitly import sleep, step, workflow


def say(text: str) -> None:
    """Tell the test what happens."""
    with Path("log").open("a", encoding="utf-8") as log:
        log.write(f"{text}\n")


def _may_go_on(name: str) -> bool:
    return Path(f"{name}.go").exists()


@step
async def act(name: str) -> str:
    say(f"{name} begins")
    while not _may_go_on(name):  # noqa: ASYNC110 - another process lets it go on
        await asyncio.sleep(0.01)
    say(f"{name} ends")
    return name


@step
async def block(name: str) -> str:
    say(f"{name} begins")
    while not _may_go_on(name):
        time.sleep(0.01)  # noqa: ASYNC251 - it shall block
    return name


@workflow(key="two:{name}")
async def two(name: str) -> str:
    await act(f"{name}-1")
    return await act(f"{name}-2")


@workflow(key="blocking:{name}")
async def blocking(name: str) -> str:
    return await block(name)


@workflow(key="sleeping:{name}")
async def sleeping(name: str) -> str:
    await sleep("1h")
    return name


FLOWS = {flow.name: flow for flow in (two, blocking, sleeping)}


def asked() -> list[tuple[str, str]]:
    """Return the runs to begin: a workflow's name and its argument, from the command line."""
    return [(name, argument) for name, _, argument in (word.partition(":") for word in sys.argv[2:])]
