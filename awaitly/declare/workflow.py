"""Workflows: what ``@workflow`` records and returns, and the handle of a run."""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from awaitly.declare.checks import checked_errors, checked_function, checked_options, checked_tags, checked_text
from awaitly.declare.host import compiler, host
from awaitly.errors import AwaitlyError, ConfigurationError, UnexpectedError, UsageError
from awaitly.flags.provider import FlagValue
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import Fact
from awaitly.model.state import Status
from awaitly.result import Err, Ok

if TYPE_CHECKING:
    from awaitly.model.graph import Graph

P = ParamSpec("P")
C = TypeVar("C", bound=Coroutine[Any, Any, Any])
T = TypeVar("T")
E = TypeVar("E")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
F_co = TypeVar("F_co", covariant=True)
X = TypeVar("X", bound=BaseException)
X2 = TypeVar("X2", bound=BaseException)
X3 = TypeVar("X3", bound=BaseException)
X4 = TypeVar("X4", bound=BaseException)


class WorkflowKeywords(TypedDict, total=False):
    """The options of ``@workflow`` apart from ``errors``, once for all its overloads."""

    name: str
    key: str
    version: str
    deadline: Duration
    durable: bool
    retention: Duration
    owner: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """What the author of a workflow says about it."""

    name: str
    key: str | None = None
    version: str | None = None
    deadline: float | None = None
    durable: bool = True
    retention: float | None = None
    errors: tuple[type[BaseException], ...] = ()
    owner: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the caller of one run says about it."""

    id: str | None = None
    deadline: float | None = None
    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    attach: bool = True  # False: a run that is already running is refused


class RunHandle(Protocol[T_co, E_co]):
    """A run that has been started: in this process or another."""

    @property
    def id(self) -> str:
        """The id of the run."""

    async def status(self) -> Status:
        """Return where the run is in its life."""

    async def result(self) -> Ok[T_co] | Err[E_co] | Err[UnexpectedError]:
        """Wait for the end of the run and return its result."""

    async def cancel(self, reason: str = "") -> None:
        """Ask for the run's cancellation; returns when the request is stored."""

    async def signal(self, name: str, payload: object = None) -> None:
        """Send the run a signal. Raises ``not-supported`` in this version."""

    def events(self) -> AsyncIterator[Fact]:
        """Yield the facts of the run as they are stored, from its start to its end."""


class Workflow(Generic[P, T_co, E_co]):
    """An ``async def`` whose steps are stored, so that a run survives its process."""

    __name__: str
    __qualname__: str

    def __init__(self, fn: Callable[..., Any], options: WorkflowOptions, per_run: RunOptions | None = None) -> None:
        self.fn: Callable[P, Any] = fn
        self.declared = options
        self.per_run = per_run or RunOptions()
        update_wrapper(self, fn)
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    @property
    def name(self) -> str:
        """The workflow's name: of its function unless ``name=`` was given."""
        return self.declared.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, T_co]:
        """Run the workflow; the coroutine gives its value or raises its failure. In a body: a child run."""
        return self._named(host().workflow(self, self.per_run, args, kwargs, sys._getframe(1), wanted="value"))

    def run(
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, None, Ok[T_co] | Err[E_co] | Err[UnexpectedError]]:
        """Run the workflow; the coroutine gives ``Ok`` or ``Err`` and never raises for a failed run."""
        return self._named(host().workflow(self, self.per_run, args, kwargs, sys._getframe(1), wanted="result"))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, RunHandle[T_co, E_co]]:
        """Start a run; the coroutine gives its handle once the start is stored."""
        return self._named(host().workflow(self, self.per_run, args, kwargs, sys._getframe(1), wanted="handle"))

    def run_sync(self, *args: P.args, **kwargs: P.kwargs) -> Ok[T_co] | Err[E_co] | Err[UnexpectedError]:
        """Run the workflow from a script that has no event loop.

        Raises:
            UsageError: ``running-loop``, where an event loop runs already.
            AwaitlyError: If nothing can be run like this, as by :meth:`run`.
        """
        if asyncio._get_running_loop() is not None:
            raise UsageError(
                f"{self.name}.run_sync() was called while an event loop runs, which it would block",
                hint=f"await {self.name}.run(...) instead",
                code="running-loop",
            )
        try:
            return asyncio.run(self._run_alone(*args, **kwargs))
        except AwaitlyError as error:
            # What raised it is not in the caller's code: a dozen frames would only hide the line that is.
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    def _named(self, answer: C) -> C:
        answer.__qualname__ = self.name  # type: ignore[attr-defined]  # named when it is never awaited
        return answer

    async def _run_alone(self, *args: P.args, **kwargs: P.kwargs) -> Ok[T_co] | Err[E_co] | Err[UnexpectedError]:
        return await self.run(*args, **kwargs)

    def options(
        self,
        *,
        id: str | None = None,
        deadline: Duration | None = None,
        flags: Mapping[str, FlagValue] | None = None,
        metadata: Mapping[str, str] | None = None,
        attach: bool | None = None,
    ) -> "Workflow[P, T_co, E_co]":
        """Return the same workflow with options for the runs that are started through it.

        Args:
            id: The run's id, and so its idempotency key; it takes precedence over the workflow's ``key``.
            deadline: The time the run may take from its start, a duration.
            flags: Values of feature flags for the run; they win over everybody who decides flags, and are stored.
            metadata: Text that is stored with the run and shown with it.
            attach: Whether to join a run of this id that is already running (default), or to refuse (``False``).
        """
        per_run = self.per_run
        given: dict[str, Any] = {"id": id, "flags": flags, "metadata": metadata, "attach": attach}
        if deadline is not None:
            given["deadline"] = seconds(deadline, what=f"deadline= of a run of {self.name}")
        changed = {name: value for name, value in given.items() if value is not None}
        return Workflow(self.fn, self.declared, replace(per_run, **changed))

    @property
    def graph(self) -> "Graph":
        """The compiled graph, errors and warnings included.

        Raises:
            CompileError: If the source cannot be read at all.
        """
        return compiler()(self)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


