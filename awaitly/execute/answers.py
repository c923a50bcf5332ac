"""The cache of a step: encoded outcomes that serve later calls, in any run, of the same arguments."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from awaitly.errors import AwaitlyError, ShuttingDown
from awaitly.model.clock import Clock
from awaitly.model.program import StepBinding
from awaitly.persist.ports import Store
from awaitly.policies.course import Course


class StoreShelf:
    """Keeps answers in the store of a runtime.

    Args:
        store: Gives the store; what it raises while there is none is a miss, and no reason to complain if that is
            because the runtime is shut down.
        clock: What answers expire by.
    """

    def __init__(self, store: Callable[[], Store], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, key: str, /) -> bytes | None:
        """Return what is kept under a key and has not expired."""
        with suppress(ShuttingDown):
            return await self._store().recall(key, self._clock.time())
        return None

    async def put(self, key: str, data: bytes, expires: float, /) -> None:
        """Keep something until a time of the wall clock."""
        with suppress(ShuttingDown):
            await self._store().remember(key, data, expires=expires, now=self._clock.time())


class Answering:
    """How the answers of a step, or of the variant that stands in for it, are named and encoded."""

    def __init__(self, binding: StepBinding) -> None:
        self._binding = binding

    def key(self, course: Course, /) -> str:
        """Return what tells the call apart from all that would have another answer."""
        binding = self._binding
        make = binding.cache_key or binding.arguments.fingerprint
        return f"{binding.name}:{binding.fingerprint}:{make(course.args, course.kwargs)}"

    def encode(self, value: Any, /) -> bytes | None:
        """Return the value as it is stored; None if it cannot be, which is the step's failure elsewhere."""
        try:
            return self._binding.result.roundtrip(value)[0]
        except AwaitlyError:
            return None

    def decode(self, data: bytes, /) -> Any:
        """Return the value again.

        Raises:
            CorruptCheckpoint: If another version of the program has kept it.
        """
        return self._binding.result.decode(data)
