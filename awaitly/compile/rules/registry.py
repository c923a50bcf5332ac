"""All rules, in the order in which the documentation lists them."""

from awaitly.compile.rules import budgets, calls, declarations, determinism, effects, failures, policies
from awaitly.compile.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *declarations.RULES,
    *failures.RULES,
    *determinism.RULES,
    *policies.RULES,
    *effects.RULES,
    *calls.RULES,
    *budgets.RULES,
)
