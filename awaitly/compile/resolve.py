"""What an expression of a body stands for: names, attributes, aliases, partials, and the classes of values."""

import ast
import builtins
import functools
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, getattr_static
from types import CoroutineType, FunctionType
from typing import Any

from awaitly.compile.objects import attribute_of, describe, member, name_of, owner_of
from awaitly.compile.scope import (
    Assigned,
    Binding,
    Defined,
    Imported,
    Looped,
    Managed,
    Otherwise,
    Parameter,
    Scope,
    scopes_of,
)
from awaitly.compile.source import FunctionSource
from awaitly.compile.targets import (
    FunctionTarget,
    Instance,
    LocalFunction,
    Native,
    Partial,
    Primitive,
    StepTarget,
    Target,
    Targets,
    Unresolved,
    WorkflowTarget,
)
from awaitly.declare.workflow import RunHandle

_COROUTINE: type = CoroutineType
_VAGUE = (object, Any, Callable, Awaitable, Coroutine)  # annotations that leave open what is run
_MOST = 300  # expressions looked into for one answer
_ASYNC = CO_COROUTINE | CO_ASYNC_GENERATOR
_DISPLAYS: Mapping[type[ast.AST], type] = {
    ast.JoinedStr: str,
    ast.List: list,
    ast.ListComp: list,
    ast.Tuple: tuple,
    ast.Set: set,
    ast.SetComp: set,
    ast.Dict: dict,
    ast.DictComp: dict,
    ast.Compare: bool,
}


