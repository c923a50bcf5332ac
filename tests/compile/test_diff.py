"""Differences between graphs are told in words, in the order of the source."""

from pathlib import Path

from awaitly.compile import graph_of
from awaitly.compile.diff import diff
from awaitly.model.graph import Graph
from tests.compile.written import HEADER, body, module

OLD = """
@workflow
async def body(order: str) -> str:
    await fetch(order)
    for _ in range(3):
        await charge(order)
    return await charge("last")
"""


def changes(folder: Path, old: str, new: str) -> list[str]:
    before, after = body(folder / "old", old, "shop"), body(folder / "new", new, "shop")
    return [str(change) for change in diff(graph_of(before), graph_of(after))]


def _places(lines: list[str]) -> list[str]:
    """Return the lines without the file, whose name every test makes anew."""
    return [line.partition(" (")[0] + line.partition(")")[2] if " (" in line else line for line in lines]


def test_equal_graphs_have_no_difference(tmp_path: Path) -> None:
    assert changes(tmp_path, OLD, "# moved\n\n" + OLD) == []


def test_a_new_and_a_lost_call(tmp_path: Path) -> None:
    new = OLD.replace("    await fetch(order)\n", "").replace('"last")', '"last") + await charge("more")')

    found = changes(tmp_path, OLD, new)

    assert _places(found) == [
        "step fetch is gone",
        "site charge#2 is new: charge, at the top",
        "site fetch#0 is gone: fetch, at the top",
    ]
    assert ".py:22)" in found[1]


def test_another_step_in_the_same_place(tmp_path: Path) -> None:
    old = "@workflow\nasync def body(a: bool) -> None:\n    act = fetch if a else charge\n    await act('a')\n"

    assert _places(changes(tmp_path, old, old.replace("fetch if a else charge", "charge if a else more"))) == [
        "step fetch is gone",
        "step more is new",
        "site act#0 changed: charge or fetch → charge or more",
    ]


def test_a_call_that_moved_into_other_structure(tmp_path: Path) -> None:
    new = OLD.replace("    await fetch(order)\n", "    if order:\n        await fetch(order)\n")

    assert _places(changes(tmp_path, OLD, new)) == ["site fetch#0 moved: at the top → inside if: order"]


def test_calls_in_another_order(tmp_path: Path) -> None:
    new = OLD.replace("    await fetch(order)\n", "").replace("    return", "    await fetch(order)\n    return")

    assert _places(changes(tmp_path, OLD, new)) == ["site charge#0 moved: it comes in another order"]


def test_what_changed_in_a_step_and_in_the_workflow(tmp_path: Path) -> None:
    before = module(tmp_path / "old", HEADER + OLD, "shop").body
    text = HEADER.replace("amount: int = 1", "amount: float = 1").replace("@step(errors", "@step(effect='once', errors")
    head = "@workflow(version='2', key='order:{order}')"
    after = module(tmp_path / "new", text + OLD.replace("@workflow", head), "shop").body

    assert [str(change) for change in diff(graph_of(before), graph_of(after))] == [
        "workflow body, version changed: none → 2",
        "workflow body, key changed: none → order:{order}",
        "step charge, effect changed: write → once",
        "step charge, parameters changed: order: str, amount: int → order: str, amount: float",
    ]


def test_graphs_that_were_stored_can_be_compared(tmp_path: Path) -> None:
    graph = graph_of(body(tmp_path, OLD))

    assert diff(Graph.model_validate_json(graph.model_dump_json()), graph) == ()
