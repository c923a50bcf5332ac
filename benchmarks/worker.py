"""One measurement of one contender, in a process of its own: prints one line of JSON.

Started by `steps.py` as `worker.py CONTENDER SCENARIO SIZE`, in the folder in which the database is to be made.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import cast

import scenarios
from contenders import CONTENDERS
from contenders.session import Opener
from counting import Statements


def main() -> int:
    key, scenario, size = sys.argv[1:]
    contender = CONTENDERS[key]
    entry = contender.bare if scenario == "overhead" and contender.bare else contender.opener

    try:
        opener = _load(entry)
    except ImportError as error:
        print(
            f"contender-not-available: {contender.package or key} cannot be imported by {sys.executable} ({error}); "
            f"install it there, or leave it out with --only",
            file=sys.stderr,
        )
        return 3

    print(json.dumps(asyncio.run(_measure(opener, scenario, scenarios.Size(**json.loads(size))))))
    return 0


def _load(entry: str) -> Opener:
    module, _, name = entry.partition(":")
    return cast(Opener, getattr(importlib.import_module(module), name))


async def _measure(opener: Opener, scenario: str, size: scenarios.Size) -> dict[str, object]:
    path = Path.cwd() / "bench.db"
    statements = Statements() if scenario == "counts" else None

    async with opener(path, statements) as session:
        if statements is not None:
            figures = await scenarios.counts(session, statements, path)
        elif scenario == "overhead":
            figures = await scenarios.overhead(session, size)
        elif scenario == "flat":
            figures = await scenarios.flat(session, size)
        elif scenario == "together":
            figures = await scenarios.together(session, size)
        else:
            figures = await scenarios.sequence(session, size)
        return {"figures": figures, "settings": await session.settings()}


if __name__ == "__main__":
    sys.exit(main())
