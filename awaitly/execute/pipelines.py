"""Bindings with their pipelines: the policies in force, bound to the states of one runtime."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from awaitly.execute.answers import Answering, StoreShelf
from awaitly.model.program import StepBinding
from awaitly.persist.ports import Store
from awaitly.policies.course import Around
from awaitly.policies.pipeline import bound_pipeline
from awaitly.policies.sharing import Shared


def piped(binding: StepBinding, states: Shared, store: Callable[[], Store]) -> StepBinding:
    """Return a binding whose calls go through its policies, and those of its variants through theirs.

    Raises:
        ConfigurationError: ``policy-conflict``, if a name stands for two different declarations.
    """
    policies: Any = binding.policies
    inner: list[Around] = []
    if policies.cache is not None:
        shelf = StoreShelf(store, states.clock)
        inner.append(policies.cache.bound(states, binding.name, coding=Answering(binding), store=shelf))
    empty = replace(policies, timeout=None).empty
    return replace(
        binding,
        pipeline=None if empty else bound_pipeline(policies, states, binding.name, *inner),
        variants=tuple(replace(one, binding=piped(one.binding, states, store)) for one in binding.variants),
    )
