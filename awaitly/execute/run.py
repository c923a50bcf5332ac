"""One run of a workflow: its body, the calls made in it, and their order.

The body runs in a task of its own. Every call becomes a :class:`Call`; its attempt runs in a task of its own too and
*arrives*; the delivery gives it its place in the journal and wakes the body. On replay the same calls are made, and the
journal delivers. ``supervise`` starts the body and stores its end.
"""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any

from awaitly.errors import (
    AwaitlyError,
    ChangedArguments,
    KeyConflict,
    RunSuspended,
    ShuttingDown,
    UsageError,
)
from awaitly.execute.branch import Branch
from awaitly.execute.calls import Call, Phase
from awaitly.execute.children import child_binding
from awaitly.execute.choices import Choices
from awaitly.execute.combine import Combine
from awaitly.execute.delivery import Delivery, Target
from awaitly.execute.journal import Log
from awaitly.execute.outcomes import Outcome, restored
from awaitly.execute.parting import described, doing, mismatch, waiting
from awaitly.execute.perform import Performer
from awaitly.execute.recorded import NOTHING, Recorded, deadline_of
from awaitly.execute.request import EndRequest
from awaitly.execute.services import Services
from awaitly.execute.sites import SiteIndex
from awaitly.execute.stillness import stillness
from awaitly.execute.timers import Timers
from awaitly.model.facts import (
    CancelRequested,
    DeadlinePassed,
    Delivered,
    Fact,
    RunStarted,
    StepFinished,
    StepWithheld,
    TimeRead,
    TimerFired,
)
from awaitly.model.notice import told
from awaitly.model.program import Program, StepBinding


def _nobody(fact: Fact, error: BaseException | None = None) -> None:
    """Tell no observers, as there are none."""


class _Moving:
    """The host of what a delivery sets off in the event loop before the body's own tasks run: it is the run's."""

    __slots__ = ("run",)

    def __init__(self, run: "Run") -> None:
        self.run = run


