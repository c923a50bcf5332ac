"""The lines of a tree of what happens, and how many of them fit on a screen."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum


class Phase(StrEnum):
    """Where something that happens is."""

    OPEN = "open"  # it began, or is known to be unfinished
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """What a row stands for."""

    RUN = "run"
    STEP = "step"
    TIMER = "timer"
    LIMIT = "limit"  # a timeout of a block; it is a row when it has ended the block
    GROUP = "group"  # the branches of one gather, each, race ...
    BRANCH = "branch"  # one of them
    REST = "rest"  # of rows that are not shown one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How far a group is; its rows may be folded away."""

    finished: int
    failed: int
    total: int | None  # None while nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A call between two attempts: what the earlier one failed with, and when the next one is due."""

    error: str
    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the tree, with what is below it. Times are seconds since the epoch."""

    kind: Kind
    label: str
    phase: Phase
    began: float | None = None
    seconds: float | None = None  # None while it is open, or where nobody measured it
    attempts: int = 1
    pause: Pause | None = None  # while it is open
    remarks: tuple[str, ...] = ()  # what its policies and flags did
    stored: bool = False  # it was in the journal before anything was executed here
    payload: bytes | None = None  # the value of a step or run that is done, or else its failure
    count: "Count | None" = None  # of a group
    rows: tuple["Row", ...] = ()

    def walk(self) -> Iterator["Row"]:
        """Yield the row and all below it, in the order of the lines."""
        yield self
        for row in self.rows:
            yield from row.walk()


def phase_of(rows: tuple[Row, ...]) -> Phase:
    """Return where rows are as a whole.

    A failure that cancelled no other, beside others that are done, may have been expected: the whole counts as done.
    """
    phases = {row.phase for row in rows}
    if Phase.OPEN in phases:
        return Phase.OPEN
    if Phase.FAILED in phases and (Phase.CANCELLED in phases or Phase.DONE not in phases):
        return Phase.FAILED
    return Phase.DONE if Phase.DONE in phases or not phases else Phase.CANCELLED


def folded(row: Row, most: int) -> Row:
    """Return the row with at most about ``most`` rows in each row: open and failed ones stay, the oldest others go."""
    if not row.rows:
        return row
    rows = row.rows if len(row.rows) <= most else _shortened(row.rows, most)
    return replace(row, rows=tuple(folded(inner, most) for inner in rows))


def fitted(row: Row, lines: int) -> Row:
    """Return the row folded as little as it must be to have at most ``lines`` lines."""
    for most in (64, 32, 16, 12, 8, 5, 3, 2, 1, 0):
        shorter = folded(row, most)
        if sum(1 for _ in shorter.walk()) <= lines:
            return shorter
    return replace(row, rows=())


def _shortened(rows: tuple[Row, ...], most: int) -> Iterator[Row]:
    important = [row for row in rows if row.phase in (Phase.OPEN, Phase.FAILED)][-most:] if most else []
    recent = [row for row in rows if row.phase not in (Phase.OPEN, Phase.FAILED)]
    room = most - len(important)
    kept = {id(row) for row in (*important, *(recent[-room:] if room > 0 else ()))}
    hidden = [row for row in rows if id(row) not in kept]
    yield Row(kind=Kind.REST, label=_counted(hidden), phase=phase_of(tuple(hidden)))
    yield from (row for row in rows if id(row) in kept)


def _counted(rows: list[Row]) -> str:
    counts = {phase: sum(row.phase is phase for row in rows) for phase in Phase}
    return "… " + ", ".join(f"{count} {phase}" for phase, count in counts.items() if count)
