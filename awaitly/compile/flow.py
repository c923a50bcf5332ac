"""Where the arguments of a step come from: parameters, results of other calls, literals."""

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.scope import Assigned, Looped, Managed, Parameter
from awaitly.compile.targets import FunctionTarget, LocalFunction, Native, Primitive
from awaitly.model.graph import Argument

_IN_ORDER = {"gather", "asyncio.gather", "settle"}


def arguments_of(call: Call, function: FunctionReading, parameters: list[str]) -> tuple[Argument, ...]:
    """Return the arguments of a call, named after ``parameters`` where they are given by position."""
    found = []
    for index, value in enumerate(call.node.args):
        starred = isinstance(value, ast.Starred)
        name = f"*{index}" if starred else parameters[index] if index < len(parameters) else str(index)
        found.append(Argument(name=name, text=ast.unparse(value), sources=sources_of(value, function)))
    for keyword in call.node.keywords:
        name = keyword.arg or "**"
        found.append(Argument(name=name, text=ast.unparse(keyword.value), sources=sources_of(keyword.value, function)))
    return tuple(found)


def parameters_of(fn: Any) -> list[str]:
    """Return the names of the parameters that ``fn`` takes by position."""
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(fn).parameters.items() if one.kind in by_position]


def sources_of(expression: ast.expr, function: FunctionReading) -> tuple[str, ...]:
    """Return the parameters, labels of calls, and literals that flow into ``expression``, in order."""
    return tuple(dict.fromkeys(_sources(expression, function, set())))


def _sources(node: ast.AST, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    if node in seen:
        return
    seen.add(node)
    match node:
        case ast.Constant(value=value):
            yield repr(value)
        case ast.Name(ctx=ast.Load()):
            yield from _of_name(node, function, seen)
        case ast.Call():
            yield from _of_call(node, function, seen)
        case ast.Lambda():
            return
        case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item):
            yield from _sources(item, function, seen)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _sources(child, function, seen)


def _of_name(name: ast.Name, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    for binding in function.resolve.bindings(name) or ():
        match binding:
            case Parameter(node=node):
                yield node.arg
            case Assigned(value=value, path=path):
                yield from _sources(_part(value, path, function), function, seen)
            case Looped(over=inner) | Managed(manager=inner):
                yield from _sources(inner, function, seen)
            case _:
                continue


def _part(value: ast.expr, path: tuple[int | None, ...], function: FunctionReading) -> ast.expr:
    """Return the part of ``value`` that ``path`` leads to, through literals and through what gather awaits."""
    for index in path:
        inner = value.value if isinstance(value, ast.Await) else value
        parts: list[ast.expr] = []
        if isinstance(inner, ast.Tuple | ast.List):
            parts = inner.elts
        elif isinstance(inner, ast.Call) and _gathers(inner, function):
            parts = inner.args
        if index is None or index >= len(parts) or any(isinstance(part, ast.Starred) for part in parts[: index + 1]):
            return value
        value = parts[index]
    return value


def _gathers(node: ast.Call, function: FunctionReading) -> bool:
    call = function.by_node.get(node)
    return call is not None and any(
        isinstance(target, Primitive | FunctionTarget) and target.name in _IN_ORDER for target in call.targets
    )


def _of_call(node: ast.Call, function: FunctionReading, seen: set[ast.AST]) -> Iterator[str]:
    call = function.by_node.get(node)
    if call is None:
        return
    if call.steps or call.workflows:
        yield call.label
        return
    read = any(isinstance(target, FunctionTarget | LocalFunction) for target in call.targets)
    if read and call.usage == "awaited" and not _gathers(node, function):
        yield call.label
        return
    if isinstance(node.func, ast.Attribute) and not any(isinstance(target, Native) for target in call.targets):
        yield from _sources(node.func.value, function, seen)
    for argument in node.args:
        yield from _sources(argument, function, seen)
    for keyword in node.keywords:
        yield from _sources(keyword.value, function, seen)
