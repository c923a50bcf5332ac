"""What is in force: the declared policies, as the operator's settings change them, with every name resolved."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from awaitly.compile.policies import guarded_policies, unsafe_options
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Flag
from awaitly.model.graph import Graph
from awaitly.model.names import spelt
from awaitly.model.program import StepBinding, VariantBinding
from awaitly.policies.breaker import Breaker
from awaitly.policies.cache import Cache
from awaitly.policies.hedge import Hedge
from awaitly.policies.pipeline import Policies, resolved
from awaitly.policies.retry import Retry
from awaitly.policies.turns import Costing, Limiter
from awaitly.settings import Settings
from awaitly.settings.known import KnownNames
from awaitly.settings.overrides import made, overridden, refusal_of, table_of
from awaitly.settings.tables import StepSettings

D = TypeVar("D")

_MADE: Mapping[str, type] = {"retry": Retry, "cache": Cache, "hedge": Hedge}


class InForce:
    """The declarations that a runtime has met, and its settings.

    Args:
        settings: The operator's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._breakers: dict[str, Breaker] = {}
        self._limiters: dict[str, Limiter] = {}
        self._flags: dict[str, Flag] = {}
        self._places: dict[tuple[str, str], str] = {}  # where a breaker or limiter was declared first
        self.known = KnownNames()

    def meet(self, steps: Iterable[Step[..., Any, Any]], workflow: Workflow[..., Any, Any] | None = None) -> None:
        """Know the breakers, limiters and flags that steps declare, so that other steps may name them.

        Raises:
            ConfigurationError: ``policy-conflict``, if a name stands for two different declarations.
        """
        every = _with_substitutes(steps)
        for step in every:
            self._meet(step)
            for variant in step.variants:
                self._meet_flag(variant.flag)
        self.known |= KnownNames(
            steps=frozenset(step.name for step in every),
            breakers=self._breakers.keys() | {f"step {step.name}" for step in every if _has_own(step, "breaker")},
            limiters=self._limiters.keys() | {f"step {step.name}" for step in every if _has_own(step, "limiter")},
            workflows=frozenset() if workflow is None else frozenset([workflow.name]),
            flags=frozenset(variant.flag.name for step in every for variant in step.variants),
            policies=frozenset((spelt(step.name), kind) for step in every for kind in step.options.policies.given()),
        )

    def _meet(self, step: Step[..., Any, Any]) -> None:
        given: Any = step.options.policies
        for limiter in given.limiter:
            if not isinstance(limiter, str) and limiter.name is not None:
                shared = limiter.limiter if isinstance(limiter, Costing) else limiter
                self._declare("limiter", self._limiters, shared, step)
        if isinstance(given.breaker, Breaker) and given.breaker.name is not None:
            self._declare("breaker", self._breakers, given.breaker, step)

    def _declare(self, kind: str, known: dict[str, Any], declared: Any, step: Step[..., Any, Any]) -> None:
        earlier = known.setdefault(declared.name, declared)
        first = self._places.setdefault((kind, declared.name), _placed(step))
        if earlier != declared:
            raise ConfigurationError(
                f"{kind} {declared.name!r} is declared twice, and not the same, by {first} and by {_placed(step)}:"
                f"{_difference(earlier, declared)}",
                hint="declare it once and use that, or give one of them another name",
                code="policy-conflict",
            )

    def _meet_flag(self, flag: Flag) -> None:
        known = self._flags.setdefault(spelt(flag.name), flag)
        if not known.agrees(flag):
            raise ConfigurationError(
                f"flag {flag.name!r} is declared with two defaults, {known.default!r} and {flag.default!r}",
                hint="declare the Flag once and use it for every variant",
                code="policy-conflict",
            )

    def binding(self, binding: StepBinding) -> StepBinding:
        """Return the binding of a step with the policies that are in force for it and for its variants."""
        policies = guarded_policies(self.policies(binding.name, binding.policies), binding)
        self._refuse_unsafe(binding, policies)
        variants = tuple(self._variant(variant) for variant in binding.variants)
        return replace(binding, policies=policies, timeout=policies.attempt_timeout, variants=variants)

    def _variant(self, variant: VariantBinding) -> VariantBinding:
        return replace(variant, binding=self.binding(variant.binding))

    def _refuse_unsafe(self, binding: StepBinding, policies: Policies) -> None:
        declared = dict(unsafe_options(binding.policies, binding.effect))
        for option, done in unsafe_options(policies, binding.effect):
            if option not in declared:  # what is declared so does not compile
                raise refusal_of(
                    self._settings, ("steps", binding.name, option),
                    f'step {binding.name} has effect="{binding.effect.value}": {done}',
                    f"leave {option} out; it is for steps that only read",
                )  # fmt: skip

    def policies(self, name: str, policies: Policies) -> Policies:
        """Return the policies of a step that are in force.

        Raises:
            ConfigurationError: ``invalid-setting``, ``unknown-breaker`` or ``unknown-limiter``.
        """
        table = table_of(self._settings.steps, name)
        if table is not None:
            policies = self._changed(policies, table, name)
        try:
            policies = resolved(policies, self._breakers, self._limiters)
        except ConfigurationError as error:
            error.message = f"step {name}: {error.message}"
            raise
        given: Any = policies
        if self._off(self._settings.breakers, given.breaker, name):
            policies = replace(policies, breaker=None)
        limiters = tuple(one for one in given.limiter if not self._off(self._settings.limiters, one, name))
        return replace(policies, limiter=limiters)

    def declaration(self, declared: D) -> D:
        """Return a breaker or limiter as settings change it."""
        tables: Mapping[str, BaseModel] = {}
        if isinstance(declared, Breaker):
            tables, kind = self._settings.breakers, "breakers"
        elif isinstance(declared, Limiter):
            tables, kind = self._settings.limiters, "limiters"
        name = getattr(declared, "name", None)
        table = table_of(tables, name)
        return declared if table is None else overridden(declared, table, self._settings, kind, str(name))

    def effective(self, name: str, policies: Policies) -> Policies:
        """Return the policies of a step with all numbers that are in force, also of what it shares with others."""
        given: Any = self.policies(name, policies)
        breaker = None if given.breaker is None else self._shared(given.breaker, name)
        found: Policies = replace(
            given, breaker=breaker, limiter=tuple(self._shared(one, name) for one in given.limiter)
        )
        return found

    def _shared(self, declared: Any, step: str) -> Any:
        if isinstance(declared, Costing):
            return replace(declared, limiter=self._shared(declared.limiter, step))
        if declared.name is not None:
            return self.declaration(declared)
        return replace(self.declaration(replace(declared, name=f"step {step}")), name=None)

    def graph(self, graph: Graph) -> Graph:
        """Return a workflow's graph with what settings say about its runs."""
        table = table_of(self._settings.workflows, graph.workflow)
        given = {} if table is None else {name: getattr(table, name) for name in ("deadline", "retention")}
        return graph.model_copy(update={name: value for name, value in given.items() if value is not None})

    def deadline(self, workflow: Workflow[..., Any, Any]) -> float | None:
        """Return the seconds that a run of a workflow may take."""
        table = table_of(self._settings.workflows, workflow.name)
        return workflow.declared.deadline if table is None or table.deadline is None else table.deadline

    def _changed(self, policies: Policies, table: StepSettings, name: str) -> Policies:
        changes: dict[str, Any] = {
            option: value for option in ("timeout", "deadline") if (value := getattr(table, option)) is not None
        }
        for option, kind in _MADE.items():
            changes[option] = self._one(getattr(policies, option), getattr(table, option), kind, name, option)
        switched = {"breaker": None, "limiter": (), "fallback": None}
        changes |= {option: nothing for option, nothing in switched.items() if getattr(table, option).enabled is False}
        return replace(policies, **changes)

    def _one(self, declared: Any, table: Any, kind: type, name: str, option: str) -> Any:
        if declared is None:
            return made(kind, table, self._settings, "steps", name, option)
        if table.enabled is False:
            return None
        return overridden(declared, table, self._settings, "steps", name, option)

    def _off(self, tables: Mapping[str, Any], declared: Any, step: str) -> bool:
        if declared is None:
            return False
        table = table_of(tables, declared.name if declared.name is not None else f"step {step}")
        return table is not None and table.enabled is False


