"""aiolimiter, by its context manager."""

from aiolimiter import AsyncLimiter  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import RATE, RATE_LIMITER, Work, Wrap


def limited(work: Work) -> Work:
    limiter = AsyncLimiter(RATE, 1)

    async def wrapped(value: int) -> int:
        async with limiter:
            return await work(value)

    return wrapped


GUARDS: dict[str, Wrap] = {RATE_LIMITER: limited}
