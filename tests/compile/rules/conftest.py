"""Workflows whose comments say what the compiler finds: ``# code`` behind a line, and nothing elsewhere."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from awaitly.compile.bindings import bind_workflow
from awaitly.compile.diagnosis import diagnose
from awaitly.compile.following import read
from awaitly.compile.nodes import nodes_of
from awaitly.model.graph import Diagnostic

_MARK = re.compile(r"# ([a-z]+(?:-[a-z]+)+(?:, [a-z]+(?:-[a-z]+)+)*)$")


def _diagnosed(workflow: Any) -> tuple[Diagnostic, ...]:
    reading = read(workflow)
    return diagnose(reading, bind_workflow(reading), nodes_of(reading))


@pytest.fixture
def diagnosed() -> Callable[[Any], tuple[Diagnostic, ...]]:
    """Return what the compiler says about a workflow."""
    return _diagnosed


@pytest.fixture
def found() -> Callable[[Any], list[tuple[int, str]]]:
    """Return the lines and codes that the compiler reports."""
    return lambda workflow: sorted((d.position.line, d.code) for d in _diagnosed(workflow) if d.position)


@pytest.fixture
def marked() -> Callable[[Any], list[tuple[int, str]]]:
    """Return the lines and codes that the comments of a workflow, and of functions that it needs, announce."""

    def marks(*functions: Any) -> list[tuple[int, str]]:
        expected = []
        for function in functions:
            lines, first = inspect.getsourcelines(getattr(function, "fn", function))
            for number, line in enumerate(lines, start=first):
                if mark := _MARK.search(line.rstrip()):
                    expected += [(number, code) for code in mark[1].split(", ")]
        return sorted(expected)

    return marks
