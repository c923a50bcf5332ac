"""Runs that store nothing (``durable=False``): the same meanings, without identity, order or journal."""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from types import FrameType
from typing import Any

from awaitly.errors import KeyConflict, UnexpectedError
from awaitly.execute.attempts import Callee
from awaitly.execute.choices import chosen
from awaitly.execute.ending import raised, returned
from awaitly.execute.hosts import Answer, PlainHost, Start, through, within_time
from awaitly.execute.outcomes import Outcome, Returned, carried, raisable
from awaitly.execute.services import Decide
from awaitly.flags.provider import Flag, FlagContext
from awaitly.model.clock import Clock
from awaitly.model.context import StepContext, Whereabouts
from awaitly.model.facts import Ending
from awaitly.model.identity import keyed
from awaitly.model.names import spelt
from awaitly.model.program import Program, StepBinding
from awaitly.policies.course import Course
from awaitly.policies.timeout import Expired, within
from awaitly.result import Err, Ok


class LocalHost(PlainHost):
    """The body of a run that stores nothing."""

    __slots__ = ("_calls", "_decide", "_flags", "_host", "_keyed", "_program", "_run", "due")

    def __init__(
        self, clock: Clock, start: Start, host: ContextVar[Any], decide: Decide, program: Program, run: "Asked"
    ) -> None:
        super().__init__(clock, start)
        self._host = host
        self._decide = decide
        self._program = program
        self._run = run
        self._flags: dict[str, asyncio.Future[Any]] = {}
        self.due = None if run.deadline is None else clock.monotonic() + run.deadline
        self._calls = 0
        self._keyed: dict[str, _Shared] = {}

    def step(self, step: Any, args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Answer:
        """Execute the function at once; what a key names is done once."""
        binding = self._program.steps[step.name]
        self._calls += 1
        if binding.key is None:
            call = self._perform(binding, args, kwargs, f"{self._run.id}/{self._calls}")
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
        flags: dict[str, Any] = {spelt(name): value for name, value in self._run.flags.items()}
        flags |= {name: asked.result() for name, asked in self._flags.items() if asked.done()}
        return await self._start(workflow, options, args, kwargs, wanted=wanted, flags=flags)

    async def _perform(self, binding: StepBinding, args: Any, kwargs: Any, identity: str) -> Any:
        chosen = await self._chosen(binding) if binding.variants else binding
        plain = chosen.pipeline is None and chosen.timeout is None and not chosen.blocking
        course = None if plain else self.course(chosen, args, kwargs)
        token = self._host.set(_LocalStep(self, binding, identity, course))
        try:
            if course is not None:
                hedged = chosen.policies is not None and chosen.policies.hedge is not None
                return await through(
                    chosen, course, partial(self._hedged, binding, identity, course) if hedged else None
                )
            value = await chosen.fn(*args, **kwargs)
        except Returned as returned:
            raise raisable(returned.error, binding.name) from None
        except binding.errors:
            raise
        except Exception as error:  # whatever a step raises undeclared is unexpected
            if isinstance(error, TypeError) and not _fit(binding, args, kwargs):
                raise  # the caller's mistake, which the function never saw
            unexpected = UnexpectedError.of(error, step=binding.name)
            raise unexpected from unexpected.__cause__
        finally:
            self._host.reset(token)
        if isinstance(value, Err) and binding.returns_result:
            raise raisable(value.error, binding.name)
        return value.value if isinstance(value, Ok) and binding.returns_result else value

    def _hedged(self, binding: StepBinding, identity: str, course: Course) -> None:
        self._host.set(_LocalStep(self, binding, identity, course, course.attempts))  # in the attempt's own task

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
        context.run(self._host.set, None)  # what a provider calls is not of the run
        return asyncio.get_running_loop().create_task(self._decided(flag), context=context)

    async def _decided(self, flag: Flag) -> Any:
        given = {spelt(name): value for name, value in self._run.flags.items()}
        if spelt(flag.name) in given:
            return given[spelt(flag.name)]
        context = FlagContext(self._run.id, self._program.graph.workflow, self._run.metadata)
        return (await self._decide(flag, context)).value

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        return Whereabouts(self._run.id, self._program.graph.workflow)

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


class _LocalStep(PlainHost):
    """Inside a step's function; made for every call, so it computes its context only when asked."""

    __slots__ = ("_attempt", "_binding", "_course", "_identity", "_run", "_workflow")

    def __init__(
        self, body: LocalHost, binding: StepBinding, identity: str, course: Course | None, attempt: int | None = None
    ) -> None:
        self.clock = body.clock
        self._start = body._start
        self._binding = binding
        self._identity = identity
        self._course = course
        self._attempt = attempt  # its number, where several are under way at once
        self._run = body._run.id
        self._workflow = body._program.graph.workflow

    def about(self) -> Whereabouts:
        """Return where this is, for what is logged here."""
        return Whereabouts(self._run, self._workflow, self._binding.name, self._number)

    @property
    def _number(self) -> int:
        if self._attempt is not None:
            return self._attempt
        return 1 if self._course is None else self._course.attempts

    def current(self) -> StepContext:
        """Return what the function may know about its call."""
        return StepContext(
            run_id=self._run, step=self._binding.name, attempt=self._number,
            idempotency_key=self._identity, fence=0, time_left=self.time_left,
        )  # fmt: skip

    def time_left(self) -> float | None:
        """Return the seconds until the call or the run has to be over."""
        return None if self._course is None else self._course.remaining()

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


async def run_locally(
    program: Program,
    host: ContextVar[Any],
    clock: Clock,
    start: Start,
    decide: Decide,
    asked: Asked,
    args: Any,
    kwargs: Any,
) -> Outcome:
    """Execute a workflow that stores nothing and return its outcome."""
    body = LocalHost(clock, start, host, decide, program, asked)
    called: Any = program.fn(*args, **kwargs)  # raises what a plain call does if they do not fit
    token = host.set(body)
    task = asyncio.current_task()
    cancelling = task.cancelling() if task is not None else 0
    try:
        value = await (called if asked.deadline is None else within(called, asked.deadline, clock))
    except Expired:
        return raised(program, asyncio.CancelledError(), Ending.DEADLINE, "", ())[0]
    except Exception as error:  # noqa: BLE001 - a run's failure is a value
        outcome, _ = raised(program, error, None, "", _delivered(program, error))
        return outcome
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > cancelling:
            raise
        return raised(program, error, None, "", ())[0]  # nobody asked for it: the body raised it by itself
    finally:
        host.reset(token)
    return returned(program, value)[0]


def _delivered(program: Program, error: Exception) -> tuple[BaseException, ...]:
    """Return the error if a step of the program declares its class: then it is an expected one."""
    declared = tuple(kind for binding in program.steps.values() for kind in binding.errors)
    return (error,) if isinstance(error, declared) else ()
