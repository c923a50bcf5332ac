"""A process that executes one run up to a gate: ``python -m tests.execute.elsewhere STORE GATE``.

The second step opens GATE, a FIFO, and so waits until the test writes to it.
"""

import asyncio
import os
import sys

from awaitly import Runtime, sleep, step, workflow


@step
async def first() -> str:
    return "one"


@step
async def second() -> str:
    def wait() -> None:
        with open(os.environ["GATE"], "rb", buffering=0) as gate:
            gate.read(1)

    await asyncio.to_thread(wait)
    return "two"


@workflow
async def gated() -> list[str]:
    begun = await first()
    await sleep("1ms")
    return [begun, await second()]


async def main() -> None:
    async with Runtime(store=sys.argv[1]) as runtime:
        handle = await runtime.start(gated.options(id="one"))
        print("started", flush=True)
        await handle.result()


if __name__ == "__main__":
    os.environ["GATE"] = sys.argv[2]
    asyncio.run(main())