class WorkflowDecorator(Protocol[F_co]):
    """What ``@workflow(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Workflow[P, T, E | F_co]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T, F_co]: ...


class PlainWorkflowDecorator(Protocol):
    """What ``@workflow(...)`` without ``errors=`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Workflow[P, T, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T, Exception]: ...


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, Ok[T] | Err[E]]], /) -> Workflow[P, T, E]: ...  # type: ignore[overload-overlap]
@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T, Exception]: ...
@overload
def workflow(*, errors: tuple[type[X], type[X2]], **options: Unpack[WorkflowKeywords]) -> WorkflowDecorator[X | X2]: ...
@overload
def workflow(
    *, errors: tuple[type[X], type[X2], type[X3]], **options: Unpack[WorkflowKeywords]
) -> WorkflowDecorator[X | X2 | X3]: ...
@overload
def workflow(
    *, errors: tuple[type[X], type[X2], type[X3], type[X4]], **options: Unpack[WorkflowKeywords]
) -> WorkflowDecorator[X | X2 | X3 | X4]: ...
@overload
def workflow(*, errors: type[X] | tuple[type[X], ...], **options: Unpack[WorkflowKeywords]) -> WorkflowDecorator[X]: ...
@overload
def workflow(**options: Unpack[WorkflowKeywords]) -> PlainWorkflowDecorator: ...
def workflow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make an ``async def`` a workflow.

    Args:
        fn: The function.
        **options: ``name``: of the workflow, default the function's. ``key``: a template over the arguments such as
            ``"order:{order.id}"`` for the run's id, and so its idempotency key. ``version``: for people and reports.
            ``errors``: the class, or tuple of classes, of expected failures that may leave it; checked by the
            compiler. ``deadline``: the time a run may take from its start, a duration; downtime counts. ``durable``:
            ``False`` executes without storing anything. ``retention``: how long ended runs are kept, a duration.
            ``owner`` and ``tags``: for people and reports.

    Returns:
        A :class:`Workflow`, or with options a decorator that makes one.

    Raises:
        ConfigurationError: ``unknown-option``, ``invalid-option`` or ``invalid-duration``.
        UsageError: ``step-on-method``, for a function of a class body.
    """
    if fn is not None:
        return _declared(fn, options)
    return lambda function: _declared(function, options)


def _declared(fn: Callable[..., Any], options: dict[str, Any]) -> Workflow[..., Any, Any]:
    where = checked_function(fn, "workflow", asynchronous=True)
    checked_options(options, WORKFLOW_OPTIONS, where)
    durable = options.get("durable", True)
    if not isinstance(durable, bool):
        raise ConfigurationError(
            f"durable= of {where} is {durable!r}", hint="give True or False", code="invalid-option"
        )

    def duration(name: str) -> float | None:
        value = options.get(name)
        return None if value is None else seconds(value, what=f"{name}= of {where}")

    return Workflow(
        fn,
        WorkflowOptions(
            name=checked_text(options.get("name", fn.__name__), f"name= of {where}"),
            key=None if options.get("key") is None else checked_text(options["key"], f"key= of {where}"),
            version=options.get("version"),
            deadline=duration("deadline"),
            durable=durable,
            retention=duration("retention"),
            errors=checked_errors(options.get("errors", ()), where),
            owner=options.get("owner"),
            tags=checked_tags(options.get("tags", ()), f"tags= of {where}"),
        ),
    )


WORKFLOW_OPTIONS = frozenset(WorkflowKeywords.__annotations__) | {"errors"}
