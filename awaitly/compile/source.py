"""Source text as CPython saw it: one parse a file, so that positions equal those of the bytecode."""

import ast
from dataclasses import dataclass
from types import CodeType, FunctionType

from awaitly.compile.targets import FunctionNode
from awaitly.model.graph import Position


@dataclass(frozen=True, slots=True, eq=False)
class SourceFile:
    """A file, parsed whole. ``parents`` leads from each AST node to the one around it."""

    path: str
    text: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST]

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

    def around(self, node: ast.AST, limit: ast.AST | None = None) -> "list[ast.AST]":
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
    code: CodeType
    node: FunctionNode
    file: SourceFile
