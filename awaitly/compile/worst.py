"""The longest way through a body: the parts of a sequence add up, of branches and of what runs at once one counts."""

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from awaitly.compile.budget import NOTHING, Budget, Part, longest, shortest
from awaitly.compile.costs import Costs
from awaitly.errors import ConfigurationError
from awaitly.model.durations import seconds
from awaitly.model.graph import (
    BranchNode,
    ChildNode,
    HelperNode,
    LoopNode,
    Node,
    OpaqueNode,
    ParallelNode,
    RaceNode,
    RaiseNode,
    ReturnNode,
    StepNode,
    TryNode,
    WaitNode,
    children_of,
)
from awaitly.model.program import StepBinding

_AT_ONCE = frozenset({"gather", "settle", "asyncio.gather"})


@dataclass(frozen=True, slots=True)
class Ways:
    """The longest way to what follows, and the longest out of the function; None where there is no such way."""

    on: Budget | None = NOTHING
    out: Budget | None = None

    @property
    def all(self) -> Budget:
        """The longest of both."""
        return longest((self.on, self.out)) or NOTHING


class Worst:
    """Adds up the nodes of a body.

    Args:
        steps: The bindings of its steps, by name.
        costs: What calls of steps take.
        child: What runs of a child workflow take, by its name.
    """

    def __init__(self, steps: Mapping[str, StepBinding], costs: Costs, child: Callable[[str], Budget]) -> None:
        self._steps = steps
        self._costs = costs
        self._child = child

    def body(self, nodes: Iterable[Node]) -> Budget:
        """Return the longest way through a body."""
        return self._sequence(nodes).all

    def _sequence(self, nodes: Iterable[Node]) -> Ways:
        on: Budget | None = NOTHING
        outs: list[Budget | None] = []
        for node in nodes:
            if on is None:  # after a return or raise
                break
            ways = self._node(node)
            outs.append(_after(on, ways.out))
            on = _after(on, ways.on)
        return Ways(on, longest(outs))

    def _node(self, node: Node) -> Ways:
        match node:
            case StepNode() | ChildNode():
                return Ways(self._called(node))
            case WaitNode():
                return self._wait(node)
            case BranchNode(arms=arms):
                ways = [self._sequence(arm.body) for arm in arms]
                alone = [NOTHING] if len(arms) == 1 else []  # `a and await b()`: or nothing at all
                return Ways(longest([*(way.on for way in ways), *alone]), longest(way.out for way in ways))
            case LoopNode():
                return self._loop(node)
            case ParallelNode():
                return Ways(self._parallel(node))
            case RaceNode(body=body):
                return Ways(self._race(body))
            case TryNode():
                return self._try(node)
            case HelperNode():
                own = self._sequence(node.body).all
                calls_itself = (f"{node.function.rpartition(':')[2]} calls itself",) if node.recursive else ()
                return Ways(own.then(Budget(unlimited=calls_itself)))
            case ReturnNode() | RaiseNode():
                return Ways(None, NOTHING)
            case OpaqueNode(text=text):
                return Ways(Budget(unlimited=(f"{text} cannot be read",)))

    def _called(self, node: StepNode | ChildNode) -> Budget:
        if not node.awaited:
            return NOTHING
        if isinstance(node, ChildNode):
            return self._child(node.workflow)
        binding = self._steps.get(node.step)
        return NOTHING if binding is None else self._costs.call(binding)

    def _wait(self, node: WaitNode) -> Ways:
        limit = _duration(node.text)
        if node.style == "sleep":
            known = Budget((Part(node.text, limit),)) if limit is not None else None
            return Ways(known or Budget(unlimited=(f"{node.text} is not known before it runs",)))
        if node.style != "timeout":
            return Ways(Budget(unlimited=(f"{node.text} waits for somebody else",)))
        inside = self._sequence(node.body)
        return inside if limit is None else Ways(*(self._cut(way, node, limit) for way in (inside.on, inside.out)))

    def _cut(self, way: Budget | None, node: WaitNode, limit: float) -> Budget | None:
        """Return a way that a time limit ends; an effect under way is finished first."""
        if way is None or (not way.unlimited and way.seconds <= limit):
            return way
        return Budget((Part(node.text, limit),)).then(self._lingering(node.body))

    def _loop(self, node: LoopNode) -> Ways:
        body, after = self._sequence(node.body), self._sequence(node.orelse)
        round_ = NOTHING if body.on is None else body.on.each_round()
        out = None if body.out is None else body.out.each_round()
        return Ways(_after(round_, after.on), longest((out, _after(round_, after.out))))

    def _parallel(self, node: ParallelNode) -> Budget:
        if node.style == "each":
            return self._sequence(node.body).all.each_round()
        if node.style in _AT_ONCE:
            branches = [inner.body if _makes_branches(inner) else (inner,) for inner in node.body]
            return longest(self._sequence(branch).all for branch in branches) or NOTHING
        if node.style == "TaskGroup" and all(_begins_task(inner) for inner in node.body):
            return longest(self._node(inner).all for inner in node.body) or NOTHING
        return self._sequence(node.body).all

    def _race(self, body: tuple[Node, ...]) -> Budget:
        """Return the branch that is over first, and what a loser has under way then; it ends by itself, at latest."""
        branches = [self._node(branch).all for branch in body]
        first = shortest(branches)
        decided = first.then(self._lingering(body))
        last = longest(branches) or NOTHING
        return last if not last.unlimited and last.seconds <= decided.seconds else decided

    def _lingering(self, nodes: tuple[Node, ...]) -> Budget:
        """Return how long what is under way goes on after a cancellation."""
        found = [NOTHING]
        for node in _walk(nodes):
            if isinstance(node, ChildNode) and node.awaited:
                found.append(self._child(node.workflow))
            if isinstance(node, StepNode) and (binding := self._steps.get(node.step)) is not None:
                limit = self._costs.lingering(binding)
                if math.isinf(limit):
                    found.append(Budget(unlimited=(f"step {node.step} has no timeout",)))
                else:
                    found.append(Budget((Part(node.step, limit, reason="an attempt under way"),)))
        return longest(found) or NOTHING

    def _try(self, node: TryNode) -> Ways:
        body, orelse = self._sequence(node.body), self._sequence(node.orelse)
        handlers = [self._sequence(handler.body) for handler in node.handlers]
        caught = body.all if handlers else None
        on = longest([_after(body.on, orelse.on), *(_after(caught, handler.on) for handler in handlers)])
        outs = [body.out, _after(body.on, orelse.out), *(_after(caught, handler.out) for handler in handlers)]
        final = self._sequence(node.final)
        if not node.final:
            return Ways(on, longest(outs))
        leaving = longest([*outs, body.all])  # what nobody catches passes through it too
        return Ways(_after(on, final.on), longest((_after(leaving, final.all), _after(on, final.out))))


def _after(first: Budget | None, second: Budget | None) -> Budget | None:
    return None if first is None or second is None else first.then(second)


def _makes_branches(node: Node) -> TypeGuard[LoopNode]:
    """Whether it is a loop in the arguments, whose rounds do not wait for one another."""
    return isinstance(node, LoopNode) and node.style == "comprehension"


def _begins_task(node: Node) -> bool:
    if isinstance(node, LoopNode | BranchNode):
        return all(_begins_task(inner) for inner in children_of(node))
    return isinstance(node, ParallelNode) and node.style == "create_task"


def _walk(nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _walk(children_of(node))


def _duration(text: str) -> float | None:
    """Return the seconds that a call such as ``sleep("5s")`` is given, where that is in the source."""
    try:
        call = ast.parse(text, mode="eval").body
        value = ast.literal_eval(call.args[0]) if isinstance(call, ast.Call) and call.args else None
        return None if value is None else seconds(value)
    except (SyntaxError, ValueError, ConfigurationError):
        return None
