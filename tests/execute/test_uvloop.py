"""On uvloop, whose queue nobody can look into, runs keep their order, survive crashes and settle all the same."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from awaitly import Ok, Workflow
from awaitly.declare.host import HOST
from awaitly.execute.stillness import CalmTurns, stillness
from awaitly.testing.clock import VirtualClock
from tests.execute.journeys import JOURNEYS
from tests.execute.test_settling import played
from tests.properties.campaign import check, plan
from tests.properties.play import Plan, Played, module_of
from tests.properties.programs import Generator, Parallel

if sys.platform == "win32":
    pytest.skip("there is no uvloop for Windows", allow_module_level=True)

uvloop = importlib.import_module("uvloop")

TURNS = 64  # of a loop that does not say when it is idle: then the next timer is due


class TurningClock(VirtualClock):
    """Virtual time for uvloop: counted in turns, so that every play is the same."""

    def __init__(self) -> None:
        super().__init__(auto=True)
        self._turns = 0

    def new_loop(self) -> asyncio.AbstractEventLoop:
        super().new_loop().close()
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        loop.call_soon(self._turn, loop)
        return loop

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turns += 1
        if self._turns % TURNS == 0:
            self.idle()
        loop.call_soon(self._turn, loop)


def on_uvloop(main: Workflow[[int], int, Any], seed: object, *plans: Plan) -> Played:
    return Played(main, seed, plans, clock=TurningClock())


def test_uvloop_hides_its_queue() -> None:
    async def kind() -> object:
        return stillness(asyncio.get_running_loop(), HOST, object())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.run(kind()), CalmTurns)


@pytest.mark.parametrize("depth", [0, 5, 9])
def test_a_replay_gives_the_order_of_the_first_life(depth: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        live, again = runner.run(played(depth))

    assert live == again == Ok(["deep", "shallow"])


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
def test_dying_at_boundaries_loses_nothing_and_repeats_nothing_that_was_stored(
    journey: Workflow[[int], int, Any],
) -> None:
    calm = on_uvloop(journey, "calm")
    assert calm.problems() == []
    assert calm.boundaries > 0

    for point in range(0, calm.boundaries, 3):
        disturbed = on_uvloop(journey, "calm", Plan(dies_at=point))
        assert disturbed.world.lives[0].life.dead
        assert disturbed.problems(calm.result) == [], f"died at {point}"


def styles(node: Any) -> Iterator[str]:
    """Yield how the branches of a program are run."""
    if isinstance(node, Parallel):
        yield node.style
    parts = vars(node).values() if hasattr(node, "__dict__") else node if isinstance(node, (list, tuple)) else ()
    for part in parts:
        yield from styles(part)


def test_programs_of_every_style_end_as_they_should_however_they_are_disturbed(tmp_path: Path) -> None:
    seen: set[str] = set()
    for seed in range(25):
        random = Random(seed)
        program = Generator(random).program(8)
        seen.update(styles(program))
        module = module_of(program, tmp_path)
        calm = on_uvloop(module.main, seed)
        check(program, calm, ())
        for _ in range(3):
            drawn = plan(random, calm.boundaries)
            check(program, on_uvloop(module.main, f"{seed}:{drawn}", drawn), drawn)
        del sys.modules[module.__name__]

    assert seen == {"gather", "asyncio", "group", "settle", "race"}
