"""Every knob, in one place: read from arguments, the environment, ``.env``, ``awaitly.toml`` and ``pyproject.toml``.

Environment variables have the prefix ``AWAITLY_`` and ``__`` between levels: ``AWAITLY_LEASE__TTL=30s``.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from awaitly.errors import ConfigurationError
from awaitly.model.durations import Duration, seconds


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
        env_prefix="AWAITLY_",
        env_nested_delimiter="__",
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
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )


def read_settings(**given: Any) -> Settings:
    """Return the settings; ``given`` wins over every source.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each that does not fit.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "".join(
            f"\n  {'.'.join(map(str, detail['loc']))}: {detail['msg']} (found {detail['input']!r})"
            for detail in error.errors(include_url=False)
        )
        raise ConfigurationError(
            f"awaitly's settings do not fit:{problems}",
            hint="they come from AWAITLY_* variables, .env, awaitly.toml and [tool.awaitly] in pyproject.toml",
            code="invalid-setting",
        ) from error
