"""The store in memory: every guarantee of a store but durability. For tests, and for runs that need not survive."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from itertools import islice, takewhile
from time import monotonic as system_monotonic

from awaitly.model.facts import Fact, RunStarted
from awaitly.model.state import RunRecord, Status
from awaitly.persist.owners import Lapses, provably_dead
from awaitly.persist.ports import Append, Appended, Claim, Owner, Position, Undelivered


@dataclass(slots=True)
class _Run:
    """A run's row, and its facts with the fences that they were written with."""

    number: int  # how many were made before it
    workflow: str
    status: Status
    fence: int
    owner: str | None
    created: float
    facts: list[tuple[int, Fact]]
    claims: int = 0
    claimed_length: int = 0  # how many facts there were when it was claimed last
    cancel_requested: str | None = None


@dataclass(slots=True)
class _Lease:
    owner: Owner
    ttl: float
    beats: int = 0


@dataclass(slots=True)
class _Outbox:
    """Who delivers, and the runs of which something may be left: the sequence numbers that were delivered last."""

    owner: str
    known: int  # runs
    seqs: dict[str, int]


class MemoryStore:
    """Keeps runs as long as the object lives, also when it is closed and opened again.

    Args:
        monotonic: the clock of leases.
    """

    name = "memory://"
    durable = False

    def __init__(self, *, monotonic: Callable[[], float] = system_monotonic) -> None:
        self._runs: dict[str, _Run] = {}
        self._made = 0  # runs
        self._leases: dict[str, _Lease] = {}
        self._lapses = Lapses(monotonic)
        self._answers: dict[str, tuple[bytes, float]] = {}
        self._expiring: list[tuple[float, str]] = []  # a heap; holds what was replaced, too
        self._outboxes: dict[str, _Outbox] = {}

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing: what was stored stays for the next opening."""

    async def append(self, batch: Sequence[Append]) -> Sequence[Appended]:
        """Store appends, each wholly or not at all."""
        return [self._append(append) for append in batch]

    async def read(self, run: str, *, after: int = -1) -> Sequence[Fact]:
        """Return the facts of a run in order."""
        stored = self._runs.get(run)
        return [fact for _, fact in stored.facts[after + 1 :]] if stored else []

    async def truncate(self, run: str, fence: int, first: int, fact: Fact) -> bool:
        """Put one fact in the place of those from ``first`` on, and make an ended run ``RUNNING``."""
        stored = self._fenced(run, fence)
        if stored is None:
            return False

        for outbox in self._outboxes.values():
            if stored.number < outbox.known:
                outbox.seqs[run] = min(outbox.seqs.get(run, first - 1), first - 1)
        stored.claims, stored.claimed_length = 0, first
        stored.facts[first:] = [(fence, fact)]
        if stored.status.ended:
            stored.status, stored.cancel_requested = Status.RUNNING, None
        return True

    async def register(self, owner: Owner, ttl: float) -> None:
        """Make an owner known."""
        self._leases[owner.id] = _Lease(owner, ttl)
        self._lapses.forget(owner.id)

    async def renew(self, owner: str) -> bool:
        """Prolong an owner's lease from now; False if the owner is not known."""
        lease = self._leases.get(owner)
        if lease is not None:
            lease.beats += 1
        return lease is not None

    async def retire(self, owner: str) -> None:
        """Forget an owner and release its runs."""
        self._leases.pop(owner, None)
        self._lapses.forget(owner)
        for stored in self._runs.values():
            if stored.owner == owner:
                _give_back(stored)

    async def claim(self, run: str, owner: str, *, ended: bool = False) -> Claim | None:
        """Take a run that nobody alive owns, with the next fence."""
        stored = self._runs.get(run)
        if stored is None or (stored.status.ended and not ended) or self._alive(stored.owner):
            return None

        advanced = len(stored.facts) > stored.claimed_length
        stored.claims = 1 if advanced else stored.claims + 1
        stored.claimed_length = len(stored.facts)
        stored.owner, stored.fence = owner, stored.fence + 1
        if not stored.status.ended:
            stored.status = Status.RUNNING
        return Claim(record=_record(run, stored), fence=stored.fence)

    async def release(self, run: str, fence: int, *, counted: bool = False) -> None:
        """Give a run back as ``PENDING``; does nothing if the fence is stale."""
        if stored := self._fenced(run, fence):
            _give_back(stored, counted=counted)

    async def lost(self, fences: Mapping[str, int]) -> Sequence[str]:
        """Return the runs that somebody else has claimed since."""
        return [run for run, fence in fences.items() if self._fenced(run, fence) is None]

    async def living(self, owners: Collection[str]) -> Set[str]:
        """Return which of these owners are alive, or may be."""
        return {owner for owner in owners if self._alive(owner)}

    async def claimable(self, workflows: Sequence[str], limit: int, *, after: str | None = None) -> Sequence[RunRecord]:
        """Return unfinished runs of these workflows that nobody alive owns, oldest first."""
        oldest, alive = iter(self._runs.items()), cache(self._alive)  # each owner is looked at once
        if after is not None:
            for run, _ in oldest:
                if run == after:
                    break
        waiting = (
            _record(run, stored)
            for run, stored in oldest
            if stored.workflow in workflows and not stored.status.ended and not alive(stored.owner)
        )
        return tuple(islice(waiting, limit))

    async def request_cancel(self, run: str, reason: str) -> bool:
        """Store a request for cancellation, the first one counting; False if the run has ended or is unknown."""
        stored = self._runs.get(run)
        if stored is None or stored.status.ended:
            return False
        if stored.cancel_requested is None:
            stored.cancel_requested = reason
        return True

    async def cancels(self, owner: str) -> Sequence[tuple[str, str]]:
        """Return (run, reason) of the requests for runs that ``owner`` owns."""
        return [
            (run, stored.cancel_requested)
            for run, stored in self._runs.items()
            if stored.owner == owner and stored.cancel_requested is not None
        ]

    async def find(self, run: str) -> RunRecord | None:
        """Return the record of a run."""
        stored = self._runs.get(run)
        return _record(run, stored) if stored else None

    async def list(
        self, *, workflow: str | None = None, status: Status | None = None, limit: int = 100, before: str | None = None
    ) -> Sequence[RunRecord]:
        """Return records, newest first."""
        newest = iter(reversed(self._runs.items()))
        if before is not None:
            if before not in self._runs:
                return []
            for run, _ in newest:
                if run == before:
                    break
        wanted = (
            _record(run, stored)
            for run, stored in newest
            if workflow in (None, stored.workflow) and status in (None, stored.status)
        )
        return tuple(islice(wanted, limit))

    async def count(self) -> Mapping[tuple[str, Status], int]:
        """Return how many runs there are by workflow and status."""
        return Counter((stored.workflow, stored.status) for stored in self._runs.values())

    async def purge(self, *, ended_before: float, limit: int = 1000, workflow: str | None = None) -> int:
        """Remove runs that ended before a time, with their facts, and answers that expired before it."""
        if workflow is None:
            self._forget(ended_before)
        alive = cache(self._alive)
        old = (
            run
            for run, stored in self._runs.items()
            if stored.status.ended
            and _updated(stored) < ended_before
            and workflow in (None, stored.workflow)
            and not alive(stored.owner)
            and not any(run in outbox.seqs for outbox in self._outboxes.values())
            and not self._is_wanted(stored)
        )
        doomed = tuple(islice(old, limit))
        for run in doomed:
            del self._runs[run]
        return len(doomed)

    async def recall(self, key: str, now: float) -> bytes | None:
        """Return what is remembered under a key, unless it has expired."""
        data, expires = self._answers.get(key, (None, now))
        return data if expires > now else None

    async def remember(self, key: str, data: bytes, *, now: float, expires: float) -> None:
        """Keep ``data`` under a key; what has expired goes."""
        self._answers[key] = data, expires
        heappush(self._expiring, (expires, key))
        self._forget(now)

    async def hold(self, outbox: str, owner: str) -> bool:
        """Let an owner deliver for an outbox from now on; False if another one that is alive does."""
        held = self._outboxes.get(outbox)
        if held is None:
            under_way = {run: len(each.facts) - 1 for run, each in self._runs.items() if not each.status.ended}
            self._outboxes[outbox] = _Outbox(owner, self._made, under_way)
            return True
        if held.owner != owner and self._alive(held.owner):
            return False
        newest = takewhile(lambda each: each[1].number >= held.known, reversed(self._runs.items()))
        held.seqs |= {run: -1 for run, _ in newest}
        held.owner, held.known = owner, self._made
        return True

    async def undelivered(
        self, outbox: str, limit: int, *, ended: bool = False, after: str | None = None
    ) -> Sequence[Undelivered]:
        """Return runs with facts that were not delivered, oldest first."""
        runs = iter(self._runs.items())
        if after is not None:
            for run, _ in runs:
                if run == after:
                    break
        seqs = self._outboxes[outbox].seqs if outbox in self._outboxes else {}
        left = (
            Undelivered(run, stored.workflow, seqs[run], len(stored.facts) - 1)
            for run, stored in runs
            if run in seqs and seqs[run] < len(stored.facts) - 1 and (stored.status.ended or not ended)
        )
        return tuple(islice(left, limit))

    async def delivered(self, outbox: str, owner: str, upto: Sequence[Position]) -> bool:
        """Note up to which fact some runs were delivered; False if another holds the outbox."""
        held = self._outboxes.get(outbox)
        if held is None or held.owner != owner:
            return False
        for run, seq, at in upto:
            stored = self._runs.get(run)
            if stored is None or len(stored.facts) <= seq or stored.facts[seq][1].at != at or run not in held.seqs:
                continue
            held.seqs[run] = max(held.seqs[run], seq)
            if stored.status.ended and seq >= len(stored.facts) - 1:
                del held.seqs[run]
        return True

    def _is_wanted(self, stored: _Run) -> bool:
        """Whether a run is the child of one that has not ended."""
        started = stored.facts[0][1]
        parent = self._runs.get(started.parent or "") if isinstance(started, RunStarted) else None
        return parent is not None and not parent.status.ended

    def _forget(self, now: float) -> None:
        while self._expiring and self._expiring[0][0] <= now:
            expires, key = heappop(self._expiring)
            if key in self._answers and self._answers[key][1] == expires:
                del self._answers[key]

    def _append(self, append: Append) -> Appended:
        stored = self._runs.get(append.run)
        if append.creates:
            if stored is None:
                stored = self._runs[append.run] = _created(append, self._made)
                self._made += 1
            elif stored.facts[0][1] != append.facts[0]:  # else it is the same append, sent again
                return Appended.EXISTS
        if stored is None or not _fits(stored, append):
            return Appended.STALE

        rows = [(append.fence, fact) for fact in append.facts]
        stored.facts[append.first : append.first + len(rows)] = rows
        if append.waits is not None and stored.owner is not None:
            stored.status = Status.QUEUED if append.waits else Status.RUNNING
        if append.ends is not None:
            stored.status, stored.owner = append.ends, None
        return Appended.STORED

    def _fenced(self, run: str, fence: int) -> _Run | None:
        stored = self._runs.get(run)
        return stored if stored is not None and stored.fence == fence else None

    def _alive(self, owner: str | None) -> bool:
        lease = self._leases.get(owner) if owner is not None else None
        if lease is None or provably_dead(lease.owner):
            return False
        return not self._lapses.lapsed(lease.owner.id, lease.beats, lease.ttl)


