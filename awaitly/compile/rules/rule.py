"""What a rule is: a code, how strong it is, and a function that finds places."""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from awaitly.compile.bindings import Bound
from awaitly.compile.budget import NOTHING, Budget
from awaitly.compile.errors_flow import ErrorFlow
from awaitly.compile.reading import Call, FunctionReading, Reading
from awaitly.compile.targets import FunctionTarget, Instance, LocalFunction, Native, Target
from awaitly.model.graph import Diagnostic, OpaqueNode, Position, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that a rule objects to."""

    position: Position | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A call that a body makes, by itself or by way of a helper without steps."""

    call: Call
    function: FunctionReading  # that makes it
    position: Position  # in the body
    via: str = ""  # how messages name the way: " (in helper, orders.py:12)"


@dataclass(frozen=True, eq=False)
class Subject:
    """What rules look at: one workflow as read, bound, and followed by the error flow."""

    reading: Reading
    bound: Bound
    opaque: tuple[OpaqueNode, ...] = ()
    budget: Budget = NOTHING

    @cached_property
    def flow(self) -> ErrorFlow:
        """The error flow of the workflow."""
        return ErrorFlow(self.reading)

    @property
    def durable(self) -> bool:
        """Whether runs are replayed, and so have to go the same way again."""
        return self.reading.workflow.declared.durable

    def calls(self) -> Iterator[tuple[FunctionReading, Call]]:
        """Yield every call of the body and of its helpers."""
        for function in self.reading.functions:
            for call in function.calls:
                yield function, call

    def seen_calls(self) -> Iterator[Seen]:
        """Yield every call of the body and of its helpers, those included that contain no steps."""
        for function, call in self.calls():
            yield Seen(call, function, call.position)
            for helper in self._plain_helpers(call):
                for inner in helper.calls:
                    yield Seen(inner, helper, call.position, f" (in {helper.fn.__qualname__}, {inner.position})")

    def _plain_helpers(self, call: Call) -> list[FunctionReading]:
        """Return the helpers of the same package, without steps, that a call reaches."""
        found: list[FunctionReading] = []
        pending = [call]
        while pending:
            for target in pending.pop().targets:
                helper = self.flow.helper(target.fn) if isinstance(target, FunctionTarget) else None
                if helper and helper not in found and helper not in self.reading.functions:
                    found.append(helper)
                    pending += helper.calls
        return found


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that the compiler objects to."""

    code: str
    severity: Severity
    summary: str
    find: Callable[[Subject], Iterable[Finding]]

    def check(self, subject: Subject) -> Iterator[Diagnostic]:
        """Yield a diagnostic for each finding."""
        yield from map(self.diagnostic, self.find(subject))

    def diagnostic(self, finding: Finding) -> Diagnostic:
        """Return the diagnostic of a finding."""
        return Diagnostic(
            code=self.code,
            severity=self.severity,
            message=finding.message,
            hint=finding.hint,
            position=finding.position,
        )


def target_name(target: Target) -> str:
    """Return the dotted name of a function, a class or what else is known; "" for what has none."""
    match target:
        case Native(name=name) | FunctionTarget(name=name):
            module, _, rest = name.partition(".")
            return f"os.{rest}" if module in ("posix", "nt") else name
        case _:
            return ""


def under(name: str, prefixes: Iterable[str]) -> str | None:
    """Return the longest of ``prefixes`` that ``name`` is, or is inside of."""
    found = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}.")]
    return max(found, key=len, default=None)


def runs_steps(subject: Subject, function: FunctionReading, call: Call) -> bool:
    """Whether a call leads to steps, children or waits: by itself, by a helper, or by a function handed over."""
    if call.steps or call.workflows:
        return True
    handed = (
        target
        for argument in call.node.args
        if isinstance(argument, ast.Name | ast.Attribute | ast.Lambda)
        for target in function.resolve(argument)
    )
    return any(_leads(subject, target) for target in (*call.targets, *handed))


def _leads(subject: Subject, target: Target) -> bool:
    match target:
        case FunctionTarget(fn=fn):
            return subject.reading.function_of(fn) is not None
        case LocalFunction(node=node):
            owner = next((f for f in subject.reading.functions if node in f.walk(type(node))), None)
            return owner is not None and any(call.steps or call.workflows for call in calls_in(owner, node))
        case _:
            return type(target).__name__ in ("StepTarget", "WorkflowTarget")


def calls_in(function: FunctionReading, *nodes: ast.AST) -> Iterator[Call]:
    """Yield the calls inside some nodes of a function."""
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call) and inner in function.by_node:
                yield function.by_node[inner]


def is_instance(function: FunctionReading, expression: ast.expr, classes: tuple[type, ...]) -> bool:
    """Whether an expression is known to be of one of some classes."""
    return any(isinstance(t, Instance) and issubclass(t.cls, classes) for t in function.resolve(expression))
