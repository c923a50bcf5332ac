"""Source text as CPython saw it: one parse a file, so that positions equal those of the bytecode."""

import ast
import inspect
import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType

from awaitly.compile.targets import FunctionNode
from awaitly.errors import CompileError
from awaitly.model.graph import Diagnostic, Position, Severity


@dataclass(frozen=True, slots=True, eq=False)
class SourceFile:
    """A file, parsed whole. ``parents`` leads from each AST node to the one around it."""

    path: str
    text: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST]
    definitions: dict[tuple[int, str], list[FunctionNode]]  # by first line, decorators included, and name
    codes: dict[tuple[int, str], list[CodeType]] = field(default_factory=dict)  # what the text compiles to, likewise

    def position(self, node: ast.AST) -> Position:
        """Return where ``node`` is."""
        at: ast.expr = node  # type: ignore[assignment]
        return Position(
            file=self.path,
            line=at.lineno,
            column=at.col_offset,
            end_line=at.end_lineno or at.lineno,
            end_column=at.end_col_offset or 0,
        )

    def around(self, node: ast.AST, limit: ast.AST | None = None) -> list[ast.AST]:
        """Return the nodes around ``node``, innermost first, up to and without ``limit``."""
        found = []
        while (above := self.parents.get(node)) is not None and above is not limit:
            found.append(above)
            node = above
        return found


@dataclass(frozen=True, slots=True, eq=False)
class FunctionSource:
    """The definition of one function."""

    fn: FunctionType
    node: FunctionNode
    file: SourceFile
    twins: tuple[FunctionType, ...] = ()  # made from the same code with other closures: they share its call sites


_files: dict[str, SourceFile] = {}


def source_of(fn: FunctionType) -> FunctionSource:
    """Return the definition of ``fn``.

    Raises:
        CompileError: ``no-source`` if there is none to read, ``source-changed`` if it is not what runs.
    """
    code = fn.__code__
    file = _file_of(fn)
    nodes = file.definitions.get((code.co_firstlineno, code.co_name), [])
    compiled = file.codes.get((code.co_firstlineno, code.co_name), [])
    for node, expected in zip(nodes, compiled, strict=False):
        if _fits(expected, code, node):
            return FunctionSource(fn, node, file)
    raise _refused(
        fn,
        "source-changed",
        f"the source of {fn.__qualname__} is no longer what was imported",
        "restart the process, so that the text and what runs are the same again",
    )


def _file_of(fn: FunctionType) -> SourceFile:
    name = fn.__code__.co_filename
    path = inspect.getsourcefile(fn) or name
    linecache.checkcache(path)
    text = "".join(linecache.getlines(path, fn.__globals__))
    if not text.strip() or fn.__code__.co_name == "<module>":
        raise _refused(
            fn,
            "no-source",
            f"the source of {fn.__qualname__} cannot be read ({name})",
            "define it in a file that is imported: workflows are compiled from their source",
        )
    known = _files.get(path)
    if known is None or known.text != text:
        try:
            known = _files[path] = _parsed(path, text)
        except (SyntaxError, ValueError) as error:
            raise _refused(
                fn, "source-changed", f"{path} does not parse any more: {error}", "restore the file that was imported"
            ) from error
    return known


def _parsed(path: str, text: str) -> SourceFile:
    tree = ast.parse(text, path)
    parents: dict[ast.AST, ast.AST] = {}
    definitions: dict[tuple[int, str], list[FunctionNode]] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            parents[child] = node
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                definitions.setdefault((first, name), []).append(node)
            case ast.Lambda():
                definitions.setdefault((node.lineno, "<lambda>"), []).append(node)
    for several in definitions.values():
        several.sort(key=lambda node: (node.lineno, node.col_offset))
    codes: dict[tuple[int, str], list[CodeType]] = {}
    # The future imports of this module must not reach the other's. Cells of notebooks await at the top.
    module = compile(tree, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    for code in nested_codes(module):
        codes.setdefault((code.co_firstlineno, code.co_name), []).append(code)
    for compiled in codes.values():
        compiled.sort(key=lambda code: min((p[:1] + p[2:3] for p in _full(code)), default=(0, 0)))
    return SourceFile(path, text, tree, parents, definitions, codes)


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and all code inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_codes(constant)


def _full(code: CodeType) -> Iterator[tuple[int, int, int, int]]:
    for line, end_line, column, end_column in code.co_positions():
        if line and end_line and column is not None and end_column is not None and end_column > 0:
            yield (line, end_line, column, end_column)


def _fits(expected: CodeType, actual: CodeType, node: FunctionNode) -> bool:
    """Whether ``actual`` was made from the text that ``expected`` was made from.

    Import hooks (pytest's assertions, type checkers at run time) add to a function and keep the rest, so what the
    text compiles to has to be contained in what runs, apart from its assertions.
    """
    if expected.co_varnames[: _arguments(expected)] != actual.co_varnames[: _arguments(actual)]:
        return False
    if not _names(expected) <= _names(actual):
        return False
    if any(name.startswith("@") for name in _names(actual)):
        return True
    places, seen = _places(expected), _places(actual)
    return _constants(expected) <= _constants(actual) and (not seen or places <= seen)


def _arguments(code: CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount


def _names(code: CodeType) -> set[str]:
    names: set[str] = set()
    for inner in nested_codes(code):
        names.update(inner.co_names, inner.co_varnames, inner.co_cellvars, inner.co_freevars)
    return names


def _constants(code: CodeType) -> set[tuple[str, str]]:
    return {
        (type(constant).__name__, repr(constant))
        for inner in nested_codes(code)
        for constant in inner.co_consts
        if not isinstance(constant, CodeType | frozenset | tuple)
    }


def _places(code: CodeType) -> set[tuple[int, int]]:
    return {(place[1], place[3]) for inner in nested_codes(code) for place in _full(inner)}


def _refused(fn: FunctionType, code: str, message: str, hint: str) -> CompileError:
    position = Position(
        file=fn.__code__.co_filename, line=fn.__code__.co_firstlineno, column=0, end_line=0, end_column=0
    )
    diagnostic = Diagnostic(code=code, severity=Severity.ERROR, message=message, hint=hint, position=position)
    return CompileError(f"{position}: {message}", diagnostics=(diagnostic,), hint=hint)
