"""A graph as a tree of text, for terminals and for documents."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from awaitly.model.durations import humanised
from awaitly.model.graph import (
    BranchNode,
    ChildNode,
    Graph,
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
)
from awaitly.render.legend import legend_text, names, time_text


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the tree: its text, a remark, and what is below it."""

    text: str
    note: str = ""
    kind: str = ""  # of the node, for those who colour it
    below: tuple["Line", ...] = field(default=())


def graph_tree(graph: Graph) -> str:
    """Return the whole graph as text, one node a line, and below it what its steps are."""
    tree = ["".join(parts) for parts in drawn(graph_lines(graph))]
    steps = ["", *(f"{name}  {line}" for name, line in legend_text(graph))]
    time = ["", *time_text(graph)]
    return "\n".join([*tree, *(steps if steps[1:] else []), *(time if time[1:] else [])])


def graph_lines(graph: Graph) -> Line:
    """Return the tree of a graph, not drawn yet."""
    parameters = ", ".join(f"{name}: {annotation}" if annotation else name for name, annotation in graph.parameters)
    notes = [f"id {graph.key}"] if graph.key else []
    notes += [f"version {graph.version}"] if graph.version else []
    notes += [f"deadline {humanised(graph.deadline)}"] if graph.deadline is not None else []
    notes += [] if graph.durable else ["not durable"]
    notes += [f"fails with {names(graph.errors)}"] if graph.errors else []
    return Line(
        f"{graph.workflow}({parameters}) -> {graph.result}", ", ".join(notes), "workflow", _lines(graph.body, graph)
    )


def drawn(root: Line) -> Iterator[tuple[str, str, str]]:
    """Yield the guides, the text and the remark of each line."""
    yield "", root.text, _remark(root)
    yield from _below(root, "")


def _below(line: Line, indent: str) -> Iterator[tuple[str, str, str]]:
    for index, inner in enumerate(line.below):
        last = index == len(line.below) - 1
        yield indent + ("└─ " if last else "├─ "), inner.text, _remark(inner)
        yield from _below(inner, indent + ("   " if last else "│  "))


def _remark(line: Line) -> str:
    return f"  ({line.note})" if line.note else ""


def _lines(nodes: Iterable[Node], graph: Graph) -> tuple[Line, ...]:
    return tuple(_line(node, graph) for node in nodes)


def _line(node: Node, graph: Graph) -> Line:
    match node:
        case StepNode():
            return Line(_called(node), kind=node.kind)
        case ChildNode():
            return Line(f"workflow {node.workflow}", "" if node.awaited else "not awaited here", node.kind)
        case HelperNode():
            note = "calls itself" if node.recursive else ""
            return Line(f"{node.function.rpartition(':')[2]}()", note, node.kind, _lines(node.body, graph))
        case ReturnNode() | RaiseNode():
            return Line(f"{node.kind} {node.text}".rstrip(), kind=node.kind)
        case OpaqueNode():
            return Line(f"? {node.text}", node.reason, node.kind)
        case _:
            return _structure(node, graph)


def _structure(node: Node, graph: Graph) -> Line:
    match node:
        case BranchNode():
            arms = tuple(Line(arm.label, kind="arm", below=_lines(arm.body, graph)) for arm in node.arms)
            return Line(branch_text(node), kind=node.kind, below=arms)
        case LoopNode():
            below = _lines(node.body, graph) + _section("else", node.orelse, graph)
            return Line(loop_text(node), kind=node.kind, below=below)
        case ParallelNode():
            return Line(node.style, "at the same time", node.kind, _lines(node.body, graph))
        case RaceNode():
            return Line("race", "the first to finish wins", node.kind, _lines(node.body, graph))
        case WaitNode():
            return Line(node.text or node.style, kind=node.kind, below=_lines(node.body, graph))
        case TryNode():
            handlers = tuple(
                Line(f"except {names(handler.catches)}", kind="arm", below=_lines(handler.body, graph))
                for handler in node.handlers
            )
            rest = _section("else", node.orelse, graph) + _section("finally", node.final, graph)
            return Line("try", kind=node.kind, below=_lines(node.body, graph) + handlers + rest)
        case _:
            raise AssertionError(f"no line for a node of kind {node.kind}")


def branch_text(node: BranchNode) -> str:
    """Return the question that a branch asks."""
    keyword = "match" if node.style == "match" else "if"
    return node.text if node.text.startswith(f"{keyword} ") else f"{keyword} {node.text}"


def loop_text(node: LoopNode) -> str:
    """Return the head of a loop."""
    return f"while {node.text}" if node.style == "while" and not node.text.startswith("while ") else node.text


def _section(label: str, nodes: tuple[Node, ...], graph: Graph) -> tuple[Line, ...]:
    return (Line(label, kind="arm", below=_lines(nodes, graph)),) if nodes else ()


def _called(node: StepNode) -> str:
    arguments = ", ".join(argument.text for argument in node.arguments)
    return f"{node.step}{'.attempt' if node.attempt else ''}({arguments})"
