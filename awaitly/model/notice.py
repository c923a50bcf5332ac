"""What observers are told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from awaitly.errors import DeadlineExceeded, RunCancelled
from awaitly.model.facts import Ending, Fact, StepFinished

_ENDINGS: Final[Mapping[type[BaseException], Ending]] = {
    RunCancelled: Ending.CANCELLED,
    DeadlineExceeded: Ending.DEADLINE,
}


class Notice(NamedTuple):
    """Something that happened, as observers see it.

    ``error`` is the exception behind a failure, if it was raised in this process: the journal keeps no tracebacks. What
    happened to no run in particular, such as a circuit that opened, has no ``run`` and no ``workflow``.
    """

    run: str
    workflow: str
    fact: Fact
    error: BaseException | None = None


@runtime_checkable
class Beginner(Protocol):
    """A watcher that is asked before a run exists, too."""

    def begin(self, run: str, workflow: str) -> str:
        """Begin to trace a run; returns the ``traceparent`` that is stored with it."""


@runtime_checkable
class Entering(Protocol):
    """A watcher that makes something current in the context in which it is told, such as a span."""

    def here(self) -> Callable[[], object]:
        """Return what puts back what is current now: asked where no task of its own ends that context."""


@runtime_checkable
class Choosy(Protocol):
    """An observer that is told of some kinds of facts only; what nobody is told of need not be made."""

    @property
    def facts(self) -> Collection[type[Fact]]:
        """The kinds of facts that it is told of."""


Watcher: TypeAlias = Callable[[Notice], object]
"""Told at once, on the event loop, in the context in which it happened: it must take microseconds."""


class Sorting(ABC):
    """A watcher that has a function for each kind of facts that it is told of.

    It is told through these, with no call of its own between, unless a class derived from it has a ``__call__``; such a
    class may also have other ``facts``.
    """

    @property
    @abstractmethod
    def handlers(self) -> Mapping[type[Fact], Watcher]:
        """What is told of facts of a kind: the same as long as this lives."""

    @property
    def facts(self) -> Collection[type[Fact]]:
        """The kinds of facts that it is told of."""
        return self.handlers.keys()

    def __call__(self, notice: Notice) -> None:
        """Tell what is told of facts of that kind."""
        handle = self.handlers.get(type(notice.fact))
        if handle is not None:
            handle(notice)

    def told_of(self, kind: type[Fact]) -> Watcher | None:
        """Return what is told of facts of a kind, if anything is: itself, if it has a ``__call__`` of its own."""
        if kind not in self.facts:
            return None
        return self.handlers.get(kind) if type(self).__call__ is Sorting.__call__ else self


def told(fact: Fact, error: BaseException | None) -> Fact:
    """Return a fact as observers are told it: the call of a child run ends as the child did, by the error of its run.

    The journal has it as unexpected, as the body that made the call has a reason to be told of it.
    """
    if isinstance(fact, StepFinished) and fact.ending is Ending.UNEXPECTED:
        ending = None if error is None else _ENDINGS.get(type(error))
        if ending is not None:
            return replace(fact, ending=ending)
    return fact
