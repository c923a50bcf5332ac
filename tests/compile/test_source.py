"""Source is read as CPython saw it, or the refusal says why it cannot be."""

import os
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from awaitly.compile import graph_of
from awaitly.compile.source import source_of
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import CompileError
from tests.compile.written import HEADER, module

ONE = """
@workflow
async def body(order: str) -> str:
    return await charge(order)
"""


def test_code_without_a_file_is_refused() -> None:
    names: dict[str, Any] = {"workflow": workflow, "__name__": "nowhere"}
    exec("@workflow\nasync def body() -> None: ...", names)

    with pytest.raises(CompileError, match=r"the source of body cannot be read \(<string>\)") as raised:
        graph_of(names["body"])
    assert raised.value.code == "no-source"
    assert "file" in str(raised.value.hint)


def _edited(folder: Path, text: str) -> Any:
    made = module(folder, HEADER + ONE)
    path = Path(str(made.__file__))
    path.write_text(text, encoding="utf-8")
    stat = path.stat()
    os.utime(path, (stat.st_atime, stat.st_mtime + 10))
    return made.body


@pytest.mark.parametrize(
    "text",
    [
        "\n" + HEADER + ONE,
        (HEADER + ONE).replace("charge(order)\n", "fetch(order)\n"),
        (HEADER + ONE).replace("body(order: str)", "body(other: str)"),
        (HEADER + ONE).replace("charge(order)\n", "charge('order')\n"),
        (HEADER + ONE).replace("return await", "return  await"),
        HEADER,
        HEADER + "def broken(:\n",
    ],
    ids=["moved", "other name", "other parameter", "other constant", "other columns", "gone", "broken"],
)
def test_a_file_that_was_changed_after_its_import_is_refused(tmp_path: Path, text: str) -> None:
    edited = _edited(tmp_path, text)

    with pytest.raises(CompileError) as raised:
        graph_of(edited)
    assert raised.value.code == "source-changed"


def test_a_file_that_was_changed_elsewhere_below_still_fits(tmp_path: Path) -> None:
    assert graph_of(_edited(tmp_path, HEADER + ONE + "\nsomething = 'else'\n")).workflow == "body"


def test_a_byte_order_mark_windows_lines_and_tabs_keep_positions(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + "@workflow\nasync def body(order: str) -> str:\n\t'é'; return await charge(order)\n"
    found = module(tmp_path, text.replace("\n", "\r\n")).body

    assert [node.kind for node in graph_of(found).walk()] == ["step", "return"]


def test_another_encoding_is_read_as_the_file_declares(tmp_path: Path) -> None:
    text = (
        "# -*- coding: latin-1 -*-\n"
        + HEADER
        + "@workflow\nasync def body() -> str:\n    'é'; return await charge('ü')\n"
    )
    made = module(tmp_path, "")
    path = Path(str(made.__file__)).with_name("latin.py")
    path.write_bytes(text.encode("latin-1"))
    found = module_at(path)

    assert [node.kind for node in graph_of(found.body).walk()] == ["step", "return"]


def module_at(path: Path) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_two_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    made = module(
        tmp_path,
        HEADER
        + "def make(flag):\n"
        + "    if flag:\n        @workflow\n        async def body(): await fetch('a')\n"
        + "    else:\n        @workflow\n        async def body(): await charge('a')\n"
        + "    return body\n"
        + "first, second = make(True), make(False)\n",
    )

    assert list(graph_of(made.first).steps) == ["fetch"]
    assert list(graph_of(made.second).steps) == ["charge"]


def test_two_lambdas_on_one_line_are_told_apart() -> None:
    pair: list[Any] = [lambda a: a + 1, lambda a: a + 2]

    assert [source_of(one).node.col_offset for one in pair] == [23, 40]


def test_workflows_that_a_factory_makes_are_each_read_with_their_closure(tmp_path: Path) -> None:
    made = module(
        tmp_path,
        HEADER
        + "def make(act):\n    @workflow\n    async def body(): await act('a')\n    return body\n"
        + "first, second = make(fetch), make(charge)\n",
    )

    assert list(graph_of(made.first).steps) == ["fetch"]
    assert list(graph_of(made.second).steps) == ["charge"]


def test_a_step_without_source_has_a_fingerprint() -> None:
    names: dict[str, Any] = {"step": step, "__name__": "nowhere"}
    exec("@step\ndef quick(a: int) -> int: return a", names)
    assert isinstance(names["quick"].fn, FunctionType)

    @workflow
    async def body() -> int:
        return await names["quick"](1)

    assert len(graph_of(body).fingerprint) == 16
