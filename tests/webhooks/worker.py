"""A process that delivers and executes runs: ``python -m tests.webhooks.worker STORE URL NAME ITEM...``.

It says ``ready`` when it follows the store, ``done`` when its runs have ended, and ends with its standard input.
"""

import asyncio
import sys

from awaitly import Runtime, step, workflow
from awaitly.webhooks import Outbox
from tests.webhooks.receiving import SECRET

STORE, URL, NAME = sys.argv[1:4]


@step
async def pack(item: str) -> str:
    return item


@workflow(key="parcel:{item}")
async def parcel(item: str) -> str:
    return await pack(item)


async def main() -> None:
    facts = ("RunStarted", "StepFinished", "RunFinished")
    outbox = Outbox(URL, secret=SECRET, facts=facts, headers={"X-From": NAME}, every="20ms", name="parcels")
    async with Runtime(store=STORE, workflows=[parcel]) as runtime, outbox.following(runtime):
        print("ready", flush=True)
        await asyncio.gather(*(runtime.run(parcel, item) for item in sys.argv[4:]))
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
