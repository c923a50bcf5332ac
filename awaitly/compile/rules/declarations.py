"""What a decorator was given has to fit its function, and every value that is stored has to come back the same."""

import ast
from collections.abc import Callable, Iterator

from awaitly.compile import places
from awaitly.compile.keys import KeyTemplate
from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject
from awaitly.compile.targets import StepTarget
from awaitly.declare.step import Step
from awaitly.model.graph import Severity


def _bound(code: str) -> Callable[[Subject], Iterator[Finding]]:
    """Return a rule about what could not be bound."""

    def find(subject: Subject) -> Iterator[Finding]:
        """What could not be bound, for one reason."""
        for problem in subject.bound.problems:
            if problem.code == code and (subject.durable or not problem.when_stored):
                yield Finding(problem.position, problem.message, problem.hint)

    return find


def duplicate_step_name(subject: Subject) -> Iterator[Finding]:
    """Two steps of one name: what the journal has of one would be taken for the other's."""
    for name, steps in subject.reading.steps.items():
        for other in steps[1:]:
            where = [places.definition(step.fn) for step in (steps[0], other)]
            yield Finding(
                where[1],
                f"two steps are named {name!r}: one at {where[0]}, one at {where[1]}",
                f'give one of them a name of its own: @step(name="{name}_2")',
            )


def key_does_not_vary(subject: Subject) -> Iterator[Finding]:
    """A keyed step in a loop that calls it with the same key every time: it runs once."""
    for function, call in subject.calls():
        for target in call.targets:
            if not isinstance(target, StepTarget) or target.via == "fn" or not call.loops:
                continue
            bound = subject.bound.steps.get(target.step.name)
            template = bound.template if bound else None
            if template is not None and not _varies(function, call, target.step, template):
                yield Finding(
                    call.position,
                    f"{target.step.name} has the key {template.text!r}, which is the same in every round of this loop, "
                    "so that it runs once",
                    "put what the loop changes into the key, or call it before the loop",
                )


def _varies(function: FunctionReading, call: Call, step: Step[..., object, object], template: KeyTemplate) -> bool:
    given = _arguments(call, step)
    if given is None:
        return True
    read = [given[name] for name in template.parameters if name in given]
    if any(isinstance(node, ast.Call | ast.Await) for argument in read for node in ast.walk(argument)):
        return True
    used = {node.id for argument in read for node in ast.walk(argument) if isinstance(node, ast.Name)}
    return bool(used & _changed(call.loops[0]))


def _arguments(call: Call, step: Step[..., object, object]) -> dict[str, ast.expr] | None:
    """Return the argument expressions of a call by parameter; None if they are packed."""
    node = call.node
    if any(isinstance(argument, ast.Starred) for argument in node.args) or any(k.arg is None for k in node.keywords):
        return None
    code = step.fn.__code__
    given = dict(zip(code.co_varnames, node.args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}


def _changed(loop: ast.AST) -> set[str]:
    """Return the names that a loop binds or changes, by a method of theirs too."""
    stored = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(loop):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                stored.add(name)
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()):
                stored.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()):
                stored.add(name)
    return stored


RULES = (
    Rule(
        "bad-key-template",
        Severity.ERROR,
        "A key names something that its function's arguments do not have.",
        _bound("bad-key-template"),
    ),
    Rule(
        "duplicate-step-name",
        Severity.ERROR,
        "Two steps of one workflow have the same name.",
        duplicate_step_name,
    ),
    Rule(
        "unstorable-type",
        Severity.ERROR,
        "A result or an error is of a type that cannot be stored and restored.",
        _bound("unstorable-type"),
    ),
    Rule(
        "unstorable-argument",
        Severity.ERROR,
        "An argument is of a type that cannot be stored or compared.",
        _bound("unstorable-argument"),
    ),
    Rule(
        "unresolved-annotation",
        Severity.ERROR,
        "An annotation names something that does not exist when the workflow is compiled.",
        _bound("unresolved-annotation"),
    ),
    Rule(
        "mixed-result",
        Severity.ERROR,
        "A function is annotated to return a Result or something else.",
        _bound("mixed-result"),
    ),
    Rule(
        "unknown-parameter",
        Severity.ERROR,
        "An option names a parameter that the function does not have.",
        _bound("unknown-parameter"),
    ),
    Rule(
        "unsafe-policy",
        Severity.ERROR,
        "A policy would make a step's effect happen twice, not at all, or before what led to it is stored.",
        _bound("unsafe-policy"),
    ),
    Rule(
        "bad-fallback",
        Severity.ERROR,
        "A fallback does not take the arguments of its step.",
        _bound("bad-fallback"),
    ),
    Rule(
        "bad-variant",
        Severity.ERROR,
        "A variant has another signature than the step that it stands in for.",
        _bound("bad-variant"),
    ),
    Rule(
        "key-does-not-vary",
        Severity.WARNING,
        "A keyed step in a loop has the same key in every round.",
        key_does_not_vary,
    ),
)
