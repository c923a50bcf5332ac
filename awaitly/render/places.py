"""Where calls stand in the tree of a run: the groups and branches around them, and what they are called."""

from collections.abc import Iterable, Iterator, Mapping

from awaitly.model.graph import ChildNode, Graph, Node, ParallelNode, RaceNode, StepNode, children_of
from awaitly.model.identity import place_of
from awaitly.render.rows import Kind


def label_of(identity: str, step: str) -> str:
    """Return what a call is called among its neighbours: its step, and its key or which time it is."""
    place = place_of(identity)
    if place.key is not None:
        return f"{step} [{place.key}]"
    occurrence = place.site[2]
    return f"{step} ({occurrence + 1})" if occurrence else step


def way_to(identity: str, step: str, groups: Mapping[str, str]) -> Iterator[tuple[Kind, str]]:
    """Yield the groups and branches around a call, from the outside in, with labels unique in their row."""
    place = place_of(identity)
    for combinator, _, occurrence in place.branches:
        yield Kind.GROUP, _combinator(combinator)
        yield Kind.BRANCH, f"[{occurrence + 1}]"
    combinator, site, _ = place.site
    if place.key is not None:
        combinator = groups.get(f"{step}[", "")
    elif not combinator:
        combinator = groups.get(site, "")
    if combinator and not (place.branches and place.branches[-1][0] == combinator):
        yield Kind.GROUP, _combinator(combinator)


def way_into(identity: str) -> Iterator[tuple[Kind, str]]:
    """Yield the groups and branches that lead to the group of a combinator, and the group itself."""
    place = place_of(identity)
    for combinator, _, occurrence in place.branches:
        yield Kind.GROUP, _combinator(combinator)
        yield Kind.BRANCH, f"[{occurrence + 1}]"
    yield Kind.GROUP, _combinator(place.site[1])


def _combinator(site: str) -> str:
    """Return ``each`` for the first ``each`` of a function, and ``each (2)`` for the next: labels of groups."""
    name, _, number = site.rpartition(":")[2].rpartition("#")
    return f"{name or 'task'} ({int(number) + 1})" if number not in ("", "0") else name or "task"


def groups_of(graph: Graph) -> dict[str, str]:
    """Return the combinators of the calls that have no branch of their own.

    By call site; and by ``step[`` for the steps with a key that are called in one combinator only.
    """
    found: dict[str, str] = {}
    steps: dict[str, set[str]] = {}

    def visit(nodes: Iterable[Node], combinator: str) -> None:
        for node in nodes:
            if isinstance(node, StepNode | ChildNode):
                name = node.step if isinstance(node, StepNode) else node.workflow
                steps.setdefault(name, set()).add(combinator)
                if combinator and node.site != combinator:
                    found[node.site] = combinator
            site = node.site if isinstance(node, ParallelNode | RaceNode) else combinator
            visit(children_of(node), site)

    visit(graph.body, "")
    for step, combinators in steps.items():
        if len(combinators) == 1 and (only := next(iter(combinators))):
            found[f"{step}["] = only
    return found
