"""Plays many generated programs: ``python -m tests.properties.campaign --programs 1000 --seed 1``."""

import argparse
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.properties.play import Plan, Played, module_of, wanted
from tests.properties.programs import Block, Generator, Writer


def main() -> int:
    """Play programs and print those that show a problem."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crashes", type=int, default=6, help="plays with crashes for each program")
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--stop", type=int, default=3, help="stop after so many problems")
    options = parser.parse_args()
    bad = plays = 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.seed, options.seed + options.programs):
            try:
                plays += play(number, Path(folder), options.crashes, options.size)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                bad += 1
                print(f"=== program {number}\n{''.join(traceback.format_exception(error)[-3:])}")
                if bad >= options.stop:
                    break
    print(f"{plays} plays, {bad} problems, {time.monotonic() - begun:.1f} s")
    return 1 if bad else 0


def play(number: int, folder: Path, crashes: int, size: int) -> int:
    """Play one program, undisturbed and disturbed; return how many plays that were."""
    random = Random(number)
    program = Generator(random).program(random.randint(2, size))
    module = module_of(program, folder)
    calm = Played(module.main, number)
    check(program, calm, ())
    for _ in range(crashes):
        first, *later = (plan(random, calm.boundaries) for _ in range(random.choice((1, 1, 2, 3))))
        if random.random() < 0.25:
            first = replace(first, deadline=random.choice((1, 2, 4, 10, 30)))
        plans = (first, *(replace(each, asked=random.random() < 0.2) for each in later))
        check(program, Played(module.main, f"{number}:{plans}", plans), plans)
    del sys.modules[module.__name__]
    return 1 + crashes


def plan(random: Random, boundaries: int) -> Plan:
    """Draw what happens to one life."""
    when = random.choice((0, 0, 1, 3, 8, 20)) + random.randrange(40) / 100
    match random.random():
        case kind if kind < 0.6:
            return Plan(dies_at=random.randrange(boundaries))
        case kind if kind < 0.75:
            return Plan(stops=when)
        case kind if kind < 0.9:
            return Plan(cancels=when)
        case _:
            return Plan(cancels=when, dies_at=random.randrange(boundaries))


def check(program: Block, played: Played, plans: object) -> None:
    """Raise if a play shows a problem."""
    problems = played.problems(wanted(program))
    if problems:
        raise AssertionError("\n".join([Writer().module(program), f"with {plans}", *problems]))


if __name__ == "__main__":
    sys.exit(main())
