"""``awaitly serve``: continue unfinished runs, and tell over HTTP how that goes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import click

from awaitly.cli.consoles import stderr
from awaitly.cli.failing import leave_log
from awaitly.cli.interrupts import Interrupted, Interrupts
from awaitly.cli.stores import shown_store, store_option
from awaitly.cli.targets import AnyWorkflow, workflows_of
from awaitly.runtime import Runtime
from awaitly.settings import Settings, provenance, read_settings


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--host", metavar="HOST", help="The address to listen on; default: AWAITLY_SERVE__HOST or 127.0.0.1.")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(0, 65535),
    help="The port; 0 is any free one. Default: AWAITLY_SERVE__PORT or 8600.",
)  # fmt: skip
@store_option
def serve(targets: tuple[str, ...], host: str | None, port: int | None, store: str | None) -> int:
    """Take over unfinished runs of the TARGETs' workflows, and serve health and metrics until it is stopped.

    A TARGET without a name stands for all workflows of its module. Without any, nothing is executed here.
    SIGTERM or Ctrl-C stops it: first it says that it is not ready, then what is under way is finished and stored.
    """
    from awaitly.serve.server import listening

    workflows = list(dict.fromkeys(workflow for target in targets for workflow in workflows_of(target).values()))
    settings = _settings(host, port, store)
    leave_log(settings)
    runtime = Runtime(settings, workflows=workflows)
    listener = listening(settings.serve.host, settings.serve.port, alone=settings.serve.token is None)
    return asyncio.run(_served(runtime, listener, workflows))


def _settings(host: str | None, port: int | None, store: str | None) -> Settings:
    where = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    given: dict[str, Any] = ({} if store is None else {"store": store}) | ({"serve": where} if where else {})
    settings = read_settings(**given)
    if ("prometheus",) in provenance(settings) or not _can_measure():
        return settings
    return read_settings(**given, prometheus=True)


def _can_measure() -> bool:
    try:
        return None not in (find_spec("prometheus_client"), find_spec("opentelemetry.exporter.prometheus"))
    except ModuleNotFoundError:
        return False


async def _served(runtime: Runtime, listener: Any, workflows: Sequence[AnyWorkflow]) -> int:
    from awaitly.serve import app
    from awaitly.serve.server import served, url_of

    url = url_of(listener)
    # From the inside out, the last one to end is the server: until then it says that the runtime is not ready.
    with Interrupts(_say).heeded() as interrupts:
        async with served(app(runtime), listener) as server, runtime:
            _tell(runtime, url, workflows)
            with suppress(Interrupted):  # not around the runtime: it would be left in a hurry
                await interrupts.until(asyncio.wait([server]))
    return (await runtime.shutdown()).exit_status  # of the one that is over


def _tell(runtime: Runtime, url: str, workflows: Sequence[AnyWorkflow]) -> None:
    names = ", ".join(sorted({workflow.name for workflow in workflows}))
    stderr().print(f"{url}  {shown_store(runtime)}")
    stderr().print(f"takes over unfinished runs of {names}" if names else "executes nothing: no TARGET was given")


def _say(twice: bool) -> None:
    if not twice:
        stderr().print("stopping: what is under way is finished and stored (a second time stops at once)")
