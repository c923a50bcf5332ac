"""Whether there is what settings name: the steps, breakers, limiters, workflows and flags of a program.

A switch is also refused if the step has nothing that it could switch: what changes nothing is a mistake.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, fields
from typing import TypeAlias

from awaitly.errors import ConfigurationError
from awaitly.model.names import by_nearness, nearest
from awaitly.settings.knobs import PATHS, Settings, provenance
from awaitly.settings.paths import Path
from awaitly.settings.sources import Origin
from awaitly.settings.tables import StepSettings

_TABLES = ("steps", "breakers", "limiters", "workflows", "flags")
_SHOWN = 5  # names, where none is like the one that was meant


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """Every name in a program that settings may mention, as it was declared."""

    steps: Set[str] = frozenset()
    breakers: Set[str] = frozenset()
    limiters: Set[str] = frozenset()
    workflows: Set[str] = frozenset()
    flags: Set[str] = frozenset()
    policies: Set[tuple[str, str]] = frozenset()  # steps, as compared, and the policies that one of that name has

    def __or__(self, other: "KnownNames") -> "KnownNames":
        """Return the names of both."""
        return KnownNames(**{each.name: getattr(self, each.name) | getattr(other, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name in settings that nothing has."""

    kind: str  # step, breaker, limiter, workflow or flag
    name: str
    origin: Origin | None
    meant: str | None  # the nearest name that there is
    known: tuple[str, ...]

    @property
    def likely(self) -> bool:
        """Whether it is a mistake even if other workflows come to be used."""
        return self.meant is not None

    def __str__(self) -> str:
        where = self.origin or self.name
        if self.meant is not None:
            return f"{where}: there is no {self.kind} {self.name!r}; did you mean {self.meant!r}?"
        if not self.known:
            return f"{where}: there is no {self.kind} {self.name!r}, nor any other"
        shown = ", ".join(map(repr, by_nearness(self.name, self.known)[:_SHOWN]))
        more = ", ..." if len(self.known) > _SHOWN else ""
        return f"{where}: there is no {self.kind} {self.name!r}; there {_are(self.known)} {shown}{more}"


@dataclass(frozen=True, slots=True)
class IdleSwitch:
    """A switch in settings for a policy that the step does not have."""

    step: str
    policy: str
    origin: Origin | None

    likely = True

    @property
    def name(self) -> str:
        """What it switches."""
        return f"{self.step}.{self.policy}"

    def __str__(self) -> str:
        return f"{self.origin or self.name}: step {self.step!r} has no {self.policy} that this could switch"


Idle: TypeAlias = UnknownName | IdleSwitch


def unknown_names(settings: Settings, known: KnownNames) -> tuple[Idle, ...]:
    """Return every name in settings that nothing has, in the order of the tables; then idle switches."""
    names = (one for table in _TABLES for one in _unknown(settings, table, getattr(known, table)))
    return (*names, *_idle(settings, known))


def check_names(settings: Settings, known: KnownNames) -> None:
    """Refuse settings that name what does not exist.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each such name: where it was found, and what was
            probably meant.
    """
    unknown = unknown_names(settings, known)
    if unknown:
        problems = "".join(f"\n  {one}" for one in unknown)
        raise ConfigurationError(
            f"awaitly's settings name what does not exist:{problems}",
            hint="correct the names, or remove the settings; awaitly config TARGET shows what a workflow has",
            code="invalid-setting",
        )


def _unknown(settings: Settings, table: str, known: Set[str]) -> Iterator[UnknownName]:
    declared = {PATHS.normal((table, name))[1] for name in known}
    for name in getattr(settings, table):
        if name not in declared:
            meant = nearest(name, known)
            yield UnknownName(
                table.removesuffix("s"), name, _origin(settings, (table, name)), meant, tuple(sorted(known))
            )


def _idle(settings: Settings, known: KnownNames) -> Iterator[IdleSwitch]:
    declared = {PATHS.normal(("steps", name))[1]: name for name in known.steps}
    for name, table in settings.steps.items():
        for policy in _switched(table) if name in declared else ():
            if (name, policy) not in known.policies:
                yield IdleSwitch(declared[name], policy, _origin(settings, ("steps", name, policy)))


def _switched(step: StepSettings) -> Iterator[str]:
    """Yield the policies of a step that are switched, and are not made by its settings."""
    for policy in ("retry", "cache", "hedge", "breaker", "limiter", "fallback"):
        table = getattr(step, policy)
        given = {name for name in type(table).model_fields if getattr(table, name) is not None}
        makes = policy in ("retry", "cache", "hedge")
        if given == {"enabled"} and not (makes and table.enabled):
            yield policy


def _origin(settings: Settings, above: Path) -> Origin | None:
    found = ((path, origin) for path, origin in provenance(settings).items() if path[: len(above)] == above)
    return next((origin for _, origin in found), None)


def _are(known: Iterable[str]) -> str:
    return "is" if len(tuple(known)) == 1 else "are"
