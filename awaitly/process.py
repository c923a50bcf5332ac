"""The runtime of the process: what calls outside of any other runtime use.

Whoever imports awaitly imports this, by the name ``Runtime``: it says what serves where no runtime is active.
"""

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

import awaitly.parts as parts
from awaitly.declare.host import install
from awaitly.errors import RunStopped
from awaitly.execute.keeping import PerLoop
from awaitly.policies.clock import SystemClock
from awaitly.policies.sharing import Shared, adopt
from awaitly.policies.sharing import install as install_states
from awaitly.runtime import Runtime

if TYPE_CHECKING:
    from awaitly.execute.hosts import PlainHost
    from awaitly.model.program import StepBinding
    from awaitly.persist.ports import Store

__all__ = ["Runtime", "process_runtime"]


async def process_runtime() -> Runtime:
    """Return the runtime of this event loop, built from the environment on first use and shut down with the loop.

    Raises:
        ConfigurationError: For settings that do not fit.
        StoreError: If the store cannot be used. The next call tries again.
    """
    return await _process.own()


def _made(loop: asyncio.AbstractEventLoop) -> Runtime:
    runtime = Runtime()
    runtime.sends = "with others"  # a call of run_sync() must not wait for a collector that is away
    adopt(loop, runtime.states)
    return runtime


_process = PerLoop(_made, parts.neutral_context)


async def _begin_in_process(*args: Any, **kwargs: Any) -> Any:
    runtime = await process_runtime()
    return await runtime.begin(*args, **kwargs)


@cache
def _process_host() -> "PlainHost":
    return parts.host(SystemClock(), _begin_in_process)


def _process_states() -> Shared:
    """Return the states for steps and policies that are used where no runtime is active."""

    def finish(binding: "StepBinding") -> "StepBinding":
        return parts.piped(binding, states, _no_store)

    states = parts.states(SystemClock(), parts.library(parts.settings(), finish, ()), lambda fact: None)
    return states


def _no_store() -> "Store":
    raise RunStopped("no runtime is active", hint="use it inside: async with Runtime(...) as rt")


install(_process_host, parts.graph)
install_states(_process_states)
