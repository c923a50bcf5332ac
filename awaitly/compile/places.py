"""Where in the source a part of a declaration is, for messages; without source, where its function is."""

import ast
from collections.abc import Callable
from inspect import unwrap
from types import FunctionType
from typing import Any, cast

from awaitly.compile.source import FunctionSource, source_of
from awaitly.errors import CompileError
from awaitly.model.graph import Position


def definition(fn: Callable[..., Any]) -> Position:
    """Return the line of the first decorator of ``fn``, or else its own."""
    inner = unwrap(fn)
    code = (inner if isinstance(inner, FunctionType) else cast(FunctionType, fn)).__code__
    line = code.co_firstlineno
    return Position(file=code.co_filename, line=line, column=0, end_line=line, end_column=0)


def parameter(fn: Callable[..., Any], name: str) -> Position:
    """Return where a parameter is; "return" is the annotation of the result."""
    source = _source(fn)
    if source is None:
        return definition(fn)
    if name == "return":
        return _at(source, getattr(source.node, "returns", None))
    arguments = (node for node in ast.walk(source.node.args) if isinstance(node, ast.arg))
    return _at(source, next((node for node in arguments if node.arg == name), None))


def option(fn: Callable[..., Any], name: str) -> Position:
    """Return where an option of the decorator of ``fn`` is."""
    source = _source(fn)
    if source is None:
        return definition(fn)
    decorators = getattr(source.node, "decorator_list", [])
    given = (keyword for call in decorators if isinstance(call, ast.Call) for keyword in call.keywords)
    return _at(source, next((keyword for keyword in given if keyword.arg == name), None))


def _source(fn: Any) -> FunctionSource | None:
    try:
        return source_of(fn)
    except CompileError:
        return None


def _at(source: FunctionSource, node: ast.AST | None) -> Position:
    return source.file.position(node) if node is not None else definition(source.fn)
