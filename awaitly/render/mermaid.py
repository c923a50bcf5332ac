"""A graph as a Mermaid flowchart."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from awaitly.render.legend import legend
from awaitly.render.tree import loop_text

_LONGEST_LABEL = 60
_LONGEST_REMARK = 120
_STYLES = (
    "classDef step fill:#e3f2fd,stroke:#1565c0,color:#0d2a4a",
    "classDef child fill:#ede7f6,stroke:#5e35b1,color:#2a1459",
    "classDef opaque fill:#fff3e0,stroke:#e65100,color:#4e2600,stroke-dasharray:4 3",
    "classDef note fill:#fafafa,stroke:#9e9e9e,color:#424242,text-align:left",
    "classDef failed fill:#ffebee,stroke:#c62828,color:#4d0f0f",
)


@dataclass(frozen=True, slots=True)
class _End:
    """A way out of what was drawn so far: the next node is reached from here."""

    node: str
    label: str = ""


_Ends = tuple[_End, ...]


def graph_mermaid(graph: Graph) -> str:
    """Return the graph as the text of a Mermaid flowchart."""
    chart = _Chart(graph)
    start = chart.node(f"{graph.workflow}", "([", "])")
    ends = chart.sequence(graph.body, (_End(start),))
    if ends:
        chart.link(ends, chart.node("end", "([", "])"))
    chart.legend()
    body = "\n".join(f"    {line}" for line in (*chart.lines, *_STYLES))
    return f"flowchart TD\n{body}\n"


@dataclass(slots=True)
class _Chart:
    graph: Graph
    lines: list[str] = field(default_factory=list)
    _count: int = 0
    _returns: list[list[_End]] = field(default_factory=list)  # of the helpers around, the innermost last

    def node(self, label: str, opening: str = "[", closing: str = "]", style: str = "") -> str:
        """Draw a node and return its id."""
        id = f"n{self._count}"
        self._count += 1
        self.lines.append(f'{id}{opening}"{escaped(label)}"{closing}{f":::{style}" if style else ""}')
        return id

    def link(self, ends: _Ends, target: str, arrow: str = "-->") -> None:
        """Draw the arrows to a node."""
        for end in ends:
            label = f'|"{escaped(end.label)}"|' if end.label else ""
            self.lines.append(f"{end.node} {arrow}{label} {target}")

    def legend(self) -> None:
        """Draw a box with what lies around each step, apart from what happens."""
        entries = [entry for entry in legend(self.graph) if entry.around]
        if not entries:
            return
        self.lines.append('subgraph steps["steps"]')
        for index, entry in enumerate(entries):
            lines = [f"{entry.step}: {entry.about}" if entry.about else f"{entry.step}:", *entry.around]
            text = "<br>".join(escaped(line, _LONGEST_REMARK) for line in lines)
            self.lines.append(f's{index}["{text}"]:::note')
        self.lines.append("end")

    def sequence(self, nodes: Iterable[Node], ends: _Ends) -> _Ends:
        """Draw nodes one after the other; return the ways out."""
        for node in nodes:
            if not ends:  # after a return or raise
                break
            ends = self.draw(node, ends)
        return ends

    def draw(self, node: Node, ends: _Ends) -> _Ends:
        """Draw one node of the graph; return the ways out."""
        match node:
            case BranchNode():
                return self._branch(node, ends)
            case LoopNode():
                return self._loop(node, ends)
            case ParallelNode() | RaceNode():
                return self._parallel(node, ends)
            case TryNode():
                return self._try(node, ends)
            case HelperNode() | WaitNode() if node.body:
                return self._framed(node, ends)
            case ReturnNode() | RaiseNode():
                self._leave(node, ends)
                return ()
            case _:
                return self._leaf(node, ends)

    def _leaf(self, node: Node, ends: _Ends) -> _Ends:
        match node:
            case StepNode():
                id = self.node(node.step, style="step")
            case ChildNode():
                id = self.node(node.workflow, "[[", "]]", style="child")
            case OpaqueNode():
                id = self.node(f"? {node.text}: {node.reason}", "{{", "}}", style="opaque")
            case WaitNode():
                id = self.node(node.text or node.style, "([", "])")
            case HelperNode():
                id = self.node(f"{node.function.rpartition(':')[2]} (again)", "[[", "]]")
            case _:
                raise AssertionError(f"no picture of a node of kind {node.kind}")
        self.link(ends, id)
        return (_End(id),)

    def _leave(self, node: ReturnNode | RaiseNode, ends: _Ends) -> None:
        raises = isinstance(node, RaiseNode)
        id = self.node(f"{node.kind} {node.text}".rstrip(), "([", "])", style="failed" if raises else "")
        self.link(ends, id)
        if self._returns and not raises:  # it leaves a helper: its caller goes on
            self._returns[-1].append(_End(id))

    def _branch(self, node: BranchNode, ends: _Ends) -> _Ends:
        id = self.node(node.text, "{", "}")
        self.link(ends, id)
        out: list[_End] = []
        for arm in node.arms:
            out += self.sequence(arm.body, (_End(id, arm.label),))
        return tuple(out)

    def _loop(self, node: LoopNode, ends: _Ends) -> _Ends:
        id = self.node(loop_text(node), "{", "}")
        self.link(ends, id)
        self.link(self.sequence(node.body, (_End(id, "next"),)), id, "-.->")
        return self.sequence(node.orelse, (_End(id, "done"),))

    def _parallel(self, node: ParallelNode | RaceNode, ends: _Ends) -> _Ends:
        race = isinstance(node, RaceNode)
        title = "race: the first to finish" if race else getattr(node, "style", "parallel")
        fork = self.node(title, "[/", "\\]")
        self.link(ends, fork)
        out: list[_End] = []
        for inner in node.body:
            out += self.draw(inner, (_End(fork),))
        join = self.node("first" if race else "all", "[\\", "/]")
        self.link(tuple(out) or (_End(fork),), join)
        return (_End(join),)

    def _try(self, node: TryNode, ends: _Ends) -> _Ends:
        id = self.node("try", "{{", "}}")
        self.link(ends, id)
        out = list(self.sequence(node.orelse, self.sequence(node.body, (_End(id),))))
        for handler in node.handlers:
            catches = ", ".join("anything" if name == "*" else name.rpartition(":")[2] for name in handler.catches)
            out += self.sequence(handler.body, (_End(id, f"except {catches}"),))
        return self.sequence(node.final, tuple(out))

    def _framed(self, node: HelperNode | WaitNode, ends: _Ends) -> _Ends:
        helper = isinstance(node, HelperNode)
        function = node.function.rpartition(":")[2] if isinstance(node, HelperNode) else node.text or node.style
        if helper:
            self._returns.append([])
        frame = f"f{self._count}"
        self._count += 1
        self.lines.append(f'subgraph {frame}["{escaped(function)}"]')
        entry = self.node(" ", "((", "))")
        out = self.sequence(node.body, (_End(entry),))
        self.lines.append("end")
        self.link(ends, entry)
        return (*out, *self._returns.pop()) if helper else out


def escaped(text: str, longest: int = _LONGEST_LABEL) -> str:
    """Return text as it may stand between the quotes of a Mermaid label."""
    line = " ".join(text.split()) or " "
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    return "".join(f"#{ord(sign)};" if sign in _SPECIAL else sign for sign in line)


_SPECIAL = frozenset('"#&<>`\\')
