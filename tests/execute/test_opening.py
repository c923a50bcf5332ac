"""A runtime that cannot be opened leaves nothing behind, and can be opened when the cause is gone."""

import asyncio
import threading
from pathlib import Path

import pytest

from awaitly import Ok, Runtime, workflow
from awaitly.errors import ConfigurationError, StoreError
from awaitly.execute.vitals import Phase
from awaitly.model.notice import Notice
from awaitly.settings import Settings
from awaitly.settings.tables import SentrySettings
from tests.execute.scene import Scene, write


@workflow
async def one(x: int) -> str:
    return await write("a")


def _threads() -> list[str]:
    """Return the names of the threads of stores and sinks."""
    kinds = ("awaitly-sqlite", "awaitly-sink")
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(kinds))


def _note(scene: Scene, name: str, asked: list[str]) -> None:
    """Note when the store is asked for this."""
    call = getattr(scene.store, name)

    async def noted(*arguments: object) -> object:
        asked.append(name)
        return await call(*arguments)

    setattr(scene.store, name, noted)


class Sink:
    """Somebody who is told, until it is closed."""

    closed = False

    def __call__(self, notice: Notice) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_settings_that_observers_cannot_use_leave_no_store_open(tmp_path: Path) -> None:
    settings, before = Settings(sentry=SentrySettings(dsn="nonsense")), _threads()
    runtime = Runtime(settings, store=tmp_path / "runs.db", sinks=[Sink()])

    with pytest.raises(ConfigurationError, match="DSN"):
        asyncio.run(runtime.open())

    assert _threads() == before
    assert runtime.state().phase is Phase.CLOSED


@pytest.mark.parametrize(("call", "retired"), [("register", []), ("claimable", ["retire"])])
async def test_a_store_that_fails_at_the_start_leaves_no_sink_no_heartbeat_and_no_lease(
    scene: Scene, call: str, retired: list[str]
) -> None:
    sink, asked = Sink(), list[str]()
    runtime = Runtime(Settings(), store=scene.store, clock=scene.clock, workflows=[one], sinks=[sink])
    scene.cut_off(call)
    _note(scene, "renew", asked)
    _note(scene, "retire", asked)
    with pytest.raises(StoreError, match="away"):
        await runtime.open()
    await scene.clock.advance("1m")

    assert sink.closed
    assert asked == retired

    scene.reconnect(call)
    async with runtime:
        assert await runtime.run(one, 1) == Ok("a")
