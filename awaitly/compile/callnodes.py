"""The nodes of calls: steps, children, helpers, what runs at the same time, what is handed over as a value."""

import ast

from awaitly.compile.calls import behind, followable, name_of_target
from awaitly.compile.flow import arguments_of, parameters_of
from awaitly.compile.hidden import hidden, hidden_function, unknown_awaitable
from awaitly.compile.implicit import ITERATING, methods
from awaitly.compile.reading import Call, FunctionReading, Reading
from awaitly.compile.targets import (
    FunctionNode,
    FunctionTarget,
    LocalFunction,
    Partial,
    Primitive,
    StepTarget,
    Target,
    Unresolved,
    WorkflowTarget,
)
from awaitly.model.graph import (
    BranchArm,
    BranchNode,
    ChildNode,
    HelperNode,
    LoopNode,
    Node,
    OpaqueNode,
    ParallelNode,
    Position,
    RaceNode,
    RaiseNode,
    ReturnNode,
    StepNode,
    WaitNode,
)

Nodes = tuple[Node, ...]

_GATHERS = {"gather": "gather", "settle": "settle", "asyncio.gather": "asyncio.gather"}
_TASKS = {"asyncio.create_task", "asyncio.ensure_future", "asyncio.TaskGroup.create_task"}
_AWAITING = {"asyncio.wait_for", "asyncio.shield", "asyncio.wait", "asyncio.as_completed"}
_WAITS = {"sleep", "approval", "wait_for"}
_MAPS = {"builtins.map", "builtins.filter"}
_PARTIAL = "functools.partial"
_ENDS = (ReturnNode, RaiseNode)


