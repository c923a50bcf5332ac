"""The runtime that serves a loop where none was opened: one for all callers, however they arrive."""

import asyncio
from pathlib import Path

import pytest

from awaitly import Ok, step, workflow
from awaitly.errors import StoreError
from awaitly.runtime import process_runtime


@step
async def same(x: int) -> int:
    return x


@workflow
async def echo(x: int) -> int:
    return await same(x)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sub" / "runs.db"
    path.parent.mkdir()
    monkeypatch.setenv("AWAITLY_STORE", f"sqlite:///{path}")
    return path


def test_calls_that_come_first_together_share_one_runtime(database: Path, run) -> None:
    async def story() -> None:
        assert await asyncio.gather(echo.run(1), echo.run(2)) == [Ok(1), Ok(2)]
        assert await process_runtime() is await process_runtime()

    run(story())


def test_the_first_caller_may_be_cancelled_without_harm_to_the_others(database: Path, run) -> None:
    async def story() -> None:
        first = asyncio.create_task(process_runtime())
        second = asyncio.create_task(echo.run(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == Ok(2)
        assert first.cancelled()

    run(story())


def test_a_store_that_could_not_be_opened_is_opened_by_the_next_call(database: Path, run) -> None:
    database.parent.rmdir()

    async def story() -> None:
        with pytest.raises(StoreError):
            await echo.run(1)
        database.parent.mkdir()
        assert await echo.run(1) == Ok(1)

    run(story())
