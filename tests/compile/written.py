"""Modules written to files by tests, and imported as a program would import them."""

import importlib.util
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

HEADER = """\
from __future__ import annotations
import asyncio
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow

class Declined(Exception): ...

@step
async def fetch(user: str) -> str: ...

@step
async def more(order: str) -> str: ...

@step(errors=Declined, key="charge:{order}")
async def charge(order: str, amount: int = 1) -> str: ...

"""

_numbers = count()


def module(folder: Path, text: str, name: str | None = None) -> ModuleType:
    """Write a module, import it, and return it; without a name, every call makes another one."""
    name = name or f"written_{next(_numbers)}"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def body(folder: Path, text: str, name: str | None = None) -> Any:
    """Return the workflow ``body`` of a module that consists of the common header and ``text``."""
    return module(folder, HEADER + text, name).body
