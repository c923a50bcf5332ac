"""What docstrings show can be written like that."""

import re
from itertools import count
from typing import Any

from awaitly import Ok, Runtime, step, workflow
from awaitly.persist.stores.memory import MemoryStore
from awaitly.testing import crash
from awaitly.testing.clock import VirtualClock
from awaitly.testing.crash import CrashingStore, Life

BOOKED: dict[str, int] = {"hotel": 1, "train": 2}


@step(key="book:{item}")
async def book(item: str) -> int:
    return BOOKED[item]


@workflow(key="booking")
async def booking() -> list[int]:
    return [await book("hotel"), await book("train")]


def test_a_test_of_crashes_can_be_written_as_its_module_says() -> None:
    names: dict[str, Any] = {
        each.__name__: each for each in (Runtime, CrashingStore, Life, VirtualClock, MemoryStore, Ok, count)
    }
    names["booking"] = booking
    (example,) = re.findall(r"```python\n(.*?)```", crash.__doc__ or "", re.DOTALL)

    exec(example, names)

    assert names["dies_at"] > 4
