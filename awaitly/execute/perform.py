"""Beginning the calls of a run, executing them, and what becomes of one that the body no longer wants."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from awaitly.errors import AwaitlyError, RunStopped, RunSuspended, ShuttingDown, UnexpectedError
from awaitly.execute.attempts import Callee
from awaitly.execute.calls import Call, Phase
from awaitly.execute.course import CallCourse, Withheld
from awaitly.execute.executed import executed
from awaitly.execute.hosts import PlainHost, within_time
from awaitly.execute.outcomes import Outcome
from awaitly.model.context import StepContext, Whereabouts
from awaitly.model.facts import StepCancelled, StepFinished
from awaitly.model.identity import idempotency_key
from awaitly.policies.course import Course

if TYPE_CHECKING:
    from awaitly.execute.run import Run

_log = logging.getLogger("awaitly")


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
        if call.binding.variants and not self._run.choices.choose(call):
            return  # it begins when its flags are decided
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
        course = CallCourse(run, call)
        context.run(self._services.host.set, DurableStep(run, course))
        self._begun.add(call)
        # Made directly: it is nobody's branch, so the loop's factory need not see it.
        call.attempt = asyncio.Task(self._perform(course), loop=run.loop, name=call.identity, context=context)

    async def _perform(self, course: CallCourse) -> None:
        run, call = self._run, course.made
        try:
            call.began = began = course.clock.time()
            outcome, payload = await executed(run, course)
            now = course.clock.time()
            finished = StepFinished(
                at=now, call=call.identity, step=call.binding.name, arguments=call.arguments,
                ending=outcome.ending, payload=payload, attempts=course.attempts, seconds=now - began,
                source=course.source, variant="" if call.chosen is call.binding else call.chosen.name,
            )  # fmt: skip
            self.settled(call, finished, outcome)
        except Withheld:
            pass  # nobody waits for it here: the run stops, or the call has ended
        except RunSuspended as stopped:
            # What it waited for has stopped without ending, and so does this run; a shutdown lets the others finish.
            cause = stopped.__cause__
            if isinstance(cause, ShuttingDown):
                run.park(cause)
            elif not run.parking:
                run.stop(cause if isinstance(cause, AwaitlyError) else RunStopped(str(stopped)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the body waiting for ever
            run.stop(UnexpectedError.of(error, step=call.binding.name))
        except BaseException as error:
            # Cancelled by the end of the loop, or the interpreter is ending; unless it was to be cancelled.
            if call.phase is not Phase.ENDED and not (run.parking and call.phase is Phase.WAITING):
                run.stop(
                    RunStopped(f"step {call.binding.name} was interrupted: {error!r}", hint="the run can be resumed")
                )
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                self._exits(call, error)
            raise
        finally:
            call.attempt = call.context = None  # they know the call: without this every call would be a cycle
            self._left(call)

    def _exits(self, call: Call, error: BaseException) -> None:
        """Say which step ends the process: its run is as after a crash, and will do the same again if it is resumed."""
        step, run = call.binding.name, self._run.id
        _log.warning("step %s of run %s ends the process, with %r; the run can be resumed", step, run, error)
        if call.attempt is not None:
            call.attempt.add_done_callback(asyncio.Task.exception)  # looked at: the loop raises it anyway

    def _left(self, call: Call) -> None:
        self._begun.discard(call)
        if self._idle is not None and not self._begun:
            self._idle()

    def settled(self, call: Call, fact: StepFinished, outcome: Outcome) -> None:
        """Let an outcome arrive, unless the call has ended by other means."""
        if call.phase is not Phase.ENDED and self._run.stopped is None:
            self._run.delivery.arrive(call, fact, outcome)

    async def withdraw(self, call: Call) -> None:
        """End a call that the body has cancelled: an effect under way finishes first, everything else ends at once."""
        run = self._run
        # A call made during the replay may have been under way when the run was interrupted: it counts as begun.
        under_way = call.guarded and (call.phase is Phase.BEGUN or call.replayed)
        if under_way and not run.recorded.was_cancelled(call.identity):
            call.withdrawn = True
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
        now, attempts = self._services.clock.time(), call.attempts or run.recorded.attempts(call.identity)
        run.witness(
            StepCancelled(
                at=now, call=call.identity, step=call.binding.name, arguments=call.arguments, attempts=attempts,
                seconds=0.0 if call.began is None else now - call.began,
            )
        )  # fmt: skip

    @property
    def affects(self) -> bool:
        """Whether an effect is under way; what a child run does is that run's."""
        return any(call.guarded and call.phase is Phase.BEGUN and call.stop is None for call in self._begun)

    def stop(self) -> None:
        """Cancel what may be cancelled: the outcome of an effect under way is lost, but not the effect."""
        for call in list(self._begun):
            if call.attempt is not None and (not call.guarded or call.phase is Phase.WAITING):
                call.attempt.cancel()

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once nothing is under way; what only waits is dropped."""
        self._idle = callback
        for call in list(self._begun):
            if call.attempt is not None and call.phase is Phase.WAITING:
                call.attempt.cancel()
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

    __slots__ = ("_attempt", "_course", "_due", "_run")

    def __init__(self, run: "Run", course: CallCourse) -> None:
        services = run.services
        self.clock = services.clock
        self._start = services.start_run
        self._run = run
        self._course = course
        self._attempt: int | None = None  # its number and when it is due, where several are under way at once
        self._due: float | None = None

    def of_attempt(self, number: int, due: float | None) -> "DurableStep":
        """Return the same inside one attempt of several that are under way at once."""
        one = DurableStep(self._run, self._course)
        one._attempt, one._due = number, due
        return one

    def current(self) -> StepContext:
        """Return what the function may know about its call."""
        return StepContext(
            run_id=self._run.id,
            step=self._course.name,
            attempt=self._number,
            idempotency_key=idempotency_key(self._run.id, self._course.call),
            fence=self._run.log.fence,
            time_left=self.time_left,
        )

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        course = self._course
        return Whereabouts(self._run.id, self._run.program.graph.workflow, course.name, self._number)

    @property
    def _number(self) -> int:
        return self._course.attempts if self._attempt is None else self._attempt

    def course(self, callee: Callee, args: Any, kwargs: Any) -> Course:
        """Return the course of a call of a step inside this one, which has to be over with it."""
        return within_time(super().course(callee, args, kwargs), self.time_left())

    def time_left(self) -> float | None:
        """Return the seconds until the attempt, the call or the run has to be over."""
        course = self._course
        due = course.attempt_due if self._attempt is None else self._due
        limits = [] if due is None else [due - self.clock.monotonic()]
        if (left := course.remaining()) is not None:
            limits.append(left)
        return min(limits, default=None)
