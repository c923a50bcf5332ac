"""What lies around each step of workflows, as text: what is in force, and where that differs from what is declared."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from awaitly.cli.targets import AnyWorkflow
from awaitly.compile.inforce import InForce
from awaitly.compile.parsing import family_of, steps_of
from awaitly.compile.policies import policy_specs
from awaitly.declare.step import Step
from awaitly.declare.variants import Variant
from awaitly.flags.settings import SettingsFlags
from awaitly.model.graph import PolicySpec
from awaitly.settings import Settings, provenance
from awaitly.settings.effective import rows
from awaitly.settings.knobs import PATHS
from awaitly.settings.known import unknown_names
from awaitly.settings.sources import Origin

Pipelines: TypeAlias = Mapping[str, Mapping[str, list[str]]]  # lines by target and step

_SHARED = {"breaker": "breakers", "limiter": "limiters"}  # the tables of what has a name of its own


def pipelines_of(workflows: Mapping[str, AnyWorkflow], settings: Settings) -> tuple[Pipelines, list[str]]:
    """Return what lies around each step, from the outside in, after all settings; and what these name in vain.

    Raises:
        ConfigurationError: If a name stands for two different declarations, or for none, or settings do not fit.
    """
    teller = _Teller(settings)
    for workflow in workflows.values():
        for member in family_of(workflow):
            teller.meet(member)
    pipelines = {target: dict(teller.steps(workflow)) for target, workflow in workflows.items()}
    return pipelines, [str(name) for name in unknown_names(settings, teller.known)] if workflows else []


def misfitting_rules(workflows: Mapping[str, AnyWorkflow], settings: Settings) -> list[str]:
    """Return what is wrong with rules of the flags that the workflows have."""
    rules = SettingsFlags(settings.flags)
    steps = (step for workflow in workflows.values() for member in family_of(workflow) for step in steps_of(member))
    problems = (rules.misfit(variant.flag) for step in steps for variant in step.variants)
    return list(dict.fromkeys(problem for problem in problems if problem is not None))


class _Teller:
    """Says what is in force for steps.

    Args:
        settings: The operator's.
    """

    def __init__(self, settings: Settings) -> None:
        self._in_force = InForce(settings)
        self._declared = InForce(settings.model_copy(update={"steps": {}, "breakers": {}, "limiters": {}}))
        self._origins = provenance(settings)
        self._flags = {row.name: f"{row.value}, {row.source}" for row in rows(settings) if row.path[0] == "flags"}
        self.known = self._in_force.known

    def meet(self, workflow: AnyWorkflow) -> None:
        """Know the breakers and limiters of a workflow's steps."""
        for each in (self._in_force, self._declared):
            each.meet(steps_of(workflow), workflow)
        self.known = self._in_force.known

    def steps(self, workflow: AnyWorkflow) -> Iterator[tuple[str, list[str]]]:
        """Yield the steps of a workflow, and their variants, with a line for each of their policies."""
        for step in sorted(steps_of(workflow), key=lambda step: step.name):
            yield step.name, list(self._lines(step))
            for variant in step.variants:
                yield _called(step, variant), [self._flag(variant), *self._lines(variant.step)]
            fallback = getattr(step.options.policies.fallback, "to", None)
            if isinstance(fallback, Step):
                yield f"{fallback.name}, the fallback of {step.name}", list(self._lines(fallback))

    def _flag(self, variant: Variant) -> str:
        name = variant.flag.name
        known = self._flags.get(PATHS.normal(("flags", name))[1])
        return f"flag {name!r} is {known or f'{variant.flag.default}, its default, if the program says nothing else'}"

    def _lines(self, step: Step[..., Any, Any]) -> Iterator[str]:
        policies = step.options.policies
        now = policy_specs(self._in_force.effective(step.name, policies), whole=True)
        before = {(one.kind, one.name): one for one in self._before(step)}
        for spec in now:
            yield str(spec)
            yield from self._changes(spec, before.pop((spec.kind, spec.name), None), step.name)
        for gone in before.values():
            found = (self._given(gone, step.name) | self._switch(gone, step.name)).get("enabled")
            named = f" {gone.name!r}" if gone.name else ""
            yield f"no {gone.kind}{named}{f': {found}' if found else ''}"

    def _before(self, step: Step[..., Any, Any]) -> tuple[PolicySpec, ...]:
        return policy_specs(self._declared.effective(step.name, step.options.policies), whole=True)

    def _changes(self, spec: PolicySpec, before: PolicySpec | None, step: str) -> Iterable[str]:
        """Yield where each number comes from that is not as declared."""
        for option, origin in self._given(spec, step).items():
            declared = "not declared" if before is None else f"declared: {before.options.get(option, '-')}"
            yield f"  {option} from {origin}; {declared}"

    def _given(self, spec: PolicySpec, step: str) -> dict[str, Origin]:
        """Return what settings say about a policy, by option."""
        if spec.kind in _SHARED:
            return self._table((_SHARED[spec.kind], spec.name or f"step {step}"))
        alone = self._origins.get(PATHS.normal(("steps", step, spec.kind)))  # a timeout or a deadline
        return self._switch(spec, step) if alone is None else {spec.kind: alone}

    def _switch(self, spec: PolicySpec, step: str) -> dict[str, Origin]:
        return self._table(("steps", step, spec.kind))

    def _table(self, above: tuple[str, ...]) -> dict[str, Origin]:
        path = PATHS.normal(above)
        return {each[-1]: origin for each, origin in self._origins.items() if each[:-1] == path}


def _called(step: Step[..., Any, Any], variant: Variant) -> str:
    return f"{variant.step.name}, for {step.name} if {variant.flag.name} is {variant.when}"
