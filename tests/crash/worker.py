"""A process that executes one gated run: ``python -m tests.crash.worker STORE LEDGER GATE NAME [--refuse]``.

The second step opens GATE, a FIFO, and so waits until the test writes to it. Every effect appends a line to LEDGER.
"""

import asyncio
import json
import os
import sys

from awaitly import AwaitlyError, Ok, Runtime, current, step, workflow

STORE, LEDGER, GATE, NAME = sys.argv[1:5]


def note(what: str) -> None:
    line = {"step": what, "by": NAME, "fence": current().fence, "key": current().idempotency_key}
    with open(LEDGER, "ab", buffering=0) as ledger:
        ledger.write(json.dumps(line).encode() + b"\n")
    print(json.dumps({"effect": what}), flush=True)


@step
async def first() -> int:
    note("first")
    return 1


@step
async def waited(value: int) -> int:
    note("waited")

    def wait() -> None:
        with open(GATE, "rb", buffering=0) as gate:
            gate.read(1)

    await asyncio.to_thread(wait)
    return value + 1


@step
async def last(value: int) -> int:
    note("last")
    return value + 1


@workflow
async def gated_flow() -> int:
    value = await first()
    value = await waited(value)
    return await last(value)


async def main() -> None:
    attach = "--refuse" not in sys.argv
    async with Runtime(store=STORE) as runtime:
        print("ready", flush=True)
        try:
            result = await runtime.run(gated_flow.options(id="one", attach=attach))
        except AwaitlyError as error:
            print(json.dumps({"raised": error.code}), flush=True)
            return
        print(json.dumps({"ok": result.value} if isinstance(result, Ok) else {"err": str(result.error)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # without waiting for a thread that still reads the gate
