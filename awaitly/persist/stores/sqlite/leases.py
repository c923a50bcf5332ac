"""Who owns which run, and removing old ones that nobody owns."""

import json
from collections.abc import Collection, Mapping, Sequence, Set

from awaitly.model.state import RunRecord, Status
from awaitly.persist.owners import Lapses, provably_dead
from awaitly.persist.ports import Claim, Owner
from awaitly.persist.stores.sqlite.catalog import RECORD, find, record
from awaitly.persist.stores.sqlite.connections import Connection, transaction
from awaitly.persist.stores.sqlite.deliveries import renumber

_OWNERS = "SELECT id, host, pid, started, beats, ttl FROM owners"
_REGISTER = """
INSERT INTO owners (id, host, pid, started, ttl) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET ttl = excluded.ttl, beats = beats + 1
"""
_RENEW = "UPDATE owners SET beats = beats + 1 WHERE id = ?"
_DROP = "DELETE FROM owners WHERE id = ?"
_GIVE_BACK = """
UPDATE runs SET owner = NULL, status = iif(ended IS NULL, 'pending', status), claims = max(claims - ?, 0)
"""
_CLAIM = """
UPDATE runs SET
    fence = fence + 1, owner = ?, status = ?, claims = ?,
    claimed_seq = coalesce((SELECT max(seq) FROM facts WHERE run = n), -1)
WHERE id = ?
"""
_HELD = "SELECT runs.id FROM runs JOIN json_each(?) AS known ON runs.id = known.key AND runs.fence = known.value"
_BUSY_OWNERS = "SELECT DISTINCT owner FROM runs WHERE owner IS NOT NULL"
_FREE = "(owner IS NULL OR owner IN (SELECT value FROM json_each(:dead)))"
_UNDELIVERED = """
EXISTS (
    SELECT 1 FROM outboxes CROSS JOIN deliveries ON deliveries.outbox = outboxes.name AND deliveries.run = runs.n
)
"""
_CHILD_OF_UNFINISHED = """
EXISTS (
    SELECT 1 FROM facts CROSS JOIN runs AS parents
    ON parents.id = iif(json_valid(facts.detail), json_extract(facts.detail, '$.parent'), NULL)
    WHERE facts.run = runs.n AND facts.seq = 0 AND parents.ended IS NULL
)
"""
_OLD = f"""
SELECT n FROM runs WHERE {{of}} ended < :before AND {_FREE} AND NOT {_UNDELIVERED} AND NOT {_CHILD_OF_UNFINISHED}
LIMIT :limit
"""
_EVERY_OLD = _OLD.format(of="")
_OLD_OF_WORKFLOW = _OLD.format(of="workflow = :workflow AND")
_OF_OLD = "WHERE {column} IN (SELECT value FROM json_each(?))"
_OF_WORKFLOWS = "ended IS NULL AND workflow IN (SELECT value FROM json_each(:workflows))"
_WAITING = f"""
WHERE n IN (
    SELECT n FROM runs WHERE owner IS NULL AND {_OF_WORKFLOWS}
    UNION ALL
    SELECT n FROM runs WHERE owner IN (SELECT value FROM json_each(:dead)) AND {_OF_WORKFLOWS}
) AND (:after IS NULL OR n > (SELECT n FROM runs WHERE id = :after)) ORDER BY n LIMIT :limit
"""


def register(connection: Connection, owner: Owner, ttl: float) -> None:
    """Make an owner known, and forget those who are certainly dead: a run without a known owner is free."""
    with transaction(connection):
        for known, _, _ in _owners(connection):
            if known.id != owner.id and provably_dead(known):
                connection.execute(_DROP, (known.id,))
        connection.execute(_REGISTER, (owner.id, owner.host, owner.pid, owner.started, ttl))


def renew(connection: Connection, owner: str) -> bool:
    """Count a beat, if the owner is known."""
    return connection.execute(_RENEW, (owner,)).rowcount > 0


def retire(connection: Connection, owner: str) -> None:
    """Forget an owner and free its runs."""
    with transaction(connection):
        connection.execute(f"{_GIVE_BACK} WHERE owner = ?", (1, owner))
        connection.execute(_DROP, (owner,))


