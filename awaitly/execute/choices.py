"""The feature flags of one run: each is decided once, when a call first needs it, and recorded before an effect."""

import asyncio
from typing import TYPE_CHECKING, Any

from awaitly.execute.calls import Call, Phase
from awaitly.flags.provider import Flag, FlagContext
from awaitly.model.facts import FlagDecided
from awaitly.model.names import spelt
from awaitly.model.program import StepBinding, VariantBinding

if TYPE_CHECKING:
    from awaitly.execute.run import Run


class Choices:
    """Which variants the calls of a run get."""

    __slots__ = ("_asking", "_deciding", "_fresh", "_names", "_run", "_values")

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._values: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # as they were first written
        for name, value in (*run.started.flags.items(), *run.recorded.flags.items()):
            self._keep(name, value)
        self._asking: dict[str, list[Call]] = {}
        self._deciding: set[asyncio.Task[None]] = set()
        self._fresh = False  # whether a flag was decided here: that may not be stored yet

    @property
    def values(self) -> dict[str, Any]:
        """The flags that the run was given, and those that were decided: what its children begin with."""
        return {self._names[name]: value for name, value in self._values.items()}

    async def settled(self) -> dict[str, Any]:
        """Return the values once those that are being decided are, and all are stored: a child then has the same.

        Raises:
            AwaitlyError: If the store refused or failed; the run can write no more.
        """
        while self._deciding:
            await asyncio.wait(self._deciding)
        if self._fresh:
            await self._run.log.barrier()
        return self.values

    def _keep(self, name: str, value: Any) -> None:
        self._values[spelt(name)] = value
        self._names.setdefault(spelt(name), name)

    def choose(self, call: Call) -> bool:
        """Let a call have the function that its flags say; False if one is not decided yet: it begins after that."""
        for variant in call.binding.variants:
            name = spelt(variant.flag)
            if name not in self._values:
                self._ask(name, variant, call)
                return False
        call.chosen = chosen(call.binding, self._values)
        return True

    def _ask(self, name: str, variant: VariantBinding, call: Call) -> None:
        waiting = self._asking.setdefault(name, [])
        waiting.append(call)
        if len(waiting) == 1:
            # Made directly, in no run's context: it is nobody's branch.
            services = self._run.services
            deciding = self._decide(Flag(variant.flag, variant.default))
            task = asyncio.Task(deciding, loop=self._run.loop, context=services.context.copy())
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)
            services.keep(task)

    async def _decide(self, flag: Flag) -> None:
        run = self._run
        context = FlagContext(run.id, run.program.graph.workflow, run.started.metadata)
        decision = await run.services.decide(flag, context)
        calls = self._asking.pop(spelt(flag.name))
        if run.stopped is not None or run.closing:
            return
        self._keep(flag.name, decision.value)
        self._fresh = True
        fact = FlagDecided(
            at=run.services.clock.time(), flag=flag.name, value=decision.value, provider=decision.provider,
            variant=decision.variant, reason=decision.reason,
        )  # fmt: skip
        run.log.append(fact, urgent=False)  # an effect waits for it, a read does not
        run.log.hand_over()
        run.observe(fact)
        for call in calls:
            if call.phase is Phase.WAITING:
                run.performer.begin(call)


def chosen(binding: StepBinding, values: dict[str, Any]) -> StepBinding:
    """Return what is executed in a step's place for some values of flags, by their names as compared."""
    for variant in binding.variants:
        value = values.get(spelt(variant.flag), variant.default)
        if value == variant.when and isinstance(value, bool) == isinstance(variant.when, bool):
            return variant.binding
    return binding
