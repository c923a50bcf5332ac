"""What execution asks of a store: small protocols; a store implements those it can.

Every method may raise :class:`~awaitly.errors.StoreError`. None of them touches an event loop that is not the
caller's, and none runs user code.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from awaitly.model.facts import Fact
from awaitly.model.state import RunRecord, Status


class Appended(Enum):
    """What became of an :class:`Append`."""

    STORED = "stored"
    STALE = "stale"  # another owner has the run: nothing of this append was written
    EXISTS = "exists"  # a run with this id is there already: nothing of this append was written


class Append(NamedTuple):
    """Facts of one run for its journal, from sequence number ``first`` on.

    With ``creates``, the first fact is ``RunStarted`` and the run comes into being, owned by ``owner`` with ``fence``.
    With ``ends``, the last fact is ``RunFinished``: the run gets this status and is owned by nobody. With ``waits`` it
    becomes ``QUEUED`` or, if that is false, ``RUNNING``, unless it is owned by nobody (any more); such an append may
    have no facts. Sending an append again after an uncertain commit is harmless: it is the same by (run, sequence
    number, fence).
    """

    run: str
    fence: int
    first: int
    facts: tuple[Fact, ...]
    creates: bool = False
    owner: str | None = None
    ends: Status | None = None
    waits: bool | None = None


class Journal(Protocol):
    """The facts of runs."""

    async def append(self, batch: Sequence[Append]) -> Sequence[Appended]:
        """Store the appends of many runs in one commit, each wholly or not at all, and answer one by one.

        When this returns, what is ``STORED`` is on stable storage. A stale append harms no other of its batch.
        """

    async def read(self, run: str, *, after: int = -1) -> Sequence[Fact]:
        """Return the facts of a run in order, by one query; with ``after`` only those of greater sequence numbers.

        Raises:
            CorruptCheckpoint: If a row does not hold a fact.
        """

    async def truncate(self, run: str, fence: int, first: int, fact: Fact) -> bool:
        """Put one fact in the place of those from ``first`` on, and make an ended run ``RUNNING``, in one commit.

        False if the fence is stale: nothing was written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process that executes runs. ``host`` and ``started`` tell it from others that get the same ``pid``."""

    id: str
    host: str
    pid: int
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run that was claimed: from now on its writes carry ``fence``."""

    record: RunRecord
    fence: int


class Leases(Protocol):
    """Who owns which run. An owner's lease covers all its runs; the fence is each run's own."""

    async def register(self, owner: Owner, ttl: float) -> None:
        """Make an owner known, with a lease of ``ttl`` seconds."""

    async def renew(self, owner: str) -> bool:
        """Prolong an owner's lease by its ttl from now, also when it has lapsed; False if the owner is not known."""

    async def retire(self, owner: str) -> None:
        """Forget an owner and release its runs: they are claimable at once."""

    async def claim(self, run: str, owner: str, *, ended: bool = False) -> Claim | None:
        """Take a run that nobody alive owns, with the next fence; None if somebody does or it has ended.

        With ``ended`` an ended run is claimed too (its status stays until it is truncated).
        """

    async def release(self, run: str, fence: int, *, counted: bool = False) -> None:
        """Give a run back as ``PENDING``; does nothing if the fence is stale.

        The claim is no longer counted, as those are whose owner died, unless it is to be ``counted`` like them.
        """

    async def lost(self, fences: Mapping[str, int]) -> Sequence[str]:
        """Return the runs that somebody else has claimed since, given the fences as the owner knows them."""

    async def living(self, owners: Collection[str]) -> Set[str]:
        """Return which of these owners are alive, or may be, without changing anything.

        An owner that is not known is not alive. One that may be on another machine is alive until its beats were
        seen to stay the same for its ttl.
        """

    async def claimable(self, workflows: Sequence[str], limit: int, *, after: str | None = None) -> Sequence[RunRecord]:
        """Return unfinished runs of these workflows that nobody alive owns, oldest first.

        ``after`` is the id of the last one of the page before; none follow one that is not there any more.
        """


