"""A durable body is run again after a crash, and has to go the same way: nothing in it may depend on the day."""

import ast
from collections.abc import Iterator, Mapping
from typing import get_origin

from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject, is_instance, runs_steps, target_name, under
from awaitly.compile.signatures import typed_signature
from awaitly.compile.targets import FunctionTarget, Native, Primitive, Target
from awaitly.model.graph import Severity

_QUEUE = "let steps return what they have and pass it on as arguments; for bounded concurrency use awaitly.each"
_LOCK = "a body needs no lock, as its branches take turns at its awaits; for bounded concurrency use awaitly.each"
_EVENT = "await the branch that the others wait for; awaitly.gather and awaitly.race join branches"
_THREAD = "make it a step: a plain def runs in a worker thread by itself"
_FILES = 'list the files in a step (effect="read") and use what it returns'
_ENVIRONMENT = 'read it in a step (effect="read"), or pass the value as an argument of the workflow'
_HASH = "name things by a field of theirs, such as .id"

INSTEAD: Mapping[str, str] = {
    "asyncio.timeout": 'use awaitly.timeout("5s"), which is recorded',
    "asyncio.timeout_at": 'use awaitly.timeout("5s"), which is recorded',
    "asyncio.wait_for": 'use async with awaitly.timeout("5s"), which is recorded',
    "asyncio.wait": "use awaitly.gather, awaitly.settle or awaitly.race, which record who was first",
    "asyncio.as_completed": "use awaitly.each or awaitly.race, which record who was first",
    "asyncio.sleep": 'use awaitly.sleep("10s"), which survives restarts',
    "asyncio.Queue": _QUEUE,
    "asyncio.LifoQueue": _QUEUE,
    "asyncio.PriorityQueue": _QUEUE,
    "asyncio.Lock": _LOCK,
    "asyncio.Semaphore": _LOCK,
    "asyncio.BoundedSemaphore": _LOCK,
    "asyncio.Condition": _EVENT,
    "asyncio.Event": _EVENT,
    "asyncio.Barrier": _EVENT,
    "asyncio.to_thread": _THREAD,
    "asyncio.run_coroutine_threadsafe": _THREAD,
    "asyncio.base_events.BaseEventLoop.run_in_executor": _THREAD,
    "asyncio.events.AbstractEventLoop.run_in_executor": _THREAD,
    "anyio.sleep": 'use awaitly.sleep("10s"), which survives restarts',
    "anyio.fail_after": 'use awaitly.timeout("5s"), which is recorded',
    "anyio.move_on_after": 'use awaitly.timeout("5s"), which is recorded',
    "anyio.to_thread": _THREAD,
    "threading": _THREAD,
    "multiprocessing": _THREAD,
    "concurrent.futures": _THREAD,
    "queue": _QUEUE,
    "builtins.id": _HASH,
    "builtins.hash": _HASH,
    "os.getenv": _ENVIRONMENT,
    "os.listdir": _FILES,
    "os.scandir": _FILES,
    "os.walk": _FILES,
    "os.fwalk": _FILES,
    "glob": _FILES,
    "pathlib.Path.iterdir": _FILES,
    "pathlib.Path.glob": _FILES,
    "pathlib.Path.rglob": _FILES,
    "pathlib.Path.walk": _FILES,
}

# Helpers use these for tables and caches of their own.
_INNOCENT = {"builtins.id", "builtins.hash"}

_CLOCK = "use awaitly.now(), which is recorded"
_CHANCE = "use awaitly.random(), which is the same after a restart"
_IDENTITY = "use awaitly.uuid4(), which is the same after a restart"
RECORDED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "datetime.datetime.now",
            "datetime.datetime.utcnow",
            "datetime.datetime.today",
            "datetime.date.today",
            "time.time",
            "time.time_ns",
            "time.monotonic",
            "time.monotonic_ns",
            "time.perf_counter",
            "time.perf_counter_ns",
            "time.localtime",
            "time.gmtime",
            "time.ctime",
            "time.strftime",
        ),
        _CLOCK,
    ),
    "random": _CHANCE,
    "os.urandom": _CHANCE,
    "secrets": _CHANCE,
    "uuid.uuid1": _IDENTITY,
    "uuid.uuid4": _IDENTITY,
    "secrets.token_hex": _IDENTITY,
    "secrets.token_bytes": _IDENTITY,
    "secrets.token_urlsafe": _IDENTITY,
}
_PURE_RANDOM = {"random.Random"}  # seeded by hand; an unseeded one is caught by its arguments


