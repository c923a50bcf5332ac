"""What every store must do, as tests that pytest collects from a subclass.

```python
class TestMyStore(StoreConformance):
    def new_store(self, directory: Path, monotonic: Callable[[], float]) -> Store:
        return MyStore(directory / "runs", monotonic=monotonic)
```

`new_store` is called once for each test, with a directory of its own and the clock that leases go by.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from awaitly.model.facts import Ending, Fact, RunFinished, RunRetried, RunStarted, StepFinished
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended, Owner, Store
from awaitly.testing.answers import AnswersConformance
from awaitly.testing.deliveries import DeliveriesConformance
from awaitly.testing.samples import EVERY_FACT
from awaitly.testing.stories import Clock, on_store
from awaitly.testing.turns import TurnsConformance

TTL = 15.0
ALICE = Owner(id="alice", host="a host of nobody's", pid=1, started="1")
BOB = Owner(id="bob", host="a host of nobody's", pid=2, started="2")


def started(workflow: str = "checkout", *, at: float = 100.0, seed: int = 1) -> RunStarted:
    """Return the first fact of a run."""
    return RunStarted(
        at=at, workflow=workflow, version=None, fingerprint="f", arguments=b"[1]", arguments_digest="d", seed=seed
    )


def stepped(number: int, *, payload: bytes = b"{}") -> StepFinished:
    """Return the fact of a step; its time tells it from others."""
    return StepFinished(
        at=100.25 + number, call=f"0/{number}", step="charge", arguments="a", ending=Ending.VALUE, payload=payload
    )


def finished(*, at: float = 200.5) -> RunFinished:
    """Return the last fact of a run."""
    return RunFinished(at=at, ending=Ending.VALUE, payload=b"null")


def creation(run: str, *facts: Fact, owner: str | None = "alice", workflow: str = "checkout") -> Append:
    """Return the append that makes a run with fence 1."""
    return Append(run=run, fence=1, first=0, facts=(started(workflow), *facts), creates=True, owner=owner)


def more(run: str, first: int, *facts: Fact, fence: int = 1) -> Append:
    """Return an append to a run that exists."""
    return Append(run=run, fence=fence, first=first, facts=facts)


def ending(run: str, first: int, *, fence: int = 1, at: float = 200.5) -> Append:
    """Return the append that ends a run well."""
    return Append(run=run, fence=fence, first=first, facts=(finished(at=at),), ends=Status.SUCCEEDED)


class JournalConformance:
    """Facts: stored in order, guarded by the fence, each append wholly or not at all."""

    @on_store
    async def test_every_kind_of_fact_comes_back_equal(self, store: Store, clock: Clock) -> None:
        """What is read is equal to what was appended, floats and bytes to the last bit."""
        append = Append(run="r", fence=1, first=0, facts=EVERY_FACT, creates=True, ends=Status.CANCELLED)
        assert list(await store.append([append])) == [Appended.STORED]
        assert tuple(await store.read("r")) == EVERY_FACT

    @on_store
    async def test_facts_are_read_in_order_and_from_a_place(self, store: Store, clock: Clock) -> None:
        """``after`` skips what the reader has already."""
        await store.append([creation("r", stepped(1))])
        await store.append([more("r", 2, stepped(2), stepped(3))])
        assert list(await store.read("r")) == [started(), stepped(1), stepped(2), stepped(3)]
        assert list(await store.read("r", after=1)) == [stepped(2), stepped(3)]
        assert list(await store.read("r", after=3)) == []

    @on_store
    async def test_a_run_that_is_not_there_has_no_facts(self, store: Store, clock: Clock) -> None:
        """Reading an unknown run is no error."""
        assert list(await store.read("nobody")) == []

    @on_store
    async def test_an_empty_batch_is_answered(self, store: Store, clock: Clock) -> None:
        """Nothing in, nothing out."""
        assert list(await store.append([])) == []

    @on_store
    async def test_a_batch_holds_appends_of_many_runs(self, store: Store, clock: Clock) -> None:
        """Each of 300 runs gets its own facts, and the answers are in the batch's order."""
        names = [f"r{number}" for number in range(300)]
        answers = await store.append([creation(name, stepped(int(name[1:]))) for name in names])
        assert list(answers) == [Appended.STORED] * 300
        answers = await store.append([more(name, 2, stepped(1000 + int(name[1:]))) for name in names])
        assert list(answers) == [Appended.STORED] * 300
        for number in (0, 1, 128, 255, 256, 299):
            assert list(await store.read(f"r{number}")) == [started(), stepped(number), stepped(1000 + number)]

    @on_store
    async def test_an_append_that_was_stored_can_be_sent_again(self, store: Store, clock: Clock) -> None:
        """After an uncertain commit the owner repeats it, also in one batch with new ones."""
        first, second, last = creation("r", stepped(1)), more("r", 2, stepped(2)), ending("r", 3)
        for append in (first, second, last):
            assert list(await store.append([append])) == [Appended.STORED]
            assert list(await store.append([append])) == [Appended.STORED]
        assert list(await store.append([first, second, last, creation("s")])) == [Appended.STORED] * 4
        assert list(await store.read("r")) == [started(), stepped(1), stepped(2), finished()]
        record = await store.find("r")
        assert record is not None
        assert (record.status, record.owner, record.fence) == (Status.SUCCEEDED, None, 1)

    @on_store
    async def test_an_append_that_was_stored_in_part_can_be_sent_with_more(self, store: Store, clock: Clock) -> None:
        """Facts that are there already are the same: they are written over."""
        await store.append([creation("r", stepped(1))])
        assert list(await store.append([more("r", 1, stepped(1), stepped(2))])) == [Appended.STORED]
        assert list(await store.read("r")) == [started(), stepped(1), stepped(2)]

    @on_store
    async def test_a_second_run_of_the_same_id_is_refused(self, store: Store, clock: Clock) -> None:
        """The first one stays as it is, and the rest of the batch is stored."""
        await store.append([creation("r", stepped(1))])
        again = Append(run="r", fence=1, first=0, facts=(started(seed=2),), creates=True, owner="bob")
        answers = await store.append([creation("s"), again, creation("t")])
        assert list(answers) == [Appended.STORED, Appended.EXISTS, Appended.STORED]
        assert list(await store.read("r")) == [started(), stepped(1)]
        assert list(await store.read("t")) == [started()]

    @on_store
    async def test_a_stale_append_writes_nothing_and_harms_no_other(self, store: Store, clock: Clock) -> None:
        """Whoever was overtaken cannot write, end the run or spoil the batch."""
        await store.append([creation("lost", owner=None), creation("kept")])
        claim = await store.claim("lost", "bob")
        assert claim is not None
        assert claim.fence == 2
        answers = await store.append(
            [more("kept", 1, stepped(1)), more("lost", 1, stepped(9)), more("kept", 2, stepped(2)), ending("lost", 2)]
        )
        assert list(answers) == [Appended.STORED, Appended.STALE, Appended.STORED, Appended.STALE]
        assert list(await store.read("kept")) == [started(), stepped(1), stepped(2)]
        assert list(await store.read("lost")) == [started()]
        assert list(await store.append([more("lost", 1, stepped(3), fence=2)])) == [Appended.STORED]
        assert list(await store.append([more("lost", 2, stepped(9), fence=3)])) == [Appended.STALE]

    @on_store
    async def test_facts_of_an_earlier_owner_are_not_written_over(self, store: Store, clock: Clock) -> None:
        """An owner that did not read them gets ``STALE``, and nothing of its append is written."""
        await store.append([creation("r", stepped(1), owner=None)])
        await store.claim("r", "bob")
        assert list(await store.append([more("r", 1, stepped(7), stepped(8), fence=2)])) == [Appended.STALE]
        assert list(await store.read("r")) == [started(), stepped(1)]

    @on_store
    async def test_an_append_to_a_run_that_is_not_there_is_stale(self, store: Store, clock: Clock) -> None:
        """It may have been purged since."""
        assert list(await store.append([more("nobody", 1, stepped(1)), creation("r")])) == [
            Appended.STALE,
            Appended.STORED,
        ]

    @on_store
    async def test_a_large_payload_comes_back(self, store: Store, clock: Clock) -> None:
        """Three megabytes are stored like three bytes."""
        payload = bytes(range(256)) * 12_000
        await store.append([creation("r", stepped(1, payload=payload))])
        assert list(await store.read("r", after=0)) == [stepped(1, payload=payload)]

    @on_store
    async def test_a_run_can_be_cut_and_continued(self, store: Store, clock: Clock) -> None:
        """Cutting an ended run needs its fence; one fact takes the place of what is cut, and it runs again."""
        await store.append([creation("r", stepped(1), stepped(2)), ending("r", 3)])
        await store.request_cancel("r", "too late")
        claim = await store.claim("r", "bob", ended=True)
        assert claim is not None
        assert claim.record.status is Status.SUCCEEDED
        retried = RunRetried(at=300.5, deadline=None)
        assert await store.truncate("r", 1, 2, retried) is False
        assert list(await store.read("r")) == [started(), stepped(1), stepped(2), finished()]
        assert await store.truncate("r", claim.fence, 2, retried) is True
        record = await store.find("r")
        assert record is not None
        assert (record.status, record.owner, record.cancel_requested) == (Status.RUNNING, "bob", None)
        assert (record.claims, record.updated) == (0, 300.5)
        assert list(await store.append([more("r", 3, stepped(5), fence=2)])) == [Appended.STORED]
        assert list(await store.read("r")) == [started(), stepped(1), retried, stepped(5)]

    @on_store
    async def test_what_was_stored_is_there_after_closing(self, store: Store, clock: Clock) -> None:
        """Closing and opening the same store object loses nothing."""
        await store.append([creation("r", stepped(1))])
        await store.close()
        await store.open()
        assert list(await store.read("r")) == [started(), stepped(1)]

    @on_store
    async def test_a_store_is_open_until_all_who_opened_it_have_closed_it(self, store: Store, clock: Clock) -> None:
        """Two runtimes may share one store object, whoever ends first."""
        await store.close()
        await asyncio.gather(store.open(), store.open(), store.open())
        await store.close()
        await store.append([creation("r", stepped(1))])
        await store.close()
        assert list(await store.read("r")) == [started(), stepped(1)]


