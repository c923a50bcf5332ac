"""What an expression stands for, as far as reading can tell: the target of a call, the class of a handler."""

import ast
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal, TypeAlias

from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class StepTarget:
    """A step. ``fn``: its plain function, called past its policies."""

    step: Step[..., Any, Any]
    via: Literal["call", "attempt", "fn"] = "call"


@dataclass(frozen=True, slots=True)
class WorkflowTarget:
    """A workflow; ``fn`` as for steps."""

    workflow: Workflow[..., Any, Any]
    via: Literal["call", "run", "start", "run_sync", "fn", "options"] = "call"


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of awaitly's own: ``gather race settle each sleep timeout now random uuid4 current ...``."""

    name: str


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """A Python function that has source; one that contains steps is followed (``Reading.function_of``)."""

    name: str  # module.qualname, the public one where there is one: asyncio.gather
    fn: FunctionType


@dataclass(frozen=True, slots=True)
class LocalFunction:
    """A ``def`` or ``lambda`` in the body that is being read."""

    name: str
    node: FunctionNode


@dataclass(frozen=True, slots=True)
class Native:
    """A known object of another kind: a class, a builtin, a module, a value of the module."""

    name: str  # time.time, datetime.datetime.now, builtins.open, asyncio.TaskGroup.create_task
    value: object


@dataclass(frozen=True, slots=True)
class Instance:
    """A value that is made at run time, of a class that is known."""

    cls: type
    origin: ast.AST | None = None  # the call that makes it


@dataclass(frozen=True, slots=True)
class Partial:
    """``functools.partial`` of something."""

    inner: "Target"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Reading cannot tell; ``reason`` completes the sentence "cannot be read: ..."."""

    reason: str


Target: TypeAlias = (
    StepTarget | WorkflowTarget | Primitive | FunctionTarget | LocalFunction | Native | Instance | Partial | Unresolved
)
Targets: TypeAlias = tuple[Target, ...]  # several: it depends on what happens at run time


def opened_target(target: Target) -> Target:
    """Return what a partial calls in the end, and any other target as it is."""
    while isinstance(target, Partial):
        target = target.inner
    return target
