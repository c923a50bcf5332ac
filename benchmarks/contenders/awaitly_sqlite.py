"""awaitly on its embedded store, through its public API only."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from awaitly import Runtime, step, workflow
from awaitly.persist.stores.sqlite import SqliteStore
from contenders.session import Session, require
from counting import Statements


@step
async def bump(value: int) -> int:
    return value + 1


@workflow(key="bench:{start}")
async def chain(start: int, steps: int) -> int:
    value = start
    for _ in range(steps):
        value = await bump(value)
    return value


@workflow(key="bench:{start}", durable=False)
async def bare_chain(start: int, steps: int) -> int:
    value = start
    for _ in range(steps):
        value = await bump(value)
    return value


class _Durable:
    def __init__(self, path: Path, statements: Statements | None = None) -> None:
        self._path = path
        self._statements = statements

    async def run(self, run: int, steps: int) -> None:
        require((await chain.run(run, steps)).unwrap(), run, steps)

    async def together(self, first: int, runs: int, steps: int) -> None:
        await asyncio.gather(*(self.run(run, steps) for run in range(first, first + runs)))

    async def settings(self) -> str:
        connection = sqlite3.connect(self._path)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        connection.close()
        return f"journal_mode={mode}, {self._level()}"

    def _level(self) -> str:
        # The level belongs to the store's own connection: nobody else can ask it, so what was traced must do.
        traced = [sql for _, sql in (self._statements.seen if self._statements else []) if "synchronous" in sql.lower()]
        return f"synchronous as traced: {traced[0]}" if traced else "synchronous not seen from outside"


class _Undurable(_Durable):
    async def run(self, run: int, steps: int) -> None:
        require((await bare_chain.run(run, steps)).unwrap(), run, steps)


@asynccontextmanager
async def durable(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """Every step is stored."""
    # A URL as users write it, unless the statements are to be counted.
    store = f"sqlite:///{path}" if statements is None else SqliteStore(path, trace=statements.connection())
    async with Runtime(store=store):
        yield _Durable(path, statements)


@asynccontextmanager
async def undurable(path: Path, statements: Statements | None) -> AsyncIterator[Session]:
    """The same steps in a workflow that stores nothing."""
    async with Runtime(store=f"sqlite:///{path}"):
        yield _Undurable(path)
