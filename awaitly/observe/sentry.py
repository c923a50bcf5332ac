"""Reports what nobody expected to Sentry: once for each run, with what led to it. Needs ``awaitly[sentry]``.

A sink: it works in a thread and in a context of its own, so the scopes of the program are neither seen nor changed.
What all events of a process are to have belongs on Sentry's global scope.
"""

from collections import deque
from collections.abc import Iterator
from contextvars import Context
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeAlias

from awaitly.errors import (
    AwaitlyError,
    ConfigurationError,
    DeadlineExceeded,
    Failure,
    NotSupported,
    StoreError,
    UnexpectedError,
)
from awaitly.model.facts import (
    Ending,
    Fact,
    FlagDecided,
    RunFinished,
    RunReleased,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
)
from awaitly.model.notice import Notice
from awaitly.observe.crumbs import Crumb, crumb_of, moment, shown

try:
    import sentry_sdk
    from sentry_sdk.integrations.logging import ignore_logger
    from sentry_sdk.utils import BadDsn, event_from_exception
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("sentry_sdk"):
        raise
    raise NotSupported(
        "reports to Sentry need the package sentry-sdk, which is not installed", hint="install awaitly[sentry]"
    ) from error

CRUMBS = 100  # of each run: as many as Sentry shows
TRANSITIONS = 50  # of circuits, which belong to no run
RUNS = 10_000  # remembered at once; an end may be lost to a queue that was full
RECENT = 20  # failures of a run's steps and children
WIDEST = 200  # characters of a tag

HARMLESS = frozenset({"run-stopped", "shutting-down", "lease-lost", *StoreError.codes})
"""Why a run stops here although nothing is wrong with it or with awaitly: it goes on when the store is back."""

_STATUSES = {
    Ending.VALUE: "ok",
    Ending.FAILURE: "failed_precondition",
    Ending.UNEXPECTED: "internal_error",
    Ending.CANCELLED: "cancelled",
    Ending.DEADLINE: "deadline_exceeded",
}

_ORIGIN = "auto.function.awaitly"  # of spans: the SDK's word for what made them

Event: TypeAlias = dict[str, Any]


class Destination(Protocol):
    """Where to send to, as :class:`~awaitly.settings.tables.SentrySettings` says it."""

    @property
    def dsn(self) -> str | None:
        """The project's address."""

    @property
    def environment(self) -> str | None:
        """Such as ``production``."""

    @property
    def sample_rate(self) -> float:
        """The share of errors that is sent."""

    @property
    def traces_sample_rate(self) -> float:
        """The share of transactions that is sent."""

    @property
    def expected(self) -> bool:
        """Whether failures that were declared are reported too."""

    @property
    def transactions(self) -> bool:
        """Whether runs are transactions."""


class _Failed(NamedTuple):
    """A call of a step that failed."""

    step: str
    call: str
    attempts: int
    error: BaseException


@dataclass(slots=True)
class _Run:
    """What is known of a run that is executed here; dropped at its end."""

    id: str
    workflow: str
    started: float | None = None
    recorded: int | None = None  # if it was taken over: how many facts there were
    parent: str | None = None
    trace: str = ""
    flags: dict[str, object] = field(default_factory=dict)
    metadata: tuple[str, ...] = ()
    attempts: int = 0
    crumbs: deque[Crumb] = field(default_factory=lambda: deque(maxlen=CRUMBS))
    failed: deque[_Failed] = field(default_factory=lambda: deque(maxlen=RECENT))
    told: deque[BaseException] = field(default_factory=lambda: deque(maxlen=RECENT))  # by its children
    transaction: Any = None


