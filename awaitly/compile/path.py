"""Whether what a run recorded still fits a graph, call by call: the check before anything is replayed."""

from collections.abc import Iterable
from dataclasses import dataclass

from awaitly.model.graph import ChildNode, Graph, Node, OpaqueNode, Position, StepNode, children_of


@dataclass(frozen=True, slots=True)
class Problem:
    """A recorded call that the graph has no place for."""

    site: str
    recorded: str  # the step or workflow that was called there
    found: str | None  # what is called there now; None if the place is gone
    position: Position | None  # of the place, or else of where the step is called now

    @property
    def now(self) -> str:
        """What the code does instead."""
        if self.found is not None:
            return f"the code now calls {self.found} there"
        if self.position is not None:
            return f"that call is gone from the code, which now calls {self.recorded} at {self.position}"
        return "the code has no such call any more"


def check_path(recorded: Iterable[tuple[str, str]], graph: Graph) -> tuple[Problem, ...]:
    """Return a problem for each recorded call, as (site, step), whose site is gone or calls something else.

    A site may end in ``>step``: the step was called back by code that is not compiled, from the place before it.
    Where the compiler could not read what is called, any step fits: whether it does is for the replay to tell.
    """
    places = _Places(graph)
    problems = (places.problem(site, step) for site, step in dict.fromkeys(recorded))
    return tuple(problem for problem in problems if problem)


class _Places:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known = set(graph.steps) | set(graph.children)
        self.callees: dict[str, set[str]] = {
            site: set(callee.split("|")) & self.known for site, callee in graph.sites.items()
        }
        self.positions: dict[str, Position | None] = {}
        self.calls: dict[str, Position | None] = {}  # by step: where it is first called
        for node in graph.walk():
            if isinstance(node, StepNode | ChildNode):
                callee = node.step if isinstance(node, StepNode) else node.workflow
                self.callees.setdefault(node.site, set()).add(callee)
                self.positions.setdefault(node.site, node.position)
                self.calls.setdefault(callee, node.position)
        self.open = _open_sites(graph.body)

    def problem(self, site: str, step: str) -> Problem | None:
        place, called_back, _ = site.partition(">")
        if self._is_open(place):
            return None
        if called_back:
            fits = step in self.known and (not place or place in self.callees)
            return None if fits else Problem(site, step, None, self.calls.get(step))
        if place not in self.callees:
            return Problem(site, step, None, self.calls.get(step))
        callees = self.callees[place]
        if step in callees:
            return None
        found = " or ".join(sorted(callees)) or self.graph.sites.get(place, "nothing")
        return Problem(site, step, found, self.positions.get(place))

    def _is_open(self, place: str) -> bool:
        """Whether any step may be called at a place: it is known, and what is called there is not."""
        if place in self.open:
            return True
        nobody = not place or self.callees.get(place) == set()
        return nobody and bool(self.open)  # what was not read may have been handed to whoever calls it there


def _open_sites(nodes: Iterable[Node]) -> set[str]:
    """Return the places where something opaque is called, those included that wait for it or call it back."""
    found: set[str] = set()
    for node in nodes:
        inside = {node.site} if isinstance(node, OpaqueNode) else _open_sites(children_of(node))
        if inside:
            found |= inside | {getattr(node, "site", "")}
    return found - {""}
