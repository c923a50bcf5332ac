"""The states of declared policies, by kind and name, and whose they are: a runtime's, or else the event loop's."""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar
from weakref import ref

from awaitly.errors import ConfigurationError
from awaitly.model.clock import Clock
from awaitly.model.facts import Fact
from awaitly.policies.belongings import Belongings
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
        self.loop: asyncio.AbstractEventLoop | None = None  # where they are used, once that is known
        self._effective = effective
        self._policies = policies
        self._callee = callee
        self._states: dict[tuple[type, str], tuple[Declaration, Any]] = {}
        self._nameless: dict[tuple[type, int], tuple[ref[Any], Any]] = {}  # as long as their declarations
        self._kept: dict[tuple[int, str], tuple[ref[Any], Any]] = {}  # as long as their owners
        self._owners: dict[int, tuple[ref[Any], str]] = {}  # functions, and what they are called

    def state(self, kind: type[S], declaration: D, make: Callable[[D], S]) -> S:
        """Return the state of a declaration; ``make`` gets the declaration in force.

        Raises:
            ConfigurationError: ``policy-conflict``, if the name stands for another declaration.
        """
        if declaration.name is None:
            return self._own(kind, declaration, make)
        key = kind, declaration.name
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

    def _own(self, kind: type[S], declaration: D, make: Callable[[D], S]) -> S:
        """Return the state of a declaration without a name, for as long as the declaration lives."""
        key = kind, id(declaration)
        known = self._nameless.get(key)
        if known is None:
            in_force = declaration if self._effective is None else self._effective(declaration)
            copy: Any = replace(in_force)  # type: ignore[type-var]  # the state must not keep the declaration
            known = self._nameless[key] = ref(declaration, partial(_forget, self._nameless, key)), make(copy)
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
        """Return what was made for an owner under a name, or make it: once, as long as the owner and these live."""
        key = id(owner), name
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = ref(owner, partial(_forget, self._kept, key)), make()
        found: S = known[1]
        return found

    def owner(self, fn: Callable[..., Any]) -> str:
        """Return what a function is called here that owns policies without names: no other one is called so."""
        known = self._owners.get(id(fn))
        if known is not None:
            return known[1]
        while (inner := getattr(fn, "__func__", None) or (fn.func if isinstance(fn, partial) else None)) is not None:
            fn = inner  # methods and partial functions are made anew for each call
        known = self._owners.get(id(fn))
        if known is None:
            name, taken = f"{getattr(fn, '__qualname__', type(fn).__qualname__)}()", self._owners.values()
            names = (name if number == 1 else f"{name} {number}" for number in count(1))  # no step is called so
            free = next(one for one in names if all(one != other for _, other in list(taken)))
            known = self._owners[id(fn)] = ref(fn, partial(self._disown, id(fn), free)), free
        return known[1]

    def _disown(self, key: int, name: str, gone: object) -> None:
        """Forget what belongs to a function that is no more."""
        del self._owners[key]
        for kind, state in [known for known in list(self._states) if known[1] == f"step {name}"]:
            del self._states[kind, state]
        for kept in [known for known in list(self._kept) if known[1] == name]:
            del self._kept[kept]

    def states(self, kind: type[S]) -> Mapping[str, S]:
        """Return the states of one kind by name, for those who report on them, from whatever thread."""
        named = {name: state for (known, name), (_, state) in list(self._states.items()) if known is kind}
        own = {f"#{id}": state for (known, id), (_, state) in list(self._nameless.items()) if known is kind}
        return named | own

    def notice(self, kind: Callable[..., Fact], **fields: Any) -> None:
        """Tell the observer, if there is one, of a fact."""
        if self.observe is not None:
            self.observe(kind(at=self.clock.time(), **fields))


SHARED: ContextVar[Shared | None] = ContextVar("awaitly.shared", default=None)

_make: list[Callable[[], Shared]] = [lambda: Shared(SystemClock())]
_of_loops: Belongings[Shared] = Belongings()
_of_process: list[Shared] = []


def install(make: Callable[[], Shared]) -> None:
    """Say what makes the states of an event loop, and of the process, where no runtime is active."""
    _make[:] = [make]


def adopt(loop: asyncio.AbstractEventLoop, states: Shared) -> None:
    """Let a loop have these states from now on, where no runtime is active."""
    _of_loops.put(loop, states)


def shared() -> Shared:
    """Return the states of the calling context: the runtime's that is active, or else those of the event loop.

    In another loop than the runtime's, as a plain step may have in its thread, they are that loop's: who waits can be
    woken in his own loop only.
    """
    found, loop = SHARED.get(), asyncio._get_running_loop()
    if found is not None and (loop is found.loop or loop is None or found.loop is None):
        return found
    if loop is None:
        _of_process[:] = _of_process or [_make[0]()]
        return _of_process[0]
    states = _of_loops.get(loop)
    if states is None:
        states = _make[0]()
        states.loop = loop
        _of_loops.put(loop, states)
    return states


def _forget(known: dict[Any, Any], key: object, gone: object) -> None:
    known.pop(key, None)
