"""Runs that store nothing (``durable=False``): the same meanings, without identity, order or journal."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from inspect import signature
from types import FrameType
from typing import Any

from awaitly.errors import KeyConflict, UnexpectedError
from awaitly.execute.attempts import Callee
from awaitly.execute.choices import chosen
from awaitly.execute.ending import raised, returned
from awaitly.execute.hosts import Answer, PlainHost, through, within_time
from awaitly.execute.outcomes import Outcome, Returned, carried, raisable
from awaitly.execute.services import Services
from awaitly.flags.provider import Decision, Flag, FlagContext
from awaitly.model.context import StepContext, Whereabouts
from awaitly.model.facts import Ending
from awaitly.model.identity import idempotency_key, keyed
from awaitly.model.names import spelt
from awaitly.model.program import Program, StepBinding
from awaitly.policies.course import Course
from awaitly.policies.timeout import Expired, within
from awaitly.result import Err, Ok

RECENT = 100  # failures that are known to have come from steps: such a run may go on for ever


class LocalHost(PlainHost):
    """The body of a run that stores nothing."""

    __slots__ = ("_calls", "_flags", "_keyed", "_services", "delivered", "due", "host", "program", "run")

    def __init__(self, services: Services, program: Program, run: "Asked") -> None:
        super().__init__(services.clock, services.start_run)
        self.program = program
        self.run = run
        self._services = services
        self.host = services.host
        self._flags: dict[str, asyncio.Future[Any]] = {}
        self.due = None if run.deadline is None else services.clock.monotonic() + run.deadline
        self._calls = 0
        self._keyed: dict[str, _Shared] = {}
        self.delivered: deque[BaseException] = deque(maxlen=RECENT)  # declared failures of steps

    def step(self, step: Any, args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Answer:
        """Execute the function at once; what a key names is done once."""
        binding = self.program.steps.get(step.name)
        if binding is None or binding.fn is not step.fn:
            binding = self._services.bind(step)  # the compiler did not see it
        if binding.key is None:
            call = self._perform(binding, args, kwargs, f"{binding.name}#{self._calls}")
            self._calls += 1
        else:
            call = self._named(binding, args, kwargs, keyed(binding.name, binding.key(args, kwargs)))
        answer: Answer = _attempted(call) if attempt else call
        answer.__qualname__ = binding.name  # type: ignore[attr-defined]  # named when it is never awaited
        return answer

    def workflow(self, workflow: Any, options: Any, args: Any, kwargs: Any, frame: FrameType, *, wanted: Any) -> Answer:
        """Begin an independent run, which has the flags of this one."""
        return self._child(workflow, options, args, kwargs, wanted)

    async def _child(self, workflow: Any, options: Any, args: Any, kwargs: Any, wanted: Any) -> Any:
        if self._flags:
            await asyncio.wait(self._flags.values())
        flags: dict[str, Any] = {spelt(name): value for name, value in self.run.flags.items()}
        flags |= {name: asked.result() for name, asked in self._flags.items() if asked.done()}
        return await self._start(workflow, options, args, kwargs, wanted=wanted, flags=flags)

    def _perform(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Answer:
        if binding.variants or binding.pipeline is not None or binding.timeout is not None or binding.blocking:
            return self._governed(binding, args, kwargs, identity)
        return self._executed(LocalStep(self, binding, identity, None), binding, args, kwargs)

    async def _governed(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        """Execute a call about which more than its function has a say."""
        chosen = await self._chosen(binding) if binding.variants else binding
        course = self.course(binding, args, kwargs)
        return await self._executed(LocalStep(self, binding, identity, course), chosen, args, kwargs)

    async def _executed(self, call: "LocalStep", chosen: StepBinding, args: Any, kwargs: Any) -> Any:
        """Execute the function that was chosen for a call, through its policies if the call has a course."""
        binding, course = call.binding, call.made
        token = self.host.set(call)
        try:
            if course is not None:
                return await through(chosen, course, self._begins(call, chosen))
            value = await chosen.fn(*args, **kwargs)
        except Returned as returned:
            raise raisable(returned.error, binding.name) from None
        except binding.errors as error:
            self.delivered.append(error)
            raise
        except Exception as error:  # whatever a step raises undeclared is unexpected
            if isinstance(error, TypeError) and not _fit(binding, args, kwargs):
                raise  # the caller's mistake, which the function never saw
            unexpected = UnexpectedError.of(error, step=binding.name)
            raise unexpected from unexpected.__cause__
        finally:
            self.host.reset(token)
        if isinstance(value, Err) and binding.returns_result:
            raise raisable(value.error, binding.name)
        return value.value if isinstance(value, Ok) and binding.returns_result else value

    def _begins(self, call: "LocalStep", chosen: StepBinding) -> Callable[[], object] | None:
        """Return what is called when an attempt begins, in its context."""
        if chosen.policies is None or chosen.policies.hedge is None:
            return None
        return lambda: self.host.set(call.of_attempt())  # in its own task: several are under way at once

    async def _chosen(self, binding: StepBinding) -> StepBinding:
        """Return what is executed in a step's place; each flag is decided once in the run."""
        values: dict[str, Any] = {}
        for variant in binding.variants:
            name = spelt(variant.flag)
            if name not in self._flags:
                self._flags[name] = self._asked(Flag(variant.flag, variant.default))
            values[name] = await asyncio.shield(self._flags[name])
        return chosen(binding, values)

    def _asked(self, flag: Flag) -> "asyncio.Future[Any]":
        context = copy_context()
        context.run(self.host.set, None)  # what a provider calls is not of the run
        return asyncio.get_running_loop().create_task(self._decided(flag), context=context)

    async def _decided(self, flag: Flag) -> Any:
        given = {spelt(name): value for name, value in self.run.flags.items()}
        if spelt(flag.name) in given:
            return given[spelt(flag.name)]
        return (await self._decision(flag)).value

    async def _decision(self, flag: Flag) -> Decision:
        context = FlagContext(self.run.id, self.program.graph.workflow, self.run.metadata)
        return await self._services.decide(flag, context)

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        return Whereabouts(self.run.id, self.program.graph.workflow)

    def course(self, callee: Callee, args: Any, kwargs: Any) -> Course:
        """Return the course of a call, which has to be over with its run."""
        course = super().course(callee, args, kwargs)
        course.horizon = self.due
        return course

    async def _named(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        arguments = binding.arguments.fingerprint(args, kwargs)
        known = self._keyed.get(identity)
        if known is None:
            work = asyncio.ensure_future(self._perform(binding, args, kwargs, identity))
            known = self._keyed[identity] = _Shared(arguments, work)
        if known.arguments != arguments:
            raise KeyConflict(
                f"step {binding.name} was called with the key {identity!r} and other arguments than before",
                hint="one key names one piece of work of a run: let the key vary with the arguments",
            )
        known.joined += 1
        try:
            return await asyncio.shield(known.work)  # it is cancelled when nobody wants it any more
        finally:
            known.joined -= 1
            if not known.joined and not known.work.done():
                del self._keyed[identity]
                known.work.cancel()
                await asyncio.wait([known.work])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a run that stores nothing."""

    id: str
    deadline: float | None = None
    flags: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Shared:
    """The work that a key names."""

    arguments: str
    work: asyncio.Future[Any]
    joined: int = 0  # those who wait for it


class LocalStep(PlainHost):
    """A call under way, and the inside of its function; made for every call, so it computes only what is asked."""

    __slots__ = ("_attempt", "_body", "binding", "identity", "made")

    def __init__(self, body: LocalHost, binding: StepBinding, identity: str, course: Course | None) -> None:
        self.clock = body.clock
        self._start = body._start
        self._body = body
        self.binding = binding
        self.identity = identity  # in its run
        self.made = course  # None if nothing needs one
        self._attempt: int | None = None  # its number, where several are under way at once

    def of_attempt(self) -> "LocalStep":
        """Return the same inside the attempt that has just begun."""
        one = LocalStep(self._body, self.binding, self.identity, self.made)
        one._attempt = self.attempts
        return one

    @property
    def attempts(self) -> int:
        """How many attempts have begun."""
        return 1 if self.made is None else self.made.attempts

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        body = self._body
        return Whereabouts(body.run.id, body.program.graph.workflow, self.binding.name, self._number)

    @property
    def _number(self) -> int:
        return self.attempts if self._attempt is None else self._attempt

    def current(self) -> StepContext:
        """Return what the function may know about its call."""
        run = self._body.run.id
        return StepContext(
            run_id=run, step=self.binding.name, attempt=self._number,
            idempotency_key=idempotency_key(run, self.identity), fence=0, time_left=self.time_left,
        )  # fmt: skip

    def time_left(self) -> float | None:
        """Return the seconds until the call or the run has to be over."""
        return None if self.made is None else self.made.remaining()

    def course(self, callee: Callee, args: Any, kwargs: Any) -> Course:
        """Return the course of a call of a step inside this one, which has to be over with it."""
        return within_time(super().course(callee, args, kwargs), self.time_left())


def _fit(binding: StepBinding, args: Any, kwargs: Any) -> bool:
    """Whether the arguments fit the signature of a step's function."""
    try:
        signature(binding.fn).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


async def _attempted(call: Any) -> Ok[Any] | Err[Any]:
    try:
        return Ok(await call)
    except Exception as error:  # noqa: BLE001 - attempt() gives every failure as a value
        return Err(carried(error))


async def run_locally(body: LocalHost, called: Answer) -> tuple[Outcome, BaseException | None]:
    """Execute the body of a workflow that stores nothing; return its outcome, and the error that escaped from it."""
    program, host, deadline = body.program, body.host, body.run.deadline
    token = host.set(body)
    task = asyncio.current_task()
    cancelling = task.cancelling() if task is not None else 0
    try:
        value = await (called if deadline is None else within(called, deadline, body.clock))
    except Expired:
        late = asyncio.CancelledError()
        return raised(program, late, Ending.DEADLINE, "", ())[0], late
    except Exception as error:  # noqa: BLE001 - a run's failure is a value
        return raised(program, error, None, "", body.delivered)[0], error
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > cancelling:
            raise
        return raised(program, error, None, "", ())[0], error  # nobody asked for it: the body raised it by itself
    finally:
        host.reset(token)
    return returned(program, value)[0], None
