"""Plays a generated program: undisturbed or with crashes, and finds what is not as it should be."""

import asyncio
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from awaitly import Err, Ok, Runtime, Workflow
from awaitly.execute.dry import DryRun
from awaitly.model.facts import Ending, RunFinished, RunStarted, StepFinished
from awaitly.model.identity import idempotency_key
from awaitly.policies.clock import pause
from awaitly.settings import Settings
from awaitly.settings.tables import LeaseSettings
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore
from tests.properties.programs import Block, Boomed, Writer, deterministic, expected
from tests.properties.steps import Boom
from tests.properties.world import Observed, World, enter

_numbers = count()
LONGEST = 10.0


def module_of(program: Block, folder: Path) -> ModuleType:
    """Write the program to a file and import it."""
    name = f"generated{next(_numbers)}"
    path = folder / f"{name}.py"
    path.write_text(Writer().module(program))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def wanted(program: Block) -> Any:
    """Return the result that a program has in every interleaving; None if that depends."""
    if not deterministic(program):
        return None
    try:
        return Ok(expected(program, 5))
    except Boomed as boom:
        return Err(Boom(boom.tag))


@dataclass(frozen=True)
class Plan:
    """What happens to one life: its death at a boundary, its shutdown or the run's cancellation after milliseconds.

    A run that begins in it may have a deadline, in milliseconds from its start. The run may have been ``asked`` to end
    while nobody executed it: the life finds it so.
    """

    dies_at: int | None = None
    stops: float | None = None
    cancels: float | None = None
    deadline: float | None = None
    asked: bool = False


CALM = Plan()


async def live(main: Workflow[[int], int, Any], store: CrashingStore, world: World, plan: Plan) -> Any:
    """One life: start the run, or find it, and wait until nothing is left to do."""
    settings = Settings(store="memory://", lease=LeaseSettings(ttl=15))
    module = sys.modules[main.__module__]
    if plan.asked:
        await store.request_cancel("run", "enough")
    known = [entry for entry in vars(module).values() if isinstance(entry, Workflow)]
    async with Runtime(settings, store=store, clock=world.clock, workflows=known) as rt:
        deadline = None if plan.deadline is None else plan.deadline / 1000
        handle = await main.options(id="run", deadline=deadline).start(5)
        if plan.cancels is not None:
            await wait(world, plan.cancels)
            await handle.cancel("enough")
        if plan.stops is not None:
            await wait(world, plan.stops)
            return None
        result = await handle.result()
        for record in await rt.runs(limit=1000):
            if not record.status.ended:
                await (await rt.handle(record.id)).result()
        await rehearse(rt, world)
        return result


async def rehearse(rt: Runtime, world: World) -> None:
    """Replay every run from its whole journal, without effects: a life that sees what the others saw."""
    engine = rt._opened().engine
    world.rehearse()
    for run, stored in world.store._runs.items():
        started, *facts = [fact for _, fact in stored.facts if not isinstance(fact, RunFinished)]
        assert isinstance(started, RunStarted)
        problem = await DryRun(engine, rt.library.named(stored.workflow), run, started, facts).problem()
        if problem is not None:
            world.complaints.append(f"run {run} does not replay: {problem}")
    world.lives[-1].life.dead = True


async def wait(world: World, milliseconds: float) -> None:
    """Wait for virtual milliseconds, or for that many hundredths of a turn of the loop."""
    for _ in range(int(milliseconds * 100) % 100):
        await asyncio.sleep(0)
    if milliseconds >= 1:
        await pause(world.clock, int(milliseconds) / 1000)


