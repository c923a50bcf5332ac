"""Appending facts: as few statements as possible, and none that only reads, unless something is amiss.

While the event loop's thread is busy, each statement costs this one a wait for the interpreter's lock. So facts of
a whole batch are one statement, which is also the whole transaction where nothing else is to be written; its rows are
padded to a power of two, so that there are few different statements, all of them prepared already.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from awaitly.model.facts import RunStarted
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended
from awaitly.persist.rows import encoded
from awaitly.persist.stores.sqlite.connections import Connection, transaction

_MOST_ROWS = 256

_NEW_RUNS = """
INSERT INTO runs (id, workflow, status, fence, owner, created)
SELECT column1, column2, column3, column4, column5, column6 FROM ({values}) WHERE column1 IS NOT NULL
"""
# The fence is checked by joining: a stale append finds no run. CROSS JOIN keeps SQLite from turning it round.
_NEW_FACTS = """
INSERT INTO facts (run, seq, fence, at, kind, call, detail, payload)
SELECT runs.n, new.column2, new.column3, new.column4, new.column5, new.column6, new.column7, new.column8
FROM ({values}) AS new CROSS JOIN runs INDEXED BY runs_by_id
ON runs.id = new.column1 AND runs.fence = new.column3
"""
_ENDED_RUNS = """
UPDATE runs INDEXED BY runs_by_id SET status = new.column3, ended = new.column4, owner = NULL
FROM ({values}) AS new WHERE runs.id = new.column1 AND runs.fence = new.column2
"""
_RUN = "SELECT n, fence FROM runs WHERE id = ?"
_FACT = "SELECT fence, at, kind, call, detail, payload FROM facts WHERE run = ? AND seq = ?"
_OTHERS = "SELECT 1 FROM facts WHERE run = ? AND seq BETWEEN ? AND ? AND fence <> ? LIMIT 1"
_FORGET = "DELETE FROM facts WHERE run = ? AND seq BETWEEN ? AND ?"


@dataclass(slots=True)
class Rows:
    """The rows of one or more appends, ready to be bound: made on the caller's thread, in one go."""

    runs: list[tuple[object, ...]] = field(default_factory=list)
    facts: list[tuple[object, ...]] = field(default_factory=list)
    ends: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, append: Append) -> None:
        """Add an append."""
        run, fence, seq = append.run, append.fence, append.first
        for fact in append.facts:
            self.facts.append((run, seq, fence, *encoded(fact)))
            seq += 1
        if append.creates:
            self.runs.append(_new_run(append))
        if append.ends is not None:
            self.ends.append((run, fence, append.ends.value, append.facts[-1].at))


class _Amiss(Exception):
    """Not every row was written."""


def rows_of(appends: Sequence[Append]) -> Rows:
    """Return the rows of a batch."""
    rows = Rows()
    for append in appends:
        rows.add(append)
    return rows


def store(connection: Connection, batch: Sequence[Append], rows: Rows) -> Sequence[Appended]:
    """Store a batch in one commit, and say what became of each append."""
    try:
        if rows.runs or rows.ends or len(rows.facts) > _MOST_ROWS:
            with transaction(connection):
                _write(connection, rows)
        else:
            _write(connection, rows)
    except (sqlite3.IntegrityError, _Amiss):
        with transaction(connection):
            return [_stored(connection, append) for append in batch]
    return [Appended.STORED] * len(batch)


def _write(connection: Connection, rows: Rows) -> None:
    _all(connection, _NEW_RUNS, 6, rows.runs)
    _all(connection, _NEW_FACTS, 8, rows.facts)
    _all(connection, _ENDED_RUNS, 4, rows.ends)


def _stored(connection: Connection, append: Append) -> Appended:
    """Store one append on its own, in the open transaction."""
    rows = rows_of([append])
    known = connection.execute(_RUN, (append.run,)).fetchone()
    if append.creates and known is not None:
        if _is_another(connection, known[0], rows.facts[0]):
            return Appended.EXISTS
        rows.runs = []  # it is the same append, sent again
    elif not append.creates and known is None:
        return Appended.STALE

    if known is not None:
        run, fence = known
        stretch = (run, append.first, append.first + len(append.facts) - 1)
        if fence != append.fence or connection.execute(_OTHERS, (*stretch, fence)).fetchone():
            return Appended.STALE
        connection.execute(_FORGET, stretch)
    _write(connection, rows)
    return Appended.STORED


def _is_another(connection: Connection, run: int, fact: tuple[object, ...]) -> bool:
    return bool(connection.execute(_FACT, (run, fact[1])).fetchone() != fact[2:])


def _all(connection: Connection, sql: str, width: int, rows: list[tuple[object, ...]]) -> None:
    """Write all rows with one statement for every 256.

    Raises:
        _Amiss: If fewer were written.
    """
    for start in range(0, len(rows), _MOST_ROWS):
        some = rows[start : start + _MOST_ROWS]
        height = 1 << (len(some) - 1).bit_length()
        values = [*chain.from_iterable(some), *[None] * (width * (height - len(some)))]
        if connection.execute(_sized(sql, width, height), values).rowcount != len(some):
            raise _Amiss


@cache
def _sized(sql: str, width: int, height: int) -> str:
    row = f"({','.join('?' * width)})"
    return sql.format(values=f"VALUES {','.join([row] * height)}").strip()


def _new_run(append: Append) -> tuple[object, ...]:
    started = append.facts[0]
    if not isinstance(started, RunStarted):
        raise TypeError(f"an append that creates run {append.run!r} begins with RunStarted, not {started!r}")
    return (append.run, started.workflow, Status.RUNNING.value, append.fence, append.owner, started.at)
