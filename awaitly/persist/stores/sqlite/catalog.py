"""Reading facts and records; the requests for cancellation."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from awaitly.model.facts import Fact
from awaitly.model.state import RunRecord, Status
from awaitly.persist.rows import Row, decoded, missing, unreadable
from awaitly.persist.stores.sqlite.connections import Connection
from awaitly.texts import valid

_FACTS = """
SELECT facts.seq, facts.at, facts.kind, facts.call, facts.detail, facts.payload
FROM runs CROSS JOIN facts ON facts.run = runs.n
WHERE runs.id = ? AND facts.seq > ? ORDER BY facts.seq
"""
# The same as bytes, to find the one that is no text.
_TEXTS = """
SELECT facts.seq, cast(facts.kind AS BLOB), cast(coalesce(facts.call, '') AS BLOB), cast(facts.detail AS BLOB)
FROM runs CROSS JOIN facts ON facts.run = runs.n
WHERE runs.id = ? AND facts.seq > ? ORDER BY facts.seq
"""
# What changes with every fact is worked out here, so that a fact costs no second row.
RECORD = """
SELECT
    id, workflow, status, fence, owner, created,
    coalesce(ended, (SELECT at FROM facts WHERE run = n ORDER BY seq DESC LIMIT 1), created),
    iif((SELECT max(seq) FROM facts WHERE run = n) > claimed_seq, 0, claims),
    cancel_requested
FROM runs
"""
_PAGE = """
WHERE (:workflow IS NULL OR workflow = :workflow) AND (:status IS NULL OR status = :status)
AND (:before IS NULL OR n < (SELECT n FROM runs WHERE id = :before)) ORDER BY n DESC LIMIT :limit
"""
_CANCEL = """
UPDATE runs SET cancel_requested = coalesce(cancel_requested, ?) WHERE id = ? AND ended IS NULL
"""
_CANCELS = "SELECT id, cancel_requested FROM runs WHERE owner = ? AND cancel_requested IS NOT NULL"
_COUNT = "SELECT workflow, status, count(*) FROM runs GROUP BY workflow, status"


def record(row: Sequence[object]) -> RunRecord:
    """Return the record in a row of ``RECORD``."""
    names = ("id", "workflow", "status", "fence", "owner", "created", "updated", "claims", "cancel_requested")
    values = dict(zip(names, row, strict=True))
    return RunRecord(**{**values, "status": Status(str(values["status"]))})  # type: ignore[arg-type]


def read(connection: Connection, run: str, after: int) -> Sequence[Fact]:
    """Return the facts of a run in order."""
    facts: list[Fact] = []
    for expected, (seq, *columns) in enumerate(_rows(connection, run, after), after + 1):
        if seq != expected:
            raise missing(run, expected)
        facts.append(decoded(run, seq, Row(*columns)))
    return facts


def _known(run: str) -> str | None:
    """Return an id that is asked for; None, which no run has, for one that SQLite cannot even be asked for."""
    return run if valid(run) == run else None


def _rows(connection: Connection, run: str, after: int) -> list[Any]:
    try:
        return connection.execute(_FACTS, (_known(run), after)).fetchall()
    except sqlite3.OperationalError as error:
        for seq, kind, call, detail in connection.execute(_TEXTS, (run, after)).fetchall():
            try:
                _ = kind.decode(), call.decode(), detail.decode()
            except UnicodeDecodeError as reason:
                raise unreadable(run, seq, kind.decode(errors="replace"), reason) from error
        raise


def request_cancel(connection: Connection, run: str, reason: str) -> bool:
    """Store a request, the first one counting."""
    return connection.execute(_CANCEL, (reason, run)).rowcount > 0


def cancels(connection: Connection, owner: str) -> Sequence[tuple[str, str]]:
    """Return (run, reason) of the requests for an owner's runs."""
    return connection.execute(_CANCELS, (owner,)).fetchall()


def find(connection: Connection, run: str) -> RunRecord | None:
    """Return the record of a run."""
    row = connection.execute(f"{RECORD} WHERE id = ?", (_known(run),)).fetchone()
    return record(row) if row else None


def page(
    connection: Connection, workflow: str | None, status: Status | None, limit: int, before: str | None
) -> Sequence[RunRecord]:
    """Return records, newest first."""
    wanted = {"workflow": workflow, "status": status.value if status else None, "before": before, "limit": limit}
    return [record(row) for row in connection.execute(RECORD + _PAGE, wanted).fetchall()]


def count(connection: Connection) -> Mapping[tuple[str, Status], int]:
    """Return how many runs there are by workflow and status."""
    rows = connection.execute(_COUNT).fetchall()
    return {(workflow, Status(status)): number for workflow, status, number in rows}
