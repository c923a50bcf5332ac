"""The running system: store, lease, recovery and observers, wired together.

It is imported with the face, so it imports only what declarations need too. What executes and compiles comes when a
runtime is made or opened.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Token
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import awaitly.parts as parts
from awaitly.declare.host import HOST, Wanted
from awaitly.declare.workflow import RunHandle, RunOptions, Workflow
from awaitly.errors import NotSupported, RunStopped, ShuttingDown, UnexpectedError, UsageError
from awaitly.execute.loops import at_home, on
from awaitly.flags.provider import FlagValue
from awaitly.model.clock import Clock
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import Fact
from awaitly.model.names import overlaid
from awaitly.model.notice import Watcher
from awaitly.model.state import RunRecord, Status
from awaitly.policies.clock import SystemClock
from awaitly.policies.sharing import SHARED
from awaitly.result import Err, Ok

if TYPE_CHECKING:
    from awaitly.execute.closing import Closed
    from awaitly.execute.control import Control
    from awaitly.execute.engine import Farewell
    from awaitly.execute.history import Arguments, ForkPlan, Verdict
    from awaitly.execute.signals import Signals
    from awaitly.execute.vitals import Readiness, State
    from awaitly.flags.given import Given
    from awaitly.model.graph import Diagnostic
    from awaitly.model.program import StepBinding
    from awaitly.observe.bus import Sink
    from awaitly.persist.ports import Store
    from awaitly.settings import Settings
    from awaitly.watching import Sends, Watching

LAST_NOTICES = 2.0  # seconds that sinks and exporters have at least, however long the runs took to end
ENDING = 3.8  # seconds after the time to shut down in which all is over, whoever hangs
LAST = 0.1  # of them, at least, that closing the store may take
LATEST = 0.9  # seconds in which somebody who asks for readiness gets an answer: Kubernetes gives a probe one

T = TypeVar("T")
E = TypeVar("E")


class Runtime:
    """Executes workflows on a store, from one event loop.

    Args:
        settings: default: read from the environment and files (:class:`awaitly.settings.Settings`).
        store: a store or its URL; takes precedence over the settings.
        sinks: called with a :class:`~awaitly.observe.bus.Notice` for everything that happens; they cannot harm a run.
        watchers: observers of awaitly's own, such as :class:`~awaitly.observe.tracing.Tracing`: called with the same at
            once, on the event loop.
        clock: default: the machine's.
        flags: who decides feature flags where settings do not: a mapping of flags to rules, a function of a flag's name
            and a context, a client of OpenFeature, or an :class:`~awaitly.flags.provider.FlagProvider`.
        workflows: those whose unfinished runs are taken over at the start. Others join when they are first used.
        recover: whether unfinished runs are taken over at all; without it, only what is asked for is executed.

    Raises:
        ConfigurationError: For settings and store URLs that do not fit, and for two workflows of one name.
        CompileError: For workflows that do not compile.
    """

    def __init__(
        self,
        settings: "Settings | None" = None,
        *,
        store: "Store | str | os.PathLike[str] | None" = None,
        flags: "Given" = None,
        sinks: "Sequence[Sink]" = (),
        watchers: "Sequence[Watcher]" = (),
        clock: Clock | None = None,
        workflows: Sequence[Workflow[..., Any, Any]] = (),
        recover: bool = True,
    ) -> None:
        self.settings = settings if settings is not None else parts.settings()
        self.clock: Clock = clock or SystemClock()
        self.host = parts.host(self.clock, self.begin)
        self._recover = recover
        self._given_store = store
        self._sinks = tuple(sinks)
        self.watchers = tuple(watchers)
        self._ending: asyncio.Task[Closed] | None = None  # its shutdown, under way or over
        self._leaving = asyncio.Event()  # set when that begins
        self._signals: Signals | None = None  # while it heeds them
        self.loop: asyncio.AbstractEventLoop | None = None  # the one that it is opened in
        self._control: Control | None = None  # while it is open
        self.watching: Watching | None = None  # while it is open, if anybody watches
        self.sends: Sends = "alone"  # by exporters of its own
        self._tokens: tuple[Token[Any], Token[Any]] | None = None
        providers = parts.providers(self.settings, flags)
        self._decide = partial(parts.decided, providers=providers, clock=self.clock)
        self._unsaid: list[Diagnostic] = []  # warnings about workflows, until logs are as the settings want them
        self.library = parts.library(self.settings, self._finished, providers, self._warn)
        self.states = parts.states(self.clock, self.library, self._notice)
        self.vitals = parts.vitals(self.clock, self.settings)
        self.library.add(workflows)

    # Opening and closing.

    async def __aenter__(self) -> Self:
        await self.open()
        self._tokens = HOST.set(self.host), SHARED.set(self.states)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._tokens is not None:
                HOST.reset(self._tokens[0])
                SHARED.reset(self._tokens[1])
        except ValueError:  # left in another context than entered, as fixtures do
            HOST.set(None)
            SHARED.set(None)
        await self.shutdown(go_on=None if error is None else 0)

    async def open(self) -> None:
        """Open the store, register with it, and take over unfinished runs of the given workflows.

        Raises:
            StoreError: If the store cannot be used.
        """
        given = self._given_store if self._given_store is not None else self.settings.store
        store = parts.store(os.fspath(given)) if isinstance(given, (str, os.PathLike)) else given
        self.loop = self.states.loop = asyncio.get_running_loop()
        self._ending, self._leaving = None, asyncio.Event()
        await store.open()
        self.watching = control = None
        try:
            if self.sends != "nothing":
                self.watching = parts.watching(self.settings, self._sinks, self.watchers, self.clock, self.sends)
            self._say_unsaid()
            control = self._controlling(store)
            await control.open()
            self.vitals.opened(control.engine, None if self.watching is None else self.watching.bus)
            if self.watching is not None:
                self.watching.attend(control.engine, self.states, self.vitals)
            self._control = control  # before recovery: runs that go on may start others
            await control.recover()
        except BaseException:
            if self._control is not None:
                await self.shutdown(LAST_NOTICES, go_on=0)
            else:
                await self._shut_down(store, control, LAST_NOTICES, 0)
            raise

    @at_home
    async def shutdown(self, timeout: Duration | None = None, *, go_on: Duration | None = None) -> "Closed":
        """Stop: begin no runs, let those that are executed end, give the others back, then close sinks and the store.

        Runs that would only wait are given back at once, the others when the time is over. Whoever gives up waiting
        for it does not stop it, and another call waits for the same.

        Args:
            timeout: How long attempts that are under way may take to finish; default: the setting
                ``shutdown_timeout``.
            go_on: For how much of that runs go on as always, and begin further steps; default: two thirds. With 0
                only what is under way finishes, which is also what leaving ``async with`` by an exception does.

        Returns:
            What became of the runs.
        """
        from awaitly.execute.closing import GOES_ON, Closed

        if self._ending is None:
            if self._control is None:
                return Closed()
            allowed = _duration(timeout, self.settings.shutdown_timeout, "timeout= of shutdown()")
            first = _duration(go_on, allowed * GOES_ON, "go_on= of shutdown()")
            ends = self._shut_down(self._control.engine.store, self._control, allowed, first)
            self._ending = asyncio.get_running_loop().create_task(ends, context=parts.neutral_context())
            self._control.closes()
            self.library.close()
            self.vitals.closing()
            self._leaving.set()
        return await asyncio.shield(self._ending)

    def install_signals(self) -> None:
        """Let the first SIGTERM or SIGINT shut this runtime down, and another one end the process at once.

        Then what heeded the signal before, such as a web server, is called. If nothing did, the process ends with the
        exit status of the shutdown: 0, or 75 if effects had to be abandoned or could not be stored. In another thread
        than the main one, which gets no signals, this does nothing.

        Raises:
            RunStopped: If the runtime is not open.
        """
        from awaitly.execute.signals import Signals

        self._accepting()
        if self._signals is None and self.loop is not None:
            self._signals = Signals(self.shutdown, self.loop, parts.neutral_context())
            self._signals.install()

    @at_home
    async def until_signal(self) -> int:
        """Go on until SIGTERM or SIGINT comes, or somebody shuts this runtime down; return the exit status of that.

        It is 0, or 75 if effects had to be abandoned or could not be stored. A second signal ends the process at once.

        Raises:
            RunStopped: If the runtime is not open.
        """
        self.install_signals()
        if self._signals is not None:
            self._signals.awaited = True
        await self._leaving.wait()
        return (await self.shutdown()).exit_status

    async def _shut_down(self, store: "Store", control: "Control | None", timeout: float, go_on: float) -> "Closed":
        from awaitly.execute.closing import Closed, close_store

        until = self.clock.monotonic() + timeout
        try:
            return Closed() if control is None else await control.close(timeout, go_on)
        finally:
            try:
                if self.watching is not None:
                    await self.watching.close(max(min(LAST_NOTICES, timeout), until - self.clock.monotonic()))
                    self.watching.leave()  # not before: the last metrics are sent, too
            finally:
                if self._signals is not None:
                    self._signals.remove()
                self._control = self._signals = None
                self.vitals.closed()
                await close_store(store, max(LAST, until + ENDING - self.clock.monotonic()))

    def watch(self, watcher: "Watcher") -> None:
        """Let one more watcher of awaitly's own observe what happens.

        Raises:
            UsageError: ``runtime-open``: what is watched is settled when it opens.
        """
        if self._control is not None:
            raise UsageError(
                "a watcher was to be added to a runtime that is open",
                hint="add it before, or give it to Runtime(watchers=[...])",
                code="runtime-open",
            )
        self.watchers = (*self.watchers, watcher)

    @contextmanager
    def before_closing(self, farewell: "Farewell") -> Iterator[None]:
        """Let something be done if this runtime is shut down within the block.

        It is done when no run is executed here any more, and before the store is closed.

        Raises:
            RunStopped: If the runtime is not open, or not any more.
        """
        farewells = self._accepting().engine.farewells
        farewells.add(farewell)
        try:
            yield
        finally:
            farewells.discard(farewell)

    def _controlling(self, store: "Store") -> "Control":
        from awaitly.execute.control import Control
        from awaitly.execute.journal import Committer
        from awaitly.execute.leases import Lease
        from awaitly.execute.services import Services
        from awaitly.persist.owners import this_owner

        context = parts.neutral_context(self.states)
        services = Services(
            clock=self.clock,
            store=store,
            committer=Committer(store, self.clock, context),
            lease=Lease(store, this_owner(), self.settings.lease.ttl, self.clock, context),
            host=HOST,
            context=context,
            bind=self.library.binding,
            program=self.library.program,
            check_flags=self.library.check_flags,
            start_run=self.begin,
            check=parts.check,
            decide=self._decide,
            observe=self.watching.bus.publish if self.watching is not None else None,
            wants=self.watching.bus.wants if self.watching is not None else _nobody,
            most_runs=self.settings.max_active_runs,
            runs_wait=self.settings.overload == "queue",
            trace=self.watching.begin if self.watching is not None else None,
            here=self.watching.here if self.watching is not None else None,
        )
        return Control(services, self.library, takes_over=self._recover)

    # How it is.

    @property
    def store(self) -> "Store":
        """The store, while the runtime is open.

        Raises:
            RunStopped: If it is not.
        """
        return self._opened().engine.store

    @property
    def owner(self) -> str:
        """The id under which this runtime owns runs in the store, while it is open.

        Raises:
            RunStopped: If it is not.
        """
        return self._opened().engine.lease.owner.id

    @property
    def ready(self) -> "Readiness":
        """Whether it should get more to do, as far as is known without asking the store; for any thread."""
        return self.vitals.readiness

    async def readiness(self) -> "Readiness":
        """Likewise, after the store was asked whether it answers, unless it did within the last second.

        From another event loop it says within a second what is known when the runtime's own is blocked.
        """
        if self.loop is not None and self.loop.is_running():
            with suppress(TimeoutError):
                async with asyncio.timeout(LATEST):
                    await on(self.loop, self.vitals.ask)
        return self.vitals.readiness

    def state(self) -> "State":
        """Return what it does now, and how late its event loop is; for any thread."""
        return self.vitals.state

    # Running.

    async def run(
        self, workflow: Workflow[..., T, E], *args: Any, **kwargs: Any
    ) -> "Ok[T] | Err[E] | Err[UnexpectedError]":
        """Run a workflow on this runtime and return its result."""
        found: Ok[T] | Err[E] | Err[UnexpectedError] = await self.begin(
            workflow, workflow.per_run, args, kwargs, wanted="result"
        )
        return found

    async def start(self, workflow: Workflow[..., T, E], *args: Any, **kwargs: Any) -> RunHandle[T, E]:
        """Start a run on this runtime and return its handle once the start is stored."""
        handle: RunHandle[T, E] = await self.begin(workflow, workflow.per_run, args, kwargs, wanted="handle")
        return handle

    @at_home
    async def handle(self, run_id: str) -> RunHandle[Any, Any]:
        """Return the handle of a run.

        Raises:
            RunNotFound: If there is none with this id.
        """
        return await self._opened().handle(run_id)

    @at_home
    async def runs(
        self,
        *,
        workflow: str | None = None,
        status: Status | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[RunRecord]:
        """Return the records of runs, newest first; ``before`` is the id of the last one of the page before."""
        return await self._opened().runs(workflow=workflow, status=status, limit=limit, before=before)

    @at_home
    async def interrupted(self, records: Sequence[RunRecord]) -> frozenset[str]:
        """Return the ids of those that count as running or queued, but whose process is gone: nobody has them.

        Of a process on another machine it is known only after its lease.
        """
        return await self._opened().interrupted(records)

    @at_home
    async def record(self, run_id: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            RunNotFound: If there is no run with this id.
        """
        return await self._opened().record(run_id)

    @at_home
    async def facts(self, run_id: str, *, after: int = -1) -> Sequence[Fact]:
        """Return what a run's journal holds, in order; with ``after`` only facts of greater sequence numbers.

        Raises:
            RunNotFound: If there is no run with this id.
        """
        return await self._opened().facts(run_id, after=after)

    @at_home
    async def resume(self, run_id: str) -> RunHandle[Any, Any]:
        """Continue an unfinished run here, also one that is stuck, unless somebody executes it.

        Raises:
            RunNotFound: If there is no run with this id.
            Mismatch: If what it recorded does not fit the code; it stays as it is.
        """
        return await self._accepting().resume(run_id)

    @at_home
    async def cancel(self, run_id: str, reason: str = "") -> bool:
        """Ask for a run's cancellation; returns when that is stored. False if it has ended already."""
        return await self._opened().cancel(run_id, reason)

    @at_home
    async def retry(self, run_id: str) -> RunHandle[Any, Any]:
        """Continue a failed run from before the failure that ended it.

        Raises:
            RunNotFound: If there is no run with this id.
            RunRefused: If it has not failed or was cancelled, or if effects that are stored would be repeated: fork it
                then.
        """
        return await self._accepting().retry(run_id)

    @at_home
    async def fork(
        self,
        run_id: str,
        *,
        at: str | None = None,
        id: str | None = None,
        arguments: "Arguments | None" = None,
        flags: Mapping[str, FlagValue] | None = None,
    ) -> RunHandle[Any, Any]:
        """Start a new run from what another recorded before a step.

        Args:
            run_id: The run whose facts are taken over.
            at: A step's name or a call's identity: facts delivered before its outcome are kept, and all of them have
                to fit. Default: all before the run's end, or with changed ``arguments`` those that still fit.
            id: The new run's id; default: made up.
            arguments: Other arguments for the workflow.
            flags: Values of feature flags for the new run. One on which an outcome that is kept depended stays as it
                was.

        Raises:
            RunNotFound: If there is no run with this id.
            RunRefused: If nothing of that name is recorded, if what is kept would not fit the code or the arguments,
                or if a flag cannot have another value than it had.
            ConfigurationError: For flags that no step has.
        """
        return await self._accepting().fork(run_id, at=at, id=id, arguments=arguments, flags=flags)

    @at_home
    async def plan_fork(
        self,
        run_id: str,
        *,
        at: str | None = None,
        arguments: "Arguments | None" = None,
        flags: Mapping[str, FlagValue] | None = None,
    ) -> "ForkPlan":
        """Return what :meth:`fork` would keep, without doing it."""
        return await self._opened().plan_fork(run_id, at=at, arguments=arguments, flags=flags)

    @at_home
    async def check(self) -> "Sequence[Verdict]":
        """Say for every unfinished run of the known workflows whether this code can continue it, without effects."""
        return await self._opened().check()

    async def signal(self, run_id: str, name: str, payload: object = None) -> None:
        """Raise ``not-supported``: signals are not built yet."""
        raise NotSupported("signals are not built yet", hint="poll from a step, or start another run")

    async def snapshot(self, run_id: str) -> object:
        """Raise ``not-supported``: snapshots are not built yet."""
        raise NotSupported("snapshots are not built yet", hint="copy the database file")

    async def restore(self, snapshot: object) -> None:
        """Raise ``not-supported``: snapshots are not built yet."""
        raise NotSupported("snapshots are not built yet", hint="copy the database file")

    # Inside.

    async def begin(
        self,
        workflow: Workflow[..., Any, Any],
        options: RunOptions,
        args: Any,
        kwargs: Any,
        *,
        wanted: Wanted,
        flags: Mapping[str, FlagValue] | None = None,
    ) -> Any:
        """Begin a run, as declarations ask for it: everybody else has :meth:`run` and :meth:`start`.

        ``flags`` are those of the run in which it is begun, which its own options change.
        """
        control = self._opened()  # which counts what it refuses
        program = self.library.program(workflow)
        if options.flags:
            self.library.check_flags(program, options.flags)
        if flags:
            options = replace(options, flags=overlaid(flags, options.flags))
        return await on(self.loop, control.begin, program, options, args, kwargs, wanted)

    def _finished(self, binding: "StepBinding") -> "StepBinding":
        return parts.piped(binding, self.states, lambda: self._opened().engine.store)

    def _warn(self, diagnostic: "Diagnostic") -> None:
        self._unsaid.append(diagnostic)
        if self._control is not None:
            self._say_unsaid()

    def _say_unsaid(self) -> None:
        from awaitly.compile.library import logged

        while self._unsaid:
            logged(self._unsaid.pop(0))

    def _notice(self, fact: Fact) -> None:
        if self.watching is not None:
            self.watching.bus.publish("", "", fact)

    def _accepting(self) -> "Control":
        if self._ending is not None:
            raise ShuttingDown("the runtime is shutting down")
        return self._opened()

    def _opened(self) -> "Control":
        if self._control is None and self._ending is not None:
            raise ShuttingDown("the runtime is shut down")
        if self._control is None:
            raise RunStopped("the runtime is not open", hint="use it inside: async with Runtime(...) as rt")
        return self._control


def _nobody(kind: type[Fact]) -> bool:
    return False


def _duration(given: Duration | None, default: float, what: str) -> float:
    return default if given is None else seconds(given, what=what)