class SentrySink:
    """Reports to the Sentry SDK as the program has set it up.

    ```python
    sentry_sdk.init(dsn="https://key@sentry.example.com/1")

    async with Runtime(sinks=[SentrySink()]) as rt: ...
    ```

    Args:
        expected: Whether failures that were declared are reported too, as warnings.
        transactions: Whether each run is a transaction, with its steps as spans. Sentry samples them.
        client: Where to report to; default: the SDK's own client, whenever it is made.
    """

    name = "sentry"

    def __init__(
        self, *, expected: bool = False, transactions: bool = False, client: "sentry_sdk.Client | None" = None
    ) -> None:
        self._expected = expected
        self._transactions = transactions
        self._runs: dict[str, _Run] = {}
        self._transitions: deque[Crumb] = deque(maxlen=TRANSITIONS)
        self._released: deque[tuple[str, str]] = deque(maxlen=RUNS)
        self._context = Context()
        self._one_at_a_time = Lock()  # several runtimes may share it
        if client is not None:
            self._context.run(lambda: sentry_sdk.get_isolation_scope().set_client(client))
        ignore_logger("awaitly.runs")  # its lines are about what is reported here

    def __call__(self, notice: Notice) -> None:
        """Note what happened; report it if it is the end of a run that nobody expected."""
        with self._one_at_a_time:
            self._context.run(self._take, notice)

    def close(self) -> None:
        """Send what waits to be sent, in the time that the SDK allows for it."""
        self._context.run(sentry_sdk.flush)

    def _take(self, notice: Notice) -> None:
        fact = notice.fact
        if not notice.run:
            if (crumb := crumb_of(fact)) is not None:
                self._transitions.append(crumb)
            return
        match fact:
            case RunStarted() | RunResumed():
                self._begin(notice, fact)
            case RunFinished():
                self._finished(notice, fact)
            case RunReleased():
                self._run_released(notice, fact)
            case _:
                self._happened(self._known(notice), fact, notice.error)

    # Runs.

    def _known(self, notice: Notice) -> _Run:
        run = self._runs.get(notice.run)
        if run is None:
            run = self._runs[notice.run] = _Run(notice.run, notice.workflow)
            if len(self._runs) > RUNS:
                del self._runs[next(iter(self._runs))]
        return run

    def _begin(self, notice: Notice, fact: RunStarted | RunResumed) -> None:
        run = self._known(notice)
        run.parent, run.trace = fact.parent, fact.trace
        run.flags, run.metadata = dict(fact.flags), tuple(fact.metadata)
        if isinstance(fact, RunResumed):
            run.started, run.recorded = fact.started, fact.recorded
        else:
            run.started = fact.at
        if self._transactions:
            run.transaction = _transaction(run, fact.at)

    def _happened(self, run: _Run, fact: Fact, error: BaseException | None) -> None:
        if (crumb := crumb_of(fact)) is not None:
            run.crumbs.append(crumb)
        match fact:
            case StepStarted():
                run.attempts += 1
            case FlagDecided(flag=flag, value=value):
                run.flags[flag] = value
            case StepFinished():
                if error is not None:
                    run.failed.append(_Failed(fact.step, fact.call, fact.attempts, error))
                if run.transaction is not None:
                    _span(run.transaction, fact)

    def _finished(self, notice: Notice, fact: RunFinished) -> None:
        run = self._known(notice)
        error = DeadlineExceeded("the run was not done by its deadline") if _is_late(fact) else notice.error
        unexpected = fact.ending in (Ending.UNEXPECTED, Ending.DEADLINE)
        if error is not None and (unexpected or (self._expected and fact.ending is Ending.FAILURE)):
            if not _is_told(error, run.told):
                self._report(run, error, fact.at, unexpected=unexpected)
            parent = self._runs.get(run.parent or "")
            if parent is not None:
                parent.told.extend(map(_origin, _members(error)))
        self._forget(run, fact.at, _STATUSES[fact.ending])

    def _run_released(self, notice: Notice, fact: RunReleased) -> None:
        run = self._known(notice)
        known = run.id, fact.code  # it is tried again and again
        if fact.code not in HARMLESS and known not in self._released:
            self._released.append(known)
            error = notice.error or UnexpectedError(fact.reason, type_name=fact.code)
            self._report(run, error, fact.at, unexpected=True, released=fact.code)
        self._forget(run, fact.at, "aborted")

    def _forget(self, run: _Run, at: float, status: str) -> None:
        del self._runs[run.id]
        if run.transaction is not None:
            run.transaction.set_status(status)
            run.transaction.finish(end_timestamp=moment(at))

    # Events.

    def _report(
        self, run: _Run, error: BaseException, at: float, *, unexpected: bool, released: str | None = None
    ) -> None:
        client = sentry_sdk.get_client()
        if not client.is_active():
            return
        origin = _origin(error)
        failed = _failed_in(run, error)
        event, hint = _described(origin, client.options, handled=not unexpected)
        context = _context(run, origin, failed)
        if released is not None:
            context["stopped"] = released
        event |= {
            "level": "error" if unexpected else "warning",
            "timestamp": moment(at),
            "transaction": run.workflow,
            "tags": _tags(run, origin, failed, unexpected=unexpected),
            "contexts": {"awaitly": context, **_trace(run.trace)},
            "breadcrumbs": {"values": [shown(crumb) for crumb in self._trail(run)]},
        }
        sentry_sdk.capture_event(event, hint)  # type: ignore[arg-type]  # a TypedDict there, built in pieces here

    def _trail(self, run: _Run) -> list[Crumb]:
        """Return what happened to a run, and to circuits, in order."""
        return sorted((*self._transitions, *run.crumbs), key=lambda crumb: crumb.at)[-CRUMBS:]


