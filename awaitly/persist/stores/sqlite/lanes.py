"""A thread that owns a connection and does one job after another on it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from random import Random
from threading import Thread
from time import sleep
from typing import Any, TypeVar

from awaitly.persist.stores.sqlite.connections import Connection
from awaitly.persist.stores.sqlite.failures import busy

T = TypeVar("T")

# A writer holds the lock for well under a millisecond, so waiting ones ask again at short and uneven times.
_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.004


@dataclass(slots=True)
class _Task:
    job: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Lane:
    """Runs jobs on a connection in a daemon thread, in the order they come, for callers of any event loop.

    A job may be begun again when the file is locked: it is one statement, or one transaction that undoes itself.
    Cancelling who waits for a job does not stop it.

    Args:
        name: the thread's.
        connect: makes the connection, in the thread; the first job.
        translated: turns an error of SQLite into what callers see.
        patience: how many seconds to wait for locks that others hold.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        translated: Callable[[sqlite3.Error], Exception],
        patience: float,
    ) -> None:
        self._connect = connect
        self._translated = translated
        self._patience = patience
        self._random = Random()
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        self._connection: Connection | None = None
        self._thread = Thread(target=self._work, name=name, daemon=True)

    async def start(self, prepare: Callable[[Connection], None]) -> None:
        """Connect and prepare the connection; on an error nothing stays behind."""

        def first(_: Connection) -> None:
            self._connection = self._connect()
            try:
                self._patiently(prepare, self._connection)
            except BaseException:
                self._disconnect()
                raise

        self._thread.start()
        try:
            await self._queued(first)
        except asyncio.CancelledError:
            self._queued(self._leave)
            raise
        except Exception:
            self._thread.join()  # it has nothing left to do
            raise

    async def do(self, job: Callable[[Connection], T]) -> T:
        """Run a job and return what it returns."""
        result: T = await self._queued(job)
        return result

    async def stop(self, last: Callable[[Connection], None]) -> None:
        """Finish what was queued, run a last job whose errors do not matter, disconnect and end the thread."""

        def final(connection: Connection) -> None:
            with suppress(sqlite3.Error):
                last(connection)
            self._disconnect()

        await self._queued(final)
        self._thread.join()

    def _queued(self, job: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._tasks.put(_Task(job, future, loop))
        return future

    def _work(self) -> None:
        while True:
            self._finish(self._tasks.get())
            if self._connection is None:
                return

    def _finish(self, task: _Task) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._patiently(task.job, self._connection)
        except sqlite3.Error as raised:
            error = self._translated(raised)
            error.__cause__ = raised
        except BaseException as raised:  # noqa: BLE001 - it is the caller's, who waits in another thread
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            task.loop.call_soon_threadsafe(_settle, task.future, result, error)

    def _patiently(self, job: Callable[[Any], T], connection: Connection | None) -> T:
        waited = 0.0
        while True:
            try:
                return job(connection)
            except sqlite3.Error as error:
                if not busy(error) or waited >= self._patience:
                    raise
            pause = self._random.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE)
            sleep(pause)
            waited += pause

    def _leave(self, _: Connection) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled: its caller does not wait any more
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
