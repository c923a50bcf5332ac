"""Methods that syntax calls: ``async with``, ``async for`` and ``await`` on objects of known classes."""

import ast
from collections.abc import Iterator
from inspect import getattr_static
from types import FunctionType

from awaitly.compile.objects import describe
from awaitly.compile.reading import FunctionReading
from awaitly.compile.resolve import Resolver
from awaitly.compile.scope import Comprehension
from awaitly.compile.targets import FunctionTarget, Instance, Native

ENTERING = ("__aenter__", "__aexit__")
ITERATING = ("__aiter__", "__anext__")
AWAITING = ("__await__",)


def methods(expression: ast.expr, names: tuple[str, ...], resolve: Resolver) -> list[FunctionTarget]:
    """Return the methods of these names that the class of ``expression`` defines in Python."""
    found: list[FunctionTarget] = []
    for target in resolve(expression):
        cls = (
            target.cls if isinstance(target, Instance) else type(target.value) if isinstance(target, Native) else object
        )
        defined = [method for name in names if type(method := getattr_static(cls, name, None)) is FunctionType]
        if any("__isabstractmethod__" in vars(method) for method in defined):
            return []  # AsyncIterator and the like: what runs is a subclass's
        for method in defined:
            described = describe(method, f"{cls.__name__}.{method.__name__}")
            found += [described] if isinstance(described, FunctionTarget) else []
    return found


def implicit_targets(function: FunctionReading) -> Iterator[FunctionTarget]:
    """Yield every method that the syntax of a function calls."""
    for expression, names in _uses(function):
        yield from methods(expression, names, function.resolve)


def _uses(function: FunctionReading) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    for node in function.walk(ast.AST):
        if isinstance(node, ast.AsyncWith):
            yield from ((item.context_expr, ENTERING) for item in node.items)
        elif isinstance(node, ast.AsyncFor):
            yield node.iter, ITERATING
        elif isinstance(node, ast.Await):
            yield node.value, AWAITING
        elif isinstance(node, Comprehension):
            yield from ((generator.iter, ITERATING) for generator in node.generators if generator.is_async)
