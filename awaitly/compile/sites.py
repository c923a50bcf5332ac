"""The call sites of a program: from the positions of CPython's instructions to structural labels."""

import ast
from collections.abc import Iterator
from types import CodeType

from awaitly.compile.calls import callee_text
from awaitly.compile.reading import FunctionReading
from awaitly.compile.scope import Comprehension
from awaitly.compile.source import nested_codes
from awaitly.model.program import Site, Sites

Span = tuple[int, int, int, int]  # line, column, end line, end column


def code_table(function: FunctionReading) -> Iterator[tuple[int, tuple[CodeType, Sites]]]:
    """Yield the sites of a function for its code and for all code nested in it, by ``id(code)``."""
    sites = sites_of(function)
    for code in nested_codes(function.code):
        yield id(code), (code, sites)


def sites_of(function: FunctionReading) -> Sites:
    """Return the call sites of a function, nested functions included."""
    by_end: dict[tuple[int, int], Site] = {}
    by_line: dict[int, list[Site]] = {}
    for call in function.calls:
        site = Site(call.label, str(call.position))
        by_end.setdefault((call.position.end_line, call.position.end_column), site)
        by_line.setdefault(_line(call.node), []).append(site)
    by_span: dict[Span, Site] = {}
    for node, label in _implicit(function):
        place = function.position(node)
        site = Site(label, str(place))
        by_span[place.line, place.column, place.end_line, place.end_column] = site
        by_end.setdefault((place.end_line, place.end_column), site)
        if isinstance(node, ast.Await):
            by_line.setdefault(place.line, []).append(site)
    return Sites(by_end, {line: tuple(sites) for line, sites in by_line.items()}, by_span)


def labels_of(function: FunctionReading) -> dict[str, str]:
    """Return every label of a function, with what is called there: a step, a workflow, or another callee.

    Where it depends on what happens at run time, all that may be called, separated by ``|``.
    """
    labels = {}
    for call in function.calls:
        names = [step.step.name for step in call.steps] + [child.workflow.name for child in call.workflows]
        labels[call.label] = "|".join(names) or call.text
    for node, label in _implicit(function):
        labels.setdefault(label, ast.unparse(_subject(node)))
    return labels


def _line(call: ast.Call) -> int:
    """Return the line that a call instruction has: of a method chain over several lines, the method's."""
    callee = call.func
    if isinstance(callee, ast.Attribute) and callee.end_lineno and callee.lineno != callee.end_lineno:
        return callee.end_lineno
    return call.lineno


def _implicit(function: FunctionReading) -> Iterator[tuple[ast.AST, str]]:
    """Yield what may call something without being a call: awaits, loops, managers, unpacking.

    CPython gives these instructions the span of the whole statement or, from 3.13 on, of the iterable or manager.
    Where that is a call, its label serves for both.
    """
    counts: dict[str, int] = {}
    for node, subject in _ordered(function):
        call = function.by_node.get(subject)
        if call is not None:
            yield node, call.label
            continue
        base = f"{_keyword(node)} {callee_text(subject)}"
        number = counts[base] = counts.get(base, -1) + 1
        label = f"{function.prefix}{base}#{number}"
        yield node, label
        if not isinstance(node, ast.Await):
            yield subject, label


def _ordered(function: FunctionReading) -> list[tuple[ast.AST, ast.expr]]:
    found = [(node, _subject(node)) for kind in _KINDS for node in function.walk(kind) if _calls_something(node)]
    for assignment in function.walk(ast.Assign):
        # Unpacking iterates, and has the span of the names.
        targets = [target for target in assignment.targets if isinstance(target, ast.Tuple | ast.List)]
        if isinstance(assignment.value, ast.Call):
            found += [(target, assignment.value) for target in targets]
    return sorted(found, key=lambda pair: (pair[1].lineno, pair[1].col_offset, pair[1].end_lineno or 0))


def _calls_something(node: ast.AST) -> bool:
    match node:
        case ast.Await(value=value):
            return not isinstance(value, ast.Call)  # the same end as the call's
        case ast.For(iter=over):
            return not isinstance(over, _PLAIN)
        case ast.List(elts=parts) | ast.Set(elts=parts) | ast.Tuple(elts=parts):
            return any(isinstance(part, ast.Starred) for part in parts) and isinstance(_subject(node), ast.Call)
    if isinstance(node, Comprehension) and not node.generators[0].is_async:
        return not isinstance(node.generators[0].iter, _PLAIN)
    return True


def _subject(node: ast.AST) -> ast.expr:
    """Return the expression that the implicit call is made on."""
    match node:
        case ast.Await(value=value):
            return value
        case ast.For(iter=over) | ast.AsyncFor(iter=over):
            return over
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return items[0].context_expr
        case ast.List(elts=parts) | ast.Set(elts=parts) | ast.Tuple(elts=parts):
            return next((part.value for part in parts if isinstance(part, ast.Starred)), parts[0])
    if isinstance(node, Comprehension):
        return node.generators[0].iter
    assert isinstance(node, ast.expr)
    return node


def _keyword(node: ast.AST) -> str:
    match node:
        case ast.Await():
            return "await"
        case ast.AsyncFor():
            return "async for"
        case ast.AsyncWith():
            return "async with"
        case ast.With():
            return "with"
        case _:
            return "for"


_PLAIN = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict)  # iterating these calls nothing
_KINDS: tuple[type[ast.AST], ...] = (
    ast.Await,
    ast.For,
    ast.AsyncFor,
    ast.With,
    ast.AsyncWith,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.List,
    ast.Set,
    ast.Tuple,
)
