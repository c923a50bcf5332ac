"""One process's measurements of calls under policies: prints one line of JSON.

Started by `policies.py` as `calling.py SIZE TITLE...`. Everything takes turns, there and back again, each time right
after the bare await that it is compared with, so that a drift of the machine falls on all alike.
"""

import asyncio
import importlib
import json
import sys
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import places
from guards import LIBRARIES, OURS, ROWS, Wrap

BETWEEN = 100  # calls; then the event loop has its turn


@dataclass(frozen=True, slots=True)
class Size:
    """How long to measure."""

    rounds: int = 25
    calls: int = 1_000


@dataclass(slots=True)
class Pair:
    """Something measured, each time beside what it is compared with: microseconds a call."""

    calls: places.Runs
    beside: places.Runs
    spent: list[float] = field(default_factory=list)
    compared: list[float] = field(default_factory=list)

    async def turn(self, number: int) -> None:
        """Measure both some more, in small pieces: whatever else the machine does falls on few of them."""
        for _ in range(number // BETWEEN):
            self.compared.append(await _timed(self.beside))
            self.spent.append(await _timed(self.calls))

    def figures(self) -> dict[str, float]:
        """What it costs, what that is compared with, and what the one adds to the other."""
        added = [spent - compared for spent, compared in zip(self.spent, self.compared, strict=True)]
        return {"all": median(self.spent), "without": median(self.compared), "added": median(added)}


def main() -> int:
    size, titles = Size(**json.loads(sys.argv[1])), sys.argv[2:]
    try:
        guards = {title: _guards(title) for title in titles}
    except ImportError as error:
        print(
            f"contender-not-available: {error} in {sys.executable}; install it there, or leave it out with --only",
            file=sys.stderr,
        )
        return 3

    print(json.dumps(asyncio.run(_measure(guards, size))))
    return 0


def _guards(title: str) -> dict[str, Wrap]:
    found: dict[str, Wrap] = importlib.import_module(LIBRARIES[title][0]).GUARDS
    return found


async def _measure(guards: dict[str, dict[str, Wrap]], size: Size) -> dict[str, dict[str, dict[str, float]]]:
    bare = places.calling(_work)
    found = {
        (row, title): Pair(places.calling(wraps[row](_work)), bare)
        for row in ROWS
        for title, wraps in guards.items()
        if row in wraps
    }
    there = {(place, OURS): Pair(pair.guarded, pair.plain) for place, pair in places.PLACES.items()}
    pairs = {**found, **(there if OURS in guards else {})}

    async with places.opened():
        await _take_turns(list(pairs.values()), Size(2, BETWEEN))  # whatever is made at the first call
        for pair in pairs.values():
            pair.spent.clear()
            pair.compared.clear()
        await _take_turns(list(pairs.values()), size)

    figures: dict[str, dict[str, dict[str, float]]] = {}
    for (row, title), pair in pairs.items():
        figures.setdefault(row, {})[title] = pair.figures()
    return figures


async def _take_turns(pairs: list[Pair], size: Size) -> None:
    for number in range(size.rounds):
        for pair in pairs if number % 2 == 0 else reversed(pairs):
            await pair.turn(size.calls)


async def _work(value: int) -> int:
    return value + 1


async def _timed(calls: places.Runs) -> float:
    started = perf_counter()
    done = await calls(BETWEEN)
    await asyncio.sleep(0)  # in which the event loop sweeps timers away
    spent = perf_counter() - started
    if done != BETWEEN:
        raise RuntimeError(f"wrong-result: {BETWEEN} calls gave {done}")
    return spent / BETWEEN * 1e6


if __name__ == "__main__":
    sys.exit(main())
