"""Everything that is wrong with a workflow, and what can leave it."""

from collections.abc import Iterable
from typing import Any

from awaitly.compile.bindings import Bound
from awaitly.compile.budget import NOTHING, Budget
from awaitly.compile.errors_flow import ErrorFlow
from awaitly.compile.escapes import declared_by, is_expected
from awaitly.compile.reading import Reading
from awaitly.compile.rules.registry import RULES
from awaitly.compile.rules.rule import Subject
from awaitly.compile.signatures import text_of
from awaitly.compile.targets import WorkflowTarget
from awaitly.model.graph import Diagnostic, Node, OpaqueNode, Severity, children_of


def diagnose(
    reading: Reading, bound: Bound, body: Iterable[Node] = (), budget: Budget = NOTHING
) -> tuple[Diagnostic, ...]:
    """Apply every rule; errors come first, and both kinds in the order of the source.

    Args:
        reading: The workflow as read.
        bound: What ``bind_workflow`` made of it.
        body: Its nodes, of which the opaque ones are reported.
        budget: The longest that its runs take, if all policies stay as declared.
    """
    subject = Subject(reading, bound, tuple(_opaque(body)), budget)
    found = [*reading.problems, *(diagnostic for rule in RULES for diagnostic in rule.check(subject))]
    return tuple(sorted(dict.fromkeys(found), key=lambda diagnostic: _order(reading, diagnostic)))


def leaving_errors(reading: Reading) -> tuple[str, ...]:
    """Return the expected failures that can leave a workflow, for ``Graph.errors``.

    What it declares counts too if the body does something of which nothing is known, such as running a child that
    declares no errors.
    """
    flow = ErrorFlow(reading)
    declared = declared_by(WorkflowTarget(reading.workflow))
    errors: list[Any] = [escape.error for escape in flow.leaving() if is_expected(escape, declared)]
    if not flow.complete:
        errors += declared
    return tuple(sorted({error_name(error) for error in errors}))


def error_name(error: Any) -> str:
    """Return the name of an error in graphs: ``module:qualname`` of a class, or the text of a plain type."""
    is_class = isinstance(error, type) and issubclass(error, BaseException)
    return f"{error.__module__}:{error.__qualname__}" if is_class else text_of(error)


def _opaque(nodes: Iterable[Node]) -> Iterable[OpaqueNode]:
    for node in nodes:
        if isinstance(node, OpaqueNode):
            yield node
        yield from _opaque(children_of(node))


def _order(reading: Reading, diagnostic: Diagnostic) -> tuple[object, ...]:
    position = diagnostic.position
    weak = diagnostic.severity is not Severity.ERROR
    if position is None:
        return (weak, False, "", 0, 0, diagnostic.code)
    elsewhere = position.file != reading.main.file.path
    return (weak, elsewhere, position.file, position.line, position.column, diagnostic.code)