def _created(append: Append, number: int) -> _Run:
    started = append.facts[0]
    if not isinstance(started, RunStarted):
        raise TypeError(f"an append that creates run {append.run!r} begins with RunStarted, not {started!r}")
    return _Run(number, started.workflow, Status.RUNNING, append.fence, append.owner, started.at, [])


def _fits(stored: _Run, append: Append) -> bool:
    """Whether the fence is the run's, and what the append would write anew was written with it."""
    again = stored.facts[append.first : append.first + len(append.facts)]
    return stored.fence == append.fence and all(fence == append.fence for fence, _ in again)


def _give_back(stored: _Run, *, counted: bool = False) -> None:
    stored.owner = None
    if not counted:
        stored.claims = max(stored.claims - 1, 0)
    if not stored.status.ended:
        stored.status = Status.PENDING


def _updated(stored: _Run) -> float:
    return stored.facts[-1][1].at if stored.facts else stored.created


def _record(run: str, stored: _Run) -> RunRecord:
    return RunRecord(
        id=run,
        workflow=stored.workflow,
        status=stored.status,
        fence=stored.fence,
        owner=stored.owner,
        created=stored.created,
        updated=_updated(stored),
        claims=0 if len(stored.facts) > stored.claimed_length else stored.claims,
        cancel_requested=stored.cancel_requested,
    )
