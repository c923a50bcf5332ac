"""Failures: declared where they leave, and caught by the name under which they arrive."""

import ast
import asyncio
from collections.abc import Iterator

from awaitly.compile.escapes import Escape, catcher, covers, declared_by, handler_catcher, is_expected
from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject, calls_in, runs_steps, target_name
from awaitly.compile.targets import FunctionNode, Primitive, StepTarget, WorkflowTarget
from awaitly.errors import AwaitlyError, Failure
from awaitly.model.graph import Position, Severity

# Catching these is never about what a step declares.
_ALLOWED = (Failure, AwaitlyError, asyncio.CancelledError, BaseExceptionGroup)
_HARMLESS = {"builtins.print", "builtins.len", "builtins.str", "builtins.repr", "builtins.isinstance"}
_LOOKUPS = (LookupError, TypeError)


def undeclared_failure(subject: Subject) -> Iterator[Finding]:
    """A declared union that misses a failure which can leave."""
    workflow = subject.reading.workflow
    declared = declared_by(WorkflowTarget(workflow))
    if not declared:
        return
    for escape in _in_order(subject.flow.leaving()):
        if is_expected(escape) and not covers(declared, escape.error):
            yield Finding(
                escape.position,
                f"{_said(escape)}, which workflow {workflow.name} does not declare",
                f"catch it with try/except {'UnwrapError' if escape.plain else escape.text}, or declare it: "
                + _declaration(subject, escape),
            )


def _said(escape: Escape) -> str:
    match escape.source:
        case "raise":
            return f"this raises {escape.text}"
        case "return":
            return f"this returns {escape.text} as the error"
        case _:
            return f"{escape.source} can fail with {escape.text}"


def _declaration(subject: Subject, escape: Escape) -> str:
    declared = subject.reading.workflow.declared.errors
    if escape.plain or not declared:
        return f"-> Result[..., ... | {escape.text}]"
    return f"@workflow(errors=({', '.join(cls.__name__ for cls in declared)}, {escape.text}))"


def _in_order(escapes: frozenset[Escape]) -> list[Escape]:
    return sorted(escapes, key=lambda e: (e.position.file, e.position.line, e.position.column, e.text))


def undeclared_catch(subject: Subject) -> Iterator[Finding]:
    """An except clause for an exception that no step around which it stands declares: it never arrives."""
    for function, node, steps in _tries(subject):
        escapes = subject.flow.block(function, _owner(function, node), node.body)
        for handler in node.handlers:
            caught = handler_catcher(function, handler)
            if not caught.known or any(caught.may_catch(escape) for escape in escapes if not escape.grouped):
                continue
            for cls in caught.classes:
                if not _may_be_foreign(function, node, steps, cls):
                    names = ", ".join(dict.fromkeys(call.text for call in steps))
                    yield Finding(
                        function.position(handler.type or handler),
                        f"{cls.__name__} is caught around {names}, which does not declare it: "
                        "it arrives as UnexpectedError",
                        f"declare it in the step: @step(errors={cls.__name__}), or catch UnexpectedError",
                    )


def _may_be_foreign(function: FunctionReading, node: ast.Try | ast.TryStar, steps: list[Call], cls: type) -> bool:
    """Whether something else in the block may raise the class, or it is one that everybody may catch."""
    if issubclass(cls, _ALLOWED) or not issubclass(cls, Exception) or cls is Exception:
        return True
    if any(isinstance(target, WorkflowTarget) or not call.steps for call in steps for target in call.targets):
        return True
    inside = [inner for statement in node.body for inner in ast.walk(statement)]
    if any(isinstance(inner, ast.Raise) for inner in inside):
        return True
    within = {argument for call in steps for part in _given(call) for argument in ast.walk(part)}
    for call in calls_in(function, *node.body):
        if call in steps or any(target_name(target) in _HARMLESS for target in call.targets):
            continue
        if any(isinstance(t, Primitive) and t.name != "timeout" for t in call.targets):
            continue
        if any(target_name(t).startswith("asyncio.") for t in call.targets) and not issubclass(cls, TimeoutError):
            continue
        # A step's arguments are seldom what a class of a library is caught for.
        if call.node not in within or cls.__module__ == "builtins":
            return True
    partial = (ast.Subscript, ast.BinOp, ast.Attribute)
    return cls.__module__ == "builtins" and any(isinstance(inner, partial) for inner in inside)


def _given(call: Call) -> list[ast.expr]:
    return [*call.node.args, *(keyword.value for keyword in call.node.keywords)]


