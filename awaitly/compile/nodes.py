"""From the AST of functions that were read to the nodes of the graph, in the order of evaluation."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from awaitly.compile.callnodes import CallNodes
from awaitly.compile.implicit import AWAITING, ENTERING
from awaitly.compile.reading import FunctionReading, Reading
from awaitly.compile.scope import Comprehension
from awaitly.compile.targets import FunctionNode, Instance, LocalFunction, Native, Partial, StepTarget, WorkflowTarget
from awaitly.model.graph import (
    BranchArm,
    BranchNode,
    LoopNode,
    Node,
    OpaqueNode,
    ParallelNode,
    RaiseNode,
    ReturnNode,
    TryHandler,
    TryNode,
    WaitNode,
)

Nodes = tuple[Node, ...]


def nodes_of(reading: Reading) -> Nodes:
    """Return the body of a workflow as nodes."""
    return Builder(reading, reading.main, (reading.main.node,), Made()).body(reading.main.node)


@dataclass(slots=True)
class Made:
    """The bodies that were made already: a helper that is called twice has the same nodes twice."""

    bodies: dict[FunctionNode, Nodes] = field(default_factory=dict)
    recursions: int = 0  # counted, so that a body that depends on who called it is made anew


class Builder(CallNodes):
    """Makes the nodes of one function; calls of other functions make builders of their own."""

    def __init__(
        self, reading: Reading, function: FunctionReading, stack: tuple[FunctionNode, ...], made: Made
    ) -> None:
        super().__init__(reading, function, stack)
        self.made = made

    def inner(self, function: FunctionReading, node: FunctionNode) -> Nodes | None:
        """Return the nodes of a called function; None where it is being read already."""
        if node in self.stack:
            self.made.recursions += 1
            return None
        if node in self.made.bodies:
            return self.made.bodies[node]
        before = self.made.recursions
        body = Builder(self.reading, function, (*self.stack, node), self.made).body(node)
        if self.made.recursions == before:
            self.made.bodies[node] = body
        return body

    def body(self, node: FunctionNode) -> Nodes:
        """Return the nodes of a whole function."""
        return self.block(node.body) if isinstance(node.body, list) else self.expression(node.body)

    # statements

    def block(self, statements: Iterable[ast.stmt]) -> Nodes:
        """Return the nodes of statements in sequence."""
        return tuple(node for statement in statements for node in self.statement(statement))

    def statement(self, statement: ast.stmt) -> Nodes:
        """Return the nodes of one statement."""
        match statement:
            case ast.If():
                return self._if(statement)
            case ast.Match():
                return self._match(statement)
            case ast.For() | ast.AsyncFor():
                return self._for(statement)
            case ast.While(test=test, body=body, orelse=orelse):
                inside = self.expression(test) + self.block(body)
                return self._loop(statement, "while", ast.unparse(test), inside, self.block(orelse))
            case ast.Try() | ast.TryStar():
                return self._try(statement)
            case ast.With() | ast.AsyncWith():
                return self._with(statement, 0)
            case ast.Return(value=value):
                text = ast.unparse(value) if value else ""
                return (*self._optional(value), ReturnNode(text=text, position=self.at(statement)))
            case ast.Raise(exc=exc):
                text = ast.unparse(exc) if exc else ""
                return (*self._optional(exc), RaiseNode(text=text, position=self.at(statement)))
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                return tuple(node for value in values for node in self.assigned(value)) + self._all(names)
            case ast.Assign(targets=targets, value=value):
                plain = all(isinstance(target, ast.Name) for target in targets)
                return (self.assigned(value) if plain else self.expression(value)) + self._all(targets)
            case ast.AnnAssign(target=target, value=value):
                if value is None:
                    return ()
                return self.assigned(value) if isinstance(target, ast.Name) else self.expression(value)
            case ast.AugAssign(target=target, value=value):
                return self.expression(value) + self._all([target])
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._all([*statement.decorator_list, *_defaults(statement.args)])
            case ast.ClassDef(body=body):
                return self._all([*statement.decorator_list, *statement.bases]) + self.block(body)
            case _:
                return self._all(child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr))

    def _if(self, statement: ast.If) -> Nodes:
        arms = [BranchArm(label=ast.unparse(statement.test), body=self.block(statement.body))]
        rest = statement.orelse
        # An elif whose condition calls nothing is one more arm; another is a branch inside the else.
        while len(rest) == 1 and isinstance(inner := rest[0], ast.If) and not self.expression(inner.test):
            arms.append(BranchArm(label=ast.unparse(inner.test), body=self.block(inner.body)))
            rest = inner.orelse
        arms.append(BranchArm(label="else", body=self.block(rest)))
        return self.expression(statement.test) + self._branch(statement, "if", statement.test, arms)

    def _match(self, statement: ast.Match) -> Nodes:
        arms = []
        for case in statement.cases:
            guard = f" if {ast.unparse(case.guard)}" if case.guard else ""
            body = self._optional(case.guard) + self.block(case.body)
            arms.append(BranchArm(label=ast.unparse(case.pattern) + guard, body=body))
        last = statement.cases[-1]
        if last.guard or not (isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None):
            arms.append(BranchArm(label="no match"))
        return self.expression(statement.subject) + self._branch(statement, "match", statement.subject, arms)

    def _for(self, statement: ast.For | ast.AsyncFor) -> Nodes:
        asynchronous = isinstance(statement, ast.AsyncFor)
        text = f"for {ast.unparse(statement.target)} in {ast.unparse(statement.iter)}"
        before = self.iterated(statement.iter, asynchronous=asynchronous)
        style = "async for" if asynchronous else "for"
        body, orelse = self.block(statement.body), self.block(statement.orelse)
        mapped = self.mapped(statement.iter)
        return before + self._loop(statement, style, text, mapped + body, orelse)

    def _loop(self, node: ast.stmt | ast.expr, style: str, text: str, body: Nodes, orelse: Nodes = ()) -> Nodes:
        if not body and not orelse:
            return ()
        return (LoopNode(style=style, text=text, body=body, orelse=orelse, position=self.at(node)),)  # type: ignore[arg-type]

    def _branch(self, node: ast.AST, style: str, on: ast.AST, arms: list[BranchArm]) -> Nodes:
        if not any(arm.body for arm in arms):
            return ()
        return (BranchNode(style=style, text=ast.unparse(on), arms=tuple(arms), position=self.at(node)),)  # type: ignore[arg-type]

    def _try(self, statement: ast.Try | ast.TryStar) -> Nodes:
        handlers = tuple(
            TryHandler(catches=self._catches(handler), body=self.block(handler.body)) for handler in statement.handlers
        )
        body, orelse, final = (
            self.block(statement.body),
            self.block(statement.orelse),
            self.block(statement.finalbody),
        )
        if not (body or orelse or final or any(handler.body for handler in handlers)):
            return ()
        return (TryNode(body=body, handlers=handlers, orelse=orelse, final=final, position=self.at(statement)),)

    def _catches(self, handler: ast.ExceptHandler) -> tuple[str, ...]:
        if handler.type is None:
            return ("*",)
        classes = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        return tuple(name for expression in classes for name in self._class_names(expression))

    def _class_names(self, expression: ast.expr) -> list[str]:
        names = []
        for target in self.function.resolve(expression):
            value = target.value if isinstance(target, Native) else None
            several = value if isinstance(value, tuple) else (value,)
            names += [
                f"{one.__module__}:{one.__qualname__}" if isinstance(one, type) else ast.unparse(expression)
                for one in several
            ]
        return names

    def _with(self, statement: ast.With | ast.AsyncWith, index: int) -> Nodes:
        """Return the nodes of a ``with`` from its manager ``index`` on: each encloses those after it."""
        if index == len(statement.items):
            return self.block(statement.body)
        manager = statement.items[index].context_expr
        asynchronous = isinstance(statement, ast.AsyncWith)
        call = self.function.by_node.get(manager)
        inside = self._with(statement, index + 1)
        if call and self.is_called(call, "asyncio.TaskGroup"):
            if not inside:
                return ()
            return (ParallelNode(site=call.label, style="TaskGroup", body=inside, position=call.position),)
        if call and self.is_called(call, "timeout"):
            before = self.argument_nodes(call)
            text = ast.unparse(call.node)
            wait = WaitNode(site=call.label, style="timeout", text=text, body=inside, position=call.position)
            return (*before, wait)
        return (self.entered(manager, ENTERING) if asynchronous else self.expression(manager)) + inside

    # expressions

    def expression(self, expression: ast.expr) -> Nodes:
        """Return the nodes of what evaluating ``expression`` calls."""
        match expression:
            case ast.Call():
                return self.call(self.function.by_node[expression])
            case ast.Await(value=value):
                return self.entered(value, AWAITING)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                arms = [
                    BranchArm(label=ast.unparse(test), body=self.expression(body)),
                    BranchArm(label="else", body=self.expression(orelse)),
                ]
                return self.expression(test) + self._branch(expression, "conditional", test, arms)
            case ast.BoolOp(op=op, values=[first, *rest]):
                word = "and" if isinstance(op, ast.And) else "or"
                arms = [BranchArm(label=word, body=self._all(rest))]
                return self.expression(first) + self._branch(expression, "short-circuit", expression, arms)
            case ast.Lambda() | ast.Name() | ast.Attribute():
                return self._value(expression)
            case ast.NamedExpr(value=value):
                return self.assigned(value)
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return self._all(part for pair in pairs for part in pair if part is not None)
            case ast.Constant():
                return ()
        if isinstance(expression, Comprehension):
            return self._comprehension(expression)
        return self._all(child for child in ast.iter_child_nodes(expression) if isinstance(child, ast.expr))

    def _comprehension(self, expression: Comprehension) -> Nodes:
        first = expression.generators[0]
        before = self.iterated(first.iter, asynchronous=bool(first.is_async))
        inside: Nodes = self.mapped(first.iter)
        for index, generator in enumerate(expression.generators):
            if index:
                inside += self.iterated(generator.iter, asynchronous=bool(generator.is_async))
                inside += self.mapped(generator.iter)
            inside += self._all(generator.ifs)
        parts = [expression.key, expression.value] if isinstance(expression, ast.DictComp) else [expression.elt]
        inside += self._all(parts)
        text = f"for {ast.unparse(first.target)} in {ast.unparse(first.iter)}"
        return before + self._loop(expression, "comprehension", text, inside)

    def _value(self, expression: ast.Lambda | ast.Name | ast.Attribute) -> Nodes:
        """Return nodes for a name where its value goes somewhere: a step that does is lost from sight."""
        if isinstance(expression, ast.Lambda) or isinstance(expression.ctx, ast.Load):
            for target in self.function.resolve(expression):
                if self.has_steps(target):
                    return (self.opaque(expression, f"{ast.unparse(expression)} is used as a value here"),)
        if isinstance(expression, ast.Attribute) and not isinstance(expression.value, ast.Name):
            return self.expression(expression.value)
        return ()

    def assigned(self, value: ast.expr) -> Nodes:
        """Return the nodes of a value given to a name: another name of a step stays resolvable."""
        return () if self._is_alias(value) else self.expression(value)

    def _is_alias(self, value: ast.expr) -> bool:
        match value:
            case ast.Name() | ast.Attribute() | ast.Lambda():
                return all(
                    isinstance(target, StepTarget | WorkflowTarget | LocalFunction | Native | Instance | Partial)
                    or self.has_steps(target)
                    for target in self.function.resolve(value)
                )
            case ast.IfExp(body=body, orelse=orelse):
                return not self.expression(value.test) and self._is_alias(body) and self._is_alias(orelse)
            case ast.BoolOp(values=values):
                return all(self._is_alias(one) for one in values)
            case ast.Call(func=func, args=[first, *rest], keywords=keywords):
                partial = any(isinstance(target, Partial) for target in self.function.resolve(value))
                others = [*rest, *(keyword.value for keyword in keywords)]
                return partial and self._is_alias(first) and not self._all(others) and isinstance(func, ast.expr)
            case _:
                return False

    def _all(self, expressions: Iterable[ast.expr]) -> Nodes:
        return tuple(node for expression in expressions for node in self.expression(expression))

    def _optional(self, expression: ast.expr | None) -> Nodes:
        return self.expression(expression) if expression else ()

    def opaque(self, expression: ast.expr, reason: str) -> OpaqueNode:
        """Return the node of something that cannot be read."""
        return OpaqueNode(
            site=self.site_of(expression), text=ast.unparse(expression), reason=reason, position=self.at(expression)
        )

    def site_of(self, expression: ast.AST) -> str:
        """Return the label of the call that ``expression`` is, or is an argument of; "" if there is none."""
        for node in (expression, *self.function.file.around(expression, self.function.node)):
            if isinstance(node, ast.Call) and node in self.function.by_node:
                return self.function.by_node[node].label
            if isinstance(node, ast.stmt):
                break
        return ""


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]
