"""Failures: declared where they leave, and caught by the name under which they arrive."""

import ast
import asyncio
from collections.abc import Iterator, Sequence

from awaitly.compile.escapes import Escape, covers, declared_by, failing_with, is_expected
from awaitly.compile.reading import Call
from awaitly.compile.rules.catching import Guarded, guarded_blocks
from awaitly.compile.rules.rule import Finding, Rule, Subject, calls_in, target_name
from awaitly.compile.signatures import typed_signature
from awaitly.compile.targets import Primitive, StepTarget, WorkflowTarget
from awaitly.errors import AwaitlyError, CircuitOpen, Failure, LimitReached, StepDeadline, StepTimeout
from awaitly.model.graph import Severity

# Catching these is never about what a step declares.
_ALLOWED = (Failure, AwaitlyError, asyncio.CancelledError, BaseExceptionGroup)
_OF_POLICIES = (StepTimeout, StepDeadline, CircuitOpen, LimitReached)  # but for these, which steps may declare
_HARMLESS = {"builtins.print", "builtins.len", "builtins.str", "builtins.repr", "builtins.isinstance"}
_PARTIAL = (ast.Subscript, ast.BinOp, ast.Attribute)  # what may raise without being called


def undeclared_failure(subject: Subject) -> Iterator[Finding]:
    """A declared union that misses a failure which can leave."""
    workflow = subject.reading.workflow
    declared = declared_by(WorkflowTarget(workflow))
    if not declared and not typed_signature(workflow.fn).returns.is_result:
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
    """A class that is caught and that no step in the block declares: it never arrives."""
    for block in guarded_blocks(subject):
        escapes = [escape for escape in block.escapes(subject) if not escape.grouped]
        for clause in block.clauses:
            if not clause.catches.known or any(clause.catches.may_catch(escape) for escape in escapes):
                continue
            for cls in clause.catches.classes:
                if not _may_be_foreign(block, cls):
                    names = ", ".join(dict.fromkeys(call.text for call in block.steps))
                    yield Finding(
                        clause.position,
                        f"{cls.__name__} is caught around {names}, which does not declare it: "
                        "it arrives as UnexpectedError",
                        f"declare it in the step: @step(errors={cls.__name__}), or catch UnexpectedError",
                    )


def _may_be_foreign(block: Guarded, cls: type) -> bool:
    """Whether something else in the block may raise the class, or it is one that everybody may catch."""
    allowed = issubclass(cls, _ALLOWED) and cls not in _OF_POLICIES
    if allowed or not issubclass(cls, Exception) or cls is Exception:
        return True
    if any(call.workflows or not (call.steps or isinstance(call.target, Primitive)) for call in block.steps):
        return True
    inside = [inner for statement in block.body for inner in ast.walk(statement)]
    if any(isinstance(inner, ast.Raise) for inner in inside):
        return True
    within = {node for call in block.steps for part in _given(call) for node in ast.walk(part)}
    for call in calls_in(block.function, *block.body):
        # A step's arguments are seldom what a class of a library is caught for.
        foreign = call.node not in within or cls.__module__ == "builtins"
        if foreign and call not in block.steps and not _is_harmless(call, cls):
            return True
    return cls.__module__ == "builtins" and any(isinstance(inner, _PARTIAL) for inner in inside)


def _is_harmless(call: Call, cls: type) -> bool:
    """Whether a call raises nothing of its own that a class could be meant for."""
    for target in call.targets:
        name = target.name if isinstance(target, Primitive) else target_name(target)
        if isinstance(target, Primitive):
            return name != "timeout" or not issubclass(cls, TimeoutError)
        if name in _HARMLESS or (name.startswith("asyncio.") and not issubclass(cls, TimeoutError)):
            return True
    return False


def _given(call: Call) -> list[ast.expr]:
    return [*call.node.args, *(keyword.value for keyword in call.node.keywords)]


def broad_except(subject: Subject) -> Iterator[Finding]:
    """``except Exception`` around a step: it hides bugs and outages."""
    for block in guarded_blocks(subject):
        for clause in block.clauses:
            for cls in clause.catches.classes:
                if cls in (Exception, BaseException) and not clause.bare and not clause.raises_again:
                    yield Finding(
                        clause.position,
                        f"{clause.text} {cls.__name__} around {block.steps[0].text} also catches bugs and outages",
                        f"catch {_named(block.steps)}; for whatever else went wrong, UnexpectedError",
                    )


def _named(steps: Sequence[Call]) -> str:
    targets = [t for call in steps for t in call.targets if isinstance(t, StepTarget | WorkflowTarget)]
    errors = dict.fromkeys(error for target in targets for error in failing_with(target))
    classes = [error.__name__ for error in errors if isinstance(error, type) and issubclass(error, BaseException)]
    return " and ".join(classes) if classes else "the failures that you expect"


def bare_except(subject: Subject) -> Iterator[Finding]:
    """``except:`` around a step: it swallows cancellation, and the end of the run itself."""
    for block in guarded_blocks(subject):
        for clause in block.clauses:
            if clause.bare and not clause.raises_again:
                yield Finding(
                    clause.position,
                    f"except: around {block.steps[0].text} swallows cancellation and suspension too",
                    f"catch {_named(block.steps)}, or end the clause with raise",
                )


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
