"""Error flow: which errors can leave a workflow, from what its steps declare and minus what its body catches."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Literal, TypeAlias

from awaitly.compile.calls import followable, read_function
from awaitly.compile.escapes import (
    NOTHING,
    Catcher,
    Escape,
    Escapes,
    answered,
    catcher,
    declared_by,
    handler_catcher,
    raised_classes,
    substitute_errors,
)
from awaitly.compile.following import same_package
from awaitly.compile.holding import Holding, holding
from awaitly.compile.reading import Call, FunctionReading, Reading
from awaitly.compile.signatures import typed_signature
from awaitly.compile.source import source_of
from awaitly.compile.targets import (
    FunctionNode,
    FunctionTarget,
    LocalFunction,
    Native,
    Partial,
    Primitive,
    StepTarget,
    Target,
    WorkflowTarget,
)
from awaitly.errors import CompileError
from awaitly.result import Err, Ok

# all: what fails here, awaited or not; awaited: only what is awaited here; pending: only what is not
When: TypeAlias = Literal["all", "awaited", "pending"]

_TASK_GROUP = "asyncio.TaskGroup"
_QUIET = {"settle"}


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in the source the walk is, and what it has to know there."""

    function: FunctionReading
    held: Holding
    handling: Escapes = NOTHING  # what a bare `raise` raises again
    caught: tuple[tuple[str, Escapes], ...] = ()  # by the name after `as`
    groups: frozenset[str] = frozenset()  # names of the task groups around
    returns: bool = False  # whether `return Err(...)` fails here


