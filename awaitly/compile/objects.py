"""Looking at the user's objects without running any of their code: no properties, no ``__getattr__``."""

import builtins
import functools
import inspect
import sys
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from awaitly.compile.targets import (
    FunctionTarget,
    Instance,
    Native,
    Partial,
    Primitive,
    StepTarget,
    Target,
    Unresolved,
    WorkflowTarget,
)
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow

PRIMITIVES = frozenset(
    [
        *("gather", "settle", "race", "each", "sleep", "timeout", "now", "random", "uuid4", "current", "remaining"),
        *("approval", "wait_for", "continue_as"),
    ]
)

_NAMED = (
    type,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    MethodDescriptorType,
    WrapperDescriptorType,
    ClassMethodDescriptorType,
)
_PATHS = {"posixpath", "ntpath", "genericpath"}


def describe(value: object, path: str) -> Target:
    """Return what ``value`` is to the compiler; ``path`` names it where it has no name of its own."""
    kind = type(value)
    if issubclass(kind, Step):
        return StepTarget(_as(Step, value))
    if issubclass(kind, Workflow):
        return WorkflowTarget(_as(Workflow, value))
    if issubclass(kind, functools.partial):
        return Partial(describe(_as(functools.partial, value).func, path))
    if issubclass(kind, MethodType):
        function = _as(MethodType, value).__func__
        return describe(function, path) if type(function) is FunctionType else Native(name_of(value, path), value)
    if not issubclass(kind, FunctionType | type):
        return Native(name_of(value, path), value)
    callable_: Any = value
    if (callable_.__module__ or "").partition(".")[0] == "awaitly" and callable_.__name__ in PRIMITIVES:
        return Primitive(callable_.__name__)
    if issubclass(kind, FunctionType):
        return FunctionTarget(name_of(value, path), _as(FunctionType, value))
    return Native(name_of(value, path), value)


def _as(_: type[Any], value: object) -> Any:
    return value


def name_of(value: object, path: str) -> str:
    """Return the dotted name of ``value``: the public one where its package has one."""
    if issubclass(type(value), ModuleType):
        return str(vars(_as(ModuleType, value))["__name__"])
    if not issubclass(type(value), _NAMED):
        return path
    named: Any = value
    owner = getattr(named, "__self__", None)
    if owner is not None and issubclass(type(owner), type):
        return f"{name_of(owner, path)}.{named.__name__}"
    module = str(getattr(named, "__module__", None) or type(owner).__module__)
    if vars(builtins).get(named.__name__) is value:
        return f"builtins.{named.__name__}"
    if module in _PATHS:
        return f"os.path.{named.__name__}"
    for public in (module.partition(".")[0].lstrip("_"), module):
        names = vars(sys.modules[public]) if public in sys.modules else {}
        held = names.get(named.__name__)
        # `random.random` is a method of a hidden instance: made anew at each access, so equality, not identity.
        owner_class: Any = names.get(named.__qualname__.partition(".")[0])
        if issubclass(type(owner_class), type) and owner_class.__module__ == module:  # asyncio.TaskGroup.create_task
            return f"{public}.{named.__qualname__}"
        if held is value or (type(held) is type(value) is MethodType and held == value):
            return f"{public}.{named.__name__}"
    return f"{module}.{named.__qualname__}"


def attribute_of(value: object, name: str, path: str) -> Target:
    """Return what ``value.name`` is, statically."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        return _of_module(_as(ModuleType, value), name, path)
    try:
        found = inspect.getattr_static(value, name)
    except AttributeError:
        return Unresolved(f"{path} has no attribute {name} until it runs")
    if issubclass(kind, type):
        return member(found, value, path)
    if issubclass(type(found), MemberDescriptorType):  # a slot: read by the interpreter itself
        try:
            found = found.__get__(value, kind)
        except AttributeError:
            return Unresolved(f"{path} is not set yet")
    return member(found, value, path)


def member(found: object, owner: object, path: str) -> Target:
    """Return what a static attribute gives when it is read."""
    kind = type(found)
    if issubclass(kind, property | functools.cached_property | GetSetDescriptorType):
        return Unresolved(f"{path} is a property")
    if issubclass(kind, staticmethod | classmethod):
        return describe(_as(staticmethod, found).__func__, path)
    if issubclass(kind, ClassMethodDescriptorType) and issubclass(type(owner), type):
        return Native(f"{name_of(owner, path)}.{_as(object, found).__name__}", found)
    return describe(found, path)


def _of_module(module: ModuleType, name: str, path: str) -> Target:
    if name in vars(module):
        return describe(vars(module)[name], path)
    if vars(module)["__name__"] == "awaitly" and hasattr(module, name):
        return describe(getattr(module, name), path)  # our own, made when first used
    submodule = sys.modules.get(f"{vars(module)['__name__']}.{name}")
    if submodule is not None:
        return describe(submodule, path)
    return Unresolved(f"{path} does not exist when the workflow is compiled")


def owner_of(fn: FunctionType) -> Instance | Native | None:
    """Return what the first parameter of a method is; None for a function, or a class that cannot be found."""
    owner: Any = None
    for part in fn.__qualname__.split(".")[:-1]:
        owner = (fn.__globals__ if owner is None else vars(owner)).get(part)
        if not issubclass(type(owner), type):
            return None
    held = vars(owner).get(fn.__name__) if owner is not None else None
    if held is fn:
        return Instance(owner)
    is_classmethod = type(held) is classmethod and held.__func__ is fn
    return Native(name_of(owner, fn.__qualname__), owner) if is_classmethod else None
