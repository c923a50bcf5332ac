"""awaitly: typed, durable, observable workflows from ordinary async Python functions."""

from awaitly.declare.combinators import (
    current,
    each,
    gather,
    now,
    race,
    random,
    remaining,
    settle,
    sleep,
    timeout,
    uuid4,
)
from awaitly.declare.step import Step, step
from awaitly.declare.workflow import RunHandle, Workflow, workflow
from awaitly.errors import (
    AwaitlyError,
    CircuitOpen,
    CompileError,
    Failure,
    LimitReached,
    RunCancelled,
    RunSuspended,
    StepTimeout,
    UnexpectedError,
)
from awaitly.flags.provider import Flag
from awaitly.policies.breaker import Breaker
from awaitly.policies.budget import Budget
from awaitly.policies.bulkhead import Concurrency
from awaitly.policies.cache import Cache
from awaitly.policies.fallback import Fallback
from awaitly.policies.hedge import Hedge
from awaitly.policies.pipeline import Policies
from awaitly.policies.rate import RateLimit, SlidingWindow
from awaitly.policies.retry import Retry
from awaitly.process import Runtime
from awaitly.result import (
    Err,
    Ok,
    Result,
    collect,
    collect_async,
    partition,
    partition_async,
    zip_results,
)

__all__ = [
    "AwaitlyError",
    "Breaker",
    "Budget",
    "Cache",
    "CircuitOpen",
    "CompileError",
    "Concurrency",
    "Err",
    "Failure",
    "Fallback",
    "Flag",
    "Hedge",
    "LimitReached",
    "Ok",
    "Policies",
    "RateLimit",
    "Result",
    "Retry",
    "RunCancelled",
    "RunHandle",
    "RunSuspended",
    "Runtime",
    "SlidingWindow",
    "Step",
    "StepTimeout",
    "UnexpectedError",
    "Workflow",
    "collect",
    "collect_async",
    "current",
    "each",
    "gather",
    "now",
    "partition",
    "partition_async",
    "race",
    "random",
    "remaining",
    "settle",
    "sleep",
    "step",
    "timeout",
    "uuid4",
    "workflow",
    "zip_results",
]