def _has_own(step: Step[..., Any, Any], option: str) -> bool:
    """Whether a step has a breaker or limiter without a name, which goes by that of the step."""
    found = getattr(step.options.policies, option)
    return any(
        not isinstance(one, str) and one is not None and one.name is None
        for one in (found if isinstance(found, tuple) else (found,))
    )


def _with_substitutes(steps: Iterable[Step[..., Any, Any]]) -> list[Step[..., Any, Any]]:
    """Return steps with all that may take their places: variants, and the steps that are fallbacks."""
    found: dict[int, Step[..., Any, Any]] = {}
    pending = list(steps)
    while pending:
        step = pending.pop(0)
        if id(step) in found:
            continue
        found[id(step)] = step
        fallback = getattr(step.options.policies.fallback, "to", None)
        pending += [*(variant.step for variant in step.variants), *([fallback] if isinstance(fallback, Step) else [])]
    return list(found.values())


def _placed(step: Step[..., Any, Any]) -> str:
    code = inspect.unwrap(step.fn).__code__
    return f"step {step.name} ({code.co_filename.rsplit('/', 1)[-1]}:{code.co_firstlineno})"


def _difference(one: Any, other: Any) -> str:
    if type(one) is not type(other):
        return f" as a {type(one).__name__} and as a {type(other).__name__}"
    return "".join(_differing(one, other))


def _differing(one: Any, other: Any) -> Iterator[str]:
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if a != b:
            yield f" {field.name}={a!r} and {field.name}={b!r}"
