"""Calls that do nothing, and calls that nothing is known about."""

import ast
from collections.abc import Iterator

from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject
from awaitly.compile.targets import FunctionTarget, LocalFunction, Primitive, StepTarget, WorkflowTarget
from awaitly.model.graph import Severity

_AWAITED = frozenset(["gather", "settle", "race", "each", "sleep"])


def unawaited_step(subject: Subject) -> Iterator[Finding]:
    """A coroutine that is made and never awaited: nothing runs."""
    for function, call in subject.calls():
        if not _is_lazy(subject, call):
            continue
        if call.usage == "discarded" or _is_forgotten(function, call) or _is_returned(function, call):
            yield Finding(
                call.position,
                f"{call.text}(...) is not awaited, so that it never runs",
                f"write await {call.text}(...), or hand it to awaitly.gather",
            )


def _is_lazy(subject: Subject, call: Call) -> bool:
    """Whether a call only makes a coroutine."""
    for target in call.targets:
        match target:
            case StepTarget(via="call" | "attempt") | WorkflowTarget(via="call" | "run" | "start"):
                return True
            case FunctionTarget(fn=fn) if (helper := subject.reading.function_of(fn)) is not None:
                return isinstance(helper.node, ast.AsyncFunctionDef)
            case LocalFunction(node=ast.AsyncFunctionDef()):
                return True
            case Primitive(name=name) if name in _AWAITED:
                return True
    return False


def _is_forgotten(function: FunctionReading, call: Call) -> bool:
    """Whether the call is all that a name gets, and nobody reads the name."""
    if call.usage != "stored":
        return False
    match function.file.parents.get(call.node):
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            names = (node for node in function.walk(ast.Name) if node.id == name)
            return not any(isinstance(node.ctx, ast.Load) for node in names)
        case _:
            return False


def _is_returned(function: FunctionReading, call: Call) -> bool:
    """Whether an ``async def`` returns the coroutine itself, which its caller would have to await again."""
    in_coroutine = isinstance(call.inside, ast.AsyncFunctionDef)
    return in_coroutine and isinstance(function.file.parents.get(call.node), ast.Return)


def opaque_call(subject: Subject) -> Iterator[Finding]:
    """A call that may lead to steps, which the compiler could not follow."""
    for node in subject.opaque:
        yield Finding(
            node.position,
            f"{node.text} cannot be read: {node.reason}",
            "call steps by name from this module, or make it a step itself",
        )


RULES = (
    Rule("unawaited-step", Severity.WARNING, "A step, workflow or helper is called and not awaited.", unawaited_step),
    Rule("opaque-call", Severity.WARNING, "A call may lead to steps and cannot be followed.", opaque_call),
)
