"""What tests of the command line share."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOWS = Path(__file__).parent / "flows" / "orders.py"


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it exited."""

    status: int
    out: str
    err: str


Awaitly = Callable[..., Answer]


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a process of its own."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}
