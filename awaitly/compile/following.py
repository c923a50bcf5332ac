"""Reading a workflow: its function, and every helper of its package through which it reaches steps."""

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

from awaitly.compile.calls import behind, followable, name_of_target, read_function
from awaitly.compile.hidden import awaits_unknown, hidden
from awaitly.compile.implicit import implicit_targets
from awaitly.compile.reading import Call, FunctionReading, Reading
from awaitly.compile.source import source_of
from awaitly.compile.targets import FunctionTarget, Primitive, StepTarget, Target, WorkflowTarget, opened_target
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import CompileError


def read(workflow: Workflow[..., Any, Any]) -> Reading:
    """Read a workflow's function and the helpers that it reaches.

    Raises:
        CompileError: ``no-source`` or ``source-changed``, when the workflow's own function cannot be read.
    """
    own: Any = workflow.fn
    found = _reach(own)
    kept = _with_steps(found) | {id(own.__code__)}
    functions = tuple(function for code, function in found.items() if code in kept)
    steps: dict[str, tuple[Step[..., Any, Any], ...]] = {}
    children: dict[str, Workflow[..., Any, Any]] = {}
    for target in (target for function in functions for target in _mentioned(function)):
        match target:
            case StepTarget(step=step) if step not in steps.get(step.name, ()):
                steps[step.name] = (*steps.get(step.name, ()), step)
            case WorkflowTarget(workflow=child):
                children.setdefault(child.name, child)
    return Reading(workflow, functions, steps, children, problems=())


def _reach(own: FunctionType) -> dict[int, FunctionReading]:
    """Read ``own`` and, transitively, the functions of its package that it calls or hands over, by ``id(code)``."""
    sources = {id(own.__code__): source_of(own)}
    prefixes = {id(own.__code__): ""}
    found = {id(own.__code__): read_function(sources[id(own.__code__)], "")}
    pending = [id(own.__code__)]
    while pending:
        for fn in _called(found[pending.pop(0)]):
            code = id(fn.__code__)
            known = sources.get(code)
            if fn is own or not same_package(fn, own) or (known and fn in (known.fn, *known.twins)):
                continue
            try:
                sources[code] = replace(known, twins=(*known.twins, fn)) if known else source_of(fn)
            except CompileError:
                continue  # the call is opaque then
            if code not in prefixes:
                prefixes[code] = _prefix(fn, own, set(prefixes.values()))
            found[code] = read_function(sources[code], prefixes[code])
            pending.append(code)
    return found


def _prefix(fn: FunctionType, own: FunctionType, taken: set[str]) -> str:
    qualname = fn.__qualname__.replace(".<locals>", "").replace("<lambda>", "lambda")
    name = qualname if fn.__module__ == own.__module__ else f"{fn.__module__}.{qualname}"
    # Two definitions of one name in one module: by their order, as there is nothing else.
    number = 1
    prefix = f"{name}:"
    while prefix in taken:
        number += 1
        prefix = f"{name}~{number}:"
    return prefix


def same_package(fn: FunctionType, own: FunctionType) -> bool:
    """Whether ``fn`` is followed from ``own``: the same file, top-level package, or folder of lone modules."""
    if fn.__code__.co_filename == own.__code__.co_filename:
        return True
    if fn.__module__ is None or fn.__module__.startswith("awaitly."):
        return False
    package = own.__module__.partition(".")[0]
    if "." in own.__module__ or "." in fn.__module__:
        return fn.__module__.partition(".")[0] == package
    return os.path.dirname(fn.__code__.co_filename) == os.path.dirname(own.__code__.co_filename)


def _called(function: FunctionReading) -> Iterator[FunctionType]:
    for target in _mentioned(function):
        if isinstance(target, FunctionTarget):
            yield followable(target.fn)
        if (inner := behind(target)) is not None:
            yield inner


def _mentioned(function: FunctionReading) -> Iterator[Target]:
    """Yield what the calls of ``function`` call, and what it names as a value, partials opened."""
    for call in function.calls:
        for target in call.targets:
            yield opened_target(target)
    for kind in (ast.Name, ast.Attribute):
        for node in function.walk(kind):
            if isinstance(node.ctx, ast.Load):
                for target in function.resolve(node):
                    yield opened_target(target)
    yield from implicit_targets(function)


def _with_steps(found: Mapping[int, FunctionReading]) -> set[int]:
    """Return the functions that contain steps, call one that does, or hide what they do."""
    kept = {code for code, function in found.items() if _has_own_steps(function)}
    while True:
        more = {
            code
            for code, function in found.items()
            if code not in kept and not kept.isdisjoint(id(fn.__code__) for fn in _called(function))
        }
        if not more:
            return kept
        kept |= more


def _has_own_steps(function: FunctionReading) -> bool:
    if any(isinstance(target, StepTarget | WorkflowTarget) for target in _mentioned(function)):
        return True
    return any(_durable(call) or hidden(call, function) for call in function.calls) or awaits_unknown(function)


def _durable(call: Call) -> bool:
    return any(isinstance(target, Primitive) for target in call.targets) or any(
        name_of_target(target) in ("asyncio.create_task", "asyncio.TaskGroup.create_task") for target in call.targets
    )