class LeaseConformance:
    """Owners: one at a time, and nobody waits for the dead longer than a lease."""

    @on_store
    async def test_a_living_owner_keeps_its_runs(self, store: Store, clock: Clock) -> None:
        """As long as it renews in time, nobody else gets them."""
        await store.register(ALICE, TTL)
        await store.append([creation("r")])
        for _ in range(10):
            assert await store.claim("r", "bob") is None
            assert list(await store.claimable(["checkout"], 10)) == []
            clock.now += TTL - 1
            await store.renew("alice")

    @on_store
    async def test_a_silent_owner_loses_its_runs_after_a_whole_lease(self, store: Store, clock: Clock) -> None:
        """The lease is counted from when its last beat was seen, by the claimant's own clock."""
        await store.register(ALICE, TTL)
        await store.append([creation("r")])
        assert await store.claim("r", "bob") is None
        clock.now += TTL - 0.1
        assert await store.claim("r", "bob") is None
        clock.now += 0.1
        assert [record.id for record in await store.claimable(["checkout"], 10)] == ["r"]
        claim = await store.claim("r", "bob")
        assert claim is not None
        assert (claim.fence, claim.record.owner, claim.record.status) == (2, "bob", Status.RUNNING)

    @on_store
    async def test_a_late_renewal_is_a_renewal(self, store: Store, clock: Clock) -> None:
        """An owner whose lease lapsed, but whose runs nobody took, keeps them."""
        await store.register(ALICE, TTL)
        await store.append([creation("r")])
        assert await store.claim("r", "bob") is None
        clock.now += TTL * 2
        await store.renew("alice")
        assert await store.claim("r", "bob") is None
        assert list(await store.lost({"r": 1})) == []

    @on_store
    async def test_an_owner_that_was_forgotten_learns_it_when_it_renews(self, store: Store, clock: Clock) -> None:
        """A renewal of nothing is none: the owner has to register again."""
        await store.register(ALICE, TTL)
        assert await store.renew("alice") is True
        await store.retire("alice")
        assert await store.renew("alice") is False
        await store.register(ALICE, TTL)
        assert await store.renew("alice") is True

    @on_store
    async def test_runs_of_an_unknown_owner_are_free(self, store: Store, clock: Clock) -> None:
        """Who is not registered has no lease."""
        await store.append([creation("r", owner="alice"), creation("s", owner=None)])
        assert [record.id for record in await store.claimable(["checkout"], 10)] == ["r", "s"]
        assert await store.claim("r", "bob") is not None
        assert await store.claim("s", "bob") is not None

    @on_store
    async def test_a_claimed_run_is_claimed_once(self, store: Store, clock: Clock) -> None:
        """The second one to ask gets nothing."""
        await store.register(ALICE, TTL)
        await store.register(BOB, TTL)
        await store.append([creation("r", owner=None)])
        assert await store.claim("r", "bob") is not None
        assert await store.claim("r", "alice") is None

    @on_store
    async def test_a_retired_owner_leaves_its_runs_to_others_at_once(self, store: Store, clock: Clock) -> None:
        """They are pending; ended ones stay ended."""
        await store.register(ALICE, TTL)
        await store.append([creation("r"), creation("done"), ending("done", 1)])
        assert await store.claim("done", "alice", ended=True) is not None
        await store.retire("alice")
        assert [record.id for record in await store.claimable(["checkout"], 10)] == ["r"]
        ended, waiting = await store.find("done"), await store.find("r")
        assert ended is not None
        assert waiting is not None
        assert (ended.status, ended.owner) == (Status.SUCCEEDED, None)
        assert (waiting.status, waiting.owner) == (Status.PENDING, None)

    @on_store
    async def test_a_run_is_released_by_its_fence(self, store: Store, clock: Clock) -> None:
        """A stale release does nothing."""
        await store.register(BOB, TTL)
        await store.append([creation("r", owner=None)])
        await store.claim("r", "bob")
        await store.release("r", 1)
        assert await store.claim("r", "alice") is None
        await store.release("r", 2)
        record = await store.find("r")
        assert record is not None
        assert (record.status, record.owner) == (Status.PENDING, None)
        claim = await store.claim("r", "alice")
        assert claim is not None
        assert claim.fence > 2

    @on_store
    async def test_an_owner_learns_what_it_lost(self, store: Store, clock: Clock) -> None:
        """Runs that were claimed since, and such as are gone."""
        await store.append([creation("mine"), creation("taken", owner=None)])
        await store.claim("taken", "bob")
        assert sorted(await store.lost({"mine": 1, "taken": 1, "gone": 1})) == ["gone", "taken"]
        assert list(await store.lost({"taken": 2})) == []
        assert list(await store.lost({})) == []

    @on_store
    async def test_an_id_may_hold_any_printable_character(self, store: Store, clock: Clock) -> None:
        """Also where ids are handed over as lists."""
        run, workflow = "order:\"é\\ ' 🜚%", 'my "checkout" 🜚'
        await store.append([creation(run, owner=run, workflow=workflow)])
        assert list(await store.lost({run: 1})) == []
        assert [record.id for record in await store.claimable([workflow], 10)] == [run]
        assert list(await store.read(run)) == [started(workflow)]

    @on_store
    async def test_an_ended_run_is_claimed_only_when_asked_for(self, store: Store, clock: Clock) -> None:
        """It keeps its status until it is cut."""
        await store.append([creation("r"), ending("r", 1)])
        assert await store.claim("r", "bob") is None
        assert await store.claim("nobody", "bob", ended=True) is None
        assert list(await store.claimable(["checkout"], 10)) == []
        claim = await store.claim("r", "bob", ended=True)
        assert claim is not None
        assert (claim.fence, claim.record.status) == (2, Status.SUCCEEDED)

    @on_store
    async def test_claims_are_counted_from_the_last_fact(self, store: Store, clock: Clock) -> None:
        """A run whose owners die again and again without a new fact shows it; a fact starts the count anew."""

        async def claimed() -> tuple[int, int]:
            claim = await store.claim("r", "ghost")  # is not registered, as if it had died at once
            assert claim is not None
            return claim.record.claims, claim.fence

        await store.append([creation("r", owner=None)])
        assert [await claimed() for _ in range(3)] == [(1, 2), (2, 3), (3, 4)]
        await store.append([more("r", 1, stepped(1), fence=4)])
        record = await store.find("r")
        assert record is not None
        assert record.claims == 0
        assert await claimed() == (1, 5)

    @on_store
    async def test_a_claim_that_is_given_back_is_not_counted(self, store: Store, clock: Clock) -> None:
        """Neither when the run is released nor when its owner retires: only those count whose owner died."""
        await store.append([creation("r", owner=None)])
        await store.claim("r", "ghost")
        for _ in range(10):
            await store.register(ALICE, TTL)
            claim = await store.claim("r", "alice")
            assert claim is not None
            assert claim.record.claims == 2
            await store.release("r", claim.fence)
            claim = await store.claim("r", "alice")
            assert claim is not None
            assert claim.record.claims == 2
            await store.retire("alice")
        record = await store.find("r")
        assert record is not None
        assert record.claims == 1
        await store.append([creation("new")])
        await store.release("new", 1)
        new = await store.find("new")
        assert new is not None
        assert new.claims == 0

    @on_store
    async def test_a_claim_is_counted_where_its_owner_asks_for_it(self, store: Store, clock: Clock) -> None:
        """A run that a defect stops again and again counts like one whose owners die."""
        await store.append([creation("r", owner=None)])
        for count in (1, 2, 3):
            claim = await store.claim("r", "alice")
            assert claim is not None
            assert claim.record.claims == count
            await store.release("r", claim.fence, counted=True)
        record = await store.find("r")
        assert record is not None
        assert (record.status, record.owner, record.claims) == (Status.PENDING, None, 3)

    @on_store
    async def test_who_lives_is_told_without_a_claim(self, store: Store, clock: Clock) -> None:
        """Who is not known, has retired or was silent for a whole lease does not; asking changes nothing."""
        await store.register(ALICE, TTL)
        await store.register(BOB, TTL)
        await store.append([creation("r")])
        assert await store.living(["alice", "bob", "nobody"]) == {"alice", "bob"}
        assert await store.living(["alice"]) == {"alice"}
        assert await store.living([]) == set()
        await store.retire("bob")
        clock.now += TTL - 0.1
        assert await store.living(["alice", "bob"]) == {"alice"}
        clock.now += 0.1
        assert await store.living(["alice"]) == set()
        record = await store.find("r")
        assert record is not None
        assert (record.status, record.owner, record.fence, record.claims) == (Status.RUNNING, "alice", 1, 0)
        await store.renew("alice")
        assert await store.living(["alice"]) == {"alice"}

    @on_store
    async def test_claimable_runs_are_of_the_workflows_asked_for_and_oldest_first(
        self, store: Store, clock: Clock
    ) -> None:
        """No more of them than the limit."""
        await store.append(
            [creation(run, owner=None, workflow=workflow) for run, workflow in zip("abcd", "xyxx", strict=True)]
        )
        assert [record.id for record in await store.claimable(["x"], 10)] == ["a", "c", "d"]
        assert [record.id for record in await store.claimable(["y", "x"], 3)] == ["a", "b", "c"]
        assert list(await store.claimable([], 3)) == []

    @on_store
    async def test_claimable_runs_come_in_pages(self, store: Store, clock: Clock) -> None:
        """``after`` is the last one of the page before; also when somebody has it by now."""
        await store.register(ALICE, TTL)
        await store.append([creation(run, owner=None) for run in "abcd"])
        assert [record.id for record in await store.claimable(["checkout"], 2, after="b")] == ["c", "d"]
        await store.claim("b", "alice")
        assert [record.id for record in await store.claimable(["checkout"], 2, after="a")] == ["c", "d"]
        assert [record.id for record in await store.claimable(["checkout"], 2, after="b")] == ["c", "d"]
        assert list(await store.claimable(["checkout"], 2, after="d")) == []
        assert list(await store.claimable(["checkout"], 2, after="nobody")) == []


