"""The settings themselves: one model, filled from arguments, the environment and files.

Environment variables have the prefix ``AWAITLY_`` and ``__`` between levels: ``AWAITLY_LEASE__TTL=30s``. A name that
is no setting is an error wherever it stands, but a ``.env`` and a secrets directory may hold what is meant for others.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from awaitly.errors import ConfigurationError
from awaitly.flags.rules import Rule
from awaitly.model.secrets import MASK, is_secret
from awaitly.settings.masks import hidden, masked
from awaitly.settings.paths import Path, Paths
from awaitly.settings.sources import Found, Origin, Unreadable, nested, sources, spelling, strongest, twice
from awaitly.settings.tables import (
    BreakerSettings,
    LeaseSettings,
    LimiterSettings,
    LogSettings,
    OtlpSettings,
    SentrySettings,
    ServeSettings,
    StepSettings,
    WorkflowSettings,
)
from awaitly.settings.values import Count, Period, Span


@dataclass(frozen=True, slots=True)
class _Origins:
    """Where the values of settings were found; settings are equal whatever their origins are."""

    by_path: Mapping[Path, Origin] = field(default_factory=dict, compare=False)


class Settings(BaseSettings):
    """awaitly's settings. Earlier sources win, table by table and name by name.

    The sources are arguments, the environment, ``.env``, the secrets directory, ``awaitly.toml`` and ``[tool.awaitly]``
    of ``pyproject.toml``, all in the current folder.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each that does not fit and for each that is none.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    store: str = Field(
        default="sqlite:///awaitly.db",
        description="Where runs are stored.",
        examples=["sqlite:///relative.db", "sqlite:////absolute.db", "memory://"],
    )
    secrets_dir: str | None = Field(
        default=None,
        description="A folder with a file for each setting that is a secret, named like it.",
        examples=["/run/secrets"],
    )
    lease: LeaseSettings = LeaseSettings()
    shutdown_timeout: Span = Field(default=30.0, description="How long a shutdown may take; runs go on for two thirds.")
    max_active_runs: Count | None = Field(
        default=None, description="How many runs this process executes at once, children not counted."
    )
    overload: Literal["queue", "reject"] = Field(
        default="queue", description="Whether more runs than that wait, or are refused."
    )
    max_loop_lag: Period = Field(
        default=0.5, description="How long the event loop may be blocked before the process says that it is not ready."
    )
    serve: ServeSettings = ServeSettings()
    logs: LogSettings = LogSettings()
    prometheus: bool = Field(default=False, description="Whether metrics are kept for Prometheus to scrape.")
    otlp: OtlpSettings = OtlpSettings()
    sentry: SentrySettings = SentrySettings()
    steps: dict[str, StepSettings] = Field(default={}, description="Steps by name.")
    breakers: dict[str, BreakerSettings] = Field(default={}, description="Circuit breakers by name.")
    limiters: dict[str, LimiterSettings] = Field(default={}, description="Limiters by name.")
    workflows: dict[str, WorkflowSettings] = Field(default={}, description="Workflows by name.")
    flags: dict[str, Rule] = Field(default={}, description="For which runs a feature flag is on, or what it is.")

    _origins: _Origins = PrivateAttr(default_factory=_Origins)

    def __init__(self, **given: Any) -> None:
        held, problems = _gathered(given)
        try:
            super().__init__(**nested(held))
        except ValidationError as error:
            problems += _misfits(error.errors(include_url=False), held)
        if problems:
            raise _refusal("".join(f"\n  {problem}" for problem in dict.fromkeys(problems)))
        self._origins = _Origins({found.path: found.origin for found in held})

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        origins = self._origins.by_path
        return ((name, hidden(getattr(self, name), (name,), origins)) for name in type(self).model_fields)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the arguments: what the other sources say is among them, so that each value's origin is known."""
        return (init_settings,)


def read_settings(**given: Any) -> Settings:
    """Return the settings; ``given`` wins over every source.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each that does not fit and for each that is none.
    """
    return Settings(**given)


def provenance(settings: Settings) -> Mapping[Path, Origin]:
    """Return where each value of settings was found, by its path; what is not in it has its default."""
    return settings._origins.by_path


PATHS = Paths(Settings)


def _gathered(given: Mapping[str, Any]) -> tuple[list[Found], list[str]]:
    """Return what is in force, and what is wrong with it before any value is looked at."""
    try:
        found = sources(Settings, PATHS, given)
    except Unreadable as error:
        raise _refusal(f"\n  {error}") from error
    problems = [_stranger(one) for source in found for one in source if _is_strange(one)]
    problems += [_twofold(earlier, later) for source in found for earlier, later in twice(source)]
    return [one for one in strongest(found, PATHS) if not _is_strange(one)], problems


def _is_strange(found: Found) -> bool:
    return PATHS.knob(found.path) is None and not PATHS.below(found.path)


def _stranger(found: Found) -> str:
    close = PATHS.meant(found.path)
    also = f"; did you mean {spelling(close, found.origin.place)}?" if close else ""
    return f"{found.origin}: there is no such setting{also}"


def _twofold(earlier: Found, later: Found) -> str:
    same = f"{spelling(later.path, later.origin.place)} has two values there"
    return f"{later.origin}: {same}, this and {earlier.origin.name}; keep one of them"


def _misfits(details: Iterable[ErrorDetails], held: list[Found]) -> Iterator[str]:
    for detail in details:
        found = _found_at(tuple(map(str, detail["loc"])), held)
        knob = PATHS.knob(found.path)
        why = detail["msg"].removeprefix("Value error, ") if knob is not None and knob.annotation is Rule else ""
        shown = MASK if _holds_secrets(found.path) else masked(found.path, found.value, found.origin)
        yield f"{found.origin} is {shown!r}{why and f': {why}'}; allowed is {PATHS.allowed(found.path)}"


def _holds_secrets(path: Path) -> bool:
    """Whether a value stands where a table with secrets must be: nobody knows what is in it."""
    return any(map(is_secret, PATHS.below(path)))


def _found_at(path: Path, held: list[Found]) -> Found:
    """Return what was found at a path, or else above or below it."""
    return max(held, key=lambda found: (_shared(found.path, path), -len(found.path)))


def _shared(one: Path, other: Path) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _refusal(problems: str) -> ConfigurationError:
    return ConfigurationError(
        f"awaitly's settings do not fit:{problems}",
        hint="awaitly config --env lists all settings; they come from arguments, AWAITLY_* variables, .env, the secrets"
        " directory, awaitly.toml and [tool.awaitly] in pyproject.toml",
        code="invalid-setting",
    )
