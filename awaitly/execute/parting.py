"""Where what a run recorded and what its code does part, in the words of who wrote the code."""

from collections.abc import Iterable, Iterator, Sequence

from awaitly.errors import Mismatch
from awaitly.model.facts import (
    CancelRequested,
    DeadlinePassed,
    Ending,
    Fact,
    RaceWon,
    StepCancelled,
    StepFinished,
    TimeRead,
    TimerFired,
    TimerSet,
)
from awaitly.model.identity import place_of, site_of
from awaitly.model.program import Program, Site

SHOWN = 3  # calls that a message lists

_ENDED = {
    Ending.VALUE: "returned a value",
    Ending.FAILURE: "ended in a declared failure",
    Ending.UNEXPECTED: "raised an unexpected error",
}


def mismatch(
    run_id: str, program: Program, facts: Sequence[Fact], fact: Fact, now: str, *, where: str | None = None
) -> Mismatch:
    """Return the error of a run that recorded ``fact`` where its code does something else.

    Args:
        run_id: The run.
        program: Its code.
        facts: Everything that it recorded.
        fact: The first that does not fit.
        now: What the code does instead, after "but".
        where: A place to look at, if the recorded call has none in the code any more.
    """
    recorded = _recorded(program, facts, fact)
    identity = getattr(fact, "call", None)
    return Mismatch(
        f"run {run_id!r} does not fit the code of {program.graph.workflow}: {recorded}, but {now}",
        step=getattr(fact, "step", None),
        where=(place_in(program, identity) if identity else None) or where,
        recorded=recorded,
        found=now,
    )


def described(program: Program, facts: Sequence[Fact], identity: str, step: str) -> str:
    """Return which call an identity is, and where it is made: ``its 2nd call of charge (shop.py:12)``."""
    place = place_in(program, identity)
    where = f" ({place})" if place else ""
    key = place_of(identity).key
    if key is not None:
        return f"its call of {step} with the key {key!r}{where}"
    return f"its {_nth(facts, identity, step)}call of {step}{where}"


def place_in(program: Program, identity: str) -> str | None:
    """Return where the code makes a call, as ``file:line``; None if it has no such call any more."""
    site = site_of(identity)
    if site is None:
        step = identity.partition("[")[0]
        nodes = program.graph.walk()
        return next((str(node.position) for node in nodes if getattr(node, "step", None) == step), None)
    label = site.partition(">")[0]
    return next((known.where for known in _sites(program) if known.label == label), None)


def waiting(program: Program, calls: Iterable[tuple[str, str]]) -> str:
    """Return what a body does that waits for these calls, as (identity, step)."""
    names = [_placed(program, identity, step) for identity, step in calls]
    if not names:
        return "the code now waits for something else"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"the code now waits for {', '.join(names[:SHOWN])}{more}"


def doing(program: Program, found: Fact) -> str:
    """Return what a body does that brought about ``found``."""
    identity = getattr(found, "call", "")
    match found:
        case StepCancelled(step=step):
            return f"the code now cancels its call of {_placed(program, identity, step)}"
        case RaceWon(winner=winner):
            return f"branch {winner + 1} of {_placed(program, identity, 'race')} is first now"
        case _:
            return f"the code now calls {_placed(program, identity, _callee(identity))}"


def _recorded(program: Program, facts: Sequence[Fact], fact: Fact) -> str:
    match fact:
        case StepFinished(call=call, step=step, ending=ending):
            return f"{described(program, facts, call, step)} {_ENDED.get(ending, 'ended')}"
        case StepCancelled(call=call, step=step):
            return f"{described(program, facts, call, step)} was cancelled"
        case CancelRequested():
            return "it was asked to end"
        case DeadlinePassed():
            return "its deadline passed"
        case TimerSet(call=call):
            return f"{described(program, facts, call, _callee(call))} began"
        case TimerFired(call=call):
            return f"{described(program, facts, call, _callee(call))} came to its end"
        case TimeRead(call=call):
            return f"{described(program, facts, call, _callee(call))} read the clock"
        case RaceWon(call=call, winner=winner):
            return f"branch {winner + 1} of {described(program, facts, call, _callee(call))} was first"
        case _:
            return "it recorded something else"


def _nth(facts: Sequence[Fact], identity: str, step: str) -> str:
    """Return the number of a call among those of its step that are recorded; empty if it is the only one."""
    same = {call: None for fact in facts if (call := _call_of(fact, step)) is not None}
    if len(same) < 2 or identity not in same:
        return ""
    number = list(same).index(identity) + 1
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix} "


def _call_of(fact: Fact, step: str) -> str | None:
    identity: str | None = getattr(fact, "call", None)
    if identity is None:
        return None
    return identity if (getattr(fact, "step", None) or _callee(identity)) == step else None


def _placed(program: Program, identity: str, name: str) -> str:
    place = place_in(program, identity)
    return f"{name} ({place})" if place else name


def _callee(identity: str) -> str:
    """Return what is called at a site of something that is no step: ``sleep``, ``timeout``, ``now``, ``race``."""
    site = place_of(identity).site
    return site[1].rpartition("#")[0].rpartition(":")[2] or site[1]


def _sites(program: Program) -> Iterator[Site]:
    for _, sites in program.code.values():
        yield from sites.by_end.values()
        yield from sites.by_span.values()
