"""What callers do wrong, and what they are told."""

import asyncio
import warnings

import pytest

from awaitly import workflow
from awaitly.errors import UsageError
from tests.execute.scene import write


@workflow
async def one(name: str) -> str:
    return await write(name)


def test_run_sync_is_refused_where_a_loop_runs() -> None:
    async def story() -> None:
        with pytest.raises(UsageError, match=r"await one\.run\(\.\.\.\) instead") as caught:
            one.run_sync("a")
        assert caught.value.code == "running-loop"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(story())