class Resolver:
    """Resolves the expressions of one function and of the functions nested in it."""

    def __init__(self, source: FunctionSource) -> None:
        self.source = source
        self.scopes: Mapping[ast.AST, Scope] = scopes_of(source.node)
        self.owner = owner_of(source.fn)  # what `self` or `cls` stands for
        self._known: dict[ast.AST, Targets] = {}
        self._pending: set[object] = set()  # expressions and names that are being resolved
        self._cut = False  # whether one of them was met again
        self._work = 0

    def __call__(self, expression: ast.expr) -> Targets:
        """Return everything that ``expression`` may stand for."""
        if expression in self._known:
            return self._known[expression]
        outermost = not self._pending
        self._work = 0 if outermost else self._work + 1
        if self._work > _MOST:
            return (Unresolved("too many assignments lead to it"),)

        cut_before, self._cut = self._cut, False
        found = self._guarded(expression, lambda: self._targets(expression))
        if outermost or not self._cut:
            self._known[expression] = found = found or (Unresolved("it is bound to itself"),)
        self._cut = not outermost and (self._cut or cut_before)
        return found

    def _guarded(self, key: object, find: Callable[[], Iterator[Target]]) -> Targets:
        """Return what ``find`` yields; nothing where ``key`` leads back to itself: its other bindings decide."""
        if key in self._pending:
            self._cut = True
            return ()
        self._pending.add(key)
        try:
            return _unique(find())
        finally:
            self._pending.discard(key)

    def _targets(self, expression: ast.expr) -> Iterator[Target]:
        match expression:
            case ast.Name():
                yield from self._name(expression)
            case ast.Attribute(value=value, attr=attr):
                for owner in self(value):
                    yield self._attribute(owner, attr, ast.unparse(expression))
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self(body), *self(orelse))
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self(value)
            case ast.NamedExpr(value=value) | ast.Starred(value=value):
                yield from self(value)
            case ast.Lambda():
                yield LocalFunction("<lambda>", expression)
            case ast.Await(value=value):
                for target in self(value):
                    yield self._awaited(target)
            case ast.Call():
                yield from self._result(expression)
            case ast.Subscript():
                yield from self._item(expression)
            case ast.Constant(value=value):
                yield Instance(type(value))
            case _ if type(expression) in _DISPLAYS:
                yield Instance(_DISPLAYS[type(expression)])
            case _:
                yield Unresolved(f"{ast.unparse(expression)} is computed when it runs")

    def callee(self, expression: ast.expr) -> Targets:
        """Return what calling ``expression`` calls: of an object, its ``__call__``."""
        text = ast.unparse(expression)
        return _unique(self._called(target, text) for target in self(expression))

    def _called(self, target: Target, text: str) -> Target:
        match target:
            case Instance(cls=cls):
                method = self._member(cls, "__call__", text)
                return method if isinstance(method, FunctionTarget) else Unresolved(f"{text} is made when it runs")
            case Native(value=value) if type(getattr_static(type(value), "__call__", None)) is FunctionType:
                return target if isinstance(value, type) else self._member(type(value), "__call__", text)
            case _:
                return target

    # names

    def scope_at(self, node: ast.AST) -> Scope | None:
        """Return the innermost scope that ``node`` is in."""
        parents = self.source.file.parents
        while (above := parents.get(node)) is not None:
            scope = self.scopes.get(above)
            # Defaults, decorators, and annotations belong to the scope around.
            if scope is not None and not _is_header(above, node):
                return scope
            node = above
        return None

    def bindings(self, name: ast.Name) -> list[Binding] | None:
        """Return what ``name`` may be bound to in the body; None if it comes from outside."""
        scope = self.scope_at(name)
        return scope.find(name.id) if scope else None

    def _name(self, name: ast.Name) -> Iterator[Target]:
        scope = self.scope_at(name)
        bindings = scope.find(name.id) if scope else None
        if bindings is None:
            yield from self.outside(name.id)
            return
        found = bindings
        yield from self._guarded(id(found), lambda: (t for one in found for t in self._bound(name.id, one)))

    def outside(self, name: str) -> Iterator[Target]:
        """Yield what a name that the body does not bind stands for: closure, module, builtins."""
        for fn in (self.source.fn, *self.source.twins):
            yield _outside(fn, name)

    def _bound(self, name: str, binding: Binding) -> Iterator[Target]:
        match binding:
            case Parameter(node=node):
                owner = self.owner if node in self.source.node.args.args[:1] else None
                yield owner or self._of_annotation(node.annotation, f"{name} is a parameter")
            case Assigned(value=value, path=path):
                yield from self._unpacked(value, path)
            case Defined(node=node):
                yield LocalFunction(name, node)
            case Imported(module=module, attribute=attribute, level=level):
                yield self._imported(module, attribute, level)
            case Looped(over=over, path=path):
                yield from self._items(name, over, path)
            case Managed(manager=manager):
                yield from self._entered(name, manager)
            case Otherwise(how=how):
                yield Unresolved(f"{name} comes from {how}")

    def _unpacked(self, value: ast.expr, path: tuple[int | None, ...]) -> Iterator[Target]:
        for index in path:
            if index is None or not isinstance(value, ast.Tuple | ast.List) or index >= len(value.elts):
                yield Unresolved(f"a part of {ast.unparse(value)}")
                return
            value = value.elts[index]
        yield from self(value)

    def _items(self, name: str, over: ast.expr, path: tuple[int | None, ...]) -> Iterator[Target]:
        if isinstance(over, ast.Tuple | ast.List | ast.Set) and over.elts:
            for item in over.elts:
                yield from self._unpacked(item, path)
            return
        for target in self(over):
            if isinstance(target, Native) and type(target.value) in (list, tuple) and not path:
                yield from (describe(item, name) for item in target.value)  # type: ignore[attr-defined]
            else:
                yield Unresolved(f"{name} is an item of {ast.unparse(over)}")

    def _entered(self, name: str, manager: ast.expr) -> Iterator[Target]:
        for target in self(manager):
            own = isinstance(target, Instance) and name_of(target.cls, "") == "asyncio.TaskGroup"
            yield target if own else Unresolved(f"{name} is what {ast.unparse(manager)} gives")

    def _imported(self, module: str, attribute: str | None, level: int) -> Target:
        package = self.source.fn.__globals__.get("__package__")
        try:
            full = importlib.util.resolve_name("." * level + module, package) if level else module
        except ImportError:
            full = module
        # Importing here would run the user's code.
        loaded = sys.modules.get(full)
        if loaded is None:
            return Unresolved(f"{full} is first imported when the body runs")
        return describe(loaded, full) if attribute is None else attribute_of(loaded, attribute, f"{full}.{attribute}")

    # attributes

    def _attribute(self, owner: Target, attr: str, text: str) -> Target:
        match owner:
            case StepTarget(step=step, via="call"):
                if attr in ("attempt", "fn"):
                    return StepTarget(step, attr)  # type: ignore[arg-type]
                return Native(f"awaitly.Step.{attr}", None)
            case WorkflowTarget(workflow=workflow, via="call"):
                if attr in ("run", "start", "run_sync", "fn", "options"):
                    return WorkflowTarget(workflow, attr)  # type: ignore[arg-type]
                return Native(f"awaitly.Workflow.{attr}", None)
            case Native(value=value):
                return attribute_of(value, attr, text)
            case Instance(cls=cls):
                return self._member(cls, attr, text)
            case Unresolved():
                return owner
            case _:
                return Unresolved(f"{text} is an attribute of a function")

    def _member(self, cls: type, attr: str, text: str) -> Target:
        try:
            found = getattr_static(cls, attr)
        except AttributeError:
            for base in cls.__mro__:
                own = vars(base).get("__annotations__")
                annotation = own.get(attr) if isinstance(own, dict) else None  # a descriptor, of `type` itself
                if isinstance(annotation, type):
                    return Instance(annotation)
            return Unresolved(f"{text} is an attribute of a {cls.__name__}")
        if isinstance(found, FunctionType) and getattr(found, "__isabstractmethod__", False):
            return Unresolved(f"{text} is abstract")
        if type(found) in (FunctionType, staticmethod, classmethod):
            return member(found, cls, text)
        return Native(f"{name_of(cls, text)}.{attr}", found) if callable(found) else Unresolved(f"{text} is a value")

    # values

    def _of_annotation(self, annotation: ast.expr | None, reason: str) -> Target:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return Unresolved(reason)
        if isinstance(annotation, ast.Subscript):
            annotation = annotation.value
        if not isinstance(annotation, ast.Name | ast.Attribute):
            return Unresolved(reason)
        found = self(annotation)[:1]
        match found:
            case (Native(value=type() as cls),) if not getattr_static(cls, "_is_protocol", False) and cls not in _VAGUE:
                return Instance(cls)
        return Unresolved(reason)

    def _result(self, call: ast.Call) -> Iterator[Target]:
        for target in self.callee(call.func):
            match target:
                case Native(value=functools.partial) if call.args:
                    yield from (Partial(inner) for inner in self(call.args[0]))
                case Native(value=builtins.super) if isinstance(self.owner, Instance) and not call.args:
                    yield Instance(self.owner.cls.__mro__[1])
                case Native(value=type() as cls):
                    yield Instance(cls, call)
                case WorkflowTarget(workflow=workflow, via="options"):
                    yield WorkflowTarget(workflow)
                case StepTarget() | WorkflowTarget() | Primitive() | LocalFunction() | FunctionTarget():
                    yield self._returned(target, call)
                case _:
                    yield Unresolved(f"the result of {ast.unparse(call.func)}()")

    def _returned(self, target: Target, call: ast.Call) -> Target:
        if not isinstance(target, FunctionTarget) or target.fn.__code__.co_flags & _ASYNC:
            return Instance(_COROUTINE, call)
        annotation = target.fn.__annotations__.get("return")
        return (
            Instance(annotation, call)
            if isinstance(annotation, type)
            else Unresolved(f"the result of {ast.unparse(call.func)}()")
        )

    def _awaited(self, target: Target) -> Target:
        if not isinstance(target, Instance) or not isinstance(target.origin, ast.Call):
            return Unresolved("the result of an await")
        for callee in self.callee(target.origin.func):
            if isinstance(callee, WorkflowTarget) and callee.via == "start":
                return Instance(RunHandle)
            fn: Any = callee.step.fn if isinstance(callee, StepTarget) else getattr(callee, "fn", None)
            result = getattr(fn, "__annotations__", {}).get("return")
            if isinstance(result, type):
                return Instance(result)
        return Unresolved(f"the result of {ast.unparse(target.origin.func)}()")

    def _item(self, subscript: ast.Subscript) -> Iterator[Target]:
        text = ast.unparse(subscript)
        for target in self(subscript.value):
            value = target.value if isinstance(target, Native) else None
            if isinstance(value, type):
                yield target  # Page[Order]
            elif type(value) in (dict, list, tuple) and isinstance(subscript.slice, ast.Constant):
                try:
                    yield describe(value[subscript.slice.value], text)  # type: ignore[index]
                except (LookupError, TypeError):
                    yield Unresolved(f"{text} does not exist when the workflow is compiled")
            else:
                yield Unresolved(f"{text} is looked up when it runs")


