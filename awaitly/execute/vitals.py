"""How a runtime is: open or closing, how much it does, how late its loop is, and whether it should get more to do."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from awaitly.errors import UsageError
from awaitly.execute.engine import Engine
from awaitly.execute.lag import Lag
from awaitly.execute.probe import Answer, Probe
from awaitly.execute.standing import Outgoing
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.observe.bus import Bus

STORE_TIMEOUT = 0.75  # seconds: Kubernetes gives a probe one

_NO_RUN = "-"  # what the store is asked for: any look into its index will do


class Phase(StrEnum):
    """Where a runtime is in its life."""

    CLOSED = "closed"
    OPEN = "open"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A runtime at one moment.

    Attributes:
        phase: whether it is open.
        active: the runs that it executes, by workflow.
        queued: the runs that wait here until there is room.
        queue_age: the seconds that the first of them has been waiting; 0 if there is none.
        loop_lag: how late the event loop was in the last second, at worst, in seconds; None if nobody measures.
        dropped: the notices that were lost, by the sink that lagged behind.
        sink_failures: the notices at which a sink raised, by sink.
        outboxes: how deliveries go, by the outbox that follows the runtime.
    """

    phase: Phase
    active: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    queue_age: float = 0.0
    loop_lag: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    sink_failures: Mapping[str, int] = field(default_factory=dict)
    outboxes: Mapping[str, Outgoing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a runtime should get nothing more to do: a slug for programs, and a sentence for people."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a runtime should get more to do, and all that speaks against it."""

    ready: bool
    reasons: tuple[Reason, ...] = ()


class Vitals:
    """What is asked of a runtime by those who look after it; what asks nothing of the store is for any thread.

    Args:
        clock: The runtime's.
        max_lag: How late its loop may be, in seconds.
    """

    def __init__(self, clock: Clock, max_lag: float) -> None:
        self.phase = Phase.CLOSED
        self._clock = clock
        self._max_lag = max_lag
        self._lag = Lag()
        self._measured = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._store: Probe | None = None
        self._bus: Bus | None = None
        self._outboxes: dict[str, Callable[[], Outgoing]] = {}

    def opened(self, engine: Engine, bus: Bus | None) -> None:
        """The runtime is open, in the running loop."""
        self.phase = Phase.OPEN
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._bus = bus
        self._store = Probe(lambda: engine.store.find(_NO_RUN), STORE_TIMEOUT, self._clock)
        if self._measured:
            self._begin()

    def closing(self) -> None:
        """The runtime begins to shut down."""
        self.phase = Phase.CLOSING

    def closed(self) -> None:
        """The runtime is shut down."""
        self.phase = Phase.CLOSED
        self._engine = self._store = None
        self._lag.end()

    @contextmanager
    def delivering(self, outbox: str, standing: Callable[[], Outgoing]) -> Iterator[None]:
        """Tell how the deliveries of an outbox go while the block runs.

        Raises:
            UsageError: ``outbox-followed``, if another one of this name does that.
        """
        if outbox in self._outboxes:
            raise UsageError(
                f"two outboxes named {outbox!r} were to follow one runtime: each would pass over the other's events",
                hint='give one of them another name: Outbox(..., name="billing")',
                code="outbox-followed",
            )
        self._outboxes[outbox] = standing
        try:
            yield
        finally:
            del self._outboxes[outbox]

    def measure(self) -> None:
        """Measure how late the loop is, whenever the runtime is open: ten times a second. Who asks begins that too."""
        self._measured = True
        if self._loop is None or self._lag.seconds is not None:
            return
        if asyncio._get_running_loop() is self._loop:
            self._begin()
        else:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._engine is not None and self._loop is not None:
            self._lag.begin(self._loop)

    # What there is to say.

    @property
    def state(self) -> State:
        """How the runtime is now."""
        self.measure()
        return State(
            phase=self.phase,
            active=self.active(),
            queued=self.queued(),
            queue_age=self.queue_age(),
            loop_lag=self._lag.seconds,
            dropped={} if self._bus is None else self._bus.dropped,
            sink_failures={} if self._bus is None else self._bus.failures,
            outboxes=self.outboxes(),
        )

    @property
    def readiness(self) -> Readiness:
        """Whether the runtime should get more to do, as far as is known without asking the store."""
        self.measure()
        reasons = tuple(self._reasons())
        return Readiness(not reasons, reasons)

    async def ask(self) -> Answer:
        """Ask the store for something small, unless it answered a moment ago."""
        if self._store is None:
            return Answer(0.0, "RunStopped", "the runtime is not open")
        return await self._store.answer()

    def active(self) -> Mapping[str, int]:
        """Return how many runs are executed, by workflow."""
        engine = self._engine
        return Counter() if engine is None else Counter(run.started.workflow for run in list(engine.active.values()))

    def queued(self) -> int:
        """Return how many runs wait for room."""
        return 0 if self._engine is None else len(self._engine.admission.queue)

    def queue_age(self) -> float:
        """Return the seconds that the first of them has been waiting; 0 if there is none."""
        waiting = [] if self._engine is None else list(self._engine.admission.queue.values())
        return self._clock.monotonic() - waiting[0].since if waiting else 0.0

    def lag(self) -> float:
        """Return how late the loop is, in seconds."""
        self.measure()
        return self._lag.seconds or 0.0

    def outboxes(self) -> Mapping[str, Outgoing]:
        """Return how deliveries go, by outbox."""
        return {name: standing() for name, standing in self._outboxes.copy().items()}

    def _reasons(self) -> Iterator[Reason]:
        engine = self._engine
        if self.phase is Phase.CLOSING:
            yield Reason("shutting-down", "the runtime is shutting down")
        elif engine is None:
            yield Reason("not-open", "the runtime is not open")
        elif self._loop is None or not self._loop.is_running():
            yield Reason("not-open", "the event loop of the runtime has ended, and the runtime was not shut down")
        else:
            yield from self._troubles(engine)

    def _troubles(self, engine: Engine) -> Iterator[Reason]:
        if engine.admission.refuses:
            refusal = engine.admission.refusal()
            yield Reason(refusal.code, refusal.message)
        answer = None if self._store is None else self._store.last
        if answer is not None and not answer.well:
            yield Reason("store-unavailable", f"the store failed: {answer.error}: {answer.message}")
        if not engine.lease.valid:
            ttl = humanised(engine.lease.ttl)
            yield Reason("lease-lapsed", f"the lease on this process's runs could not be renewed for {ttl}")
        if (lag := self._lag.seconds or 0.0) > self._max_lag:
            most = humanised(self._max_lag)
            yield Reason("loop-blocked", f"the event loop was blocked for {humanised(lag)}, and max_loop_lag is {most}")
