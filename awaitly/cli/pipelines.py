"""What lies around each step of workflows, as text."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from awaitly.cli.targets import AnyWorkflow
from awaitly.compile.inforce import InForce
from awaitly.compile.parsing import family_of, steps_of
from awaitly.compile.policies import policy_specs
from awaitly.declare.step import Step
from awaitly.declare.variants import Variant
from awaitly.settings import Settings
from awaitly.settings.known import unknown_names

Pipelines: TypeAlias = Mapping[str, Mapping[str, list[str]]]  # lines by target and step


def pipelines_of(workflows: Mapping[str, AnyWorkflow], settings: Settings) -> tuple[Pipelines, list[str]]:
    """Return what lies around each step, from the outside in, after all settings; and what these name in vain.

    Raises:
        ConfigurationError: If a name stands for two different declarations, or for none.
    """
    in_force = InForce(settings)
    for workflow in workflows.values():
        for member in family_of(workflow):
            in_force.meet(steps_of(member), member)
    pipelines = {target: dict(_steps(in_force, workflow)) for target, workflow in workflows.items()}
    return pipelines, [str(unknown) for unknown in unknown_names(settings, in_force.known)] if workflows else []


def _steps(in_force: InForce, workflow: AnyWorkflow) -> Iterator[tuple[str, list[str]]]:
    for step in sorted(steps_of(workflow), key=lambda step: step.name):
        yield step.name, _lines(in_force, step)
        for variant in step.variants:
            yield _called(step, variant), _lines(in_force, variant.step)


def _called(step: Step[..., Any, Any], variant: Variant) -> str:
    return f"{variant.step.name}, for {step.name} if {variant.flag.name} is {variant.when}"


def _lines(in_force: InForce, step: Step[..., Any, Any]) -> list[str]:
    policies = in_force.effective(step.name, step.options.policies)
    return [str(spec) for spec in policy_specs(policies, whole=True)]
