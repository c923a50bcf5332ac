"""What can be typed next about a run."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass


def command(*words: str) -> str:
    """Return a command as it is typed into a shell."""
    return shlex.join(["awaitly", *words])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The commands that go on from one that executes a run.

    Attributes:
        targets: of the workflows, as they were given.
        store: as it was given, if it was.
        began: whether the command was ``run``, which can be typed again.
    """

    targets: tuple[str, ...]
    store: str | None
    began: bool = False

    def again(self, run: str) -> str:
        """Return the command that continues a run."""
        if self.began:
            return command("run", *self.targets, "--id", run, *self._stored())
        return command("runs", "resume", run, *self._named(), *self._stored())

    def show(self, run: str) -> str:
        """Return the command that shows what happened."""
        return command("runs", "show", run, *self._stored())

    def watch(self, run: str) -> str:
        """Return the command that follows the run."""
        return command("runs", "watch", run, *self._stored())

    def retry(self, run: str) -> str:
        """Return the command that continues a failed run from before its failure."""
        return command("runs", "retry", run, *self._named(), *self._stored())

    def mended(self, run: str) -> str:
        """Return what can be done about a run after an error that nobody expected."""
        return f"once the bug is corrected or the outage over, go on with: {self.retry(run)}"

    def unfit(self, run: str, before: str | None) -> Iterator[str]:
        """Yield what to do about a run that the code does not fit, ``before`` a call up to which it does."""
        yield "the run has not ended and is as it was; one of these helps:"
        yield f"  deploy the code that it was started with, then: {self.again(run)}"
        if before is not None:
            fork = command("runs", "fork", run, *self._named(), "--at", before, *self._stored())
            yield f"  begin another run from what fits, which repeats {before} and all after it: {fork}"
        yield f"  give it up: {command('runs', 'cancel', run, *self._stored())}"

    def _named(self) -> list[str]:
        return [word for target in self.targets for word in ("--target", target)]

    def _stored(self) -> list[str]:
        return [] if self.store is None else ["--store", self.store]
