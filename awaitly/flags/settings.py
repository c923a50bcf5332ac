"""Flags as the operator's settings have them."""

from collections.abc import Iterator, Mapping

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue, misfit
from awaitly.flags.rules import Rule, number
from awaitly.flags.shares import in_share, picked
from awaitly.model.names import spelt

_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


class SettingsFlags:
    """Decides flags by rules.

    Args:
        rules: The rules by the names of flags, which are compared without case and with ``-`` for ``_``.

    Raises:
        ConfigurationError: ``policy-conflict``, if two names are one flag.
    """

    name = "settings"

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules: dict[str, Rule] = {}
        for name, rule in rules.items():
            if self._rules.setdefault(spelt(name), rule) != rule:
                raise ConfigurationError(
                    f"flag {name!r} has two rules that differ, under two spellings of its name",
                    hint="remove one of them: names of flags are compared without case, and with - for _",
                    code="policy-conflict",
                )

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        """Return what the flag's rule says.

        Raises:
            ValueError: If the rule gives values of another kind than the flag's default.
        """
        rule = self._rules.get(spelt(flag.name))
        if rule is None:
            return None
        if (problem := self.misfit(flag)) is not None:
            raise ValueError(problem)
        return _decided(rule, flag, context)

    def knows(self, flag: str) -> bool:
        """Return whether there is a rule."""
        return spelt(flag) in self._rules

    def misfit(self, flag: Flag) -> str | None:
        """Return what is wrong with the rule of a flag as it is declared; None if nothing is, or there is no rule."""
        rule = self._rules.get(spelt(flag.name))
        if rule is None:
            return None
        if rule.share is not None and not isinstance(flag.default, bool):
            return (
                f"a share alone says true or false, and the default of flag {flag.name!r} is {flag.default!r};"
                " name values with {value: ...} or {shares: ...}"
            )
        problems = (misfit(flag, _read(value, flag)) for value in _values(rule))
        return next((problem for problem in problems if problem is not None), None)


def _values(rule: Rule) -> Iterator[FlagValue]:
    yield from (value for value in (rule.value, rule.default) if value is not None)
    yield from rule.shares or ()


def _read(value: FlagValue, flag: Flag) -> FlagValue:
    """Return what text stands for if the flag is none: a variable's value, or the name of a share's."""
    if not isinstance(value, str) or isinstance(flag.default, str):
        return value
    if isinstance(flag.default, bool):
        return _WORDS.get(value.strip().lower(), value)
    found = number(value)
    return value if found is None else found


def _decided(rule: Rule, flag: Flag, context: FlagContext) -> Decision:
    """Return what a rule that fits says for a run."""
    if not _holds(rule, context):
        return Decision(flag.default, SettingsFlags.name, reason=f"not {_wanted(rule)}")
    value, variant, reason = _chosen(rule, flag, context.run_id)
    if rule.where:
        reason = _met(rule, context) if rule.value is not None else f"{reason}, {_met(rule, context)}"
    return Decision(_read(value, flag), SettingsFlags.name, variant, reason)


def _chosen(rule: Rule, flag: Flag, run_id: str) -> tuple[FlagValue, str, str]:
    """Return the value, the variant and the reason."""
    salt = rule.salt or spelt(flag.name)
    if rule.value is not None:
        return rule.value, "", "static"
    if rule.share is not None:
        among = in_share(rule.share, salt, run_id)
        return among, "", f"share {rule.share:g}" if among else f"not in share {rule.share:g}"
    shares = rule.shares or {}
    variant = picked(shares, salt, run_id)
    if variant is not None:
        return variant, variant, f"share {shares[variant]:g}"
    default = flag.default if rule.default is None else rule.default
    return default, "", f"not in shares {', '.join(f'{name} {share:g}' for name, share in shares.items())}"


def _holds(rule: Rule, context: FlagContext) -> bool:
    return all(context.metadata.get(key) in values for key, values in rule.where.items())


def _met(rule: Rule, context: FlagContext) -> str:
    return f"where {', '.join(f'{key}={context.metadata[key]}' for key in rule.where)}"


def _wanted(rule: Rule) -> str:
    conditions = (f"{key}={'|'.join(values)}" for key, values in rule.where.items())
    return f"where {', '.join(conditions)}"
