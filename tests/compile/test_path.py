"""A recorded path fits a graph if each of its calls still has its place."""

from pathlib import Path
from typing import Any

import pytest

from awaitly.compile import graph_of
from awaitly.compile.path import Problem, check_path
from awaitly.model.graph import Graph
from tests.compile.written import body

BODY = """
async def helper(order: str) -> str:
    return await charge(order)

@workflow
async def child(order: str) -> str:
    return order

@workflow
async def body(order: str, flag: bool) -> None:
    await fetch(order)
    act = fetch if flag else charge
    await act(order)
    await helper(order)
    await child(order)
    await asyncio.gather(*map(fetch, order))
"""


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return graph_of(body(tmp_path, BODY))


def _only(recorded: tuple[str, str], graph: Graph) -> Problem:
    (problem,) = check_path([recorded, recorded], graph)
    return problem


@pytest.mark.parametrize(
    "recorded",
    [
        ("fetch#0", "fetch"),
        ("act#0", "fetch"),
        ("act#0", "charge"),
        ("helper:charge#0", "charge"),
        ("child#0", "child"),
        ("asyncio.gather#0", "fetch"),
        ("asyncio.gather#0>charge", "charge"),
        (">charge", "charge"),
    ],
)
def test_calls_that_have_their_place(graph: Graph, recorded: tuple[str, str]) -> None:
    assert check_path([recorded], graph) == ()


def test_a_place_that_calls_another_step_now(graph: Graph) -> None:
    problem = _only(("fetch#0", "charge"), graph)

    assert (problem.recorded, problem.found) == ("charge", "fetch")
    assert problem.position is not None
    assert problem.now == "the code now calls fetch there"


def test_a_place_that_is_gone(graph: Graph) -> None:
    problem = _only(("charge#7", "charge"), graph)

    assert problem.found is None
    assert problem.now == f"that call is gone from the code, which now calls charge at {problem.position}"


def test_a_step_that_is_gone(graph: Graph) -> None:
    for site in ("refund#0", "asyncio.gather#0>refund", "elsewhere#0>charge"):
        assert _only((site, site.partition(">")[2] or "refund"), graph).found is None
    assert _only(("refund#0", "refund"), graph).now == "the code has no such call any more"


def test_a_place_that_calls_no_step_any_more(graph: Graph) -> None:
    found: Any = _only(("asyncio.gather#0", "charge"), graph).found
    assert found == "fetch"


UNREAD = """
TABLE = {"a": fetch, "b": charge}

@workflow
async def body(order: str, flag: bool) -> None:
    await TABLE[order](order)
    act = fetch if flag else TABLE[order]
    await act(order)
    await asyncio.gather(*map(TABLE[order], order), *map(fetch, order))
    jobs = map(TABLE[order], order)
    await asyncio.gather(*jobs)
    await fetch(order)
"""


@pytest.mark.parametrize(
    "recorded",
    [
        ("TABLE[]#0", "charge"),
        ("act#0", "charge"),
        ("asyncio.gather#0", "charge"),
        ("asyncio.gather#1", "charge"),
        ("TABLE[]#0>charge", "charge"),
        (">charge", "charge"),
    ],
)
def test_any_step_fits_a_place_whose_callee_cannot_be_read(tmp_path: Path, recorded: tuple[str, str]) -> None:
    assert check_path([recorded], graph_of(body(tmp_path, UNREAD))) == ()


def test_the_places_that_were_read_are_checked_beside_one_that_was_not(tmp_path: Path) -> None:
    unread = graph_of(body(tmp_path, UNREAD))

    assert _only(("fetch#0", "charge"), unread).found == "fetch"
    assert _only(("elsewhere#0", "charge"), unread).found is None
    assert _only(("elsewhere#0>charge", "charge"), unread).found is None