class Run:
    """A run that this process owns."""

    def __init__(
        self,
        services: Services,
        program: Program,
        sites: SiteIndex,
        log: Log,
        started: RunStarted,
        facts: Sequence[Fact],
    ) -> None:
        self.services = services
        self.program = program
        self.sites = sites
        self.log = log
        self.started = started
        self.id = log.run
        tell = services.observe
        self.observed = tell is not None  # what only observers see need not be made otherwise
        self.observe = _nobody if tell is None else partial(tell, log.run, program.graph.workflow)
        self.loop = asyncio.get_running_loop()
        self.deadline = deadline_of(started, facts)
        self.tasks = 0
        self.branches: dict[Branch, None] = {}  # in the order of their creation, which a replay repeats
        self.recorded = Recorded(facts) if facts else NOTHING
        context = services.context.copy()
        context.run(services.host.set, _Moving(self))
        self.delivery = Delivery(self, facts, stillness(self.loop, services.host, self), context)
        self.patience = math.inf
        self.timers = Timers(self)
        self.combine = Combine(self)
        self.choices = Choices(self)
        self.performer = Performer(self)
        self.stopped: AwaitlyError | None = None
        self.closing = False
        self.parking = False
        self.interrupted = False  # by the end of the event loop
        self._inherits = log.inherited  # until something happens here, calls may be those that were under way
        self.request = EndRequest(self, facts)
        self.live = False  # something new may have begun here
        self.body: asyncio.Task[Any] | None = None
        self.blames: list[tuple[BaseException, int]] = []
        self._keyed: dict[str, Call] = {}
        self._open: dict[str, Call] = {}  # awaited, without an outcome
        self._empty: asyncio.Future[None] | None = None  # set when every branch has ended
        log.on_failure = self.stop

    # What branches ask for.

    def check_open(self) -> None:
        """Refuse calls of a run that has stopped or ended, and calls from another loop or thread."""
        if asyncio._get_running_loop() is not self.loop:
            raise UsageError(
                f"a call was made in run {self.id} from another thread",
                hint="make calls where the workflow function runs; put blocking code into a step, a plain def",
                code="other-thread",
            )
        if self.stopped is not None:
            raise RunSuspended(f"run {self.id} has stopped here: {self.stopped}")
        if self.closing:
            raise UsageError(
                f"a call was made in run {self.id} after its workflow function had ended",
                hint="await everything that the workflow starts before it returns",
                code="run-ended",
            )

    def binding(self, step: Any) -> StepBinding:
        """Return the program's binding of a step, or bind one that the compiler did not see."""
        binding = self.program.steps.get(step.name)
        return binding if binding is not None and binding.fn is step.fn else self.services.bind(step)

    def make(self, identity: str, binding: StepBinding, args: Any, kwargs: Any) -> Call:
        """Return the call of this identity: a new one, or the one that a key named before.

        Raises:
            KeyConflict: If the key was used with other arguments.
            RunSuspended: If other arguments are recorded; the run stops.
        """
        arguments = binding.arguments.fingerprint(args, kwargs)
        if binding.key is not None:
            known = self._keyed.get(identity)
            if known is not None:
                if known.arguments != arguments:
                    raise KeyConflict(
                        f"step {binding.name} was called with the key {identity!r} and other arguments than before",
                        hint="one key names one piece of work of a run: let the key vary with the arguments",
                    )
                return known
        was = self.recorded.arguments(identity)
        if was is not None and was != arguments:
            self.stop(
                ChangedArguments(
                    f"run {self.id!r} makes {described(self.program, self.recorded.facts, identity, binding.name)}"
                    " with other arguments than before it was interrupted",
                    hint="if the code has changed (a new parameter of the step or a new field of a class that it takes"
                    " is enough, also with a default), deploy the old one, or fork the run from before this call; if it"
                    " has not, make the body depend on its arguments and on steps only",
                )
            )
            self.check_open()
        if was is None:  # it may begin: later, when the body may have changed what it passes now
            args, kwargs = binding.arguments.own(args, kwargs)
        call = Call(identity, binding, args, kwargs, arguments)
        if binding.key is not None:
            self._keyed[identity] = call
        return call

    async def awaited(self, call: Call, branch: Branch, give: Callable[[Outcome], Any]) -> Any:
        """Return what ``give`` makes of the call's outcome: its value or failure, or a ``Result``."""
        if call.outcome is not None:
            return give(call.outcome)
        self.check_open()
        if call.phase is Phase.ENDED:  # a key's work that was cancelled before this coroutine asked for it
            call = self.make(call.identity, call.binding, call.args, call.kwargs)
        fact = self.delivery.take_recorded(call.identity)
        if fact is not None and isinstance(fact, StepFinished):
            outcome = self._restored(call, fact)
            call.receive(fact, outcome)
            return give(outcome)
        if call.context is None:
            call.context = copy_context()
            call.replayed = self._may_be_under_way(call)
        self._open[call.identity] = call
        if not self.delivery.replaying:
            self._begin(call)
        waiter = call.waiter()
        branch = self.awaiting(branch)
        branch.waiting = True
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            if waiter in call.waiters:
                call.waiters.remove(waiter)
            if not call.waiters and call.phase is not Phase.ENDED and self.stopped is None:
                await self.performer.withdraw(call)
            raise
        finally:
            branch.waiting = False
        return give(outcome)

    def child(
        self, workflow: Any, options: Any, args: Any, kwargs: Any, identity: str, branch: Branch, *, wanted: Any
    ) -> Coroutine[object, None, Any]:
        """Make the call of a child run."""
        binding, stop = child_binding(self, workflow, options, identity, wanted)
        call = self.make(identity, binding, args, kwargs)
        call.stop = stop
        return self.awaited(call, branch, Outcome.result if wanted == "result" else Outcome.take)

    def time_read(self, identity: str) -> float:
        """Return the time that this call saw, now or when it was recorded."""
        read: TimeRead = self.witness(TimeRead(at=self.services.clock.time(), call=identity))
        return read.at

    def entropy(self, identity: str) -> random.Random:
        """Return the source of randomness of one call: derived from the run's seed, so nothing is stored."""
        return random.Random(f"{self.started.seed}:{identity}")

    # The order of what happens.

    def witness(self, fact: Any, *, urgent: bool = False) -> Any:
        """Record what the body itself brought about; on replay return what was recorded instead.

        Raises:
            RunSuspended: If the run has stopped: nothing is written any more.
        """
        if self.stopped is not None:
            self.check_open()
        found = self.recorded.brought_about(fact)
        if found is not None:
            index, known = found
            self.delivery.consume(index)
            return known
        if self.delivery.replaying:
            self.mismatched(self.recorded.facts[self.delivery.position], found=fact)
            self.check_open()
        self.log.append(fact, urgent=urgent)
        if self.observed:
            self.tell(fact)
        return fact

    def tell(self, fact: Fact) -> None:
        """Tell observers of what the body does, in no branch's context: a task that they start is none of its own."""
        self.services.context.copy().run(self.observe, fact)

    def record(self, target: Target, fact: Delivered, outcome: Outcome | None) -> None:
        """Give a delivered fact its place in the journal."""
        lazy = False
        if isinstance(target, Call):
            lazy = not target.guarded
            self._open.pop(target.identity, None)
        elif target is self.request:
            self.request.placed()
        self._inherits = False
        sequence = self.log.append(fact, urgent=not lazy)
        error = None if outcome is None else outcome.raised
        if error is None:
            self.observe(fact)
        else:
            self.blames.append((error, sequence))
            self.observe(told(fact, error), error)

    def recorded_target(self, fact: Delivered) -> tuple[Target, Outcome | None] | None:
        """Return who waits for a recorded fact."""
        match fact:
            case StepFinished(call=identity):
                call = self._open.get(identity)
                if call is None:
                    return None
                with suppress(RunSuspended):  # the run has stopped: its waiters, this one among them, know
                    outcome = self._restored(call, fact)
                    del self._open[identity]
                    return call, outcome
                return None
            case TimerFired(call=identity):
                timer = self.timers.waiting(identity)
                return None if timer is None else (timer, None)
            case CancelRequested() | DeadlinePassed():
                return self.request, None
            case _:
                return None

    def mismatched(self, fact: Fact, found: Fact | None = None) -> None:
        """Stop: what was recorded is not what the body does."""
        now = doing(self.program, found) if found is not None else self._waits_for()
        self.stop(mismatch(self.id, self.program, self.recorded.facts, fact, now))

    def awaiting(self, branch: Branch) -> Branch:
        """Return the branch whose task awaits what ``branch`` called: it may be another, as in ``gather``."""
        host = self.services.host.get()
        return host if isinstance(host, Branch) and host.run is self else branch

    def waits_elsewhere(self) -> bool:
        """Whether a task of the body waits for something that is not awaitly's."""
        return any(not branch.waiting and not branch.children for branch in self.branches)

    def went_live(self) -> None:
        """Begin what was called during the replay and never recorded; arm the timers and the deadline."""
        if self.stopped is not None:
            return
        self.timers.went_live()
        self.live = True
        for call in list(self._open.values()):
            self._begin(call)
        self.delivery.poke()

    def _begin(self, call: Call) -> None:
        """Begin a call that has not begun, unless the body is to end first; what may be under way is made sure of."""
        if call.phase is Phase.MADE and (call.replayed or not self.request.holds):
            self.performer.begin(call)

    def blocked(self) -> None:
        """A task of the body has blocked: hand over what was delivered, and see what comes next."""
        self.log.hand_over()
        self.delivery.blocked()

    def entered(self, branch: Branch) -> None:
        """Count a branch in."""
        self.tasks += 1
        self.branches[branch] = None
        if branch.parent is not None:
            branch.parent.children += 1

    def left(self, branch: Branch) -> None:
        """Count a branch out."""
        self.tasks -= 1
        self.branches.pop(branch, None)
        self.delivery.activity += 1
        self.delivery.woken = True  # whoever awaits the task has yet to run
        if branch.parent is None:
            # At once: a delivery between the body's end and this would be part of no order.
            for left in self.branches:
                if left.task is not None:
                    left.task.cancel()
        if not self.branches:
            self.closing = True
            if self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    # Calls.

    def _restored(self, call: Call, fact: StepFinished) -> Outcome:
        try:
            outcome = restored(call.binding, fact)
        except AwaitlyError as error:
            self.stop(error)
            raise RunSuspended(f"run {self.id} has stopped here: {error}") from error
        if outcome.raised is not None:
            self.blames.append((outcome.raised, self.recorded.sequence(fact)))
        return outcome

    def forget(self, call: Call) -> None:
        """Forget a call that ended without an outcome: its key may be used again."""
        self._open.pop(call.identity, None)
        self._keyed.pop(call.identity, None)

    def _waits_for(self) -> str:
        if self.body is not None and self.body.done():
            return "the code now ends without it"
        return waiting(self.program, [(call.identity, call.binding.name) for call in self._open.values()])

    def _may_be_under_way(self, call: Call) -> bool:
        """Whether an earlier process may have begun a call, and nobody knows that it did not."""
        if not self.delivery.replaying and not self._inherits:
            return False
        return not self.recorded.idle(call.identity, call.binding.effect, self.log.fence)

    # Stopping without ending.

    def stop(self, error: AwaitlyError) -> None:
        """Stop without ending: from now on every call raises ``RunSuspended`` and nothing is written."""
        if self.stopped is not None:
            return
        if isinstance(error, ShuttingDown):
            self._withhold()
        self.stopped = error
        self.delivery.stopped = True
        suspended = RunSuspended(f"run {self.id} has stopped here: {error}")
        for call in list(self._open.values()):
            call.abandon(suspended)
        self.timers.stop(suspended)
        self.performer.stop()
        # Tasks that wait for something else than awaitly are woken too, after the others had their turn.
        self.loop.call_later(0, self._cancel_rest)

    def _withhold(self) -> None:
        """Record which effects were called and are not under way: only this process can know."""
        if self.delivery.replaying:
            return
        for call in self._open.values():
            if call.guarded and call.phase in (Phase.MADE, Phase.WAITING) and not call.replayed and call.stop is None:
                now, step = self.services.clock.time(), call.binding.name
                self.log.append(StepWithheld(at=now, call=call.identity, step=step, fence=self.log.fence))
        self.log.flush()

    def _cancel_rest(self) -> None:
        if self.body is not None and not self.body.done():
            self.body.cancel()

    async def until_ended(self) -> None:
        """Wait for the body and for the branches that it left running, which are cancelled when it ends."""
        while self.branches:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    @property
    def wakes(self) -> float | None:
        """When this run goes on, on the wall clock, if all of it waits; 0 or infinity if that is not known.

        None while something is under way, or may begin at once.
        """
        body, calls, delivery = self.body, self._open.values(), self.delivery
        if delivery.replaying or delivery.woken or not delivery.idle:
            return None
        if body is None or body.done() or self.waits_elsewhere():
            return None
        if any(call.phase is Phase.BEGUN for call in calls):
            return None
        return min([self.timers.due, *(call.due or 0.0 for call in calls)])

    def park(self, error: AwaitlyError) -> None:
        """Stop as soon as what is under way has been recorded; begin nothing more."""
        if self.parking:
            return
        self.parking = True
        self.performer.when_idle(lambda: self._parked(error))

    def _parked(self, error: AwaitlyError) -> None:
        if self.delivery.idle or self.stopped is not None:
            self.log.flush()
            self.stop(error)
        else:
            # In no branch's context: the body would never look settled, and what has arrived be delivered.
            self.loop.call_soon(self._parked, error, context=self.services.context)
