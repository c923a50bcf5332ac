"""--store: the store that a command works on."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from awaitly.cli.targets import AnyWorkflow
from awaitly.errors import ConfigurationError, StoreError
from awaitly.model.state import RunRecord
from awaitly.observe.bus import Sink
from awaitly.persist.urls import store_from_url
from awaitly.runtime import Runtime
from awaitly.settings import Settings

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
    try:
        return Settings() if store is None else Settings(store=store)
    except ValidationError as error:
        problems = "".join(
            f"\n  {'.'.join(map(str, detail['loc']))}: {detail['msg']} (found {detail['input']!r})"
            for detail in error.errors(include_url=False)
        )
        raise ConfigurationError(
            f"awaitly's settings do not fit:{problems}",
            hint="they come from AWAITLY_* variables, .env, awaitly.toml and [tool.awaitly] in pyproject.toml",
            code="invalid-setting",
        ) from error


def runtime_on(store: str | None, sinks: Sequence[Sink] = ()) -> Runtime:
    """Return a runtime on the chosen store, not opened yet. It takes over nothing: it knows no workflow."""
    return Runtime(settings_with(store), sinks=sinks)


def know(runtime: Runtime, workflows: Sequence[AnyWorkflow]) -> None:
    """Let a runtime find workflows by name; ``Runtime(workflows=...)`` would also take over all their runs.

    Raises:
        CompileError: For workflows that do not compile.
    """
    for workflow in workflows:
        runtime._program(workflow)


def existing_runtime(store: str | None, sinks: Sequence[Sink] = ()) -> Runtime:
    """Return a runtime on a store that is there already: looking at runs does not make a database.

    Raises:
        StoreError: ``store-unavailable``, if it is a file that does not exist.
    """
    url = settings_with(store).store
    name = store_from_url(url).name
    file = Path(name.removeprefix("sqlite:///"))
    if name.startswith("sqlite:///") and not file.exists():
        raise StoreError(
            f"there is no {name} in {os.getcwd()}",
            hint="name the store with --store or AWAITLY_STORE; the first run makes it",
            code="store-unavailable",
        )
    return runtime_on(store, sinks)


def shown_store(runtime: Runtime) -> str:
    """Return the store of a runtime as messages name it."""
    return store_from_url(runtime.settings.store).name


async def record_of(runtime: Runtime, run_id: str) -> RunRecord:
    """Return the record of a run.

    Raises:
        RunNotFound: If there is none with this id.
    """
    return await runtime._record(run_id)
