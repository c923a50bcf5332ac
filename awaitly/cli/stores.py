"""--store: the store that a command works on."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from awaitly.cli.failing import leave_log
from awaitly.cli.flagging import GivenFlags
from awaitly.cli.targets import AnyWorkflow
from awaitly.errors import StoreError
from awaitly.observe.bus import Sink
from awaitly.persist.urls import store_from_url
from awaitly.runtime import Runtime
from awaitly.settings import Settings, read_settings

F = TypeVar("F", bound=Callable[..., Any])


def store_option(command: F) -> F:
    """Give a command the option ``--store``."""
    return click.option(
        "--store",
        metavar="URL",
        help="Where runs are stored; default: AWAITLY_STORE, awaitly.toml or sqlite:///awaitly.db.",
    )(command)


def settings_with(store: str | None) -> Settings:
    """Return the settings, with another store if one is given.

    Raises:
        ConfigurationError: ``invalid-setting``, with a line for each that does not fit.
    """
    return read_settings() if store is None else read_settings(store=store)


def runtime_on(
    store: str | None,
    sinks: Sequence[Sink] = (),
    workflows: Sequence[AnyWorkflow] = (),
    flags: Iterable[str] = (),
) -> Runtime:
    """Return a runtime on the chosen store, not opened yet. It executes what it is asked for and nothing else.

    Args:
        store: As given.
        sinks: Who is told what happens.
        workflows: What it knows.
        flags: Those that its run is given.
    """
    settings = settings_with(store)
    leave_log(settings)
    runtime = Runtime(settings, sinks=sinks, workflows=workflows, flags=GivenFlags(flags), recover=False)
    runtime.sends = "with others"  # what is left is sent when the result has been printed
    return runtime


def looking_runtime(store: str | None, workflows: Sequence[AnyWorkflow] = ()) -> Runtime:
    """Return a runtime on a store that is there already, which executes nothing: nobody watches it.

    Raises:
        StoreError: ``store-unavailable``, if it is a file that does not exist.
    """
    _check_exists(store)
    runtime = Runtime(settings_with(store), workflows=workflows, recover=False)
    runtime.sends = "nothing"
    return runtime


def existing_runtime(
    store: str | None,
    sinks: Sequence[Sink] = (),
    workflows: Sequence[AnyWorkflow] = (),
    flags: Iterable[str] = (),
) -> Runtime:
    """Return a runtime on a store that is there already: continuing runs does not make a database.

    Raises:
        StoreError: As above.
    """
    _check_exists(store)
    return runtime_on(store, sinks, workflows, flags)


def _check_exists(store: str | None) -> None:
    url = settings_with(store).store
    name = store_from_url(url).name
    file = Path(name.removeprefix("sqlite:///"))
    if name.startswith("sqlite:///") and not file.exists():
        raise StoreError(
            f"there is no {name} in {os.getcwd()}",
            hint="name the store with --store or AWAITLY_STORE; the first run makes it",
            code="store-unavailable",
        )


def shown_store(runtime: Runtime) -> str:
    """Return the store of a runtime as messages name it."""
    return store_from_url(runtime.settings.store).name
