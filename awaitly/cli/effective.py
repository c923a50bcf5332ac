"""Workflows of targets as a runtime would compile them: with the operator's settings."""

from collections.abc import Iterable, Mapping

from awaitly.cli.flagging import GivenFlags
from awaitly.cli.targets import AnyWorkflow
from awaitly.compile.library import Library
from awaitly.flags.settings import SettingsFlags
from awaitly.model.graph import Diagnostic, Graph, Severity
from awaitly.settings import Settings


def library_of(settings: Settings, flags: Iterable[str] = ()) -> Library:
    """Return what compiles workflows with these settings; its warnings are in their graphs alone."""
    providers = SettingsFlags(settings.flags), GivenFlags(flags)
    return Library(settings, lambda binding: binding, providers, warn=lambda found: None)


def graph_in_force(workflow: AnyWorkflow, settings: Settings) -> Graph:
    """Return the graph of a workflow after settings; of one that does not compile, the graph that says why.

    Raises:
        ConfigurationError: For settings that do not fit its steps, and for names of policies that nobody declares.
    """
    return _seen(library_of(settings).program(workflow).graph) if compiles(workflow.graph) else workflow.graph


def graphs_in_force(
    workflows: Mapping[str, AnyWorkflow], settings: Settings, flags: Iterable[str] = ()
) -> dict[str, Graph]:
    """Return the graphs of workflows that belong together, by their targets, likewise; a run is given some flags.

    Raises:
        ConfigurationError: Also for settings that name what none of them has.
    """
    library = library_of(settings, flags)
    sound = {target: workflow for target, workflow in workflows.items() if compiles(workflow.graph)}
    if len(sound) == len(workflows):
        library.add(list(sound.values()))
    return {
        target: _seen(library.program(workflow).graph) if target in sound else workflow.graph
        for target, workflow in workflows.items()
    }


def _seen(graph: Graph) -> Graph:
    """Return a graph of which it is said that a program itself may define flags."""
    return graph.model_copy(update={"diagnostics": tuple(map(_with_program, graph.diagnostics))})


def _with_program(found: Diagnostic) -> Diagnostic:
    if found.code != "unknown-flag":
        return found
    hint = f"{found.hint}; what a program defines by itself, with Runtime(flags=...), is not seen here"
    return found.model_copy(update={"hint": hint})


def compiles(graph: Graph) -> bool:
    """Whether the compiler has nothing but warnings."""
    return all(found.severity is Severity.WARNING for found in graph.diagnostics)
