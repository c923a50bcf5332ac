"""Asks providers in their order until one answers; nothing that a provider does can keep a flag from being decided."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from awaitly.errors import UnexpectedError
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagProvider, FlagValue, misfit
from awaitly.model.clock import Clock
from awaitly.model.durations import humanised
from awaitly.model.names import spelt

CODE = "flag-provider-failed"
LONGEST = 300  # characters of a failure's text: it is recorded with every run

_log = logging.getLogger("awaitly")
_warned: set[tuple[str, str]] = set()
_late: set[asyncio.Task[Any]] = set()  # told to end, and not there yet: the loop alone would not keep them
_NONE: Mapping[str, FlagValue] = MappingProxyType({})


async def decided(
    flag: Flag,
    context: FlagContext,
    providers: Sequence[FlagProvider],
    clock: Clock,
    *,
    limit: float = 1.0,
    overrides: Mapping[str, FlagValue] = _NONE,
    warned: set[tuple[str, str]] | None = None,
) -> Decision:
    """Return the value of a flag for a run: the run's own, or that of the first provider who knows it, or the default.

    A provider that raises, is too slow, or gives a value of another kind than the default's is passed over, with a
    warning (``flag-provider-failed``) the first time. If nobody else decides, the reason tells of it.

    Args:
        flag: The flag as declared.
        context: For whom it is decided.
        providers: Who is asked, in this order.
        clock: What ``limit`` is measured with.
        limit: How long one provider may take, in seconds.
        overrides: The run's own values, by name; they come first, as the provider ``run``.
        warned: Which provider (by name) and flag was warned about already; by default that is known to the process.
    """
    failures: list[str] = []
    for provider in (_Overrides(overrides), *providers):
        try:
            decision = await _within(limit, clock, _answer(provider, flag, context))
        except Exception as error:  # noqa: BLE001 - providers are foreign code, and must not harm a run
            failures.append(f"{provider.name} failed: {_told(error)}")
            _warn(provider, flag, failures[-1], _warned if warned is None else warned)
        else:
            if decision is not None:
                return decision
    return Decision(flag.default, "default", reason="; ".join(failures) or "no provider knows it")


class _Overrides:
    """What a run was started with."""

    name = "run"

    def __init__(self, values: Mapping[str, FlagValue]) -> None:
        self._values = {spelt(name): value for name, value in values.items()}

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        value = self._values.get(spelt(flag.name))
        return None if value is None else Decision(value, self.name, reason="override")

    def knows(self, flag: str) -> bool:
        return spelt(flag) in self._values


async def _answer(provider: FlagProvider, flag: Flag, context: FlagContext) -> Decision | None:
    decision = await provider.decide(flag, context)
    if decision is None:
        return None
    if not isinstance(decision, Decision):
        raise TypeError(f"decide() gave {decision!r}, which is not a Decision")
    if not all(isinstance(text, str) for text in (decision.provider, decision.variant, decision.reason)):
        raise TypeError(f"decide() gave {decision!r}: provider, variant and reason of a Decision are text")
    if (problem := misfit(flag, decision.value)) is not None:
        raise TypeError(problem)
    return replace(decision, value=_plain(decision.value))


def _plain(value: FlagValue) -> FlagValue:
    """Return a value as it comes out of a journal: without the class that an enum gives it."""
    match value:
        case bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str.__str__(value)


async def _within(limit: float, clock: Clock, asking: Coroutine[Any, Any, Decision | None]) -> Decision | None:
    # In a task of its own, past the loop's task factory (this is no branch of a body): what swallows a cancellation,
    # or turns it into another error as OpenFeature's client does, can then hold up neither the limit nor the caller.
    loop = asyncio.get_running_loop()
    task = asyncio.Task(asking, loop=loop)
    over: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.call_later(limit, end)
    task.add_done_callback(lambda _: end())
    try:
        await over
    finally:
        timer.cancel()
        _leave(task)
    return _outcome(task, limit)


def _leave(task: asyncio.Task[Any]) -> None:
    """Have a task end, without waiting for it."""
    if task.done():
        return

    def ended(task: asyncio.Task[Any]) -> None:
        _late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: nobody wants it any more

    _late.add(task)
    task.add_done_callback(ended)
    task.cancel()


def _outcome(task: asyncio.Task[Decision | None], limit: float) -> Decision | None:
    if not task.done():
        raise TimeoutError(f"no answer within {humanised(limit)}")
    if task.cancelled():
        raise RuntimeError("it was cancelled from within")
    return task.result()


def _told(error: Exception) -> str:
    described = UnexpectedError.of(error)
    text = f"{described.type_name}: {described.message}" if described.message else described.type_name
    return " ".join(text.split())[:LONGEST]


def _warn(provider: FlagProvider, flag: Flag, failure: str, warned: set[tuple[str, str]]) -> None:
    key = provider.name, spelt(flag.name)
    if key in warned:
        return
    warned.add(key)
    _log.warning(
        "flag %s: %s. The next provider is asked, or else the default %r holds;"
        " further failures of this provider for this flag are not logged [%s]",
        flag.name, failure, flag.default, CODE, extra={"code": CODE},
    )  # fmt: skip
