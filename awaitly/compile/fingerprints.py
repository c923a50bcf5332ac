"""Digests of structure: equal as long as nothing changed that a recorded run could notice.

What goes in is written here field by field, not by ``ast.dump``: its output differs between Python versions.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from awaitly.compile.source import source_of
from awaitly.compile.targets import FunctionNode
from awaitly.declare.step import Step
from awaitly.errors import CompileError

_IGNORED = {"ctx", "kind", "type_comment", "type_ignores", "lineno", "col_offset", "end_lineno", "end_col_offset"}


def step_fingerprint(step: Step[..., Any, Any]) -> str:
    """Return the digest of what a step promises to recorded runs: not of its body, nor of its policies."""
    return digest(*step_aspects(step).values())


def step_aspects(step: Step[..., Any, Any]) -> dict[str, str]:
    """Return what goes into a step's fingerprint, by a name that people understand."""
    options = step.options
    parameters, result = _signature(step.fn)
    return {
        "name": options.name,
        "effect": options.effect.value,
        "key": options.key or "",
        "errors": " ".join(sorted(error.__qualname__ for error in options.errors)),
        "parameters": ", ".join(parameters),
        "result": result,
    }


def graph_fingerprint(functions: Iterable[tuple[str, FunctionNode]], steps: Iterable[str]) -> str:
    """Return the digest of a workflow: its functions, and the fingerprints of its steps."""
    return digest(*(f"{name}={normal_text(node)}" for name, node in functions), "--", *sorted(steps))


def digest(*parts: str) -> str:
    """Return a short digest of texts."""
    whole = blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def normal_text(node: FunctionNode) -> str:
    """Return a function as text that formatting, comments, docstrings and decorators do not change."""
    name = getattr(node, "name", "<lambda>")
    kind = type(node).__name__
    body = [node.body] if isinstance(node, ast.Lambda) else _statements(node.body)
    result = "" if isinstance(node, ast.Lambda) else annotation_text(node.returns)
    return f"{kind} {name}{_arguments(node.args)}->{result}:{_text(body)}"


def annotation_text(annotation: ast.expr | None) -> str:
    """Return an annotation as text, the same with and without quotes."""
    if annotation is None:
        return ""
    return ast.unparse(_Unquote().visit(ast.parse(ast.unparse(annotation), mode="eval")))


class _Unquote(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        literal = ast.unparse(node.value).rpartition(".")[2]
        if literal == "Literal":
            return node
        if literal == "Annotated" and isinstance(node.slice, ast.Tuple):
            node.slice.elts[0] = self.visit(node.slice.elts[0])
            return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        try:
            inner: ast.AST = self.visit(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return node
        return inner


def _signature(fn: Any) -> tuple[list[str], str]:
    try:
        node = source_of(fn).node
    except CompileError:
        signature = inspect.signature(fn)
        return [str(parameter) for parameter in signature.parameters.values()], str(signature.return_annotation)
    result = "" if isinstance(node, ast.Lambda) else annotation_text(node.returns)
    return list(_parameters(node.args)), result


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    groups = (
        ("/", arguments.posonlyargs),
        ("", arguments.args),
        ("*", [arguments.vararg] if arguments.vararg else []),
        ("=", arguments.kwonlyargs),
        ("**", [arguments.kwarg] if arguments.kwarg else []),
    )
    for mark, group in groups:
        for argument in group:
            yield f"{mark}{argument.arg}: {annotation_text(argument.annotation)}"


def _arguments(arguments: ast.arguments) -> str:
    return f"({', '.join(_parameters(arguments))}|{_text(arguments.defaults)}|{_text(arguments.kw_defaults)})"


def _statements(body: list[ast.stmt]) -> list[ast.AST]:
    """Return a body without docstrings, lone constants, ``pass``, and annotations of local variables."""
    kept: list[ast.AST] = []
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.AnnAssign(value=None):
                continue
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                kept.append(ast.Assign(targets=[target], value=value))
            case _:
                kept.append(statement)
    return kept


def _text(value: object) -> str:
    match value:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            decorators = getattr(value, "decorator_list", [])
            return normal_text(value) + _text(decorators)
        case ast.JoinedStr(values=values):
            return f"JoinedStr{_text(_merged(values))}"
        case ast.Constant(value=constant):
            return f"{type(constant).__name__}:{constant!r}"
        case ast.AST():
            fields = ((name, part) for name, part in ast.iter_fields(value) if name not in _IGNORED and _given(part))
            # Sorted: the order of fields is nobody's promise.
            return f"{type(value).__name__}({','.join(f'{name}={_text(part)}' for name, part in sorted(fields))})"
        case list():
            parts = _statements(value) if value and isinstance(value[0], ast.stmt) else value
            return f"[{','.join(map(_text, parts))}]"
        case _:
            return repr(value)


def _given(part: object) -> bool:
    """Whether a field says something: empty lists come and go with versions (``type_params``)."""
    return part is not None and part != []


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string with neighbouring texts joined, which versions do differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(value=f"{last.value!s}{value.value!s}")
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            merged.append(value)
    return merged
