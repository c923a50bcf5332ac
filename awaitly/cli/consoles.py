"""Where the commands print: results to standard output, everything else to standard error."""

import json
from functools import cache
from typing import Any

from pydantic_core import PydanticSerializationError, to_json
from rich.console import Console

from awaitly.model.plain import jsonable

_WIDE = 160  # columns of what is no terminal


@cache
def stdout() -> Console:
    """Return the console of results."""
    return _console()


@cache
def stderr() -> Console:
    """Return the console of messages and progress: one for both, so that messages stay out of a live tree."""
    return _console(stderr=True)


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def print_json(value: Any) -> None:
    """Print a value as JSON; coloured for people only."""
    try:
        text = to_json(value, indent=2, fallback=str, inf_nan_mode="constants").decode()
    except PydanticSerializationError:  # text in it that is no valid Unicode
        text = json.dumps(jsonable(value), indent=2, ensure_ascii=False)
    console = stdout()
    if console.is_terminal:
        console.print_json(text, default=str)
    else:
        console.file.write(f"{text}\n")