class ErrorFlow:
    """The walk over one workflow. ``complete`` is false once something was met that nothing is known about."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.complete = True
        self._known: dict[ast.AST, Escapes] = {}
        self._pending: dict[ast.expr, Escapes] = {}
        self._held: dict[ast.AST, Holding] = {}
        self._others: dict[FunctionType, FunctionReading | None] = {}

    def leaving(self) -> Escapes:
        """Return what can leave the workflow."""
        main = self.reading.main
        returns = typed_signature(main.fn).returns.is_result
        escapes = self._body(main, main.node, returns=returns)
        return frozenset(escape for escape in escapes if not escape.answered)

    def block(self, function: FunctionReading, owner: FunctionNode, statements: Sequence[ast.stmt]) -> Escapes:
        """Return what can leave some statements of ``owner``, a function inside ``function`` or itself."""
        return self._block(statements, Place(function, self.holding(owner)))

    def _body(self, function: FunctionReading, node: FunctionNode, *, returns: bool = False) -> Escapes:
        if node not in self._known:
            self._known[node] = NOTHING  # what a recursive call adds, the outer one has already
            place = Place(function, self.holding(node), returns=returns)
            inside = self._block(node.body, place) if isinstance(node.body, list) else self._in(node.body, place)
            self._known[node] = inside
        return self._known[node]

    def holding(self, node: FunctionNode) -> Holding:
        """Return what the names of a function hold."""
        if node not in self._held:
            self._held[node] = holding(node)
        return self._held[node]

    def _block(self, statements: Sequence[ast.stmt], place: Place) -> Escapes:
        return NOTHING.union(*(self._statement(statement, place) for statement in statements))

    def _statement(self, node: ast.stmt, place: Place) -> Escapes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return NOTHING
            case ast.Try() | ast.TryStar():
                return self._try(node, place)
            case ast.With() | ast.AsyncWith():
                return self._with(node, place)
            case ast.Raise():
                return self._raise(node, place) | self._children(node, place)
            case ast.Return(value=ast.expr() as value) if place.returns:
                return self._in(value, place) | self._returned(value, place)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Expr() if place.held.later(node):
                return self._children(node, place, "awaited")
            case _:
                return self._children(node, place)

    def _children(self, node: ast.AST, place: Place, when: When = "all") -> Escapes:
        found = NOTHING
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                found |= self._statement(child, place)
            else:
                found |= self._in(child, place, when)
        return found

    def _in(self, node: ast.AST, place: Place, when: When = "all") -> Escapes:
        match node:
            case ast.Lambda():
                return NOTHING
            case ast.Await(value=value):
                return NOTHING if when == "pending" else self._in(value, place) | self._names(value, place)
            case ast.NamedExpr(value=value) if when == "all" and place.held.later(node):
                return self._in(value, place, "awaited")
            case ast.Call():
                return self._call(node, place, when)
            case _:
                return self._children(node, place, when)

    def _names(self, value: ast.expr, place: Place) -> Escapes:
        """Return what the names in an awaited expression hold, unless failures are kept from leaving it."""
        if isinstance(value, ast.Call) and self._quiet(place.function.by_node.get(value)):
            return NOTHING
        held, found = place.held, NOTHING
        for name in held.reached(value):
            for given in held.values.get(name, ()):
                if given not in self._pending:
                    self._pending[given] = self._in(given, place, "pending")
                found |= self._pending[given]
        return found

    def _try(self, node: ast.Try | ast.TryStar, place: Place) -> Escapes:
        star = isinstance(node, ast.TryStar)
        remaining, found = self._block(node.body, place), NOTHING
        for handler in node.handlers:
            caught = handler_catcher(place.function, handler, star=star)
            handling = frozenset(escape for escape in remaining if caught.may_catch(escape))
            remaining = _past(caught, remaining)
            if star:
                handling = frozenset(replace(escape, grouped=True) for escape in handling)
            named = ((handler.name, handling), *place.caught) if handler.name else place.caught
            found |= self._block(handler.body, replace(place, handling=handling, caught=named))
        found |= remaining | self._block(node.orelse, place)
        final = self._block(node.finalbody, place)
        swallowed = any(isinstance(statement, ast.Return) for statement in node.finalbody)
        return final if swallowed else found | final

    def _with(self, node: ast.With | ast.AsyncWith, place: Place) -> Escapes:
        entered = NOTHING.union(*(self._in(item.context_expr, place) for item in node.items))
        groups = frozenset(
            item.optional_vars.id
            for item in node.items
            if isinstance(item.optional_vars, ast.Name) and self._calls(item.context_expr, place, _TASK_GROUP)
        )
        inner = replace(place, groups=place.groups | groups)
        found = self._block(node.body, inner) | self._tasks(node.body, groups, place)
        for item in reversed(node.items):
            if self._calls(item.context_expr, place, "contextlib.suppress"):
                assert isinstance(item.context_expr, ast.Call)
                found = _past(catcher(place.function, item.context_expr.args, star=True), found)
        return entered | found

    def _tasks(self, body: Sequence[ast.stmt], groups: frozenset[str], place: Place) -> Escapes:
        """Return what the tasks of task groups raise when the groups end."""
        found = NOTHING
        for node in (node for statement in body for node in ast.walk(statement) if groups):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="create_task"), args=args):
                    if name in groups:
                        found |= NOTHING.union(*(self._in(argument, place) for argument in args))
        return frozenset(replace(escape, grouped=True) for escape in found)

    def _calls(self, expression: ast.expr, place: Place, name: str) -> bool:
        if not isinstance(expression, ast.Call):
            return False
        call = place.function.by_node.get(expression)
        targets: Iterable[Target] = call.targets if call else place.function.resolve(expression.func)
        return any(getattr(target, "name", "") == name for target in targets)

    def _raise(self, node: ast.Raise, place: Place) -> Escapes:
        if node.exc is None:
            return place.handling
        return self._error(node.exc, place, "raise")

    def _error(self, expression: ast.expr, place: Place, source: str) -> Escapes:
        """Return the errors that an expression makes: the classes of exceptions, or what a handler caught."""
        if isinstance(expression, ast.Name):
            for name, escapes in place.caught:
                if name == expression.id:
                    return escapes
        classes = raised_classes(place.function, expression)
        if classes is None:
            self.complete = False
            return NOTHING
        position = place.function.position(expression)
        return frozenset(Escape(cls, source, position) for cls in classes)

    def _returned(self, value: ast.expr, place: Place) -> Escapes:
        match value:
            case ast.IfExp(body=one, orelse=other):
                return self._returned(one, place) | self._returned(other, place)
            case ast.Await(value=ast.Call() as inner):
                return self._attempted(inner, place)
            case ast.Call(func=made, args=[ast.Constant(value=constant) as argument]) if self._makes(made, place, Err):
                # Subscribed this way, because mypy takes Literal[constant] for a type.
                return frozenset({Escape(Literal.__getitem__(constant), "return", place.function.position(argument))})
            case ast.Call(func=made, args=[argument]) if self._makes(made, place, Err):
                return self._error(argument, place, "return")
            case ast.Call(func=made) if self._makes(made, place, Ok):
                return NOTHING
            case _:
                self.complete = False
                return NOTHING

    def _makes(self, expression: ast.expr, place: Place, cls: type) -> bool:
        return any(isinstance(t, Native) and t.value is cls for t in place.function.resolve(expression))

    def _attempted(self, node: ast.Call, place: Place) -> Escapes:
        """Return what ``return await charge.attempt(order)`` passes on."""
        call = place.function.by_node.get(node)
        found = NOTHING
        for target in call.targets if call else ():
            if isinstance(target, StepTarget | WorkflowTarget) and target.via in ("attempt", "run"):
                found |= self._declared(target, place.function.position(node))
            else:
                self.complete = False
        return found

    def _call(self, node: ast.Call, place: Place, when: When) -> Escapes:
        call = place.function.by_node.get(node)
        if self._quiet(call) or self._in_group(node, place):
            return NOTHING
        found = self._children(node, place, when)
        if call is None or when == "awaited":
            return found
        for target in call.targets:
            found |= self._target(target, place, node)
        # A function that is handed over is called by what it is handed to: each(charge, orders).
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.Name | ast.Attribute | ast.Lambda | ast.Call):
                for target in place.function.resolve(argument):
                    if not isinstance(argument, ast.Call) or isinstance(target, Partial):
                        found |= self._target(target, place, node)
        return found

    def _target(self, target: Target, place: Place, node: ast.Call) -> Escapes:
        match target:
            case StepTarget(via="call") | WorkflowTarget(via="call"):
                return self._declared(target, place.function.position(node))
            case FunctionTarget(fn=fn):
                helper = self.helper(followable(fn))
                return self._body(helper, helper.node) if helper else NOTHING
            case LocalFunction(node=inner):
                return self._body(place.function, inner)
            case Partial(inner=called):
                return self._target(called, place, node)
            case _:
                return NOTHING

    def helper(self, fn: FunctionType) -> FunctionReading | None:
        """Return a helper as read; those without steps, which reading left out, may raise failures all the same."""
        known = self.reading.function_of(fn)
        if known is None and fn not in self._others and same_package(fn, self.reading.main.fn):
            try:
                self._others[fn] = read_function(source_of(fn), "")
            except CompileError:
                self._others[fn] = None
        return known or self._others.get(fn)

    def _declared(self, target: StepTarget | WorkflowTarget, position: Any) -> Escapes:
        errors = declared_by(target)
        if isinstance(target, StepTarget):
            step = target.step
            own = {Escape(error, f"step {step.name}", position, answered=answered(step, error)) for error in errors}
            return frozenset(own | {Escape(error, f"step {step.name}", position) for error in substitute_errors(step)})
        if not errors:
            self.complete = False
        return frozenset(Escape(error, f"workflow {target.workflow.name}", position) for error in errors)

    def _quiet(self, call: Call | None) -> bool:
        """Whether failures of what a call awaits become values."""
        if call is None:
            return False
        if any(isinstance(target, Primitive) and target.name in _QUIET for target in call.targets):
            return True
        return any(
            keyword.arg == "return_exceptions" and isinstance(keyword.value, ast.Constant) and keyword.value.value
            for keyword in call.node.keywords
        )

    def _in_group(self, node: ast.Call, place: Place) -> bool:
        match node.func:
            case ast.Attribute(value=ast.Name(id=name), attr="create_task"):
                return name in place.groups
            case _:
                return False


def _past(caught: Catcher, escapes: Escapes) -> Escapes:
    return frozenset(escape for escape in escapes if not caught.stops(escape))
