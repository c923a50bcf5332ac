"""Which names a function body binds, where, and to what: lexical scopes over the AST."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from awaitly.compile.targets import FunctionNode

Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the function around it."""

    node: ast.arg


@dataclass(frozen=True, slots=True)
class Assigned:
    """``name = value``; ``path`` leads into a value that is unpacked, None in it for a starred place."""

    value: ast.expr
    path: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Defined:
    """A ``def`` in the body."""

    node: ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Imported:
    """An import in the body; ``attribute`` for ``from module import attribute``."""

    module: str
    attribute: str | None
    level: int = 0


@dataclass(frozen=True, slots=True)
class Looped:
    """An item of what a loop or comprehension goes over."""

    over: ast.expr
    path: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Managed:
    """What a ``with`` gives."""

    manager: ast.expr


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Bound in a way that says nothing about the value."""

    how: str


Binding: TypeAlias = Parameter | Assigned | Defined | Imported | Looped | Managed | Otherwise


@dataclass(slots=True, eq=False)
class Scope:
    """The names that one function, lambda, class or comprehension binds."""

    node: ast.AST
    parent: "Scope | None"
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)  # declared global: the module's
    outer: set[str] = field(default_factory=set)  # declared nonlocal

    def add(self, name: str, binding: Binding) -> None:
        """Note that ``name`` is bound here."""
        target = self
        if name in self.outer and self.parent:
            target = self.parent
        if name not in self.elsewhere:
            target.bindings.setdefault(name, []).append(binding)

    def find(self, name: str) -> list[Binding] | None:
        """Return every binding that ``name`` may have as seen from here; None for a name from outside."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.elsewhere:
                return None
            # Names of a class body are seen from the body itself only.
            if name in scope.bindings and (scope is self or not isinstance(scope.node, ast.ClassDef)):
                return scope.bindings[name]
            scope = scope.parent
        return None


def scopes_of(function: FunctionNode) -> Mapping[ast.AST, Scope]:
    """Return the scope of ``function`` and those nested in it, by their AST nodes."""
    binder = _Binder()
    binder.enter(function)
    return binder.scopes


class _Binder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.scopes: dict[ast.AST, Scope] = {}
        self.current: Scope | None = None

    @property
    def here(self) -> Scope:
        assert self.current is not None
        return self.current

    def enter(self, node: FunctionNode) -> None:
        outside, self.current = self.current, Scope(node, self.current)
        self.scopes[node] = self.current
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.here.add(argument.arg, Parameter(argument))
        for packed in (arguments.vararg, arguments.kwarg):
            if packed:
                self.here.add(packed.arg, Otherwise(f"the packed parameter {packed.arg}"))
        body = node.body if isinstance(node.body, list) else [node.body]
        # Declarations first: they hold for the whole body.
        for statement in body:
            self._declarations(statement)
        for part in body:
            self.visit(part)
        self.current = outside

    def _declarations(self, statement: ast.AST) -> None:
        for node in _own(statement):
            if isinstance(node, ast.Global):
                self.here.elsewhere.update(node.names)
            elif isinstance(node, ast.Nonlocal):
                self.here.outer.update(node.names)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._define(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._define(node)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        decorated = Otherwise(f"the decorated function {node.name}") if node.decorator_list else Defined(node)
        self.here.add(node.name, decorated)
        for outer in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(outer)
        self.enter(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for outer in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(outer)
        self.enter(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.here.add(node.name, Otherwise(f"the class {node.name} of the body"))
        outside, self.current = self.current, Scope(node, self.current)
        self.scopes[node] = self.current
        self.generic_visit(node)
        self.current = outside

    def _comprehension(self, node: Comprehension) -> None:
        outside, self.current = self.current, Scope(node, self.current)
        self.scopes[node] = self.current
        for generator in node.generators:
            self._targets(generator.target, Looped(generator.iter))
        self.generic_visit(node)
        self.current = outside

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815 - names that ast gives

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._targets(target, Assigned(node.value))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self._targets(node.target, Assigned(node.value))
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._targets(node.target, Otherwise("an augmented assignment"))
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        scope = self.here
        while isinstance(scope.node, Comprehension) and scope.parent:
            scope = scope.parent
        scope.add(node.target.id, Assigned(node.value))
        self.visit(node.value)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._targets(node.target, Looped(node.iter))
        self.generic_visit(node)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            if item.optional_vars:
                self._targets(item.optional_vars, Managed(item.context_expr))
        self.generic_visit(node)

    visit_AsyncWith = visit_With  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.here.add(node.name, Otherwise("a caught exception"))
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            self.here.add(bound, Imported(alias.name if alias.asname else bound, None))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.here.add(alias.asname or alias.name, Imported(node.module or "", alias.name, node.level))

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._capture(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._capture(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._capture(node, node.rest)

    def _capture(self, node: ast.AST, name: str | None) -> None:
        if name:
            self.here.add(name, Otherwise("a match pattern"))
        self.generic_visit(node)

    def _targets(self, target: ast.expr, binding: Assigned | Looped | Managed | Otherwise) -> None:
        match target:
            case ast.Name(id=name):
                self.here.add(name, binding)
            case ast.Starred(value=value):
                self._targets(value, _inside(binding, None))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for index, part in enumerate(parts):
                    self._targets(part, _inside(binding, index))


def _inside(
    binding: Assigned | Looped | Managed | Otherwise, index: int | None
) -> Assigned | Looped | Managed | Otherwise:
    match binding:
        case Assigned(value=value, path=path):
            return Assigned(value, (*path, index))
        case Looped(over=over, path=path):
            return Looped(over, (*path, index))
        case _:
            return Otherwise("an unpacked value")


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield ``node`` and what is inside it, without functions and classes nested in it."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own(child)