class Inbox(Protocol):
    """What others ask of a run that they do not own."""

    async def request_cancel(self, run: str, reason: str) -> bool:
        """Store a request for cancellation; False if the run has ended or is unknown."""

    async def cancels(self, owner: str) -> Sequence[tuple[str, str]]:
        """Return (run, reason) of the requests for runs that ``owner`` owns."""


class Catalog(Protocol):
    """The runs of a store."""

    async def find(self, run: str) -> RunRecord | None:
        """Return the record of a run."""

    async def list(
        self, *, workflow: str | None = None, status: Status | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[RunRecord]:
        """Return records, newest first; ``before`` is the id of the last one of the page before."""

    async def count(self) -> Mapping[tuple[str, Status], int]:
        """Return how many runs there are by workflow and status."""

    async def purge(self, *, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        """Remove runs that ended before a time (seconds since the epoch), with their facts; returns how many.

        A run that was claimed to be retried stays, unless its owner has died since. So does a child of a run that has
        not ended, which may still ask for its result, and a run that an outbox has held and not delivered. With
        ``workflow`` only runs of that go; else answers that expired before the time go too, which are not counted.
        """


class Answers(Protocol):
    """Encoded outcomes that caches keep for a while, whichever run asked first. Times are seconds since the epoch."""

    async def recall(self, key: str, now: float) -> bytes | None:
        """Return what is remembered under a key, unless it has expired by ``now``."""

    async def remember(self, key: str, data: bytes, *, now: float, expires: float) -> None:
        """Keep ``data`` under a key until ``expires``, in the place of what was there.

        At least one of those that have expired by ``now`` is removed, so that they do not pile up.
        """


class Undelivered(NamedTuple):
    """A run with facts that an outbox has not delivered: after the one numbered ``delivered``, up to ``last``."""

    run: str
    workflow: str
    delivered: int
    last: int


class Position(NamedTuple):
    """A fact of a run, by its sequence number; its time tells it from one that took its place."""

    run: str
    seq: int
    at: float


class Deliveries(Protocol):
    """How far outboxes have come. An outbox has a name, and one owner at a time delivers for it."""

    async def hold(self, outbox: str, owner: str) -> bool:
        """Let an owner deliver for an outbox from now on; False if another one that is alive does.

        To be asked again and again: runs that are new belong to the outbox from then on. An outbox that is new itself
        begins with what is stored after this.
        """

    async def undelivered(
        self, outbox: str, limit: int, *, ended: bool = False, after: str | None = None
    ) -> Sequence[Undelivered]:
        """Return runs with facts that were not delivered, oldest first; with ``ended`` only runs that have ended.

        ``after`` is the id of the last one of the page before; none follow one that is not there any more.
        """

    async def delivered(self, outbox: str, owner: str, upto: Sequence[Position]) -> bool:
        """Note up to which fact some runs were delivered; False if another holds the outbox: nothing was noted.

        A fact that is not there any more is passed over: the run was retried. What took the place of facts that were
        delivered is not delivered yet.
        """


class Store(Journal, Leases, Inbox, Catalog, Answers, Deliveries, Protocol):
    """All ports at once, with what opens and closes them."""

    @property
    def name(self) -> str:
        """The store as messages and ``runs`` name it, without secrets."""

    @property
    def durable(self) -> bool:
        """Whether what it stores outlives the process."""

    async def open(self) -> None:
        """Connect and bring the schema up to date. Several may open one store; each of them closes it.

        Raises:
            StoreError: ``not-a-store``, ``store-newer``, ``store-read-only``, ``weak-durability`` or
                ``store-unavailable``.
        """

    async def close(self) -> None:
        """Finish what is under way and disconnect, once all who opened it have closed it."""
