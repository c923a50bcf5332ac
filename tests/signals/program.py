"""A program of its own: ``python -m tests.signals.program waiting|owning|uvloop WORKFLOW:ARGUMENT ...``."""

import asyncio
import logging
import sys

from awaitly import Runtime
from tests.signals.work import FLOWS, asked, say


async def waiting() -> int:
    """Begin the runs, and go on until a signal comes."""
    async with Runtime(store="runs.db", workflows=[*FLOWS.values()]) as runtime:
        runtime.install_signals()  # until_signal() would: before the test may send one
        for name, argument in asked():
            await runtime.start(FLOWS[name], argument)
        say("ready")
        return await runtime.until_signal()


async def owning() -> int:
    """Have something of its own to do, which nobody tells that it should end."""
    try:
        async with Runtime(store="runs.db", workflows=[*FLOWS.values()]) as runtime:
            runtime.install_signals()
            for name, argument in asked():
                say(f"result: {await runtime.run(FLOWS[name], argument)}")
            say("ready")
            await asyncio.Event().wait()
    finally:
        say("cleaned up")
    return 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    match sys.argv[1]:
        case "waiting":
            raise SystemExit(asyncio.run(waiting()))
        case "owning":
            raise SystemExit(asyncio.run(owning()))
        case "uvloop":
            import uvloop

            raise SystemExit(uvloop.run(waiting()))
