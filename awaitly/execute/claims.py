"""Claiming runs and giving them back, also when the store could not say whether it did."""

from collections.abc import Callable

from awaitly.errors import AwaitlyError, UnexpectedError
from awaitly.persist.ports import Claim, Store


class Claims:
    """The claims of one owner. What may be its own but is not executed is given back as soon as the store answers."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._uncertain: set[str] = set()  # runs of which it is not known whether they are ours
        self._unreleased: dict[str, tuple[int, bool]] = {}  # fences of runs that could not be given back yet

    async def take(self, run: str, *, ended: bool = False) -> Claim | None:
        """Take a run that nobody alive owns; None if somebody does.

        Raises:
            StoreError: If the store cannot say whether it did.
        """
        uncertain, claim = run in self._uncertain, None
        self._uncertain.discard(run)
        try:
            claim = await self._store.claim(run, self._owner, ended=ended)
        except AwaitlyError:
            uncertain = True
            raise
        finally:
            if claim is None and uncertain:
                self._uncertain.add(run)
        return claim

    async def give_back(self, run: str, fence: int, error: BaseException | None = None) -> None:
        """Release a run, now or as soon as the store is there again.

        Args:
            run: The run.
            fence: Its fence.
            error: Why it cannot go on here. A defect counts as if the process had died of it: the run would be tried
                again for ever, and what it began each time repeated.
        """
        counted = isinstance(error, UnexpectedError) or not isinstance(error, AwaitlyError | None)
        try:
            await self._store.release(run, fence, counted=counted)
        except AwaitlyError:
            self._unreleased[run] = fence, counted

    def doubt(self, run: str) -> None:
        """Note that a run may have been created here, though the store could not say so."""
        self._uncertain.add(run)

    async def settle(self, holds: Callable[[str], bool]) -> None:
        """Ask about what is uncertain, and give back what nobody ``holds`` here."""
        for run in list(self._uncertain):
            record = await self._store.find(run)
            if run not in self._uncertain:  # it is being claimed again
                continue
            self._uncertain.discard(run)
            if record is not None and record.owner == self._owner and not holds(run):
                self._unreleased[run] = record.fence, False
        for run, (fence, counted) in list(self._unreleased.items()):
            await self._store.release(run, fence, counted=counted)
            del self._unreleased[run]
