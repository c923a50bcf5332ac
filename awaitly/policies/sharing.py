"""The states of declared policies, by kind and name, and whose they are: a runtime's, or else the event loop's."""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from awaitly.errors import ConfigurationError
from awaitly.model.clock import Clock
from awaitly.model.facts import Fact
from awaitly.policies.clock import SystemClock


class Declaration(Protocol):
    """A policy as declared: a frozen value."""

    @property
    def name(self) -> str | None:
        """What it is shared by; None if it is nobody else's."""


D = TypeVar("D", bound=Declaration)
S = TypeVar("S")


class Shared:
    """Makes the state of a declaration when it is first asked for, and gives everybody the same.

    Args:
        clock: The clock of all states.
        observe: Told of what happens to states by themselves, such as a circuit that opens.
        effective: Gives the declaration that is in force, as an operator's settings may change it.
        policies: Likewise the policies of a step, by its name.
        callee: Gives what a step's plain call executes, its policies bound to these states.
    """

    def __init__(
        self,
        clock: Clock,
        observe: Callable[[Fact], object] | None = None,
        effective: Callable[[Any], Any] | None = None,
        policies: Callable[[str, Any], Any] | None = None,
        callee: Callable[[Any], Any] | None = None,
    ) -> None:
        self.clock = clock
        self.observe = observe
        self._effective = effective
        self._policies = policies
        self._callee = callee
        self._states: dict[tuple[type, str], tuple[Declaration, Any]] = {}
        self._kept: dict[tuple[int, str], tuple[object, Any]] = {}

    def state(self, kind: type[S], declaration: D, make: Callable[[D], S]) -> S:
        """Return the state of a declaration; ``make`` gets the declaration in force.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        # The declaration is kept, so that the id of one without a name stays its own.
        key = kind, declaration.name if declaration.name is not None else f"#{id(declaration)}"
        known = self._states.get(key)
        if known is None:
            in_force = declaration if self._effective is None else self._effective(declaration)
            known = self._states[key] = declaration, make(in_force)
        if known[0] is not declaration and known[0] != declaration:  # comparing takes longer than a call
            raise ConfigurationError(
                f"{declaration.name!r} is declared twice, and not the same: as {known[0]!r} and as {declaration!r}",
                hint="declare it once and use that, or give one of them another name",
                code="policy-conflict",
            )
        found: S = known[1]
        return found

    def in_force(self, step: str, policies: S) -> S:
        """Return the policies of a step as settings may have changed them, every name in them resolved."""
        found: S = policies if self._policies is None else self._policies(step, policies)
        return found

    def callee(self, step: Any) -> Any:
        """Return what a plain call of a step executes."""
        assert self._callee is not None, "these states serve policies by themselves"
        return self._callee(step)

    def kept(self, owner: object, name: str, make: Callable[[], S]) -> S:
        """Return what was made for an owner under a name, or make it: once, as long as these states live."""
        known = self._kept.get((id(owner), name))
        if known is None:  # the owner is kept, so that its id stays its own
            known = self._kept[id(owner), name] = owner, make()
        found: S = known[1]
        return found

    def states(self, kind: type[S]) -> Mapping[str, S]:
        """Return the states of one kind by name, for those who report on them, from whatever thread."""
        return {name: state for (known, name), (_, state) in list(self._states.items()) if known is kind}

    def notice(self, kind: Callable[..., Fact], **fields: Any) -> None:
        """Tell the observer, if there is one, of a fact."""
        if self.observe is not None:
            self.observe(kind(at=self.clock.time(), **fields))


SHARED: ContextVar[Shared | None] = ContextVar("awaitly.shared", default=None)

_make: list[Callable[[], Shared]] = [lambda: Shared(SystemClock())]
_of_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, Shared]" = WeakKeyDictionary()
_of_process: list[Shared] = []


def install(make: Callable[[], Shared]) -> None:
    """Say what makes the states of an event loop, and of the process, where no runtime is active."""
    _make[:] = [make]


def adopt(loop: asyncio.AbstractEventLoop, states: Shared) -> None:
    """Let a loop have these states from now on, where no runtime is active."""
    _of_loops[loop] = states


def shared() -> Shared:
    """Return the states of the calling context: the runtime's that is active, or else those of the event loop."""
    found = SHARED.get()
    if found is not None:
        return found
    loop = asyncio._get_running_loop()
    if loop is None:
        _of_process[:] = _of_process or [_make[0]()]
        return _of_process[0]
    states = _of_loops.get(loop)
    if states is None:
        states = _of_loops[loop] = _make[0]()
    return states
