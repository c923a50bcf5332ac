"""What every store must do with the answers of caches."""

from awaitly.persist.ports import Store
from awaitly.testing.stories import Clock, on_store


class AnswersConformance:
    """Answers of caches: kept for their time, and not for ever."""

    @on_store
    async def test_an_answer_is_recalled_until_it_expires(self, store: Store, clock: Clock) -> None:
        """At the instant of its expiry it has expired; an unknown one was never there."""
        await store.remember("rate:EUR", b"1.08", now=100.0, expires=160.5)
        assert await store.recall("rate:EUR", 100.0) == b"1.08"
        assert await store.recall("rate:EUR", 160.25) == b"1.08"
        assert await store.recall("rate:EUR", 160.5) is None
        assert await store.recall("rate:USD", 100.0) is None

    @on_store
    async def test_the_last_answer_counts(self, store: Store, clock: Clock) -> None:
        """With its own expiry, also when that is sooner."""
        await store.remember("k", b"first", now=100.0, expires=200.0)
        await store.remember("k", b"second", now=101.0, expires=150.0)
        assert await store.recall("k", 120.0) == b"second"
        assert await store.recall("k", 160.0) is None
        await store.remember("k", b"third", now=160.0, expires=300.0)
        await store.remember("other", b"", now=210.0, expires=300.0)
        assert await store.recall("k", 250.0) == b"third"

    @on_store
    async def test_keys_and_answers_come_back_as_they_are(self, store: Store, clock: Clock) -> None:
        """Any printable character, any byte, none at all, three megabytes."""
        key, data = "é\"\\' 🜚%", bytes(range(256)) * 12_000
        await store.remember(key, data, now=100.0, expires=200.0)
        await store.remember(key.upper(), b"", now=100.0, expires=200.0)
        assert await store.recall(key, 150.0) == data
        assert await store.recall(key.upper(), 150.0) == b""

    @on_store
    async def test_expired_answers_do_not_pile_up(self, store: Store, clock: Clock) -> None:
        """Those that come let as many go that have expired, and none that has not."""
        for number in range(20):
            await store.remember(f"old{number}", b"{}", now=100.0, expires=110.0 + number)
        await store.remember("valid", b"{}", now=100.0, expires=500.0)
        for number in range(20):
            await store.remember(f"new{number}", b"{}", now=200.0, expires=300.0)
        assert [await store.recall(f"old{number}", 100.0) for number in range(20)] == [None] * 20
        assert [await store.recall(f"new{number}", 200.0) for number in range(20)] == [b"{}"] * 20
        assert await store.recall("valid", 200.0) == b"{}"

    @on_store
    async def test_purging_removes_answers_that_expired_before_its_time(self, store: Store, clock: Clock) -> None:
        """They are not counted, as they are no runs."""
        await store.remember("old", b"{}", now=100.0, expires=110.0)
        await store.remember("valid", b"{}", now=100.0, expires=500.0)
        assert await store.purge(ended_before=400.0) == 0
        assert await store.recall("old", 100.0) is None
        assert await store.recall("valid", 100.0) == b"{}"

    @on_store
    async def test_answers_are_there_after_closing(self, store: Store, clock: Clock) -> None:
        """Closing and opening the same store object loses none."""
        await store.remember("k", b"{}", now=100.0, expires=200.0)
        await store.close()
        await store.open()
        assert await store.recall("k", 150.0) == b"{}"
