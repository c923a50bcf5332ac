"""What every store must do with runs that wait for their turn."""

from awaitly.model.facts import Fact
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended, Store
from awaitly.testing.deliveries import ALICE, TTL, begun, ended, stepped
from awaitly.testing.stories import Clock, on_store


def turn(run: str, *facts: Fact, first: int = 1, fence: int = 1, waits: bool | None = None) -> Append:
    """Return what says that a run waits, or does not any more."""
    return Append(run=run, fence=fence, first=first, facts=facts, waits=waits)


class TurnsConformance:
    """A run is queued while its owner has no room for it."""

    @on_store
    async def test_a_run_is_queued_while_it_waits_for_its_turn(self, store: Store, clock: Clock) -> None:
        """It is its owner's all the same, and what says that its turn has come needs no facts."""
        await store.register(ALICE, TTL)
        await store.append([begun("r")._replace(waits=True), begun("s")])
        queued = await store.find("r")
        assert queued is not None
        assert (queued.status, queued.owner) == (Status.QUEUED, "alice")
        assert [record.id for record in await store.list(status=Status.QUEUED)] == ["r"]
        assert await store.claim("r", "bob") is None
        begins = turn("r", waits=False)
        assert list(await store.append([turn("s", stepped(1.0)), begins])) == [Appended.STORED] * 2
        running = await store.find("r")
        assert running is not None
        assert (running.status, running.updated) == (Status.RUNNING, 0.0)
        assert list(await store.append([turn("r", stepped(1.0))])) == [Appended.STORED]

    @on_store
    async def test_a_run_that_is_owned_can_be_queued_later(self, store: Store, clock: Clock) -> None:
        """So are runs that were taken over; a stale owner cannot. What is ended or given back stays so."""
        await store.append([begun("r")._replace(owner=None), begun("done"), ended("done", 1, at=1.0), begun("left")])
        await store.release("left", 1)
        assert await store.claim("r", "bob") is not None
        waits = [turn("r", waits=True, fence=fence) for fence in (1, 2)]
        assert list(await store.append(waits)) == [Appended.STALE, Appended.STORED]
        late = [turn("done", first=2, waits=False), turn("left", waits=True)]
        assert list(await store.append(late)) == [Appended.STORED] * 2
        queued = await store.find("r")
        assert queued is not None
        assert (queued.status, queued.owner) == (Status.QUEUED, "bob")
        for run, status in (("done", Status.SUCCEEDED), ("left", Status.PENDING)):
            record = await store.find(run)
            assert record is not None
            assert (record.status, record.owner) == (status, None)

    @on_store
    async def test_a_queued_run_is_free_when_its_owner_leaves_it(self, store: Store, clock: Clock) -> None:
        """Whether it gives it back, retires or dies; who claims it executes it."""
        await store.register(ALICE, TTL)
        await store.append([begun(run)._replace(waits=True) for run in "abc"])
        await store.release("a", 1)
        assert [record.id for record in await store.list(status=Status.PENDING)] == ["a"]
        await store.retire("alice")
        assert [record.id for record in await store.list(status=Status.PENDING)] == ["c", "b", "a"]
        claim = await store.claim("b", "bob")
        assert claim is not None
        assert claim.record.status is Status.RUNNING