class CallNodes:
    """The part of the builder that knows calls; statements and expressions are its subclass's."""

    def __init__(self, reading: Reading, function: FunctionReading, stack: tuple[FunctionNode, ...]) -> None:
        self.reading = reading
        self.function = function
        self.stack = stack  # the functions being called, outermost first: a second time is recursion

    def expression(self, expression: ast.expr) -> Nodes:
        """Return the nodes of what evaluating ``expression`` calls."""
        raise NotImplementedError

    def assigned(self, value: ast.expr) -> Nodes:
        """Return the nodes of a value given to a name: another name of a step stays resolvable."""
        raise NotImplementedError

    def inner(self, function: FunctionReading, node: FunctionNode) -> Nodes | None:
        """Return the nodes of a called function; None where it recurses."""
        raise NotImplementedError

    def opaque(self, expression: ast.expr, reason: str) -> OpaqueNode:
        """Return the node of something that cannot be read."""
        raise NotImplementedError

    def site_of(self, expression: ast.AST) -> str:
        """Return the label of the call that ``expression`` is, or is an argument of; "" if there is none."""
        raise NotImplementedError

    def at(self, node: ast.AST) -> Position:
        """Return where ``node`` is."""
        return self.function.position(node)

    def is_called(self, call: Call, name: str) -> bool:
        """Whether ``call`` calls the primitive, function or class of this name, for certain."""
        return all(name_of_target(target) == name for target in call.targets)

    # a call

    def call(self, call: Call) -> Nodes:
        """Return the nodes of a call and, before them, those of its arguments."""
        before, own = self.parts(call)
        return before + own

    def parts(self, call: Call) -> tuple[Nodes, Nodes]:
        """Return the nodes of what is evaluated before the call, and of the call itself."""
        name = name_of_target(call.target) if len(call.targets) == 1 else ""
        if name in _GATHERS:
            before, body = self._spawned(call, call.node.args)
            parallel = ParallelNode(site=call.label, style=_GATHERS[name], body=body, position=call.position)
            return before, (parallel,) if body else ()
        if name == "race":
            before, body = self._spawned(call, call.node.args)
            return before, (RaceNode(site=call.label, body=body, position=call.position),)
        if name in _TASKS:
            before, body = self._spawned(call, call.node.args[:1])
            task = ParallelNode(site=call.label, style="create_task", body=body, position=call.position)
            return before, (task,) if body else ()
        if name == "each" or name in _MAPS:
            return self._mapping(call, name)
        before = self._callee(call) + self.argument_nodes(call)
        if name in _WAITS and isinstance(call.target, Primitive):
            text = ast.unparse(call.node)
            return before, (WaitNode(site=call.label, style=name, text=text, position=call.position),)
        if name == _PARTIAL and any(self.has_steps(target) for target in self.function.resolve(call.node)):
            return (), (self.opaque(call.node, f"{ast.unparse(call.node)} is used as a value here"),)
        return before, self._own(call)

    def _callee(self, call: Call) -> Nodes:
        """Return the nodes of what is evaluated to find the callee: ``make().run``."""
        callee = call.node.func
        while isinstance(callee, ast.Attribute):
            callee = callee.value
        return () if isinstance(callee, ast.Name | ast.Lambda) else self.expression(callee)

    def argument_nodes(self, call: Call, skip: ast.expr | None = None) -> Nodes:
        """Return the nodes of the arguments of a call, in order."""
        found: list[Node] = []
        for value in _arguments(call.node):
            if value is skip:
                continue
            found += self.expression(value)
            if value in call.node.args[:1] and any(name_of_target(target) in _AWAITING for target in call.targets):
                found += self._unknown(value)
        return tuple(found)

    def _unknown(self, value: ast.expr) -> Nodes:
        inner = value.value if isinstance(value, ast.Starred) else value
        if isinstance(inner, ast.Call):
            return ()
        reason = unknown_awaitable(inner, self.function)
        return (self.opaque(inner, reason),) if reason else ()

    def _own(self, call: Call) -> Nodes:
        found = [self._of_target(target, call) for target in call.targets]
        if len(found) == 1:
            nodes = found[0]
        else:
            arms = tuple(
                BranchArm(label=_name(target), body=body) for target, body in zip(call.targets, found, strict=True)
            )
            several = BranchNode(style="conditional", text=call.text, arms=arms, position=call.position)
            nodes = (several,) if any(found) else ()
        if any(isinstance(target, FunctionTarget) and self._reading_of(target) for target in call.targets):
            return nodes
        reason = hidden(call, self.function)
        for inner in map(behind, call.targets):
            reading = self.reading.function_of(inner) if inner is not None else None
            if reading is not None:
                nodes += self._helper(call.label, reading, reading.node, call.position)
                reason = f"its decorator may call {reading.fn.__qualname__} in any way"
        return (*nodes, self.opaque(call.node, reason)) if reason else nodes

    def _of_target(self, target: Target, call: Call, site: str | None = None) -> Nodes:
        """Return the nodes of calling ``target`` by ``call``; ``site``: called back, and identified by that place."""
        label = site or call.label
        match target:
            case Partial(inner=inner):
                return self._of_target(inner, call, site)
            case StepTarget(step=step, via="call" | "attempt" as via):
                return (
                    StepNode(
                        site=label,
                        step=step.name,
                        arguments=() if site else arguments_of(call, self.function, parameters_of(step.fn)),
                        awaited=bool(site) or call.usage in ("awaited", "spawned", "stored"),
                        attempt=via == "attempt",
                        position=call.position,
                    ),
                )
            case WorkflowTarget(workflow=workflow, via="call" | "run" | "start"):
                awaited = bool(site) or call.usage in ("awaited", "spawned", "stored")
                return (ChildNode(site=label, workflow=workflow.name, awaited=awaited, position=call.position),)
            case LocalFunction(name=name, node=node):
                return self._helper(label, self.function, node, call.position, f".<locals>.{name}")
            case FunctionTarget():
                reading = self._reading_of(target)
                if reading is not None:
                    return self._helper(label, reading, reading.node, call.position)
        return ()

    def _helper(
        self, label: str, function: FunctionReading, node: FunctionNode, position: Position, within: str = ""
    ) -> Nodes:
        name = f"{function.fn.__qualname__}{within}"
        body = self.inner(function, node)
        if body is None:
            return (HelperNode(site=label, function=name, recursive=True, position=position),)
        if all(isinstance(inner, _ENDS) for inner in body):
            return ()
        return (HelperNode(site=label, function=name, body=body, position=position),)

    # at the same time

    def _spawned(self, call: Call, arguments: list[ast.expr]) -> tuple[Nodes, Nodes]:
        """Return what is evaluated before the branches begin, and the branches."""
        before: list[Node] = list(self._callee(call))
        body: list[Node] = []
        for argument in arguments:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            if isinstance(inner, ast.Call):
                earlier, own = self.parts(self.function.by_node[inner])
                before += earlier
                body += own
            else:
                body += self.expression(inner)
                body += self._unknown(inner)
        for value in _arguments(call.node):
            if value not in arguments:
                before += self.expression(value)
        return tuple(before), tuple(body)

    # handed over

    def _mapping(self, call: Call, name: str) -> tuple[Nodes, Nodes]:
        """Return the nodes of ``each``, ``map`` or ``filter``, which call back their first argument."""
        function = _first(call.node)
        body = self.called_back(function, call) if function is not None else ()
        if not body and function is not None:
            before = self.argument_nodes(call, skip=function) + (() if name == "each" else self.expression(function))
            reason = self._unread_callback(function, call, name)
            return before, (self.opaque(call.node, reason),) if reason else ()
        before = self.argument_nodes(call, skip=function)
        if name == "each":
            return before, (ParallelNode(site=call.label, style="each", body=body, position=call.position),)
        text = ast.unparse(call.node)
        return before, (LoopNode(style="comprehension", text=text, body=body, position=call.position),)

    def _unread_callback(self, function: ast.expr, call: Call, name: str) -> str | None:
        """Return why what is called back may run steps that were not seen; a ``map`` in a helper may be plain."""
        reasons = [one.reason for one in self.function.resolve.callee(function) if isinstance(one, Unresolved)]
        awaited = name == "each" or call.usage != "value" or self.function.prefix == ""
        return reasons[0] if reasons and awaited else None

    def called_back(self, function: ast.expr, call: Call) -> Nodes:
        """Return the nodes of what ``call`` calls back: their identity is the place that iterates."""
        site = self._iterating(call).label
        found = [
            (target, self._of_target(target, call, site))
            for target in self.function.resolve(function)
            if self.has_steps(target)
        ]
        if len(found) <= 1:
            return found[0][1] if found else ()
        arms = tuple(BranchArm(label=_name(target), body=body) for target, body in found)
        return (BranchNode(style="conditional", text=ast.unparse(function), arms=arms, position=call.position),)

    def _iterating(self, call: Call) -> Call:
        """Return the call that drives a ``map``: the one that it is an argument of, or itself."""
        if self.is_called(call, "each"):
            return call
        above = self.function.file.parents.get(call.node)
        if isinstance(above, ast.Starred):
            above = self.function.file.parents.get(above)
        outer = self.function.by_node.get(above) if isinstance(above, ast.Call) else None
        return outer or call

    def mapped(self, iterated: ast.expr) -> Nodes:
        """Return the nodes of the steps that a loop over ``map(step, items)`` calls in each round."""
        call = self.function.by_node.get(iterated)
        if call is None or name_of_target(call.target) not in _MAPS:
            return ()
        function = _first(call.node)
        return self.called_back(function, call) if function is not None else ()

    def iterated(self, iterated: ast.expr, *, asynchronous: bool) -> Nodes:
        """Return the nodes of what a loop evaluates before its first round."""
        call = self.function.by_node.get(iterated)
        if call is not None and self.mapped(iterated):
            return self.argument_nodes(call, skip=_first(call.node))
        if isinstance(iterated, ast.Tuple | ast.List | ast.Set):  # of steps: each round resolves to them
            return tuple(node for item in iterated.elts for node in self.assigned(item))
        return self.entered(iterated, ITERATING) if asynchronous else self.expression(iterated)

    def entered(self, expression: ast.expr, names: tuple[str, ...]) -> Nodes:
        """Return the nodes of what is awaited by syntax, opaque if that was not read; ``names``: of the methods."""
        nodes = self.expression(expression)
        found = methods(expression, names, self.function.resolve)
        if found:
            return nodes + self._implicit(expression, found)
        call = self.function.by_node.get(expression)
        if call is None:
            reason = unknown_awaitable(expression, self.function)
        elif any(isinstance(node, OpaqueNode) and node.site == call.label for node in nodes):
            reason = None  # said already
        else:
            followed = any(isinstance(target, FunctionTarget) and self._reading_of(target) for target in call.targets)
            reason = None if followed else hidden(call, self.function, entered=True)
        return (*nodes, self.opaque(expression, reason)) if reason else nodes

    def _implicit(self, expression: ast.expr, found: list[FunctionTarget]) -> Nodes:
        label = self.site_of(expression)
        nodes: list[Node] = []
        for target in found:
            reading = self._reading_of(target)
            if reading is not None:
                nodes += self._helper(label, reading, reading.node, self.at(expression))
            elif reason := hidden_function(target):
                nodes.append(self.opaque(expression, reason))
        return tuple(nodes)

    # what contains steps

    def has_steps(self, target: Target) -> bool:
        """Whether calling ``target`` may run steps or awaitly's own calls."""
        match target:
            case StepTarget(via=via):
                return via != "fn"
            case WorkflowTarget():
                return True
            case Partial(inner=inner):
                return self.has_steps(inner)
            case LocalFunction(node=node):
                body = self.inner(self.function, node)
                return body is None or any(not isinstance(inner, _ENDS) for inner in body)
            case FunctionTarget():
                return self._reading_of(target) is not None
            case _:
                return False

    def _reading_of(self, target: FunctionTarget) -> FunctionReading | None:
        return self.reading.function_of(followable(target.fn))


def _arguments(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call in the order in which they are evaluated."""
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return sorted(values, key=lambda value: (value.lineno, value.col_offset))


def _first(call: ast.Call) -> ast.expr | None:
    if call.args:
        return call.args[0]
    return next((keyword.value for keyword in call.keywords if keyword.arg == "function"), None)


def _name(target: Target) -> str:
    match target:
        case Partial(inner=inner):
            return _name(inner)
        case StepTarget(step=step):
            return step.name
        case WorkflowTarget(workflow=workflow):
            return workflow.name
        case _:
            return getattr(target, "name", "something else")
