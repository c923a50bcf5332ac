"""What reading cannot see through, and why: the reasons of opaque nodes."""

import ast
from collections.abc import Iterator

from awaitly.compile.calls import mentions_steps
from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.scope import Assigned, Looped, Managed, Parameter
from awaitly.compile.targets import FunctionTarget, Native, Partial, Target, Unresolved


def hidden(call: Call, function: FunctionReading, *, entered: bool = False) -> str | None:
    """Return why ``call`` may hide steps, or None; ``entered``: it is awaited by ``async with`` or ``async for``.

    A plain call on a value, whose result nobody awaits, is taken for ordinary computation.
    """
    for target in call.targets:
        reason = _reason(target)
        if reason and isinstance(target, Unresolved):
            consumed = entered or call.usage in ("awaited", "spawned")
            bare = isinstance(call.node.func, ast.Name) and function.prefix == "" and call.inside is function.node
            reason = reason if consumed or bare else None
        if reason:
            return reason
    return None


def _reason(target: Target) -> str | None:
    match target:
        case Partial(inner=inner):
            return _reason(inner)
        case Unresolved(reason=reason):
            return reason
        case FunctionTarget():
            return hidden_function(target)
        case _:
            return None


def hidden_function(target: FunctionTarget) -> str | None:
    """Return why calling a function that was not followed may run steps, or None."""
    if target.name.startswith("awaitly.") or not mentions_steps(target.fn):
        return None
    return f"{target.name} calls steps, but is not read: it is in another package, or has no source"


def awaits_unknown(function: FunctionReading) -> bool:
    """Whether the function awaits something that is neither a call nor made by calls that were read."""
    return any(unknown_awaitable(node.value, function) for node in function.walk(ast.Await))


def unknown_awaitable(expression: ast.expr, function: FunctionReading) -> str | None:
    """Return why awaiting ``expression`` may run steps that were not seen, or None.

    Calls inside it are judged by themselves; what matters here is what reaches it through names.
    """
    return next(_unknown(expression, function, set()), None)


def _unknown(expression: ast.expr, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    if expression in seen:
        return
    seen.add(expression)
    match expression:
        case ast.Call() if len(seen) > 1:
            yield from _unknown_result(expression, function, seen)
        case ast.Name():
            yield from _unknown_name(expression, function, seen)
        case ast.Attribute(value=value):
            reasons = [target.reason for target in function.resolve(expression) if isinstance(target, Unresolved)]
            yield from reasons or _unknown(value, function, seen)
        case _:
            for part in _handed_on(expression):
                yield from _unknown(part, function, seen)


def _handed_on(expression: ast.expr) -> list[ast.expr]:
    """Return the parts of an expression that may be, or may contain, the awaitable."""
    match expression:
        case ast.ListComp(elt=value) | ast.SetComp(elt=value) | ast.GeneratorExp(elt=value) | ast.DictComp(value=value):
            return [value]
        case ast.Starred(value=value) | ast.NamedExpr(value=value) | ast.Subscript(value=value):
            return [value]
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.BoolOp(values=parts) | ast.Dict(values=parts):
            return parts
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return parts
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case _:
            return []


def _unknown_result(node: ast.Call, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    call = function.by_node.get(node)
    for target in call.targets if call else ():
        if not isinstance(target, Unresolved):
            continue
        if isinstance(node.func, ast.Attribute):  # tasks.pop(): what is in tasks decides
            yield from _unknown(node.func.value, function, seen)
        else:
            yield target.reason


def _unknown_name(name: ast.Name, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    bindings = function.resolve.bindings(name)
    if bindings is None:
        for target in function.resolve(name):
            if isinstance(target, Unresolved):
                yield target.reason
            elif isinstance(target, Native) and not isinstance(target.value, type):
                yield f"{name.id} was made outside of the workflow"
        return
    for binding in bindings:
        match binding:
            case Parameter():
                yield f"{name.id} is a parameter"
            case Assigned(value=inner) | Looped(over=inner) | Managed(manager=inner):
                yield from _unknown(inner, function, seen)
            case _:
                continue