class CatalogConformance:
    """Records: what is there, newest first."""

    @on_store
    async def test_a_record_says_what_the_facts_say(self, store: Store, clock: Clock) -> None:
        """Times are those of the facts; the store asks no clock for them."""
        await store.append([creation("r", stepped(1))])
        running = await store.find("r")
        assert running is not None
        assert (running.workflow, running.status, running.owner) == ("checkout", Status.RUNNING, "alice")
        assert (running.created, running.updated, running.fence) == (100.0, 101.25, 1)
        await store.append([ending("r", 2)])
        ended = await store.find("r")
        assert ended is not None
        assert (ended.status, ended.owner, ended.updated) == (Status.SUCCEEDED, None, 200.5)
        assert await store.find("nobody") is None

    @on_store
    async def test_runs_are_listed_newest_first_by_pages(self, store: Store, clock: Clock) -> None:
        """``before`` is the last one of the page before; filters hold for every page."""
        await store.append([creation(run, workflow="x" if run in "ace" else "y") for run in "abcde"])
        await store.append([ending("c", 1), ending("d", 1)])
        assert [record.id for record in await store.list(limit=2)] == ["e", "d"]
        assert [record.id for record in await store.list(limit=2, before="d")] == ["c", "b"]
        assert [record.id for record in await store.list(workflow="x")] == ["e", "c", "a"]
        assert [record.id for record in await store.list(workflow="x", before="e")] == ["c", "a"]
        assert [record.id for record in await store.list(status=Status.SUCCEEDED)] == ["d", "c"]
        assert [record.id for record in await store.list(workflow="x", status=Status.RUNNING)] == ["e", "a"]
        assert list(await store.list(before="nobody")) == []

    @on_store
    async def test_runs_are_counted_by_workflow_and_status(self, store: Store, clock: Clock) -> None:
        """Only what is there is in the answer."""
        assert dict(await store.count()) == {}
        await store.append([creation(run, workflow="x" if run in "ace" else "y") for run in "abcde"])
        await store.append([ending("c", 1)])
        assert dict(await store.count()) == {
            ("x", Status.RUNNING): 2,
            ("y", Status.RUNNING): 2,
            ("x", Status.SUCCEEDED): 1,
        }

    @on_store
    async def test_old_runs_are_removed_with_their_facts(self, store: Store, clock: Clock) -> None:
        """Only ended ones, only those before the time, no more than the limit."""
        await store.append([creation(run) for run in "abcd"])
        await store.append([ending("a", 1, at=300.0), ending("b", 1, at=300.0), ending("c", 1, at=500.0)])
        assert await store.purge(ended_before=400.0, limit=1) == 1
        assert await store.purge(ended_before=400.0) == 1
        assert await store.purge(ended_before=400.0) == 0
        assert [record.id for record in await store.list()] == ["d", "c"]
        assert list(await store.read("a")) == []
        assert list(await store.append([creation("a")])) == [Appended.STORED]

    @on_store
    async def test_old_runs_of_one_workflow_are_removed(self, store: Store, clock: Clock) -> None:
        """And those of others stay, with the answers that caches keep."""
        await store.append([creation(run, workflow="x" if run in "ace" else "y") for run in "abcde"])
        await store.append([ending(run, 1, at=300.0) for run in "abcd"])
        await store.remember("key", b"kept", now=100.0, expires=300.0)
        assert await store.purge(ended_before=400.0, limit=1, workflow="x") == 1
        assert await store.purge(ended_before=400.0, workflow="x") == 1
        assert await store.purge(ended_before=400.0, workflow="x") == 0
        assert await store.purge(ended_before=400.0, workflow="nobody's") == 0
        assert [record.id for record in await store.list()] == ["e", "d", "b"]
        assert await store.recall("key", 200.0) == b"kept"

    @on_store
    async def test_an_old_child_is_not_removed_before_its_parent_has_ended(self, store: Store, clock: Clock) -> None:
        """The parent may not have its result yet, and would begin it again."""
        child = creation("child")._replace(facts=(replace(started(), parent="parent"),))
        await store.append([creation("parent"), child])
        await store.append([ending("child", 1, at=300.0)])
        assert await store.purge(ended_before=400.0) == 0
        assert await store.purge(ended_before=400.0, workflow="checkout") == 0
        await store.append([ending("parent", 1, at=500.0)])
        assert await store.purge(ended_before=400.0) == 1
        assert [record.id for record in await store.list()] == ["parent"]

    @on_store
    async def test_an_old_run_that_is_being_retried_is_not_removed(self, store: Store, clock: Clock) -> None:
        """Unless whoever claimed it has died before it was cut."""
        await store.register(ALICE, TTL)
        await store.append([creation("r"), ending("r", 1)])
        await store.claim("r", "alice", ended=True)
        assert await store.purge(ended_before=400.0) == 0
        clock.now += TTL
        assert await store.purge(ended_before=400.0) == 1
        assert await store.find("r") is None

    @on_store
    async def test_a_cancellation_is_asked_for_once(self, store: Store, clock: Clock) -> None:
        """The owner sees the first reason; who has ended or is unknown cannot be cancelled."""
        await store.append([creation("r"), creation("other", owner="bob"), creation("done"), ending("done", 1)])
        assert await store.request_cancel("r", "wrong address") is True
        assert await store.request_cancel("r", "something else") is True
        assert await store.request_cancel("done", "late") is False
        assert await store.request_cancel("nobody", "never") is False
        assert list(await store.cancels("alice")) == [("r", "wrong address")]
        assert list(await store.cancels("bob")) == []
        await store.append([ending("r", 1)])
        assert list(await store.cancels("alice")) == []


class StoreConformance(
    JournalConformance,
    LeaseConformance,
    CatalogConformance,
    AnswersConformance,
    DeliveriesConformance,
    TurnsConformance,
):
    """All of it; subclass it and say how the store is made."""

    def new_store(self, directory: Path, monotonic: Callable[[], float]) -> Store:
        """Return a new store that is not open yet."""
        raise NotImplementedError
