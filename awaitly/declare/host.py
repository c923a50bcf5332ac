"""How a declaration finds what executes it: a context variable that holds a :class:`Host`.

Declarations stay inert. A body's branch, a step's function and the world outside have a host each; the layers
above implement them and :func:`install` what serves where none is set.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import UUID

from awaitly.model.context import StepContext, Whereabouts

if TYPE_CHECKING:
    from awaitly.declare.step import Step
    from awaitly.declare.workflow import RunOptions, Workflow
    from awaitly.model.graph import Graph

Answer: TypeAlias = Coroutine[object, None, Any]
Wanted: TypeAlias = Literal["value", "result", "handle"]


class Host(Protocol):
    """What calls mean where they are made. ``frame`` is the caller's: its position identifies the call.

    Every method is a plain function that takes the call's identity at once; only what it returns is awaited.
    """

    def step(self, step: "Step[..., Any, Any]", args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Answer:
        """Call a step; with ``attempt`` the coroutine gives a ``Result`` instead of raising."""

    def workflow(
        self,
        workflow: "Workflow[..., Any, Any]",
        options: "RunOptions",
        args: Any,
        kwargs: Any,
        frame: FrameType,
        *,
        wanted: Wanted,
    ) -> Answer:
        """Run a workflow: a child inside a body, an independent run elsewhere."""

    def gather(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all at once; the first failure cancels the others."""

    def settle(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await all at once, each to its own ``Result``."""

    def race(self, awaitables: tuple[Awaitable[Any], ...], frame: FrameType) -> Answer:
        """Await the first to finish and cancel the others."""

    def each(
        self, function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], concurrency: int, frame: FrameType
    ) -> Answer:
        """Map ``function`` over ``items``, at most ``concurrency`` at once."""

    def sleep(self, seconds: float, frame: FrameType) -> Answer:
        """Wait."""

    def timeout(self, seconds: float, frame: FrameType) -> AbstractAsyncContextManager[None]:
        """Limit the time of a block."""

    def now(self, frame: FrameType) -> float:
        """Return the wall-clock time in seconds since the epoch."""

    def random(self, frame: FrameType) -> float:
        """Return a number in [0, 1)."""

    def uuid4(self, frame: FrameType) -> UUID:
        """Return a random UUID."""

    def current(self) -> StepContext:
        """Return what a step's function may know about its call."""


HOST: ContextVar[Host | None] = ContextVar("awaitly.host", default=None)

_fallback: list[Callable[[], Host]] = []
_compiler: "list[Callable[[Workflow[..., Any, Any]], Graph]]" = []


def install(fallback: Callable[[], Host], compiler: "Callable[[Workflow[..., Any, Any]], Graph]") -> None:
    """Say which host serves where none is set, and what makes a workflow's graph."""
    _fallback[:] = [fallback]
    _compiler[:] = [compiler]


def host() -> Host:
    """Return the host of the calling context."""
    return HOST.get() or _fallback[0]()


def compiler() -> "Callable[[Workflow[..., Any, Any]], Graph]":
    """Return what makes a workflow's graph."""
    return _compiler[0]


def whereabouts() -> Whereabouts | None:
    """Return where in a run the calling code is; None if it is in none."""
    about = getattr(HOST.get(), "about", None)
    found: Whereabouts | None = None if about is None else about()
    return found
