"""What a contender offers to the scenarios."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from counting import Statements


class Session(Protocol):
    """A contender that is open on an empty database file."""

    async def run(self, run: int, steps: int) -> None:
        """Run the workflow of `steps` steps once, under an id made of `run`; return when it is durable.

        Raises:
            RuntimeError: the run gave another result than `run + steps`.
        """

    async def together(self, first: int, runs: int, steps: int) -> None:
        """Run it `runs` times at once, with the ids from `first` on."""

    async def settings(self) -> str:
        """The journal mode and the synchronous level of its own connection, as text."""


class Opener(Protocol):
    """Opens a contender; with `statements`, everything that its connections execute is recorded there."""

    def __call__(self, path: Path, statements: Statements | None) -> AbstractAsyncContextManager[Session]: ...


def require(result: int, run: int, steps: int) -> None:
    """A run that is wrong must not count as fast.

    Raises:
        RuntimeError: the result is not what so many increments of `run` give.
    """
    if result != run + steps:
        raise RuntimeError(f"wrong-result: run {run} of {steps} steps gave {result}, not {run + steps}")