def _outside(fn: FunctionType, name: str) -> Target:
    if name in fn.__code__.co_freevars:
        try:
            return describe(fn.__closure__[fn.__code__.co_freevars.index(name)].cell_contents, name)  # type: ignore[index]
        except ValueError:
            return Unresolved(f"{name} is not assigned yet when the workflow is compiled")
    for names in (fn.__globals__, vars(builtins)):
        if name in names:
            return describe(names[name], name)
    return Unresolved(f"{name} is not defined when the workflow is compiled")


def _is_header(above: ast.AST, node: ast.AST) -> bool:
    match above:
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            return node not in body
        case ast.Lambda(body=body):
            return node is not body
        case _:
            return False


def _unique(targets: Iterator[Target]) -> Targets:
    # Compared by what they are about: user objects may define equality as they like.
    return tuple({_identity(target): target for target in targets}.values())


def _identity(target: Target) -> tuple[object, ...]:
    match target:
        case Unresolved(reason=reason):
            return (Unresolved, reason)
        case Instance(cls=cls, origin=origin):
            return (Instance, id(cls), id(origin))
        case StepTarget(step=step, via=via):
            return (StepTarget, id(step), via)
        case WorkflowTarget(workflow=workflow, via=via):
            return (WorkflowTarget, id(workflow), via)
        case Native(name=name, value=value):
            return (Native, name, id(value))
        case FunctionTarget(fn=fn):
            return (FunctionTarget, id(fn))
        case LocalFunction(node=node):
            return (LocalFunction, id(node))
        case Primitive(name=name):
            return (Primitive, name)
        case Partial(inner=inner):
            return (Partial, *_identity(inner))
