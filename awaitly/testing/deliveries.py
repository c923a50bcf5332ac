"""What every store must do with the positions of outboxes."""

from awaitly.model.facts import Ending, Fact, RunFinished, RunRetried, RunStarted, StepFinished
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Owner, Position, Store, Undelivered
from awaitly.testing.stories import Clock, on_store

TTL = 15.0
ALICE = Owner(id="alice", host="a host of nobody's", pid=1, started="1")
BOB = Owner(id="bob", host="a host of nobody's", pid=2, started="2")


def begun(run: str, *facts: Fact) -> Append:
    """Return the append that makes a run, at the time 0, which goes on at the times of the facts."""
    started = RunStarted(
        at=0.0, workflow="checkout", version=None, fingerprint="f", arguments=b"[]", arguments_digest="d", seed=1
    )
    return Append(run=run, fence=1, first=0, facts=(started, *facts), creates=True, owner="alice")


def stepped(at: float) -> StepFinished:
    """Return the fact of a step."""
    return StepFinished(at=at, call="charge#0", step="charge", arguments="a", ending=Ending.VALUE, payload=b"{}")


def ended(run: str, first: int, at: float, *, fence: int = 1) -> Append:
    """Return the append that ends a run."""
    finished = RunFinished(at=at, ending=Ending.VALUE, payload=b"null")
    return Append(run=run, fence=fence, first=first, facts=(finished,), ends=Status.SUCCEEDED)


def left(run: str, delivered: int, last: int) -> Undelivered:
    """Return what is left of a run."""
    return Undelivered(run, "checkout", delivered, last)


