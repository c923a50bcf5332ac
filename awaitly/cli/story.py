"""The workflow of ``awaitly demo``: an order in six steps, each of which leaves a line in a file."""

import asyncio
import os
import sys
from pathlib import Path

from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.runtime import Runtime

PARTS = (
    "reserve the stock",
    "charge the card",
    "book the courier",
    "pack the parcel",
    "hand it over",
    "send the receipt",
)
RUN = "order:1042"
BEGUN, DONE = "begun.txt", "done.txt"
_WORK = 0.25  # seconds that each step takes


@step
async def perform(part: str, folder: Path) -> str:
    """Do one part of the order; its effect is a line in a file."""
    note(folder / BEGUN, part)
    await asyncio.sleep(_WORK)
    note(folder / DONE, part)
    return f"{part}: done"


@workflow
async def fulfil(folder: Path) -> int:
    """Do all parts, one after the other."""
    count = 0
    for part in PARTS:
        await perform(part, folder)
        count += 1
    return count


def note(path: Path, part: str) -> None:
    """Append a line that says which process did it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {part}\n")


async def execute(folder: Path) -> None:
    """Execute the run, or continue it."""
    async with Runtime(store=f"sqlite:///{folder / 'demo.db'}") as runtime:
        await runtime.run(fulfil.options(id=RUN), folder)


def main() -> None:
    """Execute the run in the folder that the command line names: the process that is killed."""
    asyncio.run(execute(Path(sys.argv[1])))
