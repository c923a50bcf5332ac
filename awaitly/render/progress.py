"""Facts folded into a tree of what happens: runs, the branches of their calls, the calls, their timings."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from awaitly.model.facts import (
    EachStarted,
    Ending,
    Fact,
    FlagDecided,
    RetryScheduled,
    RunFinished,
    RunRetried,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepRetrying,
    StepStarted,
    TimerFired,
    TimerSet,
)
from awaitly.model.graph import Graph
from awaitly.model.identity import place_of
from awaitly.render.places import groups_of, label_of, way_into, way_to
from awaitly.render.remarks import Remark, flag_text, pause_of, remark_of
from awaitly.render.rows import Count, Kind, Pause, Phase, Row, phase_of

ENDED = {
    Ending.VALUE: Phase.DONE,
    Ending.FAILURE: Phase.FAILED,
    Ending.UNEXPECTED: Phase.FAILED,
    Ending.DEADLINE: Phase.FAILED,
    Ending.CANCELLED: Phase.CANCELLED,
}


@dataclass(slots=True)
class _Call:
    identity: str
    step: str
    kind: Kind
    label: str
    way: tuple[tuple[Kind, str], ...]
    phase: Phase = Phase.OPEN
    began: float | None = None
    seconds: float | None = None
    attempts: int = 1
    stored: bool = False
    payload: bytes | None = None
    pause: Pause | None = None
    remarks: dict[str, str] = field(default_factory=dict)  # by what they are about; the last one counts
    row: Row | None = None  # as drawn last, until something happens to the call


@dataclass(slots=True)
class _Run:
    id: str
    workflow: str
    parent: str | None = None
    phase: Phase = Phase.OPEN
    began: float | None = None
    ended: float | None = None
    stored: bool = False
    payload: bytes | None = None
    flags: dict[str, str] = field(default_factory=dict)  # as decided, by their names
    calls: dict[str, _Call] = field(default_factory=dict)
    each: dict[EachStarted, None] = field(default_factory=dict)  # in order; one place may be passed often


class Progress:
    """The runs of which facts have been seen. Applying a fact twice, or late, does no harm.

    Args:
        graphs: of the workflows, where they are known: they tell which calls without a branch belong to a group.
    """

    def __init__(self, graphs: Iterable[Graph] = ()) -> None:
        self._runs: dict[str, _Run] = {}
        self._children: dict[str, dict[str, _Run]] = {}  # by their parent
        self._groups = {graph.workflow: groups_of(graph) for graph in graphs}

    def load(self, run: str, workflow: str, facts: Iterable[Fact]) -> None:
        """Fold what a journal held before anything was executed here."""
        for fact in facts:
            self.apply(run, workflow, fact, stored=True)

    def apply(self, run: str, workflow: str, fact: Fact, *, stored: bool = False) -> None:
        """Fold one fact."""
        known = self._runs.get(run)
        if known is None:
            known = self._runs[run] = _Run(run, workflow)
        match fact:
            case RunStarted():
                known.began, known.parent = fact.at, fact.parent
                if fact.parent is not None:
                    self._children.setdefault(fact.parent, {})[run] = known
            case RunRetried():
                known.phase, known.ended, known.payload = Phase.OPEN, None, None
                known.each.clear()  # the body is executed again from its beginning
            case RunFinished():
                _end(known, fact, stored)
            case StepStarted() | StepFinished() | StepCancelled():
                _change(self._call(known, fact.call, fact.step, Kind.STEP, stored), fact, stored)
            case StepRetrying() | RetryScheduled():
                _interrupt(self._call(known, fact.call, fact.step, Kind.STEP, stored), fact)
            case FlagDecided():
                known.flags[fact.flag] = flag_text(fact)
            case TimerSet() | TimerFired():
                name = place_of(fact.call).site[1].partition("#")[0].rpartition(":")[2]
                kind = Kind.LIMIT if name == "timeout" else Kind.TIMER
                _wait(known, self._call(known, fact.call, name, kind, stored), fact)
            case EachStarted():
                known.each[fact] = None
            case _:
                remark = remark_of(fact)
                if remark is not None:
                    _note(self._call(known, remark.call, remark.step, Kind.STEP, stored), remark)

    def tree(self, run: str) -> Row:
        """Return what is known of a run, its child runs inside.

        Raises:
            KeyError: If no fact of it has been seen.
        """
        found = self._runs[run]
        children = dict(self._children.get(run, {}))
        workflows = {child.workflow for child in children.values()}
        root = _Grower()
        for call in found.calls.values():
            if call.kind is Kind.LIMIT and call.phase is not Phase.FAILED:
                continue  # nothing came of it
            child = _child_of(found, call, children) if call.step in workflows else None
            root.add(call, _step_row(call, self.tree(child.id) if child else None))
        for each in found.each:
            root.expect(each.call, each.items, waiting=found.phase is Phase.OPEN)
        for child in children.values():  # their call is not known: it was not stored before the process died
            root.rows.append(self.tree(child.id))
        return Row(
            kind=Kind.RUN,
            label=found.workflow,
            phase=found.phase,
            began=found.began,
            seconds=_between(found.began, found.ended),
            stored=found.stored,
            payload=found.payload,
            remarks=tuple(found.flags.values()),
            rows=root.grown(),
        )

    def within(self, run: str, root: str) -> bool:
        """Whether a run is ``root`` or one of its descendants, as far as is known."""
        at: str | None = run
        while at is not None and at != root:
            found = self._runs.get(at)
            at = found.parent if found else None
        return at == root

    def row(self, run: str, identity: str) -> Row:
        """Return what is known of one call.

        Raises:
            KeyError: If no fact of it has been seen.
        """
        return _step_row(self._runs[run].calls[identity], None)

    def path(self, run: str, identity: str, *, below: str) -> tuple[str, ...]:
        """Return where a call is: the runs below ``below`` that lead to it, its branches, and its own label.

        Raises:
            KeyError: If no fact of it has been seen.
        """
        found = self._runs[run]
        call = found.calls[identity]
        path = (*(label for _, label in call.way), call.label)
        if run == below or found.parent not in self._runs:
            return path
        at = run.removeprefix(f"{found.parent}/")
        if at in self._runs[found.parent].calls:
            return (*self.path(found.parent, at, below=below), *path)
        return (found.workflow, *path)

    def _call(self, run: _Run, identity: str, step: str, kind: Kind, stored: bool) -> _Call:
        call = run.calls.get(identity)
        if call is None:
            way = tuple(way_to(identity, step, self._groups.get(run.workflow, {})))
            call = run.calls[identity] = _Call(identity, step, kind, label_of(identity, step), way, stored=stored)
        call.row = None
        return call


def _end(run: _Run, fact: RunFinished, stored: bool) -> None:
    run.phase, run.ended, run.payload, run.stored = ENDED[fact.ending], fact.at, fact.payload, stored
    for call in run.calls.values():
        if call.phase is Phase.OPEN:
            call.phase, call.pause = Phase.CANCELLED, None
            # When the body left a sleep is not known: no fact tells of it.
            call.seconds = None if call.kind is Kind.TIMER else _between(call.began, fact.at)
            call.row = None


def _change(call: _Call, fact: StepStarted | StepFinished | StepCancelled, stored: bool) -> None:
    call.pause = None
    if call.phase is Phase.OPEN and not isinstance(fact, StepStarted):
        call.stored = stored  # though an earlier process may have begun it
    match fact:
        case StepStarted():
            if call.phase is Phase.OPEN:
                call.began = call.began if call.began is not None else fact.at
                call.attempts = max(call.attempts, fact.attempt)
        case StepFinished():
            call.phase, call.payload = ENDED[fact.ending], fact.payload
            call.seconds, call.attempts = fact.seconds, max(call.attempts, fact.attempts)
            call.began = call.began if call.began is not None else fact.at - fact.seconds
            if fact.source:
                call.remarks.setdefault("source", f"from its {fact.source}")
            if fact.variant:
                call.remarks["variant"] = f"as {fact.variant}"
        case StepCancelled():
            call.phase, call.seconds = Phase.CANCELLED, fact.seconds


def _interrupt(call: _Call, fact: StepRetrying | RetryScheduled) -> None:
    if call.phase is Phase.OPEN:
        call.pause = pause_of(fact)
        call.attempts = max(call.attempts, fact.attempt if isinstance(fact, StepRetrying) else fact.attempts)


def _note(call: _Call, remark: Remark) -> None:
    if call.phase is Phase.OPEN:
        call.remarks[remark.about] = remark.text


def _wait(run: _Run, call: _Call, fact: TimerSet | TimerFired) -> None:
    if isinstance(fact, TimerSet):
        call.began = fact.at
    elif call.kind is Kind.TIMER:
        call.phase, call.seconds = Phase.DONE, _between(call.began, fact.at)
    else:
        call.phase, call.seconds = Phase.FAILED, _between(call.began, fact.at)
        call.remarks["limit"] = "time is up"
        _leave_sleeps(run, call, fact.at)


def _leave_sleeps(run: _Run, limit: _Call, at: float) -> None:
    """End what slept within the block of a time limit: in its branch or below, and set after it."""
    branch, slash, _ = limit.identity.rpartition("/")
    for call in reversed(run.calls.values()):
        if call is limit:
            break
        if call.kind is Kind.TIMER and call.phase is Phase.OPEN and call.identity.startswith(branch + slash):
            call.phase, call.seconds, call.row = Phase.CANCELLED, _between(call.began, at), None


def _between(began: float | None, ended: float | None) -> float | None:
    return None if began is None or ended is None else max(0.0, ended - began)


# From the calls of a run to its tree.


def _child_of(run: _Run, call: _Call, children: dict[str, _Run]) -> _Run | None:
    """Return, and take, the child run of a call: by its id or, as a key can give it any id, by its workflow."""
    if (child := children.pop(f"{run.id}/{call.identity}", None)) is not None:
        return child
    prefix = f"{run.id}/"
    named = (id for id, child in children.items() if child.workflow == call.step and not id.startswith(prefix))
    return children.pop(next(named, ""), None)


def _step_row(call: _Call, child: Row | None) -> Row:
    if call.row is None:
        call.row = Row(
            kind=call.kind,
            label=call.label,
            phase=call.phase,
            began=call.began,
            seconds=call.seconds,
            attempts=call.attempts,
            pause=call.pause,
            remarks=tuple(call.remarks.values()),
            stored=call.stored,
            payload=call.payload,
        )
    return call.row if child is None else replace(call.row, kind=Kind.RUN, rows=child.rows)


class _Grower:
    """Rows in the order of their first call, put into the groups and branches that lead to them."""

    def __init__(self, kind: Kind = Kind.RUN, label: str = "") -> None:
        self.kind = kind
        self.label = label
        self.rows: list[Row | _Grower] = []
        self.total: int | None = None
        self.waiting = False  # for rows that are still to come
        self._inner: dict[str, _Grower] = {}

    def add(self, call: _Call, row: Row) -> None:
        """Put the row of a call where it belongs."""
        self._at(call.way).rows.append(row)

    def expect(self, identity: str, items: int, *, waiting: bool) -> None:
        """Take in how many items an ``each`` has."""
        group = self._at(way_into(identity))
        group.total = items + (group.total or 0)
        group.waiting = waiting

    def _at(self, way: Iterable[tuple[Kind, str]]) -> "_Grower":
        at = self
        for kind, label in way:
            inner = at._inner.get(label)
            if inner is None:
                inner = at._inner[label] = _Grower(kind, label)
                at.rows.append(inner)
            at = inner
        return at

    def grown(self) -> tuple[Row, ...]:
        """Return the finished rows."""
        return tuple(row._grown() if isinstance(row, _Grower) else row for row in self.rows)

    def _grown(self) -> Row:
        rows = self.grown()
        began = min((row.began for row in rows if row.began is not None), default=None)
        ends = [row.began + row.seconds for row in rows if row.began is not None and row.seconds is not None]
        return Row(
            kind=self.kind,
            label=_group_label(self.label, rows) if self.kind is Kind.GROUP else self.label,
            phase=self._phase(rows),
            began=began,
            seconds=_between(began, max(ends)) if rows and len(ends) == len(rows) else None,
            stored=bool(rows) and all(row.stored for row in rows),
            count=self._count(rows) if self.kind is Kind.GROUP else None,
            rows=rows,
        )

    def _phase(self, rows: tuple[Row, ...]) -> Phase:
        waiting = self.waiting and self.total is not None and len(rows) < self.total
        phase = phase_of(rows)
        return Phase.OPEN if waiting and phase is Phase.DONE else phase

    def _count(self, rows: tuple[Row, ...]) -> Count:
        finished = sum(row.phase is not Phase.OPEN for row in rows)
        total = self.total if self.total is not None or finished < len(rows) else len(rows)
        return Count(finished=finished, failed=sum(row.phase is Phase.FAILED for row in rows), total=total)


def _group_label(label: str, rows: tuple[Row, ...]) -> str:
    names = {row.label.partition(" ")[0] for row in rows if row.kind in (Kind.STEP, Kind.RUN)}
    plain = label.partition(" ")[0]
    return f"{plain} {names.pop()}" if len(names) == 1 and len(rows) > 1 else plain
