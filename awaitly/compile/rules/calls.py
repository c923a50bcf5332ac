"""Calls that do nothing, and calls that nothing is known about."""

import ast
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject
from awaitly.compile.targets import FunctionTarget, LocalFunction, Primitive, StepTarget, WorkflowTarget
from awaitly.model.graph import Severity

_TOGETHER = frozenset(["gather", "settle", "race"])
_MANY = (ast.List, ast.Tuple, ast.Set, ast.ListComp, ast.SetComp, ast.GeneratorExp)
_OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.Compare)  # which await nothing
_AWAITED = frozenset(["gather", "settle", "race", "each", "sleep"])


def unawaited_step(subject: Subject) -> Iterator[Finding]:
    """A coroutine that is made and never awaited: nothing runs."""
    for function, call in subject.calls():
        if not _is_lazy(subject, call):
            continue
        operand = isinstance(function.file.parents.get(call.node), _OPERATIONS)
        if call.usage == "discarded" or operand or _is_forgotten(function, call) or _is_returned(function, call):
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
    """Whether the call is all that a name gets, and nobody reads the name but to reckon with it."""
    if call.usage != "stored":
        return False
    match function.file.parents.get(call.node):
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            names = (node for node in function.walk(ast.Name) if node.id == name)
            loads = (node for node in names if isinstance(node.ctx, ast.Load))
            return all(isinstance(function.file.parents.get(node), _OPERATIONS) for node in loads)
        case _:
            return False


def _is_returned(function: FunctionReading, call: Call) -> bool:
    """Whether an ``async def`` returns the coroutine itself, which its caller would have to await again."""
    in_coroutine = isinstance(call.inside, ast.AsyncFunctionDef)
    return in_coroutine and isinstance(function.file.parents.get(call.node), ast.Return)


def wrong_arguments(subject: Subject) -> Iterator[Finding]:
    """A call whose arguments cannot be meant: it raises as soon as it is made."""
    for function, call in subject.calls():
        if len(call.targets) != 1:
            continue
        match call.target:
            case StepTarget(step=step, via="call" | "attempt"):
                yield from _unbound(call, step.fn)
            case WorkflowTarget(workflow=workflow, via="call" | "run" | "start"):
                yield from _unbound(call, workflow.fn)
            case Primitive(name=name) if name in _TOGETHER:
                yield from _lists(call, name)
            case Primitive(name="each"):
                yield from _called_too_soon(subject, function, call)


def _unbound(call: Call, fn: Callable[..., Any]) -> Iterator[Finding]:
    node = call.node
    unknown = any(isinstance(value, ast.Starred) for value in node.args) or any(not key.arg for key in node.keywords)
    if unknown or hasattr(fn, "__wrapped__") or hasattr(fn, "__signature__"):  # it may take something else
        return
    try:
        signature(fn).bind(*node.args, **{str(key.arg): key.value for key in node.keywords})
    except TypeError as error:
        takes = f"{fn.__name__}({', '.join(map(str, signature(fn).parameters))})"
        yield Finding(call.position, f"{ast.unparse(node)} does not fit {takes}: {error}", "correct its arguments")


def _lists(call: Call, name: str) -> Iterator[Finding]:
    for value in call.node.args:
        if isinstance(value, _MANY):
            yield Finding(
                call.position,
                f"{name} is given {ast.unparse(value)}, and takes what it awaits one by one",
                f"unpack it: {name}(*...)",
            )


def _called_too_soon(subject: Subject, function: FunctionReading, call: Call) -> Iterator[Finding]:
    for value in call.node.args[:1]:
        inner = function.by_node.get(value)
        if inner is not None and len(inner.targets) == 1 and _is_lazy(subject, inner):
            yield Finding(
                call.position,
                f"each is given the call {ast.unparse(value)}, and calls its first argument by itself for each item",
                f"give it the function: each({inner.text}, items), or each(lambda item: ..., items)",
            )


def opaque_call(subject: Subject) -> Iterator[Finding]:
    """A call that may lead to steps, which the compiler could not follow; not if it leads nowhere, as it raises."""
    raising = {finding.position for finding in wrong_arguments(subject)}
    for node in subject.opaque:
        if node.position not in raising:
            yield Finding(
                node.position,
                f"{node.text} cannot be read: {node.reason}",
                "call steps by name from this module, or make it a step itself",
            )


RULES = (
    Rule("unawaited-step", Severity.WARNING, "A step, workflow or helper is called and not awaited.", unawaited_step),
    Rule("wrong-arguments", Severity.WARNING, "A call does not fit what it calls, and would raise.", wrong_arguments),
    Rule("opaque-call", Severity.WARNING, "A call may lead to steps and cannot be followed.", opaque_call),
)
