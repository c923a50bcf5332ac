"""What the steps of a graph are, once for each step however often it is called, and how long a run takes at most."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from awaitly.model.durations import humanised
from awaitly.model.effects import Effect
from awaitly.model.graph import Graph, StepNode, StepSpec


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be said of one step: what it is, and what lies around its calls, a line each."""

    step: str
    about: str
    around: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines about it."""
        return (*([self.about] if self.about else []), *self.around)


def legend(graph: Graph) -> tuple[Entry, ...]:
    """Return the steps of which there is something to say, in the order of their first calls."""
    called = dict.fromkeys(node.step for node in graph.walk() if isinstance(node, StepNode))
    entries = (_entry(graph.steps[name]) for name in called if name in graph.steps)
    return tuple(entry for entry in entries if entry.lines)


def legend_text(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield the legend as lines: the name of the step, or the room for it, and what is said."""
    entries = legend(graph)
    width = max((len(entry.step) for entry in entries), default=0)
    for entry in entries:
        for index, line in enumerate(entry.lines):
            yield ("" if index else entry.step).ljust(width), line


def time_text(graph: Graph) -> Iterator[str]:
    """Yield what is known of the time that a run takes at most, where it has a deadline or all of it is known."""
    budget, deadline = graph.budget, graph.deadline
    if budget.unlimited:
        if deadline is None:
            return
        yield f"no limit but its deadline of {humanised(deadline)}: {_joined(budget.unlimited)}"
    if budget.seconds:
        most = "apart from that at most" if budget.unlimited else "at most"
        alone = budget.terms == (humanised(budget.seconds),)
        yield f"{most} {humanised(budget.seconds)}{'' if alone else f': {_joined(budget.terms)}'}"


def names(classes: Iterable[str]) -> str:
    """Return the names of errors without their modules."""
    return ", ".join("anything" if name == "*" else name.rpartition(":")[2] for name in classes)


def _entry(spec: StepSpec) -> Entry:
    about = [] if spec.effect is Effect.WRITE else [spec.effect.value]
    about += [f"key {spec.key}"] if spec.key else []
    about += [f"fails with {names(spec.errors)}"] if spec.errors else []
    around = [str(policy) for policy in spec.policies]
    if spec.timeout is not None and all(policy.kind != "timeout" for policy in spec.policies):
        around.append(f"timeout {humanised(spec.timeout)}")
    for variant in spec.variants:
        around.append(f"{variant.step} instead, if flag {variant.flag} is {variant.when}")
        own = [policy for policy in variant.policies if policy not in spec.policies]
        around += [f"  {policy}" for policy in own]
        given = {policy.kind for policy in variant.policies}
        around += [f"  no {kind}" for kind in dict.fromkeys(p.kind for p in spec.policies) if kind not in given]
    return Entry(spec.name, ", ".join(about), tuple(around))


def _joined(terms: Iterable[str]) -> str:
    return "; ".join(terms)
