"""What settings make of a declaration: another one, which passed its own checks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from awaitly.errors import ConfigurationError
from awaitly.model.names import nearest, spelt
from awaitly.settings.knobs import PATHS, Settings, provenance

T = TypeVar("T")


def overridden(declaration: T, table: BaseModel, settings: Settings, *path: str) -> T:
    """Return a declaration with what a table gives, checked as every declaration is.

    Args:
        declaration: A policy as declared, a frozen dataclass.
        table: What the operator says about it; its fields have the names of the policy's. ``enabled`` is not looked
            at.
        settings: Where the table is from, for messages.
        *path: To the table, such as ``"steps", "charge", "retry"``.

    Raises:
        ConfigurationError: ``invalid-setting``, if the policy has no such option, or not with such a value. It says
            where the setting was found.
    """
    given = _given(table)
    if not given:
        return declaration
    kind: Any = type(declaration)
    _check_known(kind, given, table, settings, path)
    return _checked(lambda some: replace(declaration, **some), given, settings, path)  # type: ignore[type-var]


def made(kind: type[T], table: BaseModel, settings: Settings, *path: str) -> T | None:
    """Return a policy that a step was not declared with, if settings give it one; else None.

    Args:
        kind: The class of the policy.
        table: What the operator says about it. ``enabled = true`` alone gives it with its defaults.
        settings: Where the table is from, for messages.
        *path: To the table, such as ``"steps", "charge", "retry"``.

    Raises:
        ConfigurationError: ``invalid-setting``, if that is too little or does not fit. It says where it was found.
    """
    given, enabled = _given(table), getattr(table, "enabled", None)
    if enabled is False or not (given or enabled):
        return None
    _check_known(kind, given, table, settings, path)
    _check_enough(kind, given, settings, path)
    return _checked(lambda some: kind(**some), given, settings, path)


def table_of(tables: Mapping[str, T], name: str | None) -> T | None:
    """Return what settings say about the step, breaker, limiter or workflow of a name; None if nothing."""
    return None if name is None else tables.get(spelt(name))


def refusal_of(settings: Settings, path: tuple[str, ...], problem: str, hint: str) -> ConfigurationError:
    """Return the error for a table that cannot hold where it is, such as ``"steps", "charge", "cache"``."""
    place = PATHS.normal(path)
    found = [str(origin) for at, origin in provenance(settings).items() if at[: len(place)] == place]
    return _refusal(" and ".join(found) or ".".join(path), problem, hint)


def _given(table: BaseModel) -> dict[str, Any]:
    values = {name: getattr(table, name) for name in type(table).model_fields if name != "enabled"}
    return {name: value for name, value in values.items() if value is not None}


def _options(kind: Any) -> dict[str, bool]:
    """Return the options of a declaration, and whether each must be given."""
    own = (each for each in fields(kind) if each.init)
    return {each.name: each.default is MISSING and each.default_factory is MISSING for each in own}


def _check_known(
    kind: Any, given: Mapping[str, Any], table: BaseModel, settings: Settings, path: tuple[str, ...]
) -> None:
    options = _options(kind)
    open_to_settings = [name for name in type(table).model_fields if name in options]
    strange = [name for name in given if name not in options]
    if strange:
        close = nearest(strange[0], open_to_settings)
        instead = f"did you mean {close}?" if close else f"it has {', '.join(open_to_settings)}"
        raise _refusal(
            _origins(strange, settings, path), f"a {kind.__name__} has no {' and no '.join(strange)}", instead
        )


def _check_enough(kind: Any, given: Mapping[str, Any], settings: Settings, path: tuple[str, ...]) -> None:
    missing = [name for name, needed in _options(kind).items() if needed and name not in given]
    if missing:
        found = _origins([*given, "enabled"], settings, path)
        raise _refusal(
            found, f"the step has no {kind.__name__}, and one needs {' and '.join(missing)}", "give that as well"
        )


def _checked(
    make: Callable[[Mapping[str, Any]], T], given: Mapping[str, Any], settings: Settings, path: tuple[str, ...]
) -> T:
    try:
        return make(given)
    except ConfigurationError as error:
        # Together first: a delay above the declared maximum is right if the maximum is raised with it.
        alone = [name for name, value in given.items() if not _fits(make, {name: value})]
        raise _refusal(_origins(alone or given, settings, path), error.message, error.hint) from error


def _fits(make: Callable[[Mapping[str, Any]], object], given: Mapping[str, Any]) -> bool:
    try:
        make(given)
    except (ConfigurationError, TypeError):
        return False
    return True


def _origins(names: Iterable[str], settings: Settings, path: tuple[str, ...]) -> str:
    origins = provenance(settings)
    places = [PATHS.normal((*path, name)) for name in names]
    return " and ".join(str(origins[place]) for place in places if place in origins) or ".".join(path)


def _refusal(where: str, problem: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        f"awaitly's settings do not fit:\n  {where}: {problem}", hint=hint, code="invalid-setting"
    )
