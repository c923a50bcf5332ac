"""What the standard library has."""

import asyncio

from guards import CONCURRENCY, PLACES, TIME_LIMIT, TIMEOUT, Work, Wrap


def placed(work: Work) -> Work:
    places = asyncio.Semaphore(PLACES)

    async def wrapped(value: int) -> int:
        async with places:
            return await work(value)

    return wrapped


def timed(work: Work) -> Work:
    async def wrapped(value: int) -> int:
        async with asyncio.timeout(TIMEOUT):
            return await work(value)

    return wrapped


GUARDS: dict[str, Wrap] = {CONCURRENCY: placed, TIME_LIMIT: timed}
