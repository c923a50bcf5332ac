"""One process's measurements of runs that are watched: prints one line of JSON.

Started by `observers.py` as `watched.py SIZE FOLDER`. Everything takes turns, there and back again. Who watches is
measured right after nobody does; time is that of the processor, in all threads, so that what is done later counts too.
"""

import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, TypeVar

import watchers
from awaitly import Runtime, Workflow, step, workflow
from awaitly.declare.host import HOST
from awaitly.model.facts import Fact

STEPS = {"memory": 1_000, "SQLite": 200}  # of the run whose steps are timed, by store
SHORT = 10  # steps of each of the runs at once
PAUSE = 0.02  # seconds that a step waits for somebody, as most steps do
RATE = 200  # runs that begin in a second, where it is not the processor that limits them
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Size:
    """How long to measure."""

    turns: int = 15
    waves: int = 10
    together: int = 200
    arriving: int = 100
    part: int = 1  # of the steps
    calls: int = 100_000  # of what stands where observers would be told


Figures = dict[str, dict[str, dict[str, float]]]
"""By store, who watches, and what was measured."""

_numbers = count(1)
_began: list[float] = []  # the steps of the latest runs
_took: list[float] = []  # likewise, those that wait


@step
async def increment(value: int) -> int:
    _began.append(perf_counter())
    return value + 1


@workflow(key="run:{number}")
async def counting(number: int, steps: int) -> int:
    value = 0
    for _ in range(steps):
        value = await increment(value)
    return value


@step
async def ask(value: int) -> int:
    await asyncio.sleep(PAUSE)
    return value + 1


@workflow(key="asking:{number}")
async def asking(number: int, steps: int) -> int:
    value = 0
    for _ in range(steps):
        started = perf_counter()
        value = await ask(value)
        _took.append(perf_counter() - started)
    return value


@workflow
async def telling(calls: int) -> float:
    """Tell observers, of whom there are none, from where a run does."""
    return _telling(HOST.get().run.observe, calls)  # type: ignore[union-attr]  # the host of a body is its branch


def _telling(observe: Callable[[Fact], None], calls: int) -> float:
    fact, numbers = Fact(at=0.0), range(calls)
    started = perf_counter()
    for _ in numbers:
        pass
    between = perf_counter()
    for _ in numbers:
        observe(fact)
    return ((perf_counter() - between) - (between - started)) / calls * 1e6


@dataclass(slots=True)
class Pair:
    """A runtime that is watched, beside one that is not: microseconds of the processor for a step."""

    watched: Runtime
    plain: Runtime
    audience: watchers.Audience
    steps: int
    spent: list[float] = field(default_factory=list)
    compared: list[float] = field(default_factory=list)

    async def turn(self) -> None:
        _began.clear()
        self.compared.append(await _spent(self.plain, self.steps, lambda runs: None))
        self.spent.append(await _spent(self.watched, self.steps, self.audience.settle))

    def figures(self) -> dict[str, float]:
        added = [spent - compared for spent, compared in zip(self.spent[1:], self.compared[1:], strict=True)]
        return {"all": median(self.spent[1:]), "without": median(self.compared[1:]), "added": median(added)}


@dataclass(slots=True)
class Crowd:
    """A runtime whose observers are in trouble: how long its steps take one by one, and how many it does at once.

    Once with steps that do nothing, so that the processor is what limits them, once with steps that wait, and once with
    such steps of runs that begin at a rate.
    """

    runtime: Runtime
    audience: watchers.Audience
    steps: int
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    waiting_rates: list[float] = field(default_factory=list)
    arrived_waits: list[float] = field(default_factory=list)
    arrived_rates: list[float] = field(default_factory=list)

    async def turn(self, size: Size) -> None:
        _began.clear()
        _collect()
        await _run(self.runtime, self.steps)
        self.latencies += [(later - earlier) * 1e6 for earlier, later in pairwise(_began)]
        self.rates.append(await self._rate(counting, size.together))
        _took.clear()
        self.waiting_rates.append(await self._rate(asking, size.together))
        self.waits += [took * 1e3 for took in _took]
        _took.clear()
        self.arrived_rates.append(await self._rate(asking, size.arriving, 1 / RATE))
        self.arrived_waits += [took * 1e3 for took in _took]
        self.audience.settle(2 * size.together + size.arriving + 1)

    async def _rate(self, body: Workflow[[int, int], int, Any], many: int, apart: float = 0.0) -> float:
        """Return the steps a second of so many runs, which begin at once, or so many seconds apart."""
        _collect()
        started = perf_counter()
        runs = []
        for number in range(many):
            if apart:
                await asyncio.sleep(started + number * apart - perf_counter())
            runs.append(asyncio.ensure_future(_run(self.runtime, SHORT, body)))
        await asyncio.gather(*runs)
        return many * SHORT / (perf_counter() - started)

    def figures(self) -> dict[str, float]:
        watching = self.runtime.watching
        dropped = 0 if watching is None else sum(watching.bus.dropped.values())
        percent, waits, arrived = (
            quantiles(found, n=100) for found in (self.latencies, self.waits, self.arrived_waits)
        )
        return {
            "p50": percent[49], "p99": percent[98], "rate": median(self.rates), "lost": dropped + self.audience.lost(),
            "wait50": waits[49], "wait99": waits[98], "waiting": median(self.waiting_rates),
            "arrived50": arrived[49], "arrived99": arrived[98], "arrived": median(self.arrived_rates),
        }  # fmt: skip


