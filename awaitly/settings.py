"""Every knob, in one place: read from arguments, the environment, ``.env``, ``awaitly.toml`` and ``pyproject.toml``.

Environment variables have the prefix ``AWAITLY_`` and ``__`` between levels: ``AWAITLY_LEASE__TTL=30s``. A name that
is no setting is an error wherever it stands, but a ``.env`` may hold what is meant for others.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from awaitly.errors import ConfigurationError
from awaitly.model.durations import Duration, seconds
from awaitly.model.names import nearest

_PREFIX = "AWAITLY_"
_BETWEEN = "__"
_NOT_SETTINGS = frozenset({"debug"})  # AWAITLY_DEBUG is the command line's


def _seconds(value: Duration) -> float:
    try:
        return seconds(value)
    except ConfigurationError as error:
        raise ValueError(f"{error.hint}") from error


Seconds = Annotated[float, BeforeValidator(_seconds)]


class LeaseSettings(BaseModel):
    """How a process holds the runs that it executes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl: Seconds = Field(
        default=15.0, gt=0.05, description="How long a silent process keeps its runs. Renewed every third of it."
    )


class Settings(BaseSettings):
    """awaitly's settings. Earlier sources win: arguments, environment, ``.env``, ``awaitly.toml``, pyproject."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_BETWEEN,
        env_file=".env",
        toml_file="awaitly.toml",
        pyproject_toml_table_header=("tool", "awaitly"),
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    store: str = Field(
        default="sqlite:///awaitly.db",
        description="Where runs are stored: sqlite:///relative.db, sqlite:////absolute.db or memory://.",
    )
    lease: LeaseSettings = LeaseSettings()
    shutdown_timeout: Seconds = Field(
        default=30.0, ge=0, description="How long a shutdown waits for what is under way."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the TOML files behind the environment."""
        assert isinstance(env_settings, EnvSettingsSource)
        assert isinstance(dotenv_settings, EnvSettingsSource)
        return (
            init_settings,
            _Variables(settings_cls, env_settings),
            _Variables(settings_cls, dotenv_settings),
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )


class _Variables(PydanticBaseSettingsSource):
    """Variables with our prefix, also those that are no setting, so that these are refused; no others."""

    def __init__(self, settings_cls: type[BaseSettings], variables: EnvSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._variables.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        known = self.settings_cls.model_fields
        settings = {name: value for name, value in self._variables().items() if name in known}
        strangers = {
            name: value for name, value in _named(self._variables).items()
            if name.partition(_BETWEEN)[0] not in known and name not in _NOT_SETTINGS
        }  # fmt: skip
        return settings | strangers


def _named(variables: EnvSettingsSource) -> dict[str, str | None]:
    """Return the variables with our prefix, without it."""
    prefix = _PREFIX.lower()
    return {name[len(prefix) :]: value for name, value in variables.env_vars.items() if name.startswith(prefix)}


def read_settings(**given: Any) -> Settings:
    """Return the settings; ``given`` wins over every source.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each that does not fit and for each that is none.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "".join(f"\n  {_problem(dict(detail), given)}" for detail in error.errors(include_url=False))
        raise _refusal(f":{problems}") from error
    except ValueError as error:  # a file that is no TOML, a variable that is no JSON
        raise _refusal(f": {error}") from error


def _refusal(problems: str) -> ConfigurationError:
    return ConfigurationError(
        f"awaitly's settings do not fit{problems}",
        hint=f"the settings are {', '.join('.'.join(path) for path in _paths(Settings))}; they come from {_PREFIX}*"
        " variables, .env, awaitly.toml and [tool.awaitly] in pyproject.toml",
        code="invalid-setting",
    )


def _problem(detail: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    path = tuple(map(str, detail["loc"]))
    place, variable = _source(path, given)
    found = f"{_spelt(path, variable)} ({place})"
    if detail["type"] != "extra_forbidden":
        return f"{found}: {detail['msg'].removeprefix('Value error, ')} (found {detail['input']!r})"
    close = _meant(path)
    return f"{found}: there is no such setting" + (f"; did you mean {_spelt(close, variable)}?" if close else "")


def _spelt(path: tuple[str, ...], variable: bool) -> str:
    return f"{_PREFIX}{_BETWEEN.join(path).upper()}" if variable else ".".join(path)


def _paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if isinstance(inner := field.annotation, type) and issubclass(inner, BaseModel):
            yield from _paths(inner, (*above, name))
        else:
            yield (*above, name)


def _meant(path: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the setting that is named most like this one, or else the first of the group that is."""
    names: dict[str, tuple[str, ...]] = {}
    for known in _paths(Settings):
        names[_BETWEEN.join(known)] = known
        names.setdefault(known[0], known)
    name = _BETWEEN.join(path)
    return names.get(nearest(name, names) or nearest(name.partition(_BETWEEN)[0], names) or "")


def _source(path: tuple[str, ...], given: Mapping[str, Any]) -> tuple[str, bool]:
    """Return where a setting was found, and whether that is a variable."""
    if path[0] in given:
        return "given as an argument", False
    variables = (
        ("in the environment", EnvSettingsSource(Settings)),
        ("in .env", DotEnvSettingsSource(Settings)),
    )
    for place, source in variables:
        if any(_BETWEEN.join(path[:depth]) in _named(source) for depth in range(len(path), 0, -1)):
            return place, True
    files = (
        ("in awaitly.toml", TomlConfigSettingsSource(Settings)),
        ("in [tool.awaitly] of pyproject.toml", PyprojectTomlConfigSettingsSource(Settings)),
    )
    for place, file in files:
        if _holds(file(), path):
            return place, False
    return "by default", False


def _holds(tree: object, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    return isinstance(tree, Mapping) and path[0] in tree and _holds(tree[path[0]], path[1:])
