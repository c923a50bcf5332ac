"""What people give as a provider of flags."""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeAlias

from awaitly.errors import ConfigurationError, NotSupported
from awaitly.flags.function import Decider, FunctionFlags
from awaitly.flags.provider import FlagProvider
from awaitly.flags.rules import ruled
from awaitly.flags.settings import SettingsFlags


class Client(Protocol):
    """A client of OpenFeature, as far as it tells one from others here."""

    def get_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: Any = None, /
    ) -> Coroutine[Any, Any, Any]:
        """Evaluate a flag that is a boolean."""


Given: TypeAlias = FlagProvider | Mapping[str, object] | Decider | Client | None
"""What may be given: whatever :func:`provider_of` takes."""


def provider_of(value: object) -> FlagProvider:
    """Return the provider that ``value`` stands for.

    Args:
        value: A provider; a mapping of flags to rules; a function, plain or a coroutine function, of a flag's name and
            a context; a client of OpenFeature; or None, which knows no flag.

    Raises:
        ConfigurationError: ``invalid-option``, if it is none of these, or a rule does not fit.
        NotSupported: ``not-supported``, if it is a client of OpenFeature and ``openfeature-sdk`` is not installed.
    """
    if isinstance(value, type):
        raise _refusal(value)
    if value is None:
        return SettingsFlags({})
    if isinstance(value, FlagProvider):
        return value
    if isinstance(value, Mapping):
        return SettingsFlags(ruled(value))
    if hasattr(value, "get_boolean_details_async"):
        return openfeature_flags(value)
    if callable(value):
        return FunctionFlags(value)
    raise _refusal(value)


def openfeature_flags(client: Any = None, domain: str | None = None) -> FlagProvider:
    """Return :class:`~awaitly.flags.openfeature.OpenFeatureFlags`, which only then is imported.

    Raises:
        NotSupported: ``not-supported``, if ``openfeature-sdk`` is not installed.
    """
    try:
        from awaitly.flags.openfeature import OpenFeatureFlags
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "openfeature":
            raise
        raise NotSupported(
            "flags of OpenFeature need the package openfeature-sdk, which is not installed",
            hint="install awaitly[openfeature]",
        ) from error
    return OpenFeatureFlags(client, domain)


def _refusal(value: object) -> ConfigurationError:
    return ConfigurationError(
        f"flags is {value!r}, which decides no flags",
        hint="give a mapping of flags to rules, a function, a client of OpenFeature, or an object with name, decide"
        " and knows",
        code="invalid-option",
    )
