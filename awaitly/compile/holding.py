"""Names that hold coroutines: ``tasks = [charge(o) for o in orders]`` fails where ``tasks`` is awaited."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

_ADDING = {"append", "appendleft", "add", "insert", "extend"}
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(slots=True, eq=False)
class Holding:
    """What the names of one function are given, and which of them are awaited."""

    values: dict[str, list[ast.expr]] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)
    _passed_on: dict[ast.expr, frozenset[str]] = field(default_factory=dict)

    def later(self, node: ast.AST) -> bool:
        """Whether ``node`` only puts coroutines away, under names that are awaited elsewhere."""
        names = [name for name, _ in _given(node)]
        return bool(names) and all(name in self.awaited for name in names)

    def reached(self, awaited: ast.expr) -> set[str]:
        """Return the names whose coroutines are awaited with an expression: its own, and those they were made of."""
        found = _loaded(awaited)
        pending = list(found)
        while pending:
            for value in self.values.get(pending.pop(), ()):
                if value not in self._passed_on:
                    self._passed_on[value] = frozenset(_passed_on(value))
                fresh = self._passed_on[value] - found
                found |= fresh
                pending += fresh
        return found


def holding(function: ast.AST) -> Holding:
    """Read what the names of a function hold; nested functions have names of their own."""
    found = Holding()
    for node in own_nodes(function):
        for name, value in _given(node):
            found.values.setdefault(name, []).append(value)
        if isinstance(node, ast.Await):
            found.awaited.update(_loaded(node))
    reached = list(found.awaited)
    while reached:
        for value in found.values.get(reached.pop(), ()):
            fresh = _loaded(value) - found.awaited
            found.awaited |= fresh
            reached += fresh
    return found


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function but for those of functions nested in it."""
    body: list[ast.AST] | ast.AST = function.body if hasattr(function, "body") else []
    pending = list(body) if isinstance(body, list) else [body]
    while pending:
        node = pending.pop()
        if isinstance(node, _NESTED):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in _stored(target))
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
            yield from ((name, value) for name in _stored(target))
        case ast.AugAssign(target=target, value=value):
            yield from ((name, value) for name in _stored(target))
        case ast.For(target=target, iter=over) | ast.AsyncFor(target=target, iter=over):
            yield from ((name, over) for name in _stored(target))
        case ast.comprehension(target=target, iter=over):
            yield from ((name, over) for name in _stored(target))
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method), args=args)):
            if method in _ADDING:
                yield from ((name, argument) for argument in args)


def _stored(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) | ast.Starred(value=ast.Name(id=name)):
            yield name
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from _stored(element)


def _passed_on(node: ast.AST) -> Iterator[str]:
    """Yield the names that an expression uses without awaiting them."""
    if isinstance(node, ast.Name):
        yield node.id
    if not isinstance(node, ast.Await | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _passed_on(child)


def _loaded(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}
