"""How long runs of workflows take at most, those that they begin as children included."""

from collections.abc import Callable
from typing import Any

from awaitly.compile.budget import Budget, Part
from awaitly.compile.costs import Costs
from awaitly.compile.parsing import parsed, readable
from awaitly.compile.worst import Worst
from awaitly.declare.workflow import Workflow
from awaitly.policies.pipeline import Policies


class Allowance:
    """Computes budgets of runs.

    Args:
        in_force: Gives the policies of a step that are in force, by its name and those declared.
        deadline: Gives the seconds that a run of a workflow may take; None if it has no deadline.
    """

    def __init__(
        self,
        in_force: Callable[[str, Policies], Policies] = lambda name, policies: policies,
        deadline: Callable[[Workflow[..., Any, Any]], float | None] = lambda workflow: workflow.declared.deadline,
    ) -> None:
        self._costs = Costs(in_force)
        self._deadline = deadline
        self._above: list[str] = []  # the workflows that are being looked at, from the outside in

    def run(self, workflow: Workflow[..., Any, Any]) -> Budget:
        """Return the longest that a body takes, whatever the deadline of its run.

        Raises:
            CompileError: ``no-source`` or ``source-changed``.
        """
        found = parsed(workflow)

        def child(name: str) -> Budget:
            known = found.reading.children.get(name)
            return Budget(unlimited=(f"workflow {name} cannot be read",)) if known is None else self._child(known)

        self._above.append(workflow.name)
        try:
            return Worst(found.bound.bindings, self._costs, child).body(found.body)
        finally:
            self._above.pop()

    def _child(self, workflow: Workflow[..., Any, Any]) -> Budget:
        name, deadline = f"workflow {workflow.name}", self._deadline(workflow)
        if deadline is not None:
            return Budget((Part(name, deadline, reason="its deadline"),))
        if workflow.name in self._above:
            return Budget(unlimited=(f"{name} runs itself",))
        if not readable(workflow):
            return Budget(unlimited=(f"{name} cannot be read",))
        own = self.run(workflow)
        return Budget((Part(name, own.seconds),), own.unlimited)