def configured(to: Destination) -> SentrySink:
    """Return the sink that settings ask for.

    With a DSN the SDK is set up with it. A program that has set it up for another project keeps that: a client of the
    sink's own sends what the sink reports.

    Raises:
        ConfigurationError: ``invalid-setting``, if the DSN is none.
    """
    client = sentry_sdk.get_client()
    own = None
    try:
        if to.dsn is not None and not client.is_active():
            sentry_sdk.init(**_options(to))
        elif to.dsn is not None and client.options.get("dsn") != to.dsn:
            own = sentry_sdk.Client(**_options(to), default_integrations=False)
    except BadDsn as error:
        raise ConfigurationError(
            f"the DSN of Sentry is no such address: {error}",
            hint="copy it from the project's settings in Sentry: https://KEY@HOST/PROJECT",
            code="invalid-setting",
        ) from None
    return SentrySink(expected=to.expected, transactions=to.transactions, client=own)


def _options(to: Destination) -> dict[str, Any]:
    return {
        "dsn": to.dsn,
        "environment": to.environment,
        "sample_rate": to.sample_rate,
        "traces_sample_rate": to.traces_sample_rate if to.transactions else None,
        "include_local_variables": False,  # there are arguments of steps among them
    }


# What an error is.


def _origin(error: BaseException) -> BaseException:
    """Return what was raised in the first place, if that is alive: a cause that was stored has no traceback."""
    cause = error.__cause__
    alive = cause is not None and cause.__traceback__ is not None
    return cause if isinstance(error, UnexpectedError) and cause is not None and alive else error


def _members(error: BaseException) -> Iterator[BaseException]:
    origin = _origin(error)
    if isinstance(origin, BaseExceptionGroup):
        for member in origin.exceptions:
            yield from _members(member)
    else:
        yield origin


def _is_told(error: BaseException, told: "deque[BaseException]") -> bool:
    return bool(told) and all(any(_is_same(each, known) for known in told) for each in _members(error))


def _is_same(one: BaseException, other: BaseException) -> bool:
    if isinstance(one, UnexpectedError) and isinstance(other, UnexpectedError):  # of which nothing is alive
        return _identity(one) == _identity(other)
    return one is other or (isinstance(one, Failure) and one == other)


def _identity(error: UnexpectedError) -> tuple[str, str, str | None]:
    return error.type_name, error.message, error.traceback


def _is_late(fact: RunFinished) -> bool:
    return fact.ending is Ending.DEADLINE