def broad_except(subject: Subject) -> Iterator[Finding]:
    """``except Exception`` around a step: it hides bugs and outages."""
    for function, node, steps in _tries(subject):
        for handler in node.handlers:
            if handler.type is None or _raises_again(handler):
                continue
            for cls in handler_catcher(function, handler).classes:
                if cls in (Exception, BaseException):
                    yield _broad(function.position(handler.type), f"except {cls.__name__}", steps)
    for function in subject.reading.functions:
        for call in function.calls:
            if any(target_name(target) == "contextlib.suppress" for target in call.targets):
                yield from _suppressed(subject, function, call)


def _suppressed(subject: Subject, function: FunctionReading, call: Call) -> Iterator[Finding]:
    around = function.file.parents.get(function.file.parents.get(call.node, call.node))
    if not isinstance(around, ast.With | ast.AsyncWith):
        return
    steps = [inner for inner in calls_in(function, *around.body) if runs_steps(subject, function, inner)]
    for cls in catcher(function, call.node.args).classes if steps else ():
        if cls in (Exception, BaseException):
            yield _broad(call.position, f"suppress({cls.__name__})", steps)


def _broad(position: Position, what: str, steps: list[Call]) -> Finding:
    return Finding(
        position,
        f"{what} around {steps[0].text} also catches bugs and outages",
        f"catch {_named(steps)}; for whatever else went wrong, UnexpectedError",
    )


def _named(steps: list[Call]) -> str:
    targets = [t for call in steps for t in call.targets if isinstance(t, StepTarget | WorkflowTarget)]
    errors = dict.fromkeys(error for target in targets for error in declared_by(target))
    classes = [error.__name__ for error in errors if isinstance(error, type) and issubclass(error, BaseException)]
    return " and ".join(classes) if classes else "the failures that you expect"


def bare_except(subject: Subject) -> Iterator[Finding]:
    """``except:`` around a step: it swallows cancellation, and the end of the run itself."""
    for function, node, steps in _tries(subject):
        for handler in node.handlers:
            if handler.type is None and not _raises_again(handler):
                yield Finding(
                    function.position(handler),
                    f"except: around {steps[0].text} swallows cancellation and suspension too",
                    f"catch {_named(steps)}, or end the clause with raise",
                )


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise)


def grouped_failure(subject: Subject) -> Iterator[Finding]:
    """A failure that leaves a TaskGroup: it is inside an ExceptionGroup, which nobody declared."""
    for escape in _in_order(subject.flow.leaving()):
        if escape.grouped and issubclass(escape.cls, Exception):
            yield Finding(
                escape.position,
                f"{_said(escape)}, which leaves its TaskGroup inside an ExceptionGroup "
                "and so arrives as UnexpectedError",
                f"use awaitly.gather, which raises it as it is, or catch it with except* {escape.text}",
            )


def _tries(subject: Subject) -> Iterator[tuple[FunctionReading, ast.Try | ast.TryStar, list[Call]]]:
    """Yield every ``try`` with calls in its block that lead to steps."""
    for function in subject.reading.functions:
        for node in function.walk(ast.stmt):
            if isinstance(node, ast.Try | ast.TryStar) and node.handlers:
                calls = calls_in(function, *node.body)
                steps = [call for call in calls if runs_steps(subject, function, call) and not _quiet(call)]
                if steps:
                    yield function, node, steps


def _quiet(call: Call) -> bool:
    return any(isinstance(t, StepTarget) and t.via == "attempt" for t in call.targets)


def _owner(function: FunctionReading, node: ast.AST) -> FunctionNode:
    around = function.file.around(node)
    nearest = (n for n in around if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
    return next(nearest, function.node)


RULES = (
    Rule(
        "undeclared-failure",
        Severity.ERROR,
        "A workflow declares its errors and misses one that can leave it.",
        undeclared_failure,
    ),
    Rule(
        "undeclared-catch",
        Severity.ERROR,
        "An exception is caught around a step that does not declare it, so that it never arrives as itself.",
        undeclared_catch,
    ),
    Rule(
        "broad-except",
        Severity.WARNING,
        "Exception or BaseException is caught around a step.",
        broad_except,
    ),
    Rule(
        "bare-except",
        Severity.WARNING,
        "A bare except around a step swallows cancellation.",
        bare_except,
    ),
    Rule(
        "grouped-failure",
        Severity.WARNING,
        "An expected failure leaves a TaskGroup inside an ExceptionGroup.",
        grouped_failure,
    ),
)
