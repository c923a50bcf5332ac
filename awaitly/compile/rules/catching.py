"""Where failures of steps are caught: ``try`` statements and ``suppress``, and what stands in them."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from awaitly.compile.escapes import Catcher, Escapes, catcher, handler_catcher
from awaitly.compile.reading import Call, FunctionReading
from awaitly.compile.rules.rule import Subject, calls_in, runs_steps, target_name
from awaitly.compile.targets import FunctionNode, StepTarget
from awaitly.model.graph import Position


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """One ``except`` clause, or one ``suppress``."""

    text: str  # except, suppress
    position: Position
    catches: Catcher
    bare: bool = False
    raises_again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A block with steps in it, and the clauses that stand around it."""

    function: FunctionReading
    body: Sequence[ast.stmt]
    clauses: tuple[Clause, ...]
    steps: tuple[Call, ...]

    def escapes(self, subject: Subject) -> Escapes:
        """Return what can leave the block."""
        return subject.flow.block(self.function, _owner(self.function, self.body[0]), self.body)


def guarded_blocks(subject: Subject) -> Iterator[Guarded]:
    """Yield every block with steps around which something is caught."""
    for function in subject.reading.functions:
        for node in function.walk(ast.stmt):
            clauses = _clauses(function, node)
            if clauses:
                body = node.body
                calls = (call for call in calls_in(function, *body) if not _quiet(call))
                steps = tuple(call for call in calls if runs_steps(subject, function, call))
                if steps:
                    yield Guarded(function, body, clauses, steps)


def _clauses(function: FunctionReading, node: ast.stmt) -> tuple[Clause, ...]:
    match node:
        case ast.Try(handlers=handlers) | ast.TryStar(handlers=handlers):
            return tuple(_of_handler(function, handler) for handler in handlers)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            return tuple(
                Clause("suppress", function.position(call), catcher(function, call.args))
                for item in items
                if isinstance(call := item.context_expr, ast.Call) and _suppresses(function, call)
            )
        case _:
            return ()


def _of_handler(function: FunctionReading, handler: ast.ExceptHandler) -> Clause:
    return Clause(
        "except",
        function.position(handler.type or handler),
        handler_catcher(function, handler),
        bare=handler.type is None,
        raises_again=isinstance(handler.body[-1], ast.Raise),
    )


def _suppresses(function: FunctionReading, call: ast.Call) -> bool:
    known = function.by_node.get(call)
    return known is not None and any(target_name(target) == "contextlib.suppress" for target in known.targets)


def _quiet(call: Call) -> bool:
    return any(isinstance(target, StepTarget) and target.via == "attempt" for target in call.targets)


def _owner(function: FunctionReading, node: ast.AST) -> FunctionNode:
    around = function.file.around(node)
    nearest = (n for n in around if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
    return next(nearest, function.node)