def _failed_in(run: _Run, error: BaseException) -> _Failed | None:
    """Return the call that an error came from; of one that failed before the run was taken over, its step alone."""
    origins = list(_members(error))
    for failed in reversed(run.failed):
        if any(_is_same(_origin(failed.error), origin) for origin in origins):
            return failed
    step = getattr(error, "step", None) if isinstance(error, UnexpectedError) else None
    return None if step is None else _Failed(step, "", 0, error)


def _described(error: BaseException, options: dict[str, Any], *, handled: bool) -> tuple[Event, dict[str, Any]]:
    mechanism = {"type": "awaitly", "handled": handled}
    event, hint = event_from_exception(error, client_options=options, mechanism=mechanism)
    described: Event = {**event}
    values = described["exception"]["values"]
    if isinstance(error, UnexpectedError):
        values[:] = [{**values[-1], **_stored(error)}]  # its causes are in the text of its traceback
    for value in values:
        for frame in (value.get("stacktrace") or {}).get("frames", ()):
            if str(frame.get("module")).startswith("awaitly."):
                frame["in_app"] = False
    return described, hint


def _stored(error: UnexpectedError) -> Event:
    """Return what is left of an error that was raised in another process."""
    module, _, name = error.type_name.rpartition(".")
    return {"type": name, "module": module or None, "value": error.message}


def _tags(run: _Run, error: BaseException, failed: _Failed | None, *, unexpected: bool) -> dict[str, str]:
    tags = {"awaitly.workflow": run.workflow, "awaitly.run_id": run.id}
    if failed is not None:
        tags["awaitly.step"] = failed.step
        if failed.attempts:
            tags["awaitly.attempt"] = str(failed.attempts)
    if unexpected:
        tags["awaitly.code"] = _code(error)
    return {name: value[:WIDEST] for name, value in tags.items()}


def _code(error: BaseException) -> str:
    if isinstance(error, UnexpectedError) and error.cause_code is not None:
        return error.cause_code
    return error.code if isinstance(error, AwaitlyError) else UnexpectedError.code


def _context(run: _Run, error: BaseException, failed: _Failed | None) -> dict[str, object]:
    """Return what is known of the run; of its metadata the keys, of its arguments nothing."""
    context: dict[str, object] = {
        "workflow": run.workflow,
        "run_id": run.id,
        "started": None if run.started is None else moment(run.started).isoformat(),
        "attempts": run.attempts,
        "flags": run.flags,
        "metadata": list(run.metadata),
    }
    optional = {
        "parent": run.parent,
        "resumed_after": run.recorded,
        "step": failed and failed.step,
        "call": failed and failed.call,
        "traceback": isinstance(error, UnexpectedError) and error.traceback,
    }
    return context | {name: value for name, value in optional.items() if value not in (None, "", False)}


def _trace(traceparent: str) -> dict[str, dict[str, str]]:
    parts = traceparent.split("-")
    return {"trace": {"trace_id": parts[1], "span_id": parts[2]}} if traceparent else {}


# Transactions.


def _transaction(run: _Run, at: float) -> Any:
    """Return the transaction of a run, if it is sampled."""
    about: dict[str, Any] = {"name": run.workflow, "op": "awaitly.run", "source": "task", "origin": _ORIGIN}
    if run.trace:
        about["trace_id"] = _trace(run.trace)["trace"]["trace_id"]
    transaction = sentry_sdk.start_transaction(start_timestamp=moment(at), **about)
    if not transaction.sampled:
        return None
    transaction.set_tag("awaitly.run_id", run.id[:WIDEST])
    transaction.set_tag("awaitly.workflow", run.workflow[:WIDEST])
    return transaction


def _span(transaction: Any, fact: StepFinished) -> None:
    span = transaction.start_child(
        op="awaitly.step",
        name=fact.step,
        origin=_ORIGIN,
        start_timestamp=moment(fact.at - fact.seconds),
    )
    span.set_data("awaitly.call", fact.call)
    span.set_data("awaitly.attempts", fact.attempts)
    span.set_status(_STATUSES[fact.ending])
    span.finish(end_timestamp=moment(fact.at))