def _collect() -> None:
    """Collect what is garbage, and leave out what stores keep: whose turn it is to look through all of it is chance."""
    gc.collect()
    gc.freeze()


def main() -> None:
    size, folder = Size(**json.loads(sys.argv[1])), Path(sys.argv[2])
    logging.getLogger().addHandler(logging.NullHandler())  # what goes wrong goes wrong on purpose
    print(json.dumps(asyncio.run(_measure(size, folder))), flush=True)
    os._exit(0)  # an exporter that hangs is not waited for


async def _measure(size: Size, folder: Path) -> dict[str, object]:
    return {
        "told": await _told(size.calls),
        "costs": {store: await _costs(size, store, folder) for store in STEPS},
        "troubles": {store: await _troubles(size, store, folder) for store in STEPS},
    }


async def _told(calls: int) -> float:
    async with Runtime(store="memory://") as runtime:
        return (await runtime.run(telling, calls)).unwrap()


async def _costs(size: Size, store: str, folder: Path) -> dict[str, dict[str, float]]:
    audiences = {name: make() for name, make in watchers.COSTS.items()}
    everybody = [each for audience in audiences.values() for each in (audience, watchers.nobody())]
    async with _opened(everybody, store, folder) as runtimes:
        found = zip(runtimes[::2], runtimes[1::2], audiences.values(), strict=True)
        pairs = [Pair(watched, plain, audience, STEPS[store] // size.part) for watched, plain, audience in found]
        for number in range(size.turns + 1):  # the first is not counted
            for pair in _there_and_back(pairs, number):
                await pair.turn()
        return {name: pair.figures() for name, pair in zip(audiences, pairs, strict=True)}


async def _troubles(size: Size, store: str, folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for group in watchers.TROUBLES:
        found |= await _compared(size, store, folder, {name: make() for name, make in group.items()})
    return found


async def _compared(
    size: Size, store: str, folder: Path, audiences: Mapping[str, watchers.Audience]
) -> dict[str, dict[str, float]]:
    async with _opened(list(audiences.values()), store, folder) as runtimes:
        crowds = [
            Crowd(runtime, audience, STEPS[store] // size.part)
            for runtime, audience in zip(runtimes, audiences.values(), strict=True)
        ]
        for number in range(size.waves):
            for crowd in _there_and_back(crowds, number):
                await crowd.turn(size)
        return {name: crowd.figures() for name, crowd in zip(audiences, crowds, strict=True)}


def _there_and_back(taking_turns: Sequence[T], number: int) -> Iterable[T]:
    return taking_turns if number % 2 == 0 else reversed(taking_turns)


@asynccontextmanager
async def _opened(audiences: Sequence[watchers.Audience], store: str, folder: Path) -> AsyncIterator[Sequence[Runtime]]:
    runtimes = [
        Runtime(
            store="memory://" if store == "memory" else folder / f"{next(_numbers)}.db",
            watchers=audience.watchers,
            sinks=audience.sinks,
            workflows=[counting, asking],
        )
        for audience in audiences
    ]
    for runtime in runtimes:
        await runtime.open()
    yield runtimes
    for audience, runtime in zip(audiences, runtimes, strict=True):
        audience.close()
        await runtime.shutdown()


async def _spent(runtime: Runtime, steps: int, settle: Callable[[int], object]) -> float:
    """Return the microseconds of the processor that a step takes, in whatever thread; nobody's waits are counted."""
    started = process_time()
    await _run(runtime, steps)
    settle(1)
    return (process_time() - started) / steps * 1e6


async def _run(runtime: Runtime, steps: int, body: Workflow[[int, int], int, Any] = counting) -> None:
    value = (await runtime.run(body, next(_numbers), steps)).unwrap()
    if value != steps:
        raise RuntimeError(f"wrong-result: {steps} increments gave {value}")


if __name__ == "__main__":
    main()
