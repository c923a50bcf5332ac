"""What reading cannot see through, and why: the reasons of opaque nodes."""

import ast
from collections.abc import Iterator

from awaitly.compile.calls import mentions_steps
from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.resolve import Resolver
from awaitly.compile.scope import Assigned, Looped, Managed, Parameter
from awaitly.compile.targets import FunctionTarget, Instance, Native, Partial, Target, Unresolved


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


def _unknown(expression: ast.AST, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    if expression in seen:
        return
    seen.add(expression)
    match expression:
        case ast.Call():
            call = function.by_node.get(expression)
            if call is None or (seen == {expression}):
                return
            for target in call.targets:
                if not isinstance(target, Unresolved):
                    continue
                if isinstance(call.node.func, ast.Attribute):  # tasks.pop(): what is in tasks decides
                    yield from _unknown(call.node.func.value, function, seen)
                else:
                    yield target.reason
        case ast.Name():
            yield from _unknown_name(expression, function, seen)
        case ast.Attribute() if not isinstance(expression.ctx, ast.Load):
            return
        case ast.Attribute(value=value):
            for target in function.resolve(expression):
                if isinstance(target, Unresolved):
                    yield target.reason
            yield from _unknown(value, function, seen)
        case ast.Lambda() | ast.Compare() | ast.JoinedStr() | ast.Await():
            return  # not an awaitable, or one that is judged where it is awaited
        case _:
            for child in ast.iter_child_nodes(expression):
                yield from _unknown(child, function, seen)


def _unknown_name(name: ast.Name, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    resolver = function.resolve
    assert isinstance(resolver, Resolver)
    bindings = resolver.bindings(name)
    if bindings is None:
        for target in resolver(name):
            if isinstance(target, Unresolved):
                yield target.reason
            elif isinstance(target, Native) and not isinstance(target.value, type):
                yield f"{name.id} was made outside of the workflow"
        return
    for binding in bindings:
        match binding:
            case Parameter():
                known = all(isinstance(target, Instance) for target in resolver(name))
                if not known or function.prefix:
                    yield f"{name.id} is a parameter"
            case Assigned(value=inner) | Looped(over=inner) | Managed(manager=inner):
                yield from _unknown(inner, function, seen)
            case _:
                continue
