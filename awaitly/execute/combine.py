"""``gather``, ``settle``, ``race`` and ``each`` in a durable body."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from awaitly.errors import RunSuspended
from awaitly.execute.parallel import mapped, raced, settled, together
from awaitly.model.facts import RaceWon

if TYPE_CHECKING:
    from awaitly.execute.run import Run


class Combine:
    """The combinators of one run: the plain ones, and what a race records."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    async def gather(self, awaitables: tuple[Awaitable[Any], ...]) -> Any:
        """Await all; the first failure delivered cancels the others."""
        return await together(awaitables)

    async def settle(self, awaitables: tuple[Awaitable[Any], ...]) -> Any:
        """Await all, each to its own result."""
        return await settled(awaitables)

    async def each(self, function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], concurrency: int) -> Any:
        """Map over items."""
        return await mapped(function, items, concurrency)

    async def race(self, awaitables: tuple[Awaitable[Any], ...], call: str) -> Any:
        """Await the first delivered and record which it was."""
        winner, value = await raced(awaitables)
        run = self._run
        fact = run.witness(RaceWon(at=run.services.clock.time(), call=call, winner=winner))
        if fact.winner != winner:
            run.mismatched(fact, found=RaceWon(at=fact.at, call=call, winner=winner))
            raise RunSuspended(f"run {run.id} has stopped here: another branch won the race {call}")
        return value()
