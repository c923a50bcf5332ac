"""A workflow as read and bound, before anything is said about it; done once for each function."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from awaitly.compile.bindings import Bound, bind_workflow, bound_step
from awaitly.compile.following import read
from awaitly.compile.nodes import nodes_of
from awaitly.compile.reading import Reading
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import CompileError
from awaitly.model.graph import Node

_HELD = "__awaitly_parsed__"


@dataclass(frozen=True, eq=False)
class Parsed:
    """What was read of a workflow, and the bindings of its steps."""

    reading: Reading
    bound: Bound

    @cached_property
    def body(self) -> tuple[Node, ...]:
        """Its nodes."""
        return nodes_of(self.reading)

    @property
    def outdated(self) -> bool:
        """Whether a step was given a verifier or a variant since, as by a module that was imported later."""
        seen = self.reading.steps.items()
        return any(bound_step(found[0]) is not self.bound.steps[name] for name, found in seen)


def parsed(workflow: Workflow[..., Any, Any]) -> Parsed:
    """Return a workflow as read.

    Raises:
        CompileError: ``no-source`` or ``source-changed``: there is nothing to read.
    """
    # Kept with the function: whatever holds a parsed workflow holds its function, so that no weak table would do;
    # and `options()` makes new Workflow values of one function all the time.
    held = vars(workflow.fn)
    known: Parsed | None = held.get(_HELD)
    if known is None or known.reading.workflow.declared is not workflow.declared or known.outdated:
        reading = read(workflow)
        known = held[_HELD] = Parsed(reading, bind_workflow(reading))
    return known


def steps_of(workflow: Workflow[..., Any, Any]) -> tuple[Step[..., Any, Any], ...]:
    """Return the steps that a workflow calls.

    Raises:
        CompileError: ``no-source`` or ``source-changed``: there is nothing to read.
    """
    return tuple(found[0] for found in parsed(workflow).reading.steps.values())


def family_of(workflow: Workflow[..., Any, Any]) -> tuple[Workflow[..., Any, Any], ...]:
    """Return a workflow and all that its runs may begin as children, each once; what cannot be read has none.

    Raises:
        CompileError: ``no-source`` or ``source-changed``: the workflow itself cannot be read.
    """
    found = {workflow.fn: workflow}
    pending = list(parsed(workflow).reading.children.values())
    while pending:
        child = pending.pop()
        if child.fn not in found and readable(child):
            found[child.fn] = child
            pending += parsed(child).reading.children.values()
    return tuple(found.values())


def readable(workflow: Workflow[..., Any, Any]) -> bool:
    """Whether a workflow can be read."""
    try:
        parsed(workflow)
    except CompileError:
        return False
    return True
