"""What changed between two graphs of a workflow, in words: for people who decide whether running runs survive it."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from awaitly.model.graph import (
    BranchNode,
    ChildNode,
    Graph,
    LoopNode,
    Node,
    ParallelNode,
    Position,
    StepNode,
    StepSpec,
    TryNode,
    WaitNode,
    children_of,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``position`` is in the new source, or in the old one for what is gone."""

    kind: Literal["added", "removed", "changed", "moved"]
    what: Literal["workflow", "step", "site"]
    name: str
    before: str = ""
    after: str = ""
    position: Position | None = None

    def __str__(self) -> str:
        where = f" ({self.position})" if self.position else ""
        head = f"{self.what} {self.name}{where} {_VERBS[self.kind]}"
        if self.before and self.after:
            return f"{head}: {self.before} → {self.after}"
        return f"{head}: {self.before or self.after}" if self.before or self.after else head


_VERBS = {"added": "is new", "removed": "is gone", "changed": "changed", "moved": "moved"}


@dataclass(frozen=True, slots=True)
class _Place:
    """A step or child where the graph has it; ``inside``: the structure around it, outermost first."""

    callee: str
    inside: tuple[str, ...]
    position: Position | None


def diff(old: Graph, new: Graph) -> tuple[Change, ...]:
    """Return the structural differences: of the workflow, of its steps, then of its call sites in source order."""
    if old.fingerprint == new.fingerprint and old.steps == new.steps and _head(old) == _head(new):
        return ()
    return (*_heads(old, new), *_steps(old, new), *_sites(old, new))


def _head(graph: Graph) -> dict[str, str]:
    return {
        "name": graph.workflow,
        "version": graph.version or "",
        "key": graph.key or "",
        "parameters": ", ".join(f"{name}: {annotation}" for name, annotation in graph.parameters),
        "result": graph.result,
        "errors": ", ".join(graph.errors),
        "durable": str(graph.durable),
    }


def _heads(old: Graph, new: Graph) -> Iterator[Change]:
    before, after = _head(old), _head(new)
    for name in before:
        if before[name] != after[name]:
            yield Change(
                "changed", "workflow", f"{new.workflow}, {name}", before[name] or "none", after[name] or "none"
            )


def _steps(old: Graph, new: Graph) -> Iterator[Change]:
    for name in sorted(old.steps.keys() | new.steps.keys()):
        before, after = old.steps.get(name), new.steps.get(name)
        if before is None:
            yield Change("added", "step", name)
        elif after is None:
            yield Change("removed", "step", name)
        elif before.fingerprint != after.fingerprint:
            first, second = _aspects(before), _aspects(after)
            for aspect in first:
                if first[aspect] != second[aspect]:
                    values = first[aspect] or "none", second[aspect] or "none"
                    yield Change("changed", "step", f"{name}, {aspect}", *values)


def _aspects(spec: StepSpec) -> dict[str, str]:
    return {
        "effect": spec.effect.value,
        "key": spec.key or "",
        "errors": ", ".join(spec.errors),
        "parameters": spec.parameters,
        "result": spec.result,
    }


def _sites(old: Graph, new: Graph) -> Iterator[Change]:
    before, after = _places(old), _places(new)
    both = [site for site in before if site in after]
    moved = _out_of_order(both, [site for site in after if site in before])
    for site, place in after.items():
        if site not in before:
            yield Change("added", "site", site, after=_described(place), position=place.position)
            continue
        earlier = before[site]
        if earlier.callee != place.callee:
            yield Change("changed", "site", site, earlier.callee, place.callee, place.position)
        elif earlier.inside != place.inside:
            yield Change("moved", "site", site, _inside(earlier), _inside(place), place.position)
        elif site in moved:
            yield Change("moved", "site", site, after="it comes in another order", position=place.position)
    for site, place in before.items():
        if site not in after:
            yield Change("removed", "site", site, before=_described(place), position=place.position)


def _out_of_order(old: list[str], new: list[str]) -> set[str]:
    """Return the few sites without which the others have the order that they had."""
    kept = SequenceMatcher(a=old, b=new, autojunk=False).get_matching_blocks()
    return set(old) - {site for block in kept for site in old[block.a : block.a + block.size]}


def _described(place: _Place) -> str:
    return f"{place.callee}, {_inside(place)}"


def _inside(place: _Place) -> str:
    return f"inside {' / '.join(place.inside)}" if place.inside else "at the top"


def _places(graph: Graph) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    pending: list[tuple[Node, tuple[str, ...]]] = [(node, ()) for node in reversed(graph.body)]
    while pending:
        node, inside = pending.pop()
        if isinstance(node, StepNode | ChildNode):
            callee = node.step if isinstance(node, StepNode) else node.workflow
            known = found.get(node.site)
            # One site, several callees: it depends on what happens at run time. A helper's is met at each call.
            names = {callee} | set(known.callee.split(" or ") if known else ())
            found[node.site] = _Place(" or ".join(sorted(names)), known.inside if known else inside, node.position)
        pending += [(inner, (*inside, *_structure(node, inner))) for inner in reversed(children_of(node))]
    return found


def _structure(node: Node, inner: Node) -> tuple[str, ...]:
    match node:
        case BranchNode(style="if" | "match" as style, arms=arms):
            arm = next(arm for arm in arms if any(one is inner for one in arm.body))
            return (f"{style}: {arm.label}",)
        case BranchNode(style="short-circuit" | "conditional" as style):
            return (style,)
        case LoopNode(style=style, orelse=orelse):
            return (f"{style} else" if any(one is inner for one in orelse) else style,)
        case TryNode():
            return (_clause(node, inner),)
        case ParallelNode(style=style) | WaitNode(style=style):
            return (style,)
        case _:
            return ()


def _clause(node: TryNode, inner: Node) -> str:
    for handler in node.handlers:
        if any(one is inner for one in handler.body):
            return f"except {', '.join(handler.catches)}"
    if any(one is inner for one in node.final):
        return "finally"
    return "try else" if any(one is inner for one in node.orelse) else "try"
