"""A run that has been started, as whoever started it holds it: its caller, or the run whose child it is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from awaitly.errors import NotSupported, RunNotFound, ShuttingDown, StoreError, UnexpectedError
from awaitly.execute.engine import Engine
from awaitly.execute.history import follow
from awaitly.execute.loops import at_home, each_on
from awaitly.execute.waiting import outcome
from awaitly.model.facts import Fact
from awaitly.model.program import Program
from awaitly.model.state import Status
from awaitly.result import Err, Ok

T = TypeVar("T")
E = TypeVar("E")


class Handle(Generic[T, E]):
    """What the declarations call a ``RunHandle``, for the runs of one engine."""

    def __init__(self, engine: Engine, program: Program, run_id: str) -> None:
        self.loop = asyncio.get_running_loop()  # the engine's: handles are made there
        self._engine = engine
        self._program = program
        self.id = run_id

    @at_home
    async def status(self) -> Status:
        """Return where the run is in its life."""
        with self._open():
            record = await self._engine.store.find(self.id)
        if record is None:
            raise RunNotFound(f"run {self.id!r} has been removed", hint="ended runs are kept for their retention time")
        return record.status

    @at_home
    async def result(self) -> "Ok[T] | Err[E] | Err[UnexpectedError]":
        """Wait for the end of the run and return its result."""
        with self._open():
            return (await outcome(self._engine, self._program, self.id)).result()

    @at_home
    async def cancel(self, reason: str = "") -> None:
        """Ask for the run's cancellation; returns when the request is stored."""
        with self._open():
            await self._engine.cancel(self.id, reason)

    async def signal(self, name: str, payload: object = None) -> None:
        """Raise ``not-supported``: signals are not built yet."""
        raise NotSupported("signals are not built yet", hint="poll from a step, or start another run")

    async def events(self) -> AsyncIterator[Fact]:
        """Yield the facts of the run as they are stored, from its start to its end."""
        with self._open():
            async for fact in each_on(self.loop, follow(self._engine, self.id)):
                yield fact

    @contextmanager
    def _open(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            if not self._engine.closed:
                raise
            raise ShuttingDown(
                f"run {self.id!r} was asked for after its runtime had been shut down",
                hint="await it inside of async with Runtime(...), or get a handle of another runtime:"
                f" await rt.handle({self.id!r})",
            ) from error
