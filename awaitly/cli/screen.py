"""What a person sees of a run while it happens: a live tree in a terminal, lines elsewhere, or nothing."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from awaitly.cli.consoles import stderr, stdout
from awaitly.cli.pictures import line, picture, waiting_line
from awaitly.model.counts import counted
from awaitly.model.facts import (
    Fact,
    RetryScheduled,
    RunFinished,
    StepCancelled,
    StepFinished,
    StepRetrying,
    TimerFired,
)
from awaitly.model.graph import Graph
from awaitly.observe.bus import Notice
from awaitly.render.progress import Progress
from awaitly.render.rows import fitted

_FRAMES = 10  # a second
_LONG = 1.0  # seconds: a longer wait for another attempt is a line of its own
_SHARE = 5  # as long as drawing took are the pauses between two pictures, at least


class Screen:
    """Follows one run and its children. Notices may come from any thread, and before the run is known.

    Args:
        graphs: of the workflows, where they are known.
        quiet: show nothing.
        logged: whether what happens is logged to standard error; then lines elsewhere would say it twice.
    """

    def __init__(self, graphs: Iterable[Graph] = (), *, quiet: bool = False, logged: bool = False) -> None:
        self._progress = Progress(graphs)
        self._console = stderr()
        self._lock = Lock()
        self._early: list[Notice] = []
        self._run: str | None = None
        self._last: RenderableType = Text("")
        self._next = 0.0  # when the next picture may be drawn
        self._live = not quiet and self._console.is_terminal and stdout().is_terminal
        self._quiet = quiet or (logged and not self._live)

    def notice(self, notice: Notice) -> None:
        """Take in what the runtime observed: a sink."""
        with self._lock:
            if self._run is None:
                self._early.append(notice)
            else:
                self._take(notice)

    def follow(
        self, run: str, workflow: str, store: str, stored: Sequence[Fact], since: Sequence[Fact] = (), also: str = ""
    ) -> None:
        """Say which run is meant, what its journal held before, and what it holds since the command began.

        Args:
            run: The run's id.
            workflow: Its workflow.
            store: The store, as messages name it.
            stored: What its journal held before.
            since: What it holds since.
            also: What else is to be said of it.
        """
        with self._lock:
            self._run = run
            if not self._quiet:
                already = f"{_already(stored)}{also}"
                self._console.print(Text.assemble((run, "bold"), f"  run of {workflow} in {store}{already}"))
            self._progress.load(run, workflow, stored)
            for fact in since:
                self._progress.apply(run, workflow, fact)
            for notice in self._early:
                self._take(notice)
            self._early.clear()

    def add(self, run: str, workflow: str, facts: Iterable[Fact]) -> None:
        """Take in facts that were read from a store."""
        for fact in facts:
            self.notice(Notice(run, workflow, fact))

    def say(self, text: str) -> None:
        """Say something beside what happens in the run."""
        with self._lock:
            self._console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the run while the block lasts; a tree stays behind."""
        if not self._live:
            yield
            return
        with Live(
            console=self._console, refresh_per_second=_FRAMES, get_renderable=self._frame, vertical_overflow="ellipsis"
        ) as live:
            try:
                yield
            finally:
                self._live = False
                live.vertical_overflow = "visible"

    def _take(self, notice: Notice) -> None:
        self._progress.apply(notice.run, notice.workflow, notice.fact)
        assert self._run is not None
        fact = notice.fact
        if self._quiet or self._live or not self._progress.within(notice.run, self._run):
            return
        if isinstance(fact, StepFinished | StepCancelled | TimerFired):
            row = self._progress.row(notice.run, fact.call)
            self._console.print(line(row, self._progress.path(notice.run, fact.call, below=self._run)))
        elif isinstance(fact, RetryScheduled) or (isinstance(fact, StepRetrying) and fact.delay > _LONG):
            row = self._progress.row(notice.run, fact.call)
            if row.pause is not None:
                path = self._progress.path(notice.run, fact.call, below=self._run)
                self._console.print(waiting_line(row, path, fact.at))

    def _frame(self) -> RenderableType:
        began = time.monotonic()
        if self._live and began < self._next:
            return self._last
        self._last = self._drawn()
        # The picture of a run of many thousand calls takes its time, which the run needs more.
        self._next = time.monotonic() + _SHARE * (time.monotonic() - began)
        return self._last

    def _drawn(self) -> RenderableType:
        with self._lock:
            if self._run is None:
                return Text("")
            try:
                tree = self._progress.tree(self._run)
            except KeyError:
                return Text("")
        lines = max(4, self._console.size.height - 3)
        return picture(fitted(tree, lines), time.time(), live=self._live)


def _already(stored: Sequence[Fact]) -> str:
    """Return what is said of a run that the journal held before."""
    if stored and isinstance(stored[-1], RunFinished):
        return ", which has ended before: this is its stored result"
    done = sum(isinstance(fact, StepFinished) for fact in stored)
    return f", {counted(done, 'outcome')} stored before" if done else ""
