"""What lies around each step of workflows, as text."""

from collections.abc import Mapping
from typing import TypeAlias

from awaitly.cli.targets import AnyWorkflow
from awaitly.model.durations import humanised
from awaitly.model.graph import StepSpec
from awaitly.settings import Settings
from awaitly.settings.overrides import table_of

Pipelines: TypeAlias = Mapping[str, Mapping[str, list[str]]]  # lines by target and step


def pipelines_of(workflows: Mapping[str, AnyWorkflow], settings: Settings) -> Pipelines:
    """Return what lies around each step, from the outside in, after all settings."""
    return {
        target: {name: step_lines(spec, settings) for name, spec in workflow.graph.steps.items()}
        for target, workflow in workflows.items()
    }


def step_lines(spec: StepSpec, settings: Settings) -> list[str]:
    """Return a line for each policy of a step, from the outside in."""
    table = table_of(settings.steps, spec.name)
    timeout = table.timeout if table is not None and table.timeout is not None else spec.timeout
    return [] if timeout is None else [f"timeout {humanised(timeout)}"]
