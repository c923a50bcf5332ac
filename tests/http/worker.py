"""A process that executes one run until it is killed: ``python -m tests.http.worker STORE SERVER DELAY``.

Its step asks the server three times at most, with a delay in between. In the end it says how the run ended.
"""

import asyncio
import sys

import httpx

from awaitly import Ok, Retry, Runtime, step, workflow
from tests.http.client import PLAIN, headers

STORE, SERVER, DELAY = sys.argv[1:4]


@step(retry=Retry(3, backoff="fixed", initial=DELAY, max="1h", jitter="none"))
async def pay(path: str) -> str:
    async with httpx.AsyncClient(base_url=SERVER, **PLAIN) as client:
        response = await client.get(path, headers=headers())
        response.raise_for_status()
        return response.text


@workflow
async def paying(path: str) -> str:
    return await pay(path)


async def main() -> None:
    async with Runtime(store=STORE) as runtime:
        result = await runtime.run(paying.options(id="one"), "/pay")
        print(result.value if isinstance(result, Ok) else result.error, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