def nondeterministic_body(subject: Subject) -> Iterator[Finding]:
    """What would make a replay go another way."""
    if not subject.durable:
        return
    for seen in subject.seen_calls():
        for target in seen.call.targets:
            known = _refused(target)
            if known is not None and not (seen.via and known in _INNOCENT):
                name = target_name(target).removeprefix("builtins.")
                message = f"{name}() in a durable body is not the same when it is replayed{seen.via}"
                yield Finding(seen.position, message, INSTEAD[known])
                break
    for function in subject.reading.functions:
        yield from _environment(function)
        yield from _sets(subject, function)


def _refused(target: Target) -> str | None:
    name = target_name(target)
    known = under(name, INSTEAD)
    # The class was reported where the object was made.
    is_method = isinstance(target, FunctionTarget) and "." in target.fn.__qualname__
    return None if is_method and known != name else known


def _environment(function: FunctionReading) -> Iterator[Finding]:
    for node in function.walk(ast.expr):
        if isinstance(node, ast.Name | ast.Attribute) and _is_environment(function, node):
            message = "os.environ in a durable body may differ when the run is resumed on another machine"
            yield Finding(function.position(node), message, _ENVIRONMENT)


def _is_environment(function: FunctionReading, node: ast.Name | ast.Attribute) -> bool:
    last = node.id if isinstance(node, ast.Name) else node.attr
    if last not in ("environ", "environb") or not isinstance(node.ctx, ast.Load):
        return False
    return any(isinstance(t, Native) and type(t.value).__name__ == "_Environ" for t in function.resolve(node))


def _sets(subject: Subject, function: FunctionReading) -> Iterator[Finding]:
    feeding = [call for call in function.calls if runs_steps(subject, function, call) or _joins(call)]
    for loop in function.walk(ast.AST):
        match loop:
            case ast.For(iter=over) | ast.AsyncFor(iter=over):
                matters = any(loop in call.loops for call in feeding)
            case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
                over = loop.generators[0].iter
                matters = any(loop in call.loops or _inside(call.node, loop) for call in feeding)
            case ast.Call(args=[over, *_]) | ast.Call(args=[_, over, *_]) if function.by_node.get(loop) in feeding:
                over = next((argument for argument in loop.args if _is_set(subject, function, argument)), over)
                matters = _joins(function.by_node[loop])
            case _:
                continue
        if matters and _is_set(subject, function, over):
            text = ast.unparse(over)
            yield Finding(
                function.position(over),
                f"{text} is a set, whose order differs from process to process, and decides which step comes first",
                f"iterate sorted({text}), or keep a list or dict instead",
            )


def _joins(call: Call) -> bool:
    return any(isinstance(t, Primitive) and t.name in ("gather", "each", "race", "settle") for t in call.targets)


def _inside(outer: ast.AST, inner: ast.AST) -> bool:
    return any(node is inner for node in ast.walk(outer))


def _is_set(subject: Subject, function: FunctionReading, expression: ast.expr) -> bool:
    if isinstance(expression, ast.Starred):
        return _is_set(subject, function, expression.value)
    match expression:
        case ast.Call(func=ast.Name(id="list" | "tuple" | "enumerate" | "reversed" | "iter"), args=[wrapped]):
            return _is_set(subject, function, wrapped)
    if isinstance(expression, ast.Name):
        given = subject.flow.holding(function.node).values.get(expression.id, ())
        if any(_gives_set(function, value) for value in given):
            return True
    return _gives_set(function, expression) or is_instance(function, expression, (set, frozenset))


def _gives_set(function: FunctionReading, expression: ast.expr) -> bool:
    """Whether a step is awaited that returns a set: restored in another process, it has another order."""
    if not isinstance(expression, ast.Await) or not isinstance(expression.value, ast.Call):
        return False
    call = function.by_node.get(expression.value)
    returned = (typed_signature(t.step.fn).returns.value for t in call.steps if t.via == "call") if call else ()
    return any((get_origin(value) or value) in (set, frozenset) for value in returned)


def nondeterministic_call(subject: Subject) -> Iterator[Finding]:
    """A reading of the clock, or chance."""
    if not subject.durable:
        return
    for seen in subject.seen_calls():
        for target in seen.call.targets:
            name = target_name(target)
            known = under(name, RECORDED)
            if known is not None and not (name in _PURE_RANDOM and seen.call.node.args):
                message = f"{name}() gives another value when the body is replayed{seen.via}"
                yield Finding(seen.position, message, RECORDED[known])
                break


RULES = (
    Rule(
        "nondeterministic-body",
        Severity.ERROR,
        "A durable body waits, orders or reads in a way that a replay could not repeat.",
        nondeterministic_body,
    ),
    Rule(
        "nondeterministic-call",
        Severity.WARNING,
        "A durable body reads the clock, or draws a random number or id, that nobody records.",
        nondeterministic_call,
    ),
)