def claim(connection: Connection, lapses: Lapses, run: str, owner: str, ended: bool) -> Claim | None:
    """Take a run that nobody alive owns, with the next fence."""
    with transaction(connection):
        found = find(connection, run)
        if found is None or (found.status.ended and not ended) or alive(connection, lapses, found.owner):
            return None

        status = found.status if found.status.ended else Status.RUNNING
        connection.execute(_CLAIM, (owner, status.value, found.claims + 1, run))
        claimed = find(connection, run)
        assert claimed is not None
        return Claim(record=claimed, fence=claimed.fence)


def release(connection: Connection, run: str, fence: int, counted: bool) -> None:
    """Give a run back if the fence is its own."""
    connection.execute(f"{_GIVE_BACK} WHERE id = ? AND fence = ?", (0 if counted else 1, run, fence))


def lost(connection: Connection, fences: Mapping[str, int]) -> Sequence[str]:
    """Return the runs whose fence is another by now."""
    held = {run for (run,) in connection.execute(_HELD, (json.dumps(dict(fences)),)).fetchall()}
    return [run for run in fences if run not in held]


def living(connection: Connection, lapses: Lapses, owners: Collection[str]) -> Set[str]:
    """Return which of these owners are alive, or may be."""
    known = _owners(connection)
    return {owner.id for owner, beats, ttl in known if owner.id in owners and _lives(lapses, owner, beats, ttl)}


def claimable(
    connection: Connection, lapses: Lapses, workflows: Sequence[str], limit: int, after: str | None
) -> Sequence[RunRecord]:
    """Return unfinished runs that nobody alive owns, oldest first."""
    wanted = {
        "workflows": json.dumps(list(workflows)), "dead": _dead(connection, lapses), "limit": limit, "after": after
    }  # fmt: skip
    return [record(row) for row in connection.execute(RECORD + _WAITING, wanted).fetchall()]


def purge(connection: Connection, lapses: Lapses, ended_before: float, limit: int, workflow: str | None) -> int:
    """Remove runs that ended before a time, that nobody alive owns and no outbox has to deliver, with their facts."""
    with transaction(connection):
        wanted = {"dead": _dead(connection, lapses), "before": ended_before, "limit": limit, "workflow": workflow}
        select = _EVERY_OLD if workflow is None else _OLD_OF_WORKFLOW
        old = json.dumps([n for (n,) in connection.execute(select, wanted).fetchall()])
        connection.execute(f"DELETE FROM facts {_OF_OLD.format(column='run')}", (old,))
        removed = connection.execute(f"DELETE FROM runs {_OF_OLD.format(column='n')}", (old,)).rowcount
        if removed:
            renumber(connection)
        return removed


def _dead(connection: Connection, lapses: Lapses) -> str:
    """Return the owners of runs that are not alive, as JSON."""
    # In this order, as owners are known before they have runs: one that comes in between is not taken for dead.
    busy = {owner for (owner,) in connection.execute(_BUSY_OWNERS).fetchall()}
    alive = {owner.id for owner, beats, ttl in _owners(connection) if _lives(lapses, owner, beats, ttl)}
    return json.dumps(sorted(busy - alive))


def _owners(connection: Connection, where: str = "", values: Sequence[str] = ()) -> list[tuple[Owner, int, float]]:
    rows = connection.execute(f"{_OWNERS} {where}", values).fetchall()
    return [
        (Owner(id=id, host=host, pid=pid, started=started), beats, ttl) for id, host, pid, started, beats, ttl in rows
    ]


def alive(connection: Connection, lapses: Lapses, owner: str | None) -> bool:
    """Whether an owner is alive, or may be."""
    if owner is None:
        return False
    return any(_lives(lapses, *known) for known in _owners(connection, "WHERE id = ?", (owner,)))


def _lives(lapses: Lapses, owner: Owner, beats: int, ttl: float) -> bool:
    return not provably_dead(owner) and not lapses.lapsed(owner.id, beats, ttl)
