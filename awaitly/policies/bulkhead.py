"""A limit on how many calls are under way at once: a fair bulkhead."""

import math
from dataclasses import KW_ONLY, dataclass
from functools import partial

from awaitly.model.clock import Clock
from awaitly.model.counts import counted
from awaitly.model.durations import Duration
from awaitly.policies.course import Call, Course
from awaitly.policies.options import check_count
from awaitly.policies.sharing import Shared, shared
from awaitly.policies.turns import Costing, Limiter, LimiterSnapshot, Mode, T, Turns, check_amount, check_common


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Concurrency(Limiter):
    """At most so many calls at once, so that one slow dependency does not take everything with it: a bulkhead.

    A call takes a place when it begins, or waits for one, and gives it back when it ends, however it ends.

    ```python
    database = Concurrency("database", limit=10, queue=100)

    @database
    async def query(sql: str) -> list[str]: ...
    ```

    Args:
        name: What steps share it by; without one it belongs to one step.
        limit: The places.
        queue: The most calls that may wait; the next one is turned away. By default there may be any number.
        mode: ``"wait"`` (the default), in order of asking, or ``"reject"``.
        max_wait: Turn a call away after it has waited so long; by default it waits as long as it takes.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    name: str | None = None
    _: KW_ONLY
    limit: int
    queue: int | None = None
    mode: Mode = "wait"
    max_wait: Duration | None = None

    def __post_init__(self) -> None:
        check_common(self)
        check_count(self.limit, "Concurrency(limit=)")
        if self.queue is not None:
            check_count(self.queue, "Concurrency(queue=)", least=0)

    def check(self, cost: float) -> None:
        """Refuse a cost above the number of places.

        Raises:
            ConfigurationError: ``invalid-option``.
        """
        check_amount(cost, "the cost of a Concurrency", whole=True, most=self.limit)

    def costing(self, cost: int) -> "Places":
        """Return the same limiter for calls that take ``cost`` places each.

        Raises:
            ConfigurationError: ``invalid-option``, if there are not so many.
        """
        return Places(self, cost)

    def state(self, shared: Shared) -> "Bulkhead":
        """Return the places that ``shared`` has for it.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        return shared.state(Bulkhead, self, partial(Bulkhead, clock=shared.clock))

    def release(self, cost: int = 1) -> None:
        """Give back what ``acquire`` took.

        Raises:
            ValueError: If that is more than is taken.
        """
        self.state(shared()).release(cost)

    async def __aexit__(self, *error: object) -> None:
        """Give the place back."""
        self.release()


class Places(Costing):
    """A [`Concurrency`][awaitly.policies.bulkhead.Concurrency] of which each call takes several places."""

    __slots__ = ()

    def release(self, cost: float | None = None) -> None:
        """Give back what ``acquire`` took, at this cost unless another one is given.

        Raises:
            ValueError: If that is more than is taken.
        """
        state = self.state(shared())
        assert isinstance(state, Bulkhead)
        state.release(self.cost if cost is None else cost)

    async def __aexit__(self, *error: object) -> None:
        """Give the places back."""
        self.release()


class Bulkhead(Turns):
    """The places of a [`Concurrency`][awaitly.policies.bulkhead.Concurrency]."""

    __slots__ = ("_free", "declared")

    def __init__(self, declared: Concurrency, clock: Clock) -> None:
        super().__init__(declared, clock)
        self.declared = declared
        self._free: float = declared.limit

    async def __call__(self, call: Call[T], course: Course, cost: float = 1) -> T:
        """Begin the next layer as soon as there is a place for it, and give the place back when it has ended.

        A thread that it left, since nobody can stop one, still has the place.

        Raises:
            LimitReached: If the call may not wait, or not so long.
        """
        if self._line or self.take(cost) is None:
            await self.wait(cost, course)
        try:
            return await call()
        finally:
            thread = course.lingering
            if thread is None or thread.done():
                self.release(cost)
            else:
                thread.add_done_callback(lambda _: self.release(cost))

    def release(self, cost: float = 1) -> None:
        """Give places back: they are the next one's.

        Raises:
            ValueError: If that is more than is taken.
        """
        if self._free + cost > self.declared.limit:
            raise ValueError(
                f"limiter {self.name!r} got {cost:g} places back and {self.declared.limit - self._free:g} were taken: "
                "call release() once for each acquire(), with the same cost, or use `async with`"
            )
        self._free += cost
        if self._line:
            self._serve()

    def take(self, cost: float) -> float | None:
        """Take places if there are enough."""
        if cost > self._free:
            return None
        self._free -= cost
        return 0.0

    def give(self, cost: float, granted: float) -> None:
        """Put back places that nobody made use of."""
        self._free += cost

    def until(self, cost: float) -> float:
        """Return infinity: nobody knows how long calls take."""
        return math.inf

    def wait_for(self, cost: float) -> float:
        """Return infinity: nobody knows how long calls take."""
        return math.inf

    def lapses(self, began: float) -> float:
        """Return when a wait that begins now has taken ``max_wait``."""
        return math.inf if self.max_wait is None else began + self.max_wait

    def full(self) -> str | None:
        """Return why nobody else may wait, if that is so."""
        queue = self.declared.queue
        if queue is None or len(self._line) < queue:
            return None
        return f"has {counted(len(self._line), 'call')} waiting, and queue is {queue}"

    def check(self, cost: float) -> None:
        """Refuse a cost above the number of places."""
        self.declared.check(cost)

    def rule(self) -> str:
        """Return what is allowed, for messages."""
        return f"{self.declared.limit} at once"

    def snapshot(self) -> LimiterSnapshot:
        """Return how it stands now."""
        return LimiterSnapshot(self.name, self.declared.limit, None, self._free, self.waiting)
