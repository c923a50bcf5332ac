"""Time: whether what is around the steps leaves a run enough of it."""

from collections.abc import Callable, Iterator
from typing import Any

from awaitly.compile import places
from awaitly.compile.budget import Budget
from awaitly.compile.rules.rule import Finding, Rule, Subject
from awaitly.model.durations import humanised
from awaitly.model.graph import Diagnostic, Severity


def deadline_budget(subject: Subject) -> Iterator[Finding]:
    """Retries, timeouts and waits that may take longer than the run may."""
    workflow = subject.reading.workflow
    if workflow.declared.deadline is not None:
        yield from _exceeding(workflow.name, workflow.fn, subject.budget, workflow.declared.deadline)


def beyond_deadline(
    name: str, fn: Callable[..., Any], budget: Budget, deadline: float | None
) -> tuple[Diagnostic, ...]:
    """Return what the rule says about a workflow with the deadline, and the policies, that settings give it."""
    found = () if deadline is None else _exceeding(name, fn, budget, deadline)
    return tuple(RULE.diagnostic(finding) for finding in found)


def _exceeding(name: str, fn: Callable[..., Any], budget: Budget, deadline: float) -> Iterator[Finding]:
    if budget.seconds <= deadline:
        return
    terms = budget.terms()
    together = f"; together {humanised(budget.seconds)}" if len(terms) > 1 else ""
    besides = f" (not counted: {'; '.join(budget.unlimited)})" if budget.unlimited else ""
    slowest = max(budget.parts, key=lambda part: part.seconds).name
    yield Finding(
        places.option(fn, "deadline"),
        f"workflow {name} may need more time than it has: "
        f"{'; '.join(terms)}{together}, and the deadline is {humanised(deadline)}{besides}",
        f"give the run a longer deadline=, or {slowest} fewer attempts, a shorter timeout= or a deadline= of its own",
    )


RULE = Rule(
    "deadline-budget",
    Severity.WARNING,
    "Attempts, timeouts and waits of the steps can take longer than the deadline of the run.",
    deadline_budget,
)
RULES = (RULE,)
