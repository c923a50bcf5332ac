"""Compiling gives a program that execution can run from, or one error that says everything that is wrong."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from awaitly.compile import bind_step, compile_workflow, graph_of
from awaitly.errors import CompileError
from awaitly.model.graph import Graph
from tests.compile.written import HEADER, body, module

BODY = """
async def helper(order: str) -> str:
    one = lambda: charge(order)
    return await one()

@workflow(key="order:{order}", deadline="5m", errors=Declined)
async def body(order: str, count: int = 3) -> str:
    await fetch(order)
    return await helper(order)
"""


def test_a_program_has_the_bindings_and_the_code_of_everything_that_was_read(tmp_path: Path) -> None:
    made = module(tmp_path, HEADER + BODY)
    program = compile_workflow(made.body)

    assert program.fn is made.body.fn
    assert sorted(program.steps) == ["charge", "fetch"]
    assert program.steps["charge"].fn is made.charge.fn
    assert program.errors == (made.Declined,)
    assert program.key is not None
    assert program.key(("7",), {}) == "order:7"
    assert {code.co_name for code, _ in program.code.values()} == {"body", "helper", "<lambda>"}
    assert all(key == id(code) for key, (code, _) in program.code.items())


def test_a_graph_says_what_the_workflow_declares(tmp_path: Path) -> None:
    graph = graph_of(body(tmp_path, BODY))

    assert (graph.workflow, graph.key, graph.deadline, graph.durable) == ("body", "order:{order}", 300, True)
    assert graph.parameters == (("order", "str"), ("count", "int"))
    assert graph.result == "str"
    assert [error.rpartition(":")[2] for error in graph.errors] == ["Declined"]
    assert graph.sites == {"fetch#0": "fetch", "helper#0": "helper", "helper:charge#0": "charge", "helper:one#0": "one"}
    assert graph.steps["charge"].key == "charge:{order}"
    assert graph.steps["charge"].parameters == "order: str, amount: int"


def test_a_graph_survives_json(tmp_path: Path) -> None:
    graph = graph_of(body(tmp_path, BODY))

    assert Graph.model_validate_json(graph.model_dump_json()) == graph


def test_a_workflow_is_compiled_once(tmp_path: Path) -> None:
    found = body(tmp_path, BODY)

    assert compile_workflow(found) is compile_workflow(found)
    assert compile_workflow(found.options(id="x")) is compile_workflow(found)
    assert graph_of(found) is compile_workflow(found).graph


def test_what_was_compiled_goes_with_its_function(tmp_path: Path) -> None:
    made = module(
        tmp_path, HEADER + "def make():\n    @workflow\n    async def body(): await fetch('a')\n    return body\n"
    )
    found = made.make()
    compile_workflow(found)
    alive = weakref.ref(found.fn)
    del found
    gc.collect()

    assert alive() is None


def test_settings_change_bindings_and_the_graphs_policies_but_no_fingerprint(tmp_path: Path) -> None:
    found = body(tmp_path, BODY)
    plain = compile_workflow(found)
    slow = compile_workflow(found, override=lambda binding: replace(binding, timeout=60.0))

    assert slow.steps["charge"].timeout == slow.graph.steps["charge"].timeout == 60.0
    assert slow.graph.fingerprint == plain.graph.fingerprint
    assert plain.graph.steps["charge"].timeout is None
    assert slow.code is plain.code


def test_every_error_is_in_one_refusal(tmp_path: Path) -> None:
    found = body(
        tmp_path, BODY.replace("order:{order}", "order:{nobody}").replace("order: str, count", "order: open, count")
    )

    graph = graph_of(found)
    errors = [diagnostic for diagnostic in graph.diagnostics if diagnostic.severity.value == "error"]
    with pytest.raises(CompileError) as raised:
        compile_workflow(found)
    assert list(raised.value.diagnostics) == errors
    assert raised.value.code == errors[0].code
    for error in errors:
        assert error.message in str(raised.value)
        assert error.hint in str(raised.value)
        assert str(error.position) in str(raised.value)


def test_a_step_is_bound_by_itself(tmp_path: Path) -> None:
    made = module(tmp_path, HEADER)
    binding = bind_step(made.charge)

    assert (binding.name, binding.blocking, binding.errors) == ("charge", False, (made.Declined,))
