"""The course of a durable call: what the guarantees ask for around its attempts, which no policy knows of."""

from typing import TYPE_CHECKING, Any, TypeVar

from awaitly.errors import AwaitlyError, RunStopped, RunSuspended
from awaitly.execute.attempts import once_through
from awaitly.execute.calls import Call, Phase
from awaitly.execute.once import record_start
from awaitly.execute.outcomes import Returned, failed
from awaitly.execute.threads import Seat, seats
from awaitly.model.effects import Effect
from awaitly.model.facts import RetryScheduled, StepStarted
from awaitly.policies.clock import pause
from awaitly.policies.course import Call as AnyCall
from awaitly.policies.course import Course

if TYPE_CHECKING:
    from awaitly.execute.run import Run

T = TypeVar("T")

LONG = 1.0  # seconds: a longer delay between two attempts survives a restart


class Withheld(BaseException):
    """Nothing more begins for this call here: the run stops, or the body does not want it any more."""


class CallCourse(Course):
    """One durable call on its way through its policies."""

    __slots__ = ("_run", "attempt_due", "given_up", "known", "made")

    def __init__(self, run: "Run", call: Call) -> None:
        services = run.services
        super().__init__(
            services.clock,
            call.binding.name,
            (*call.binding.errors, Returned),
            observe=None if services.observe is None else run.observe,
            call=call.identity,
        )
        self.args = call.args
        self.kwargs = call.kwargs
        self.made = call
        self.once = call.binding.effect is Effect.ONCE
        self.attempt_due: float | None = None  # on the monotonic clock: when the attempt's timeout is over
        self.given_up: Exception | None = None  # what a restart found, and after which no attempt may follow
        self.known = run.log.appended  # what happens in the run after this happens while the call waits
        self._run = run
        if run.deadline is not None:
            self.horizon = self.began + run.deadline - self.clock.time()

    def resumed(self, scheduled: RetryScheduled) -> float:
        """Go on counting from what is recorded; returns the seconds until the next attempt is due."""
        now = self.clock.time()
        self.attempts = self.made.attempts = scheduled.attempts
        self.began -= max(0.0, now - scheduled.since)
        return max(0.0, scheduled.due - now)

    async def execute(self) -> Any:
        """Execute one attempt: the innermost layer. It begins when it has a thread and the lease holds.

        Raises:
            Withheld: If nothing may begin any more.
            RunSuspended: If it neither succeeded nor failed: a run that it waited for stopped without ending.
        """
        call = self.made
        seat = await seats().take() if call.chosen.blocking else None
        try:
            if seat is not None or self.attempts or call.chosen.pipeline is not None:
                self._wanted()
                await self._caught_up()
            if not self._run.services.lease.valid or self.once:
                await self._cleared()
            return await self._attempted(call, seat)
        finally:
            if seat is not None:
                seat.leave()

    async def _attempted(self, call: Call, seat: Seat | None) -> Any:
        call.phase = Phase.BEGUN
        self.attempting += 1
        self.attempts += 1
        call.attempts = self.attempts
        timeout = call.chosen.timeout
        self.attempt_due = None if timeout is None else self.clock.monotonic() + timeout
        if call.chosen.policies is not None and call.chosen.policies.hedge is not None:
            # The attempts of a hedge have tasks, and so contexts, of their own.
            host = self._run.services.host
            host.set(host.get().of_attempt(self.attempts, self.attempt_due))
        if self._run.services.tells_starts:
            now = self.clock.time()
            self._run.observe(StepStarted(at=now, call=self.call, step=self.name, attempt=self.attempts))
        try:
            value = await once_through(call.chosen, self, seat)
        except RunStopped as error:
            raise RunSuspended(f"step {self.name} was interrupted: {error}") from error
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.attempting -= 1
            call.replayed = False  # whatever an earlier process had begun, this took its place
        return value

    async def pause(self, delay: float, error: BaseException) -> None:
        """Wait between two attempts; before the next one, everything delivered so far is stored.

        Raises:
            Withheld: If nothing may begin any more.
        """
        self._wanted(but_parking=True)
        if self.made.withdrawn:
            raise error  # it is the outcome: the cancellation follows it
        parking = self._run.parking
        if delay > LONG or parking or self.once:
            self._schedule(delay, error)
        self.made.phase = Phase.WAITING  # only here: an outcome that is on its way is not to be cancelled
        if parking:
            raise Withheld
        await self._rest(delay)

    async def substitute(self, answer: AnyCall[T], error: Exception) -> T:
        """Let a fallback answer. It may be an effect, so it begins like one and finishes like one.

        Raises:
            Exception: The call's error, if the body does not want the call any more or its effect may have happened.
            Withheld: If nothing may begin any more.
        """
        call = self.made
        self._wanted(but_parking=True)
        if call.guarded:
            await self._stable(but_parking=True)
            if not self._run.services.lease.valid:
                await self._run.services.lease.held()
                self._wanted(but_parking=True)
        if call.withdrawn or (self.once and self.unknown):
            raise error
        call.phase = Phase.BEGUN
        self.due = self.attempt_due = None  # that time was the call's: a fallback is asked when it is over, too
        return await super().substitute(answer, error)

    async def waited(self, delay: float) -> None:
        """Wait for what is left of a delay that began in an earlier process."""
        left = self.remaining()
        await self._rest(delay if left is None else max(0.0, min(delay, left)))

    async def _rest(self, delay: float) -> None:
        self.made.due = self.clock.time() + delay
        try:
            await pause(self.clock, delay)
        finally:
            self.made.due = None
        await self._stable()

    def _schedule(self, delay: float, error: BaseException) -> None:
        now = self.clock.time()
        _, payload = failed(self.made.binding, error)
        log = self._run.log
        log.append(
            RetryScheduled(
                at=now, call=self.call, step=self.name, attempts=self.attempts, payload=payload, due=now + delay,
                since=now - (self.clock.monotonic() - self.began),
            )
        )  # fmt: skip
        log.flush()

    def _wanted(self, *, but_parking: bool = False) -> None:
        run = self._run
        if run.stopped is not None or self.made.phase is Phase.ENDED or (run.parking and not but_parking):
            raise Withheld

    async def _caught_up(self) -> None:
        """Wait until what was delivered while the call waited for its turn is stored, if an effect begins."""
        log = self._run.log
        if log.stable < log.appended > self.known and (self.made.guarded or self.attempts):
            await self._stable()

    async def _stable(self, *, but_parking: bool = False) -> None:
        try:
            await self._run.log.barrier()
        except AwaitlyError as error:
            self._run.stop(error)
        self._wanted(but_parking=but_parking)

    async def _cleared(self) -> None:
        """Wait until the lease holds, and record the start of what happens at most once."""
        run, lease = self._run, self._run.services.lease
        try:
            if self.once:
                await lease.held()
                await record_start(run, self.made, self.attempts + 1)
            while not lease.valid:  # storing takes time too
                await lease.held()
                if self.made.guarded:
                    await run.log.barrier()
        except AwaitlyError as error:
            run.stop(error)
        self._wanted()