class DeliveriesConformance:
    """What an outbox has delivered is known after a restart, and one owner at a time delivers."""

    @on_store
    async def test_what_is_stored_after_an_outbox_is_held_is_to_be_delivered(self, store: Store, clock: Clock) -> None:
        """Of runs that are under way then the rest, of runs that have ended nothing."""
        await store.append([begun("old"), begun("going", stepped(1.0))])
        await store.append([ended("old", 1, 1.0)])
        assert await store.hold("hook", "alice")
        assert list(await store.undelivered("hook", 10)) == []
        await store.append([begun("new", stepped(2.0)), ended("going", 2, 2.0)])
        assert await store.hold("hook", "alice")
        assert list(await store.undelivered("hook", 10)) == [left("going", 1, 2), left("new", -1, 1)]
        assert list(await store.undelivered("hook", 10, ended=True)) == [left("going", 1, 2)]
        assert list(await store.undelivered("nobody's", 10)) == []

    @on_store
    async def test_what_was_delivered_is_not_to_be_delivered_again(self, store: Store, clock: Clock) -> None:
        """Up to the fact that is named, in each run by itself, also when it was named later than another."""
        await store.hold("hook", "alice")
        await store.append([begun("a", stepped(1.0), stepped(2.0)), begun("b", stepped(1.0))])
        await store.hold("hook", "alice")
        assert await store.delivered("hook", "alice", [Position("a", 1, 1.0), Position("b", 1, 1.0)])
        assert await store.delivered("hook", "alice", [Position("a", 0, 0.0), Position("nobody", 0, 0.0)])
        assert list(await store.undelivered("hook", 10)) == [left("a", 1, 2)]
        await store.append([ended("b", 2, 2.0)])
        assert list(await store.undelivered("hook", 10)) == [left("a", 1, 2), left("b", 1, 2)]
        assert await store.delivered("hook", "alice", [Position("b", 2, 2.0), Position("a", 2, 2.0)])
        assert list(await store.undelivered("hook", 10)) == []

    @on_store
    async def test_outboxes_know_nothing_of_one_another(self, store: Store, clock: Clock) -> None:
        """Each has its own owner and its own positions."""
        assert await store.hold("one", "alice")
        assert await store.hold("other", "bob")
        await store.append([begun("a")])
        assert await store.hold("one", "alice")
        assert await store.hold("other", "bob")
        assert await store.delivered("one", "alice", [Position("a", 0, 0.0)])
        assert list(await store.undelivered("one", 10)) == []
        assert list(await store.undelivered("other", 10)) == [left("a", -1, 0)]

    @on_store
    async def test_runs_are_paged_oldest_first(self, store: Store, clock: Clock) -> None:
        """``after`` is a run of the page before; after one that is gone nothing follows."""
        await store.hold("hook", "alice")
        await store.append([begun(run) for run in "edcba"])
        await store.hold("hook", "alice")
        assert [run.run for run in await store.undelivered("hook", 2)] == ["e", "d"]
        assert [run.run for run in await store.undelivered("hook", 2, after="d")] == ["c", "b"]
        assert [run.run for run in await store.undelivered("hook", 2, after="b")] == ["a"]
        assert list(await store.undelivered("hook", 2, after="nobody")) == []

    @on_store
    async def test_another_owner_gets_an_outbox_when_its_owner_is_gone(self, store: Store, clock: Clock) -> None:
        """Who lost it can note nothing any more; what was noted before counts."""
        await store.register(ALICE, TTL)
        await store.register(BOB, TTL)
        assert await store.hold("hook", "alice")
        await store.append([begun("a", stepped(1.0))])
        assert await store.hold("hook", "alice")
        assert await store.delivered("hook", "alice", [Position("a", 0, 0.0)])
        assert not await store.hold("hook", "bob")
        clock.now += TTL
        await store.renew("bob")
        assert await store.hold("hook", "bob")
        assert not await store.delivered("hook", "alice", [Position("a", 1, 1.0)])
        assert list(await store.undelivered("hook", 10)) == [left("a", 0, 1)]
        await store.retire("bob")
        assert await store.hold("hook", "alice")

    @on_store
    async def test_what_a_retried_run_records_anew_is_to_be_delivered(self, store: Store, clock: Clock) -> None:
        """Also if the run had been delivered to its end; and what was cut meanwhile counts for nothing."""
        await store.hold("hook", "alice")
        await store.append([begun("a", stepped(1.0)), ended("a", 2, 2.0)])
        await store.hold("hook", "alice")
        assert await store.delivered("hook", "alice", [Position("a", 2, 2.0)])
        assert list(await store.undelivered("hook", 10)) == []
        await store.claim("a", "alice", ended=True)
        assert await store.truncate("a", 2, 1, RunRetried(at=3.0))
        assert list(await store.undelivered("hook", 10)) == [left("a", 0, 1)]
        await store.append([ended("a", 2, 4.0, fence=2)])
        assert await store.delivered("hook", "alice", [Position("a", 2, 2.0)])
        assert list(await store.undelivered("hook", 10)) == [left("a", 0, 2)]

    @on_store
    async def test_a_run_is_not_removed_before_it_was_delivered(self, store: Store, clock: Clock) -> None:
        """By every outbox that knows it. A run that is made after it was removed is not taken for it."""
        await store.hold("one", "alice")
        await store.hold("other", "alice")
        await store.append([begun("a"), ended("a", 1, 100.0)])
        await store.hold("one", "alice")
        await store.hold("other", "alice")
        for outbox in ("one", "other"):
            assert await store.purge(ended_before=200.0) == 0
            assert list(await store.undelivered(outbox, 10)) == [left("a", -1, 1)]
            assert await store.delivered(outbox, "alice", [Position("a", 1, 100.0)])
        assert await store.purge(ended_before=200.0) == 1
        assert list(await store.undelivered("one", 10)) == []
        await store.append([begun("b")])
        await store.hold("one", "alice")
        assert list(await store.undelivered("one", 10)) == [left("b", -1, 0)]

    @on_store
    async def test_an_outbox_that_nobody_holds_any_more_keeps_no_newer_runs(self, store: Store, clock: Clock) -> None:
        """So one that was given up, or has another name by now, does not let the store grow."""
        await store.hold("hook", "alice")
        await store.append([begun("a"), ended("a", 1, 100.0)])
        assert await store.purge(ended_before=200.0) == 1
        await store.append([begun("b"), ended("b", 1, 300.0)])
        await store.hold("hook", "alice")
        assert list(await store.undelivered("hook", 10)) == [left("b", -1, 1)]

    @on_store
    async def test_positions_are_there_after_closing(self, store: Store, clock: Clock) -> None:
        """Closing and opening the same store object loses none."""
        await store.hold("hook", "alice")
        await store.append([begun("a", stepped(1.0))])
        await store.hold("hook", "alice")
        await store.delivered("hook", "alice", [Position("a", 0, 0.0)])
        await store.close()
        await store.open()
        assert await store.hold("hook", "alice")
        assert list(await store.undelivered("hook", 10)) == [left("a", 0, 1)]
