"""Policies used by hand in a durable body: nobody records what they decide, and another process has other states."""

import ast
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject
from awaitly.compile.targets import FunctionTarget, Instance, Native, Target
from awaitly.model.graph import Severity
from awaitly.policies.breaker import Breaker
from awaitly.policies.cache import Cache
from awaitly.policies.fallback import Fallback
from awaitly.policies.hedge import Hedge
from awaitly.policies.pipeline import Policies
from awaitly.policies.retry import Retry
from awaitly.policies.turns import Limiter

_INSTEAD: Mapping[type, str] = {
    Breaker: "give the step breaker=...; where the body goes another way while the circuit is open, declare"
    " errors=CircuitOpen and catch that, or give the step fallback=...",
    Limiter: "give the step limiter=...: its calls then wait for their turns",
    Retry: "put the retry on the step: @step(retry=...), which records how often it was attempted",
    Hedge: "give the step hedge=...",
    Cache: "give the step cache=...",
    Fallback: "give the step fallback=...",
    Policies: "give the step policies=...",
}
_POLICIES = tuple(_INSTEAD)
_PURE = frozenset({"costing", "over", "given"})  # methods that make or read declarations


def policy_in_body(subject: Subject) -> Iterator[Finding]:
    """A policy that is used, or whose state is read, other than by a step."""
    if not subject.durable:
        return
    for seen in subject.seen_calls():
        kind = _called(seen.function, seen.call)
        if kind is not None and not _is_ours(seen.function.fn):
            yield Finding(seen.position, _message(f"{seen.call.text}()", kind, seen.via), _INSTEAD[kind])
    for function in subject.reading.functions:
        for block in function.walk(ast.AsyncWith):
            for item in block.items:
                kind = _kind_of(function, item.context_expr)
                if kind is not None:
                    text = f"async with {ast.unparse(item.context_expr)}"
                    yield Finding(function.position(item.context_expr), _message(text, kind), _INSTEAD[kind])


def _message(text: str, kind: type, via: str = "") -> str:
    used = f"{text} in a durable body uses a {kind.__name__} by hand"
    return f"{used}, which is not recorded: a replay may go another way{via}"


def _called(function: FunctionReading, call: Call) -> type | None:
    """Return the kind of policy that a call uses: by a method, by calling it, or by calling what it was put around."""
    callee = call.node.func
    if isinstance(callee, ast.Attribute):
        kind = None if callee.attr in _PURE else _kind_of(function, callee.value)
        if kind is not None:
            return kind
    around = (_wrapping(target) for target in call.targets)
    return _kind_of(function, callee) or next((kind for kind in around if kind is not None), None)


def _kind_of(function: FunctionReading, expression: ast.expr) -> type | None:
    """Return the kind of policy that an expression is, if it is one."""
    found = (_kind(_class_of(target)) for target in function.resolve(expression))
    return next((kind for kind in found if kind is not None), None)


def _class_of(target: Target) -> type:
    match target:
        case Instance(cls=cls):
            return cls
        case Native(value=value):
            return type(value)
        case _:
            return object


def _kind(cls: type) -> type | None:
    return next((kind for kind in _POLICIES if issubclass(cls, kind)), None)


def _wrapping(target: Target) -> type | None:
    """Return the kind of policy that a function was decorated with."""
    fn: Any = target.fn if isinstance(target, FunctionTarget) else None
    if fn is None or not _is_ours(fn):
        return None
    found = (_kind(type(cell.cell_contents)) for cell in fn.__closure__ or ())
    return next((kind for kind in found if kind is not None), None)


def _is_ours(fn: FunctionType) -> bool:
    """Whether a function is written among the policies: what they put around another has the other's names."""
    return str(fn.__globals__.get("__name__")).startswith("awaitly.policies.")


RULES = (
    Rule(
        "policy-in-body",
        Severity.ERROR,
        "A durable body uses a policy by hand, or reads its state.",
        policy_in_body,
    ),
)
