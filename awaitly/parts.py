"""What a runtime is made of. The one module that knows every stage.

What is slow to import (pydantic, sqlite3, all that executes) is imported when it is first needed.
"""

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from awaitly.declare.host import HOST, whereabouts
from awaitly.declare.workflow import Workflow
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagProvider
from awaitly.model.clock import Clock
from awaitly.model.facts import Fact, StepCancelled, StepFinished
from awaitly.model.notice import Watcher
from awaitly.policies.sharing import SHARED, Shared

if TYPE_CHECKING:
    from awaitly.compile.library import Library
    from awaitly.execute.hosts import PlainHost
    from awaitly.execute.vitals import Vitals
    from awaitly.model.graph import Diagnostic, Graph
    from awaitly.model.program import Program, StepBinding
    from awaitly.observe.bus import Sink
    from awaitly.persist.ports import Store
    from awaitly.settings import Settings
    from awaitly.watching import Sends, Watching


def settings() -> "Settings":
    """Return what the environment and files say."""
    from awaitly.settings import read_settings

    return read_settings()


def store(url: str) -> "Store":
    """Return the store of a URL."""
    from awaitly.persist.urls import store_from_url

    return store_from_url(url)


def library(
    settings: "Settings",
    finish: "Callable[[StepBinding], StepBinding]",
    providers: Sequence[FlagProvider],
    warn: "Callable[[Diagnostic], None] | None" = None,
) -> "Library":
    """Return what compiles and keeps workflows."""
    from awaitly.compile.library import Library, logged

    return Library(settings, finish, providers, warn or logged)


def states(clock: Clock, library: "Library", observe: Callable[[Fact], None]) -> Shared:
    """Return the states of policies, such as circuits, as settings have them."""
    in_force = library.in_force
    return Shared(clock, observe, effective=in_force.declaration, policies=in_force.policies, callee=library.binding)


def piped(binding: "StepBinding", states: Shared, store: "Callable[[], Store]") -> "StepBinding":
    """Return a binding with its policies around it."""
    from awaitly.execute.pipelines import piped

    return piped(binding, states, store)


def providers(settings: "Settings", given: object) -> tuple[FlagProvider, ...]:
    """Return who decides flags: settings first, as an operator has the last word."""
    from awaitly.flags.given import provider_of
    from awaitly.flags.settings import SettingsFlags

    return SettingsFlags(settings.flags), *(() if given is None else (provider_of(given),))


async def decided(flag: Flag, context: FlagContext, *, providers: Sequence[FlagProvider], clock: Clock) -> Decision:
    """Return the value of a flag for a run; this does not raise."""
    from awaitly.flags.deciding import decided

    return await decided(flag, context, providers, clock)


def watching(
    settings: "Settings", sinks: "Sequence[Sink]", watchers: "Sequence[Watcher]", clock: Clock, sends: "Sends"
) -> "Watching | None":
    """Return what watches the runs of a runtime; None if nobody does."""
    from awaitly.watching import Watching, watched

    if not watched(settings, sinks, watchers):
        return None
    return Watching(settings, sinks, watchers, clock, whereabouts, sends)


def vitals(clock: Clock, settings: "Settings") -> "Vitals":
    """Return what knows how a runtime is."""
    from awaitly.execute.vitals import Vitals

    return Vitals(clock, settings.max_loop_lag)


def host(clock: Clock, begin: Callable[..., Any]) -> "PlainHost":
    """Return what calls mean outside of any run."""
    from awaitly.execute.hosts import PlainHost

    return PlainHost(clock, begin)


def graph(workflow: Workflow[..., Any, Any]) -> "Graph":
    """Return the graph of a workflow."""
    from awaitly.compile import graph_of

    return graph_of(workflow)


def check(program: "Program", run_id: str, facts: Sequence[Fact]) -> None:
    """Check a recorded path against the graph, before anything is replayed.

    Raises:
        Mismatch: If a recorded call has no place in the graph.
    """
    from awaitly.compile.path import check_path
    from awaitly.execute.parting import mismatch
    from awaitly.model.identity import site_of

    placed: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        if isinstance(fact, (StepFinished, StepCancelled)) and (site := site_of(fact.call)) is not None:
            placed.setdefault((site, fact.step), fact)
    problems = check_path(placed, program.graph)
    if problems:
        first = problems[0]
        where = str(first.position) if first.position else None
        raise mismatch(run_id, program, facts, placed[first.site, first.recorded], first.now, where=where)


def neutral_context(states: Shared | None = None) -> Context:
    """Return a context of no run."""
    context = copy_context()
    context.run(HOST.set, None)
    context.run(SHARED.set, states)
    return context
