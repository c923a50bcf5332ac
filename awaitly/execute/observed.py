"""Runs that store nothing, where there are observers: they are told what they would be told of durable ones.

Nothing is encoded for them: the payloads of their facts are empty.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from awaitly.errors import UnexpectedError
from awaitly.execute.hosts import Answer
from awaitly.execute.local import Asked, LocalHost, LocalStep, run_locally
from awaitly.execute.outcomes import Outcome
from awaitly.execute.services import Services
from awaitly.flags.provider import Decision, Flag
from awaitly.model.facts import (
    DeadlinePassed,
    Ending,
    FlagDecided,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepStarted,
)
from awaitly.model.names import overlaid
from awaitly.model.program import Program, StepBinding
from awaitly.policies.course import Course


class ObservedHost(LocalHost):
    """The body of a run that stores nothing and is observed.

    Its steps run where they are called, as without observers. So what these make current there, such as a span, is put
    back by hand: no task ends with it.
    """

    __slots__ = ("here", "tell")

    def __init__(self, services: Services, program: Program, run: Asked) -> None:
        super().__init__(services, program, run)
        assert services.observe is not None
        assert services.here is not None
        self.here = services.here
        self.tell: Callable[..., None] = partial(services.observe, run.id, program.graph.workflow)

    async def _perform(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        chosen = await self._chosen(binding) if binding.variants else binding
        course = self.course(binding, args, kwargs)
        course.observe, course.call = self.tell, identity
        call, began = LocalStep(self, binding, identity, course), self.clock.time()
        variant = "" if chosen is binding else chosen.name
        put_back = self.here()
        try:
            value = await self._executed(call, chosen, args, kwargs)
        except Exception as error:
            expected = isinstance(error, binding.errors) or not isinstance(error, (UnexpectedError, TypeError))
            self._ended(course, began, variant, Ending.FAILURE if expected else Ending.UNEXPECTED, error)
            raise
        except BaseException:
            self._cancelled(course, began)
            raise
        else:
            self._ended(course, began, variant, Ending.VALUE)
            return value
        finally:
            put_back()

    def _begins(self, call: LocalStep, chosen: StepBinding) -> Callable[[], object] | None:
        begins = super()._begins(call, chosen)
        if not self._services.tells_starts:
            return begins

        def told() -> None:
            if begins is not None:
                begins()
            now, step = self.clock.time(), call.binding.name
            self.tell(StepStarted(at=now, call=call.identity, step=step, attempt=call.attempts))

        return told

    def _ended(
        self, course: Course, began: float, variant: str, ending: Ending, error: Exception | None = None
    ) -> None:
        now = self.clock.time()
        fact = StepFinished(
            at=now, call=course.call, step=course.name, arguments="", ending=ending, payload=b"",
            attempts=course.attempts, seconds=now - began, source=course.source, variant=variant,
        )  # fmt: skip
        self.tell(fact, error)

    def _cancelled(self, course: Course, began: float) -> None:
        now, attempts = self.clock.time(), course.attempts
        fact = StepCancelled(
            at=now, call=course.call, step=course.name, arguments="", attempts=attempts, seconds=now - began
        )
        self.tell(fact)

    async def _decision(self, flag: Flag) -> Decision:
        decision = await super()._decision(flag)
        fact = FlagDecided(
            at=self.clock.time(), flag=flag.name, value=decision.value, provider=decision.provider,
            variant=decision.variant, reason=decision.reason,
        )  # fmt: skip
        self.tell(fact)
        return decision


async def run_observed(services: Services, program: Program, asked: Asked, called: Answer) -> Outcome:
    """Execute the body of a workflow that stores nothing, tell observers of it, and return its outcome."""
    trace = "" if services.trace is None else services.trace(asked.id, program.graph.workflow)
    body, now = ObservedHost(services, program, asked), services.clock.time()
    started = RunStarted(
        at=now, workflow=program.graph.workflow, version=program.graph.version, fingerprint=program.graph.fingerprint,
        arguments=b"", arguments_digest="", seed=0, deadline=None if asked.deadline is None else now + asked.deadline,
        flags=overlaid(asked.flags), metadata=dict(asked.metadata), trace=trace,
    )  # fmt: skip
    put_back = body.here()
    try:
        body.tell(started)
        return await _told(body, called)
    finally:
        put_back()


async def _told(body: ObservedHost, called: Answer) -> Outcome:
    try:
        outcome, error = await run_locally(body, called)
    except BaseException as error:  # who awaits it was cancelled, or is ending
        body.tell(RunFinished(at=body.clock.time(), ending=Ending.CANCELLED, payload=b""), error)
        raise
    now = body.clock.time()
    if outcome.ending is Ending.DEADLINE:
        body.tell(DeadlinePassed(at=now))
    body.tell(RunFinished(at=now, ending=outcome.ending, payload=b""), outcome.raised if error is None else error)
    return outcome