class Played:
    """A workflow of one number that was played, in one life or several; a clock brings loops of its own."""

    def __init__(
        self,
        main: Workflow[[int], int, Any],
        seed: object,
        plans: Sequence[Plan] = (),
        *,
        clock: VirtualClock | None = None,
    ) -> None:
        self.world = World(seed, clock)
        self.result: Any = None
        self.final = 0  # the life in which everything came to its end
        self.cancelled = any(plan.asked or plan.cancels is not None or plan.deadline is not None for plan in plans)
        enter(self.world)
        for plan in (*plans, CALM):
            self.final = len(self.world.lives)
            life, store = self.world.new_life(plan.dies_at)
            self.result = life.run(live(main, store, self.world, plan), clock=self.world.clock, longest=LONGEST)
            over = not life.dead and plan.stops is None
            life.die()
            if over:
                break
            for owner in store.owners:  # the same host notices at once
                self.world.store._leases.pop(owner, None)

    @property
    def boundaries(self) -> int:
        """How many boundaries the first life passed."""
        return len(self.world.lives[0].life.boundaries)

    def problems(self, wanted: Any = None) -> list[str]:
        """Return what is not as it should be; ``wanted`` is the result, where it does not depend on time."""
        problems = [*self.world.complaints, *self._unfinished(), *self._repeated(), *self._lost(), *self._forgotten()]
        if wanted is not None and not self.cancelled and self.result != wanted:
            problems.append(f"the result is {self.result}, not {wanted}")
        return problems

    def _unfinished(self) -> list[str]:
        problems = []
        for run, stored in self.world.store._runs.items():
            facts = [fact for _, fact in stored.facts]
            if not stored.status.ended or not isinstance(facts[-1], RunFinished):
                problems.append(f"run {run} is {stored.status}")
        return problems

    def _repeated(self) -> list[str]:
        """What was stored is never executed again; what was in flight at most once more per crash."""
        problems = []
        for number, observed in enumerate(self.world.lives):
            again = [entry for entry in self.world.ledger if entry.life > number and entry.key in observed.finished]
            problems += [f"{entry.key} was executed in life {entry.life} though it was stored" for entry in again]
        attempts = Counter((entry.key, entry.attempt, entry.life) for entry in self.world.ledger)
        for (key, attempt, life), times in attempts.items():
            if times > 1 and not key.endswith("]"):
                problems.append(f"attempt {attempt} of {key} was executed {times} times in life {life}")
        return problems

    def _lost(self) -> list[str]:
        """An effect that succeeded in the life that ended the run is recorded as a success."""
        recorded = {
            idempotency_key(run, fact.call)
            for run, stored in self.world.store._runs.items()
            for _, fact in stored.facts
            if isinstance(fact, StepFinished) and fact.ending is Ending.VALUE
        }
        return [
            f"{entry.key} succeeded in life {entry.life}, and that is not recorded"
            for entry in self.world.succeeded
            if entry.life == self.final and entry.effect in ("write", "once") and entry.key not in recorded
        ]

    def _forgotten(self) -> list[str]:
        """What a body saw and had recorded it sees again, in the same order."""
        problems = []
        for number, after in enumerate(self.world.lives):
            problems += self._forgotten_in(after, self.world.lives[:number])
        return problems

    def _forgotten_in(self, after: Observed, earlier: Sequence[Observed]) -> list[str]:
        problems = []
        for before in earlier:
            for run, trace in before.traces.items():
                seen = [entry for entry, length in trace if length <= before.stored.get(run, 0)]
                again = [entry for entry, _ in after.traces.get(run, [])]
                if run not in after.traces and not self._runs_again(run, earlier[-1]):
                    continue
                if after.life.dead:  # maybe before it had seen it all
                    del seen[len(again) :]
                if again[: len(seen)] != seen:
                    problems.append(f"the body of {run} saw\n  {seen}\nand in its next life\n  {again}")
        return problems

    def _runs_again(self, run: str, before: Observed) -> bool:
        """Whether a run had not ended when a life ended."""
        facts = [fact for _, fact in self.world.store._runs[run].facts[: before.stored.get(run, 0)]]
        return bool(facts) and not isinstance(facts[-1], RunFinished)
