"""awaitly: typed, durable, observable workflows from ordinary async Python functions."""

from awaitly.declare.combinators import current, each, gather, now, race, random, settle, sleep, timeout, uuid4
from awaitly.declare.step import Step, step
from awaitly.declare.workflow import RunHandle, Workflow, workflow
from awaitly.errors import AwaitlyError, CompileError, Failure, RunCancelled, RunSuspended, UnexpectedError
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
from awaitly.runtime import Runtime

__all__ = [
    "AwaitlyError",
    "CompileError",
    "Err",
    "Failure",
    "Ok",
    "Result",
    "RunCancelled",
    "RunHandle",
    "RunSuspended",
    "Runtime",
    "Step",
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
    "settle",
    "sleep",
    "step",
    "timeout",
    "uuid4",
    "workflow",
    "zip_results",
]
