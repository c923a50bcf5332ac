"""What a body does besides calling steps is done again at every replay, and recorded nowhere."""

import ast
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from awaitly.compile.reading import FunctionReading
from awaitly.compile.rules.rule import Finding, Rule, Subject, target_name, under
from awaitly.compile.scope import scopes_of
from awaitly.compile.targets import Native, StepTarget, WorkflowTarget
from awaitly.model.graph import Severity

_READING = 'move it into a step; @step(effect="read") if it only reads'
_WRITING = 'move it into a step, whose effect="write" is the default'

INPUT_OUTPUT: Mapping[str, str] = {
    "time.sleep": 'use await awaitly.sleep("10s"), which survives restarts and blocks nobody',
    **dict.fromkeys(
        (
            "builtins.open",
            "builtins.input",
            "io.open",
            "os.open",
            "os.stat",
            "os.path.exists",
            "os.path.getsize",
            "os.path.getmtime",
            "os.path.isfile",
            "os.path.isdir",
            "pathlib.Path.open",
            "pathlib.Path.read_text",
            "pathlib.Path.read_bytes",
            "pathlib.Path.exists",
            "pathlib.Path.is_file",
            "pathlib.Path.is_dir",
            "pathlib.Path.stat",
            "shutil.disk_usage",
            "socket.getaddrinfo",
            "socket.gethostbyname",
        ),
        _READING,
    ),
    **dict.fromkeys(
        (
            "os.remove",
            "os.unlink",
            "os.rename",
            "os.replace",
            "os.mkdir",
            "os.makedirs",
            "os.rmdir",
            "os.write",
            "os.system",
            "os.popen",
            "pathlib.Path.write_text",
            "pathlib.Path.write_bytes",
            "pathlib.Path.unlink",
            "pathlib.Path.mkdir",
            "pathlib.Path.rmdir",
            "pathlib.Path.rename",
            "pathlib.Path.replace",
            "pathlib.Path.touch",
            "asyncio.create_subprocess_exec",
            "asyncio.create_subprocess_shell",
            "asyncio.open_connection",
            "asyncio.start_server",
        ),
        _WRITING,
    ),
    **dict.fromkeys(
        (
            "requests",
            "httpx",
            "aiohttp",
            "urllib.request",
            "urllib3",
            "http.client",
            "smtplib",
            "ftplib",
            "socket",
            "subprocess",
            "shutil",
            "tempfile",
            "sqlite3",
            "asyncpg",
            "psycopg",
            "psycopg2",
            "sqlalchemy",
            "pymongo",
            "motor",
            "redis",
            "boto3",
            "botocore",
            "aiofiles",
            "anyio.open_file",
        ),
        _WRITING,
    ),
}
_PURE = ("sqlalchemy.select", "sqlalchemy.text", "httpx.URL", "httpx.Timeout", "requests.exceptions", "shutil.which")
_CHANGING = frozenset(
    [
        *("append", "extend", "insert", "remove", "pop", "sort", "reverse", "clear", "appendleft", "popleft"),
        *("popitem", "update", "setdefault", "add", "discard"),
    ]
)
_MUTABLE = (list, dict, set, bytearray)
_Written: TypeAlias = tuple[ast.AST, str]


def io_outside_step(subject: Subject) -> Iterator[Finding]:
    """Input or output in a body."""
    for seen in subject.seen_calls():
        for target in seen.call.targets:
            name = target_name(target)
            known = under(name, INPUT_OUTPUT)
            raised = isinstance(target, Native) and isinstance(target.value, type) and _is_error(target.value)
            if known is not None and not raised and under(name, _PURE) is None:
                shown = name.removeprefix("builtins.")
                message = f"{shown}() in a body is repeated by every replay, and its outcome is not stored{seen.via}"
                yield Finding(seen.position, message, INPUT_OUTPUT[known])
                break


def _is_error(cls: type) -> bool:
    return issubclass(cls, BaseException)


def global_write(subject: Subject) -> Iterator[Finding]:
    """A module's variable that a body writes: a replay writes it again, another process does not see it."""
    for function in subject.reading.functions:
        for node, name in _written(function):
            yield Finding(
                function.position(node),
                f"{name}, a variable of the module, is written in a body, which a replay does again",
                "keep it in a local variable and return it, or write it in a step",
            )


def _written(function: FunctionReading) -> Iterator[_Written]:
    scopes = scopes_of(function.node)
    declared = {name for scope in scopes.values() for name in scope.elsewhere}
    bound = {name for scope in scopes.values() for name in scope.bindings}
    for node in function.walk(ast.AST):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in declared:
                yield node, name
            case (
                ast.Subscript(value=ast.Name() as owner, ctx=ast.Store() | ast.Del())
                | ast.Attribute(value=ast.Name() as owner, ctx=ast.Store() | ast.Del())
            ) if owner.id not in bound and _is_of_module(function, owner):
                yield node, owner.id
            case ast.Call(func=ast.Attribute(value=ast.Name() as owner, attr=method)) if method in _CHANGING:
                if owner.id not in bound and _is_of_module(function, owner, _MUTABLE):
                    yield node, owner.id


def _is_of_module(function: FunctionReading, owner: ast.Name, classes: tuple[type, ...] = (object,)) -> bool:
    if function.fn.__globals__.get(owner.id, function) is function:
        return False
    return any(isinstance(t, Native) and isinstance(t.value, classes) for t in function.resolve(owner))


def undecorated_call(subject: Subject) -> Iterator[Finding]:
    """``charge.fn(...)`` in a body: the plain function, without its policies and its checkpoint."""
    for _, call in subject.calls():
        for target in call.targets:
            match target:
                case StepTarget(step=declared, via="fn") | WorkflowTarget(workflow=declared, via="fn"):
                    yield Finding(
                        call.position,
                        f"{call.text}() runs the plain function of {declared.name}: nothing of it is stored",
                        f"call {call.text.removesuffix('.fn')}(...)",
                    )


RULES = (
    Rule(
        "io-outside-step",
        Severity.WARNING,
        "A body reads or writes files, the network, a database or another process by itself.",
        io_outside_step,
    ),
    Rule("global-write", Severity.WARNING, "A body writes a variable of its module.", global_write),
    Rule("undecorated-call", Severity.WARNING, "A body calls the plain function of a step.", undecorated_call),
)
