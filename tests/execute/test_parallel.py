"""Tasks of one parent that end before they have begun."""

import asyncio
import gc

from awaitly.execute.parallel import Children, _Settling


async def never() -> None:
    raise AssertionError("it was to be cancelled before it ran")


def test_what_was_cancelled_before_it_ran_is_not_reported_as_forgotten() -> None:
    async def story() -> None:
        children = Children()
        children.spawn(never())
        children.spawn(_Settling(never()))
        await children.close()

    asyncio.run(story())
    gc.collect()
