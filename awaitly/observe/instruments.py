"""Every instrument of awaitly's meter, as a row of one table: what is documented is written from it.

Attribute values are names from the code, never ids or messages, and only so many of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

METER = "awaitly"  # what the meter is called

MOMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
LIVES = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 6 * 3600, 86400, 7 * 86400)
COMMITS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


class Kind(StrEnum):
    """How an instrument gets its values."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    ASKED_COUNTER = "observable counter"
    ASKED_GAUGE = "observable gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """A row of the table.

    Attributes:
        attributes: the names of what tells its series apart; the first one is the key of what an asked one answers.
        bounds: the upper bounds of a histogram's buckets, as advice: a view of the SDK may say otherwise.
        asks: which field of :class:`Gauges` gives the values of an asked one.
        several: what becomes of the answers where several runtimes report to one provider.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    asks: str = ""
    several: Callable[[Iterable[float]], float] = sum


RUN_DURATION = Instrument(
    "awaitly.run.duration", Kind.HISTOGRAM, "s",
    "From a run's start, which is when it was stored, to its end: waits for room and restarts included.",
    ("workflow", "outcome"), LIVES,
)  # fmt: skip
STEP_DURATION = Instrument(
    "awaitly.step.duration", Kind.HISTOGRAM, "s",
    "A step's call with all its attempts and waits; source says what gave the value if its function did not.",
    ("workflow", "step", "outcome", "source"), MOMENTS,
)  # fmt: skip
STEP_RETRIES = Instrument(
    "awaitly.step.retries", Kind.COUNTER, "{retry}",
    "Times that a call was to be tried again; an open circuit or a full limiter may have refused it then.",
    ("workflow", "step"),
)  # fmt: skip
STEP_TIMEOUTS = Instrument(
    "awaitly.step.timeouts", Kind.COUNTER, "{timeout}", "Attempts that took longer than their step's timeout.",
    ("workflow", "step"),
)  # fmt: skip
STEP_HEDGES = Instrument(
    "awaitly.step.hedges", Kind.COUNTER, "{attempt}", "Attempts that began beside a slow one.", ("workflow", "step")
)
CACHE_HITS = Instrument(
    "awaitly.cache.hits", Kind.COUNTER, "{hit}", "Calls that were answered from a cache.", ("workflow", "step")
)
FALLBACKS = Instrument(
    "awaitly.fallbacks", Kind.COUNTER, "{fallback}", "Calls that failed and were answered by their fallback.",
    ("workflow", "step"),
)  # fmt: skip
BREAKER_STATE = Instrument(
    "awaitly.breaker.state", Kind.ASKED_GAUGE, "", "0 closed, 1 half-open, 2 open.", ("breaker",),
    asks="breakers", several=max,
)  # fmt: skip
BREAKER_TRANSITIONS = Instrument(
    "awaitly.breaker.transitions", Kind.COUNTER, "{transition}", "Changes of a circuit to a state.",
    ("breaker", "state"),
)  # fmt: skip
BREAKER_REJECTIONS = Instrument(
    "awaitly.breaker.rejections", Kind.COUNTER, "{call}", "Calls that an open circuit turned away.",
    ("breaker", "workflow", "step"),
)  # fmt: skip
LIMITER_WAIT = Instrument(
    "awaitly.limiter.wait", Kind.HISTOGRAM, "s", "Waits of calls for their turn; those that had none are not counted.",
    ("limiter",), MOMENTS,
)  # fmt: skip
LIMITER_REJECTIONS = Instrument(
    "awaitly.limiter.rejections", Kind.COUNTER, "{call}", "Calls that a limiter turned away.",
    ("limiter", "workflow", "step"),
)  # fmt: skip
LIMITER_WAITING = Instrument(
    "awaitly.limiter.waiting", Kind.ASKED_GAUGE, "{call}", "Calls that wait for their turn now.", ("limiter",),
    asks="waiting",
)  # fmt: skip
RUNS_ACTIVE = Instrument(
    "awaitly.runs.active", Kind.ASKED_GAUGE, "{run}",
    "Runs that this process executes now; 0 for a workflow that it has executed.", ("workflow",), asks="active",
)  # fmt: skip
RUNS_QUEUED = Instrument(
    "awaitly.runs.queued", Kind.ASKED_GAUGE, "{run}", "Runs that wait here until there is room for them.",
    asks="queued",
)  # fmt: skip
QUEUE_AGE = Instrument(
    "awaitly.runs.queue.age", Kind.ASKED_GAUGE, "s", "How long the first of them has been waiting.",
    asks="queue_age", several=max,
)  # fmt: skip
QUEUE_WAIT = Instrument(
    "awaitly.runs.queue.wait", Kind.HISTOGRAM, "s",
    "Waits of runs for room; those that had room at once are not counted.", ("workflow",), LIVES,
)  # fmt: skip
RUNS_REJECTED = Instrument(
    "awaitly.runs.rejected", Kind.COUNTER, "{run}",
    "Runs that were not started; the reason is runtime-overloaded or shutting-down.", ("workflow", "reason"),
)  # fmt: skip
RUNS_RESUMED = Instrument(
    "awaitly.runs.resumed", Kind.COUNTER, "{run}", "Unfinished runs that this process took over.", ("workflow",)
)
RUNS_LOST = Instrument(
    "awaitly.runs.lost", Kind.COUNTER, "{run}", "Runs that another process took over from this one.", ("workflow",)
)
REPLAY_FACTS = Instrument(
    "awaitly.replay.facts", Kind.HISTOGRAM, "{fact}", "Facts that were recorded when a run was taken over.",
    ("workflow",), COUNTS,
)  # fmt: skip
COMMIT_DURATION = Instrument(
    "awaitly.commit.duration", Kind.HISTOGRAM, "s", "Commits to the store.", bounds=COMMITS
)  # fmt: skip
COMMIT_FACTS = Instrument(
    "awaitly.commit.facts", Kind.ASKED_COUNTER, "{fact}",
    "Facts that were stored; divided by the commits, a batch's size.", asks="stored",
)  # fmt: skip
LEASE_LAPSES = Instrument(
    "awaitly.lease.lapses", Kind.COUNTER, "{lapse}", "Times that this process did not renew its lease in time."
)
SINK_DROPPED = Instrument(
    "awaitly.sink.dropped", Kind.ASKED_COUNTER, "{notice}", "Notices that a sink lost because it lagged behind.",
    ("sink",), asks="dropped",
)  # fmt: skip
SINK_FAILURES = Instrument(
    "awaitly.sink.failures", Kind.ASKED_COUNTER, "{failure}", "Notices at which a sink raised.", ("sink",),
    asks="sink_failures",
)  # fmt: skip
SPANS_DROPPED = Instrument(
    "awaitly.spans.dropped", Kind.ASKED_COUNTER, "{span}",
    "Spans that were not sent by exporters that awaitly set up: there was no room, or the endpoint did not take them.",
    asks="spans_dropped", several=max,
)  # fmt: skip
OUTBOX_DELIVERED = Instrument(
    "awaitly.outbox.delivered", Kind.ASKED_COUNTER, "{event}", "Events that the receiver of an outbox took.",
    ("outbox",), asks="delivered",
)  # fmt: skip
OUTBOX_FAILURES = Instrument(
    "awaitly.outbox.failures", Kind.ASKED_COUNTER, "{attempt}", "Attempts to deliver an event that failed.",
    ("outbox",), asks="delivery_failures",
)  # fmt: skip
OUTBOX_GIVEN_UP = Instrument(
    "awaitly.outbox.given_up", Kind.ASKED_COUNTER, "{event}", "Events that are not tried any more.", ("outbox",),
    asks="given_up",
)  # fmt: skip
OUTBOX_AGE = Instrument(
    "awaitly.outbox.age", Kind.ASKED_GAUGE, "s",
    "How old the oldest event is that is being sent or was tried in vain; 0 if there is none.",
    ("outbox",), asks="delivery_age", several=max,
)  # fmt: skip
LOOP_LAG = Instrument(
    "awaitly.loop.lag", Kind.ASKED_GAUGE, "s", "How late the event loop came to its last timer.",
    asks="lag", several=max,
)  # fmt: skip

INSTRUMENTS: tuple[Instrument, ...] = tuple(row for row in list(vars().values()) if isinstance(row, Instrument))
