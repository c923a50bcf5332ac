"""A workflow as read: its functions, every call in them, and what each call resolves to.

The value that the graph, the rules, the error flow, and the sites are all made from.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Literal, TypeAlias

from awaitly.compile.resolve import Resolver
from awaitly.compile.source import SourceFile
from awaitly.compile.targets import FunctionNode, StepTarget, Target, Targets, WorkflowTarget, opened_target
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.model.graph import Diagnostic, Position

# awaited: `await f()`; spawned: its coroutine is handed to gather, race, create_task and the like; stored: assigned,
# returned, put into a list; discarded: a statement of its own; value: any other expression around it.
Usage: TypeAlias = Literal["awaited", "spawned", "stored", "discarded", "value"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call expression of a function that was read."""

    node: ast.Call
    label: str  # structural, unique in the program: charge#0, helper:charge#1, asyncio.gather#0
    text: str  # of the callee: "charge", "tg.create_task"
    targets: Targets  # never empty; several when it depends on run time
    usage: Usage
    position: Position
    tries: tuple[ast.Try | ast.TryStar, ...]  # whose handlers it is under, innermost first, in its own function
    loops: tuple[ast.AST, ...]  # For, AsyncFor, While, comprehensions around it, innermost first, likewise
    inside: FunctionNode  # the def or lambda that it is in: the function itself or one nested in it

    @property
    def target(self) -> Target:
        """The only target, or the first of several."""
        return self.targets[0]

    @property
    def steps(self) -> tuple[StepTarget, ...]:
        """The steps that this call may call as steps (not their plain functions), partials opened."""
        opened = map(opened_target, self.targets)
        return tuple(t for t in opened if isinstance(t, StepTarget) and t.via != "fn")

    @property
    def workflows(self) -> tuple[WorkflowTarget, ...]:
        """The workflows that this call may run."""
        opened = map(opened_target, self.targets)
        return tuple(t for t in opened if isinstance(t, WorkflowTarget) and t.via not in ("options", "fn"))


@dataclass(frozen=True, slots=True, eq=False)
class FunctionReading:
    """One function that was read: the workflow's own or a helper that contains steps."""

    fn: FunctionType
    node: FunctionNode
    file: SourceFile
    code: CodeType
    prefix: str  # of its labels: "" for the workflow's function, "helper:" for a helper
    calls: tuple[Call, ...]  # all of them, nested functions included, in the order of their ends (evaluation order)
    by_node: Mapping[ast.AST, Call]
    resolve: Resolver  # resolve(expression): what any expression in it stands for, e.g. the classes of a handler

    @property
    def name(self) -> str:
        """``module:qualname``."""
        return f"{self.fn.__module__}:{self.fn.__qualname__}"

    def position(self, node: ast.AST) -> Position:
        """Return where ``node`` is."""
        return self.file.position(node)

    def walk(self, kind: type[Any]) -> Iterator[Any]:
        """Yield the AST nodes of one kind in its body, nested functions included, decorators and defaults not."""
        body = self.node.body if isinstance(self.node.body, list) else [self.node.body]
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, kind):
                    yield node


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A workflow and everything of it that was read."""

    workflow: Workflow[..., Any, Any]
    functions: tuple[FunctionReading, ...]  # the workflow's own first, helpers in the order of their first call
    steps: Mapping[str, tuple[Step[..., Any, Any], ...]]  # by name; several distinct steps of a name are an error
    children: Mapping[str, Workflow[..., Any, Any]]
    problems: tuple[Diagnostic, ...]  # found while reading: no-source, source-changed

    @property
    def main(self) -> FunctionReading:
        """The workflow's own function."""
        return self.functions[0]

    def function_of(self, fn: FunctionType) -> FunctionReading | None:
        """Return the reading of a helper that contains steps."""
        return next((function for function in self.functions if function.code is fn.__code__), None)
