"""The calls of one function: their labels, what becomes of their results, what is around them."""

import ast
import re
from collections.abc import Iterator
from inspect import getattr_static
from itertools import pairwise
from types import FunctionType

from awaitly.compile.objects import describe
from awaitly.compile.reading import Call, FunctionReading, Usage
from awaitly.compile.resolve import Resolver
from awaitly.compile.scope import Comprehension
from awaitly.compile.source import FunctionSource, nested_codes
from awaitly.compile.targets import (
    FunctionNode,
    FunctionTarget,
    Native,
    Partial,
    Primitive,
    StepTarget,
    Target,
    Targets,
    WorkflowTarget,
)

SPAWNERS = frozenset(
    [
        *("gather", "settle", "race", "each"),
        *("asyncio.gather", "asyncio.create_task", "asyncio.ensure_future", "asyncio.TaskGroup.create_task"),
        *("asyncio.wait_for", "asyncio.shield", "asyncio.wait", "asyncio.as_completed"),
    ]
)


_UNFIT = re.compile(r"[/<>#]")  # have a meaning in identities, which labels are a part of


def name_of_target(target: Target) -> str:
    """Return the name by which tables know a target: of a primitive, a function, or a known object."""
    return target.name if isinstance(target, Primitive | FunctionTarget | Native) else ""


def read_function(source: FunctionSource, prefix: str) -> FunctionReading:
    """Return a function with its calls resolved; ``prefix`` begins their labels."""
    resolve = Resolver(source)
    found = sorted(_calls(source.node), key=lambda call: (call.end_lineno or 0, call.end_col_offset or 0))
    counts: dict[str, int] = {}
    calls: list[Call] = []
    for node in found:
        targets = resolve.callee(node.func)
        text = callee_text(node.func)
        base = _UNFIT.sub("_", _base(targets) or text)
        number = counts[base] = counts.get(base, -1) + 1
        calls.append(_call(source, node, f"{prefix}{base}#{number}", text, targets, resolve))
    return FunctionReading(
        fn=source.fn,
        node=source.node,
        file=source.file,
        code=source.fn.__code__,
        prefix=prefix,
        calls=tuple(calls),
        by_node={call.node: call for call in calls},
        resolve=resolve,
    )


def callee_text(callee: ast.expr) -> str:
    """Return what is called as dotted text: ``tg.create_task``, ``make().run``, ``lambda``."""
    match callee:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{callee_text(value)}.{attr}"
        case ast.Call(func=func):
            return f"{callee_text(func)}()"
        case ast.Lambda():
            return "lambda"
        case ast.Subscript(value=value):
            return f"{callee_text(value)}[]"
        case ast.Await(value=value):
            return callee_text(value)
        case _:
            return "expression"


def _calls(function: FunctionNode) -> Iterator[ast.Call]:
    body = function.body if isinstance(function.body, list) else [function.body]
    for part in body:
        for node in ast.walk(part):
            if isinstance(node, ast.Call):
                yield node


def _base(targets: Targets) -> str | None:
    names = {_given_name(target) for target in targets}
    return names.pop() if len(names) == 1 else None


def _given_name(target: Target) -> str | None:
    match target:
        case Partial(inner=inner):
            return _given_name(inner)
        case StepTarget(step=step, via="call" | "attempt"):
            return step.name
        case WorkflowTarget(workflow=workflow, via="call" | "run" | "start"):
            return workflow.name
        case Primitive(name=name):
            return name
        case _:
            return None


def _call(
    source: FunctionSource,
    node: ast.Call,
    label: str,
    text: str,
    targets: Targets,
    resolve: Resolver,
) -> Call:
    around = source.file.around(node, source.node)
    inner = next((above for above in around if isinstance(above, FunctionNode)), None)
    own = around[: around.index(inner)] if inner else around
    path = [node, *own]
    return Call(
        node=node,
        label=label,
        text=text,
        targets=targets,
        usage=_usage(path, resolve),
        position=source.file.position(node),
        tries=tuple(
            above
            for child, above in zip(path, own, strict=False)
            if isinstance(above, ast.Try | ast.TryStar) and child in above.body
        ),
        loops=tuple(above for index, above in enumerate(own) if _repeats(above, path[: index + 1])),
        inside=inner or source.node,
    )


def _repeats(above: ast.AST, path: list[ast.AST]) -> bool:
    """Whether what ``path`` leads out of happens once for every round of the loop ``above``."""
    child = path[-1]
    if isinstance(above, ast.For | ast.AsyncFor):
        return child in above.body
    if isinstance(above, ast.While):
        return child is above.test or child in above.body
    if isinstance(above, Comprehension):
        first = above.generators[0]
        return not (child is first and path[-2] is first.iter)  # evaluated once, before the first round
    return False


def _usage(path: list[ast.AST], resolve: Resolver) -> Usage:
    for child, above in pairwise(path):
        match above:
            case ast.Await():
                return "awaited"
            case ast.Expr():
                return "discarded"
            case ast.Call(args=args) if child in args:
                spawning = any(name_of_target(target) in SPAWNERS for target in resolve(above.func))
                return "spawned" if spawning else "value"
            case ast.IfExp() if child is above.test:
                return "value"
            case ast.Starred() | ast.List() | ast.Tuple() | ast.Set() | ast.IfExp() | ast.NamedExpr() | ast.BoolOp():
                continue
            case ast.ListComp(elt=elt) | ast.SetComp(elt=elt) | ast.GeneratorExp(elt=elt) if child is elt:
                continue
            case ast.Assign() | ast.AnnAssign() | ast.Return() | ast.Yield() | ast.Dict() | ast.DictComp():
                return "stored"
            case _:
                return "value"
    return "stored"  # the expression of a lambda


def followable(fn: FunctionType) -> FunctionType:
    """Return the function behind a context manager made by ``contextlib``, which calls it once; else ``fn``."""
    inner = vars(fn).get("__wrapped__")
    if fn.__code__.co_filename.endswith("contextlib.py") and type(inner) is FunctionType:
        return inner
    return fn


def behind(target: Target) -> FunctionType | None:
    """Return the function that a decorator put away in ``__wrapped__``, unless it is called just once."""
    value = target.fn if isinstance(target, FunctionTarget) else target.value if isinstance(target, Native) else None
    inner = getattr_static(value, "__wrapped__", None)
    if type(inner) is not FunctionType or (isinstance(target, FunctionTarget) and followable(target.fn) is inner):
        return None
    return inner


def mentions_steps(fn: FunctionType) -> bool:
    """Whether a function that is not read names a step or a workflow of its module or closure."""
    names = {name for code in _all_codes(fn) for name in code}
    held = [fn.__globals__[name] for name in names if name in fn.__globals__]
    for cell in fn.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:
            continue
    return any(isinstance(describe(value, ""), StepTarget | WorkflowTarget) for value in held)


def _all_codes(fn: FunctionType) -> Iterator[tuple[str, ...]]:
    for code in nested_codes(fn.__code__):
        yield code.co_names
