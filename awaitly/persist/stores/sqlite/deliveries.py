"""How far outboxes have come with the facts of runs.

An outbox has a row for each run of which something may be left to deliver. Runs that are new get theirs when the
outbox is held the next time: those whose number is greater than any that it knew.
"""

from collections.abc import Callable, Sequence

from awaitly.persist.ports import Position, Undelivered
from awaitly.persist.stores.sqlite.connections import Connection, transaction

_OUTBOX = "SELECT owner, known FROM outboxes WHERE name = ?"
_NEWEST = "SELECT coalesce(max(n), 0) FROM runs"
_NEW_OUTBOX = "INSERT INTO outboxes (name, owner, known) VALUES (?, ?, ?)"
_UNDER_WAY = """
INSERT INTO deliveries (outbox, run, seq)
SELECT ?, n, coalesce((SELECT max(seq) FROM facts WHERE run = n), -1) FROM runs WHERE ended IS NULL
"""
_HOLD = "UPDATE outboxes SET owner = ? WHERE name = ?"
_NEW_RUNS = "INSERT INTO deliveries (outbox, run, seq) SELECT ?, n, -1 FROM runs WHERE n > ?"
_KNOWN = "UPDATE outboxes SET known = ? WHERE name = ?"
_UNDELIVERED = """
SELECT runs.id, runs.workflow, deliveries.seq, (SELECT max(seq) FROM facts WHERE run = runs.n) AS last
FROM deliveries CROSS JOIN runs ON runs.n = deliveries.run
WHERE deliveries.outbox = :outbox AND (runs.ended IS NOT NULL OR NOT :ended) AND last > deliveries.seq
AND (:after IS NULL OR deliveries.run > (SELECT n FROM runs WHERE id = :after)) ORDER BY deliveries.run LIMIT :limit
"""
# What was cut since it was read, as the run is retried, was delivered for nothing.
_DELIVERED = """
UPDATE deliveries SET seq = max(seq, :seq)
WHERE outbox = :outbox AND run = (SELECT n FROM runs WHERE id = :run)
AND EXISTS (SELECT 1 FROM facts WHERE facts.run = deliveries.run AND facts.seq = :seq AND facts.at = :at)
"""
_DONE = """
DELETE FROM deliveries WHERE outbox = :outbox AND run = (SELECT n FROM runs WHERE id = :run AND ended IS NOT NULL)
AND seq >= (SELECT max(seq) FROM facts WHERE facts.run = deliveries.run)
"""
_AGAIN = """
INSERT INTO deliveries (outbox, run, seq)
SELECT outboxes.name, runs.n, :seq FROM outboxes, runs WHERE runs.id = :run AND outboxes.known >= runs.n
ON CONFLICT (outbox, run) DO UPDATE SET seq = min(seq, excluded.seq)
"""
_RENUMBERED = f"UPDATE outboxes SET known = min(known, ({_NEWEST}))"


def hold(connection: Connection, outbox: str, owner: str, is_alive: Callable[[str], bool]) -> bool:
    """Let an owner deliver, unless another one that is alive does; runs that are new are known from then on."""
    with transaction(connection):
        held = connection.execute(_OUTBOX, (outbox,)).fetchone()
        (newest,) = connection.execute(_NEWEST).fetchone()
        if held is None:
            connection.execute(_NEW_OUTBOX, (outbox, owner, newest))
            connection.execute(_UNDER_WAY, (outbox,))
            return True
        holder, known = held
        if holder != owner:
            if is_alive(holder):
                return False
            connection.execute(_HOLD, (owner, outbox))
        if newest > known:
            connection.execute(_NEW_RUNS, (outbox, known))
            connection.execute(_KNOWN, (newest, outbox))
        return True


def undelivered(
    connection: Connection, outbox: str, limit: int, ended: bool, after: str | None
) -> Sequence[Undelivered]:
    """Return runs of which something is left, oldest first."""
    wanted = {"outbox": outbox, "limit": limit, "ended": ended, "after": after}
    return [Undelivered(*row) for row in connection.execute(_UNDELIVERED, wanted).fetchall()]


def note(connection: Connection, outbox: str, owner: str, delivered: Sequence[Position]) -> bool:
    """Note what was delivered, if the owner still holds the outbox."""
    with transaction(connection):
        held = connection.execute(_OUTBOX, (outbox,)).fetchone()
        if held is None or held[0] != owner:
            return False
        for run, seq, at in delivered:
            about = {"outbox": outbox, "run": run, "seq": seq, "at": at}
            connection.execute(_DELIVERED, about)
            connection.execute(_DONE, about)
        return True


def again(connection: Connection, run: str, first: int) -> None:
    """Let outboxes deliver the facts of a run from a sequence number on, as those that were there are cut."""
    connection.execute(_AGAIN, {"run": run, "seq": first - 1})


def renumber(connection: Connection) -> None:
    """Know that runs were removed of which nothing was left: the greatest numbers may be given to others."""
    connection.execute(_RENUMBERED)
