"""Runs that store nothing, where there are observers: they are told what they would be told of durable ones.

Nothing is encoded for them: the payloads of their facts are empty.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from awaitly.errors import UnexpectedError
from awaitly.execute.local import Asked, LocalHost, Performed, run_locally
from awaitly.execute.outcomes import Outcome
from awaitly.execute.services import Services
from awaitly.flags.provider import Decision, Flag
from awaitly.model.facts import (
    Ending,
    Fact,
    FlagDecided,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFinished,
    StepStarted,
)
from awaitly.model.names import overlaid
from awaitly.model.program import Program, StepBinding


class ObservedHost(LocalHost):
    """The body of a run that stores nothing and is observed.

    A call has a task of its own, so that what an observer leaves in its context, such as a current span, ends with it.
    """

    __slots__ = ("tell",)

    def __init__(self, services: Services, program: Program, run: Asked) -> None:
        super().__init__(services, program, run)
        assert services.observe is not None
        self.tell: Callable[..., None] = partial(services.observe, run.id, program.graph.workflow)

    async def _perform(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        performing = self._observed(binding, args, kwargs, identity)
        # Made directly: it is nobody's branch.
        return await asyncio.Task(performing, loop=asyncio.get_running_loop(), name=identity)

    async def _observed(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        chosen = await self._chosen(binding) if binding.variants else binding
        course = self.course(chosen, args, kwargs)
        course.observe, course.call = self.tell, identity
        call, began = Performed(identity, binding, chosen, course), self.clock.time()
        try:
            value = await self._executed(call, args, kwargs)
        except asyncio.CancelledError:
            self._cancelled(call, began)
            raise
        except Exception as error:
            expected = isinstance(error, binding.errors) or not isinstance(error, (UnexpectedError, TypeError))
            self._ended(call, began, Ending.FAILURE if expected else Ending.UNEXPECTED, error)
            raise
        self._ended(call, began, Ending.VALUE)
        return value

    def _begins(self, call: Performed) -> Callable[[], object] | None:
        begins = super()._begins(call)
        if not self._services.tells_starts:
            return begins

        def told() -> None:
            if begins is not None:
                begins()
            now = self.clock.time()
            self.tell(StepStarted(at=now, call=call.identity, step=call.binding.name, attempt=call.attempts))

        return told

    def _ended(self, call: Performed, began: float, ending: Ending, error: Exception | None = None) -> None:
        course, now, name = call.course, self.clock.time(), call.binding.name
        fact = StepFinished(
            at=now, call=call.identity, step=name, arguments="", ending=ending, payload=b"", attempts=call.attempts,
            seconds=now - began, source="" if course is None else course.source,
            variant="" if call.chosen is call.binding else call.chosen.name,
        )  # fmt: skip
        self.tell(fact, error)

    def _cancelled(self, call: Performed, began: float) -> None:
        now, name = self.clock.time(), call.binding.name
        self.tell(
            StepCancelled(
                at=now, call=call.identity, step=name, arguments="", attempts=call.attempts, seconds=now - began
            )
        )

    async def _decision(self, flag: Flag) -> Decision:
        decision = await super()._decision(flag)
        fact = FlagDecided(
            at=self.clock.time(), flag=flag.name, value=decision.value, provider=decision.provider,
            variant=decision.variant, reason=decision.reason,
        )  # fmt: skip
        self.tell(fact)
        return decision


async def run_observed(services: Services, program: Program, asked: Asked, called: Coroutine[Any, Any, Any]) -> Outcome:
    """Execute the body of a workflow that stores nothing, tell observers of it, and return its outcome."""
    trace = "" if services.trace is None else services.trace(asked.id, program.graph.workflow)
    body, now = ObservedHost(services, program, asked), services.clock.time()
    started = RunStarted(
        at=now, workflow=program.graph.workflow, version=program.graph.version, fingerprint=program.graph.fingerprint,
        arguments=b"", arguments_digest="", seed=0, deadline=None if asked.deadline is None else now + asked.deadline,
        flags=overlaid(asked.flags), metadata=dict(asked.metadata), trace=trace,
    )  # fmt: skip
    # In a task of its own, as a call: what observers leave in its context ends with it.
    return await asyncio.Task(_observed(body, started, called), loop=asyncio.get_running_loop(), name=asked.id)


async def _observed(body: ObservedHost, started: Fact, called: Coroutine[Any, Any, Any]) -> Outcome:
    body.tell(started)
    try:
        outcome = await run_locally(body, called)
    except asyncio.CancelledError:
        body.tell(RunFinished(at=body.clock.time(), ending=Ending.CANCELLED, payload=b"", blame=None))
        raise
    body.tell(RunFinished(at=body.clock.time(), ending=outcome.ending, payload=b"", blame=None), outcome.raised)
    return outcome
