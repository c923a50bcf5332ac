"""Beginning the calls of a run, executing them, and what becomes of one that the body no longer wants."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from awaitly.errors import AwaitlyError, RunStopped, RunSuspended, UnexpectedError
from awaitly.execute.attempts import attempt
from awaitly.execute.calls import Call, Phase
from awaitly.execute.hosts import PlainHost
from awaitly.execute.once import resolved_start
from awaitly.execute.outcomes import Outcome
from awaitly.execute.threads import Seat, seats
from awaitly.model.context import StepContext
from awaitly.model.effects import Effect
from awaitly.model.facts import StepCancelled, StepFinished, StepStarted
from awaitly.model.identity import idempotency_key

if TYPE_CHECKING:
    from awaitly.execute.run import Run


class Performer:
    """Executes the calls of one run, each in a task of its own."""

    __slots__ = ("_begun", "_idle", "_run", "_services")

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._services = run.services
        self._begun: set[Call] = set()
        self._idle: Callable[[], object] | None = None  # called when nothing is under way any more

    def begin(self, call: Call) -> None:
        """Begin a call: at once, or once everything that was delivered before it is stable if it is an effect."""
        if self._run.parking:
            return
        call.phase = Phase.WAITING
        if call.guarded:
            self._run.log.when_stable(self._launch, call)
        else:
            self._launch(call)

    def _launch(self, call: Call) -> None:
        run = self._run
        if call.phase is not Phase.WAITING or run.stopped is not None or run.parking:
            return
        context = call.context
        assert context is not None
        context.run(self._services.host.set, DurableStep(run, call))
        if not call.binding.blocking:  # a plain function begins when it has a thread
            call.phase = Phase.BEGUN
        self._begun.add(call)
        # Made directly: it is nobody's branch, so the loop's factory need not see it.
        call.attempt = asyncio.Task(self._perform(call), loop=run.loop, name=call.identity, context=context)

    async def _perform(self, call: Call) -> None:
        run, binding, clock = self._run, call.binding, self._services.clock
        seat: Seat | None = None
        try:
            if binding.blocking:
                seat = await seats().take()
                if run.parking:
                    return
                call.phase = Phase.BEGUN
            checked = self._services.lease.valid and binding.effect is not Effect.ONCE and seat is None
            if not checked and not await self._cleared(call):
                return
            began = clock.time()
            if binding.timeout is not None:
                self._services.host.get().begins()
            if self._services.observe is not None:
                run.observe(StepStarted(at=began, call=call.identity, step=binding.name))
            outcome, payload = await attempt(binding, call.args, call.kwargs, clock, seat)
            now = clock.time()
            finished = StepFinished(
                at=now, call=call.identity, step=binding.name, arguments=call.arguments,
                ending=outcome.ending, payload=payload, seconds=now - began,
            )  # fmt: skip
            self.settled(call, finished, outcome)
        except RunSuspended as stopped:
            # What it waited for has stopped without ending, and so does this run; a shutdown lets the others finish.
            if not run.parking:
                run.stop(stopped.__cause__ if isinstance(stopped.__cause__, AwaitlyError) else RunStopped(str(stopped)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the body waiting for ever
            run.stop(UnexpectedError.of(error, step=binding.name))
        except BaseException as error:
            if call.phase is not Phase.ENDED:  # cancelled by the end of the loop, or the interpreter is ending
                run.stop(RunStopped(f"step {binding.name} was interrupted: {error!r}", hint="the run can be resumed"))
            raise
        finally:
            if seat is not None:
                seat.leave()
            call.attempt = call.context = None  # they know the call: without this every call would be a cycle
            self._left(call)

    def _left(self, call: Call) -> None:
        self._begun.discard(call)
        if self._idle is not None and not self._begun:
            self._idle()

    def settled(self, call: Call, fact: StepFinished, outcome: Outcome) -> None:
        """Let an outcome arrive, unless the call has ended by other means."""
        if call.phase is not Phase.ENDED and self._run.stopped is None:
            self._run.delivery.arrive(call, fact, outcome)

    async def _cleared(self, call: Call) -> bool:
        """Wait until the lease holds, record the start of what happens at most once; False if it must not begin."""
        try:
            await self._services.lease.held()
            if call.binding.effect is Effect.ONCE:
                if not await resolved_start(self._run, call):
                    return False
                await self._services.lease.held()  # storing the start took its time
        except AwaitlyError as error:
            self._run.stop(error)
        return self._run.stopped is None and call.phase is not Phase.ENDED

    async def withdraw(self, call: Call) -> None:
        """End a call that the body has cancelled: an effect under way finishes first, everything else ends at once."""
        run = self._run
        # A call made during the replay may have been under way when the run was interrupted: it counts as begun.
        under_way = call.guarded and (call.phase is Phase.BEGUN or call.replayed)
        if under_way and not run.recorded.was_cancelled(call.identity):
            if call.stop is not None:
                call.stop()
            await _ended(call)
            return
        call.phase = Phase.ENDED
        run.forget(call)
        if call.attempt is not None:
            call.attempt.cancel()
            call.attempt.add_done_callback(lambda _: self._left(call))  # also if it never ran
        run.delivery.withdraw(call)
        now = self._services.clock.time()
        run.witness(StepCancelled(at=now, call=call.identity, step=call.binding.name, arguments=call.arguments))

    def stop(self) -> None:
        """Cancel what may be cancelled: the outcome of an effect under way is lost, but not the effect."""
        for call in list(self._begun):
            if call.attempt is not None and (not call.guarded or call.phase is Phase.WAITING):
                call.attempt.cancel()

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once nothing is under way."""
        self._idle = callback
        if not self._begun:
            callback()


async def _ended(call: Call) -> None:
    while call.phase is not Phase.ENDED:
        try:
            await call.waiter()
        except asyncio.CancelledError:
            continue


class DurableStep(PlainHost):
    """Inside the function of a durable run's step: other steps are plain calls, :meth:`current` knows the call."""

    __slots__ = ("_due", "_made", "_run")

    def __init__(self, run: "Run", call: Call) -> None:
        services = run.services
        self.clock = services.clock
        self._start = services.start_run
        self._run = run
        self._made = call
        self._due: float | None = None

    def begins(self) -> None:
        """Begin to count the time of the step's timeout."""
        limit = self._made.binding.timeout
        self._due = None if limit is None else self.clock.monotonic() + limit

    def current(self) -> StepContext:
        """Return what the function may know about its call."""
        return StepContext(
            run_id=self._run.id,
            step=self._made.binding.name,
            attempt=1,
            idempotency_key=idempotency_key(self._run.id, self._made.identity),
            fence=self._run.log.fence,
            time_left=self._time_left,
        )

    def _time_left(self) -> float | None:
        limits = [] if self._due is None else [self._due - self.clock.monotonic()]
        if self._run.deadline is not None:
            limits.append(self._run.deadline - self.clock.time())
        return min(limits, default=None)
