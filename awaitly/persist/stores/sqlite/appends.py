"""Appending facts: as few statements as possible, and none that only reads, unless something is amiss.

While the event loop's thread is busy, each statement costs this one a wait for the interpreter's lock. So facts of
a whole batch are one statement, which is also the whole transaction where nothing else is to be written; its rows are
padded to the next of a few heights, so that there are few different statements, all of them prepared already.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from awaitly.model.facts import Fact, RunStarted
from awaitly.model.state import Status
from awaitly.persist.ports import Append, Appended
from awaitly.persist.rows import encoded
from awaitly.persist.stores.sqlite.connections import Connection, transaction
from awaitly.persist.stores.sqlite.deliveries import again

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
_TURNS = """
UPDATE runs INDEXED BY runs_by_id SET status = iif(owner IS NULL, status, new.column3)
FROM ({values}) AS new WHERE runs.id = new.column1 AND runs.fence = new.column2
"""
_ENDED_RUNS = """
UPDATE runs INDEXED BY runs_by_id SET status = new.column3, ended = new.column4, owner = NULL
FROM ({values}) AS new WHERE runs.id = new.column1 AND runs.fence = new.column2
"""
_REOPEN = """
UPDATE runs SET
    status = iif(ended IS NULL, status, 'running'),
    cancel_requested = iif(ended IS NULL, cancel_requested, NULL),
    ended = NULL, claims = 0, claimed_seq = ? - 1
WHERE id = ? AND fence = ?
"""
_CUT = "DELETE FROM facts WHERE run = (SELECT n FROM runs WHERE id = ?) AND seq >= ?"
_RUN = "SELECT n, fence FROM runs WHERE id = ?"
_FACT = "SELECT fence, at, kind, call, detail, payload FROM facts WHERE run = ? AND seq = ?"
_OTHERS = "SELECT 1 FROM facts WHERE run = ? AND seq BETWEEN ? AND ? AND fence <> ? LIMIT 1"
_FORGET = "DELETE FROM facts WHERE run = ? AND seq BETWEEN ? AND ?"


class Statement(NamedTuple):
    """A statement with its values, and how many rows it writes if nothing is amiss."""

    sql: str
    values: Sequence[object]
    rows: int


class _Amiss(Exception):
    """Not every row was written."""


def statements(appends: Sequence[Append]) -> list[Statement]:
    """Return what stores some appends if nothing is amiss: made on the caller's thread, in one go."""
    facts: list[object] = []
    runs: list[object] = []
    turns: list[object] = []
    ends: list[object] = []

    for append in appends:
        run, fence, seq = append.run, append.fence, append.first
        for fact in append.facts:
            facts += (run, seq, fence)
            facts += encoded(fact)
            seq += 1
        if append.creates:
            runs += _new_run(append)
        elif append.waits is not None:
            turns += (run, fence, _turn(append).value)
        if append.ends is not None:
            ends += (run, fence, append.ends.value, append.facts[-1].at)

    made = _sized(_NEW_FACTS, 8, facts) if facts else []
    if runs:
        made = [*_sized(_NEW_RUNS, 6, runs), *made]
    if turns:
        made += _sized(_TURNS, 3, turns)
    if ends:
        made += _sized(_ENDED_RUNS, 4, ends)
    return made


def store(connection: Connection, batch: Sequence[Append], planned: Sequence[Statement]) -> Sequence[Appended]:
    """Store a batch in one commit, and say what became of each append."""
    try:
        if len(planned) == 1:
            _write(connection, planned)
        else:
            with transaction(connection):
                _write(connection, planned)
    except (sqlite3.IntegrityError, _Amiss):
        with transaction(connection):
            return [_stored(connection, append) for append in batch]
    return [Appended.STORED] * len(batch)


def truncate(connection: Connection, run: str, fence: int, first: int, fact: Fact) -> bool:
    """Put one fact in the place of those from ``first`` on, and open an ended run again."""
    planned = statements([Append(run=run, fence=fence, first=first, facts=(fact,))])
    with transaction(connection):
        if not connection.execute(_REOPEN, (first, run, fence)).rowcount:
            return False
        connection.execute(_CUT, (run, first))
        again(connection, run, first)
        _write(connection, planned)
        return True


def _write(connection: Connection, planned: Iterable[Statement]) -> None:
    for sql, values, rows in planned:
        if connection.execute(sql, values).rowcount != rows:
            raise _Amiss


def _stored(connection: Connection, append: Append) -> Appended:
    """Store one append on its own, in the open transaction."""
    planned = statements([append])
    known = connection.execute(_RUN, (append.run,)).fetchone()
    if append.creates and known is not None:
        if _is_another(connection, known[0], append):
            return Appended.EXISTS
        del planned[0]  # it is the same append, sent again
    elif not append.creates and known is None:
        return Appended.STALE

    if known is not None:
        run, fence = known
        stretch = (run, append.first, append.first + len(append.facts) - 1)
        if fence != append.fence or connection.execute(_OTHERS, (*stretch, fence)).fetchone():
            return Appended.STALE
        connection.execute(_FORGET, stretch)
    _write(connection, planned)
    return Appended.STORED


def _is_another(connection: Connection, run: int, append: Append) -> bool:
    stored = connection.execute(_FACT, (run, append.first)).fetchone()
    return bool(stored != (append.fence, *encoded(append.facts[0])))


def _sized(sql: str, width: int, values: list[object]) -> list[Statement]:
    """Spread values over statements of at most 256 rows, padded to the next of four heights for each power of two."""
    most = _MOST_ROWS * width
    if len(values) > most:
        return [part for at in range(0, len(values), most) for part in _sized(sql, width, values[at : at + most])]

    rows = len(values) // width
    step = 1 << max(0, (rows - 1).bit_length() - 3)
    height = max(1, -(-rows // step) * step)
    if height > rows:
        values += [None] * (width * (height - rows))
    return [Statement(_spelled(sql, width, height), values, rows)]


@cache
def _spelled(sql: str, width: int, height: int) -> str:
    row = f"({','.join('?' * width)})"
    return sql.format(values=f"VALUES {','.join([row] * height)}").strip()


def _new_run(append: Append) -> tuple[object, ...]:
    started = append.facts[0]
    if not isinstance(started, RunStarted):
        raise TypeError(f"an append that creates run {append.run!r} begins with RunStarted, not {started!r}")
    return (append.run, started.workflow, _turn(append).value, append.fence, append.owner, started.at)


def _turn(append: Append) -> Status:
    return Status.QUEUED if append.waits else Status.RUNNING
