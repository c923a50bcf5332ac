"""What is measured. Each scenario gets an open session and gives named figures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from contenders.session import Session, require
from counting import Statements, rows, tally

STEPS = 10  # of the workflow whose rate is measured
RUNS = 200  # at once
LENGTHS = {10: 20, 100: 5, 1_000: 1, 10_000: 1}  # steps of a run: how often it is run in one turn
COUNTED = 200  # steps whose statements are counted


@dataclass(frozen=True, slots=True)
class Size:
    """How long to measure."""

    seconds: float = 2.0
    warm_up: float = 1.5
    pairs: int = 15
    bare_steps: int = 10_000
    longest: int = 10_000


Figures = dict[str, float]


async def sequence(session: Session, size: Size) -> Figures:
    """Runs of ten steps, one after another."""
    next_run = await _warm(session, size)

    done, started = 0, perf_counter()
    while (elapsed := perf_counter() - started) < size.seconds:
        await session.run(next_run + done, STEPS)
        done += 1
    return {"steps_per_second": done * STEPS / elapsed}


async def together(session: Session, size: Size) -> Figures:
    """Waves of 200 runs of ten steps at once."""
    next_run = await _warm(session, size)
    await session.together(next_run, 20, STEPS)
    next_run += 20

    done, started = 0, perf_counter()
    while (elapsed := perf_counter() - started) < size.seconds:
        await session.together(next_run + done, RUNS, STEPS)
        done += RUNS
    return {"steps_per_second": done * STEPS / elapsed}


async def flat(session: Session, size: Size) -> Figures:
    """Microseconds a step in runs of growing length, the run's own start and end included.

    Up and down again, so that a drift of the machine or of the file falls on all lengths alike.
    """
    next_run = await _warm(session, size)
    lengths = [steps for steps in LENGTHS if steps <= size.longest]
    spent = dict.fromkeys(lengths, 0.0)

    for steps in [*lengths, *reversed(lengths)]:
        started = perf_counter()
        for _ in range(LENGTHS[steps]):
            await session.run(next_run, steps)
            next_run += 1
        spent[steps] += perf_counter() - started

    return {str(steps): spent[steps] / (2 * LENGTHS[steps] * steps) * 1e6 for steps in lengths}


async def counts(session: Session, statements: Statements, path: Path) -> Figures:
    """Totals over one run of effectful steps in sequence, its start and end included."""
    await session.run(0, STEPS)

    rows_before, first = rows(path), len(statements.seen)
    await session.run(1, COUNTED)
    total = tally(statements.seen[first:])
    return {
        "steps": COUNTED,
        "statements": total.statements,
        "reads": total.reads,
        "commits": total.commits,
        "rows": rows(path) - rows_before,
    }


async def overhead(session: Session, size: Size) -> Figures:
    """Microseconds that a step without persistence adds to the bare await: median of alternating pairs."""
    plain: list[float] = []
    stepped: list[float] = []
    await session.run(0, size.bare_steps)

    for pair in range(1, size.pairs + 1):
        plain.append(await _timed(lambda: _plain_chain(pair, size.bare_steps)))  # noqa: B023 - awaited at once
        stepped.append(await _timed(lambda: session.run(pair, size.bare_steps)))  # noqa: B023 - awaited at once

    each = 1e6 / size.bare_steps
    differences = [b - a for a, b in zip(plain, stepped, strict=True)]
    return {"bare_us": median(plain) * each, "overhead_us": median(differences) * each}


async def _warm(session: Session, size: Size) -> int:
    """Run until the file is in its steady state (a WAL costs more until its first checkpoint); the next free run."""
    run, started = 0, perf_counter()
    while run < 3 or perf_counter() - started < size.warm_up:
        await session.run(run, STEPS)
        run += 1
    return run


async def _bump(value: int) -> int:
    return value + 1


async def _plain_chain(start: int, steps: int) -> None:
    value = start
    for _ in range(steps):
        value = await _bump(value)
    require(value, start, steps)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    started = perf_counter()
    await work()
    return perf_counter() - started
