"""The runtime that serves a loop where none was opened: one for all callers, however they arrive."""

import asyncio
import gc
import sys
from pathlib import Path

import pytest

from awaitly import Ok, step, workflow
from awaitly.errors import StoreError
from awaitly.process import process_runtime


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


leaving = True


@step
async def leave(x: int) -> int:
    if leaving:
        sys.exit(3)
    return x


@workflow(key="exit:{x}")
async def exiting(x: int) -> int:
    return await leave(await same(x))


def test_a_step_that_exits_ends_the_process_and_leaves_a_run_that_goes_on_in_the_next(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        exiting.run_sync(1)

    assert caught.value.code == 3
    gc.collect()  # what nobody looked at would be reported now
    assert caplog.messages == ["step leave of run exit:1 ends the process, with SystemExit(3); the run can be resumed"]
    monkeypatch.setattr(sys.modules[__name__], "leaving", False)
    assert exiting.run_sync(1) == Ok(1)
