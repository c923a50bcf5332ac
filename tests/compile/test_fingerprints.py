"""Fingerprints change with what a recorded run could notice, and with nothing else."""

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awaitly.compile import graph_of
from awaitly.compile.fingerprints import normal_text
from tests.compile.written import HEADER, body, module

BODY = """
async def helper(order: str) -> str:
    return await charge(order, 2)

@workflow
async def body(order: str, count: int = 3) -> str:
    total = 0
    for number in range(count):
        total += number
        await fetch(f"{order}-{number!r:>10}")
    if total > 1_000 and order in ("a", 'b'):
        return await helper(order)
    return await charge(order)
"""

SAME = {
    "comments": BODY.replace("    total = 0", "    # what it costs\n    total = 0  # so far"),
    "a docstring": BODY.replace("    total = 0", '    """Check out."""\n    total = 0'),
    "moved lines": "\n\n\nunrelated = 1\n\n" + BODY,
    "quotes and parentheses": BODY.replace("('a', 'b')", '(("a"), ("b"))').replace("(\"a\", 'b')", "('a', 'b',)"),
    "number spelling": BODY.replace("1_000", "1000"),
    "broken lines": BODY.replace("fetch(f", "fetch(\n            f").replace('>10}")', '>10}",\n        )'),
    "quoted annotations": BODY.replace("order: str", 'order: "str"').replace("-> str", "-> 'str'"),
    "annotated locals": BODY.replace("    total = 0", "    total: int = 0"),
    "a bare annotation": BODY.replace("    total = 0", "    number: int\n    total = 0"),
    "unrelated code": BODY + "\n@workflow\nasync def other() -> None:\n    await fetch('x')\n",
    "the workflow's policies": BODY.replace("@workflow\n", "@workflow(deadline='5m', tags=('a',))\n"),
    "pass": BODY.replace("    total = 0", "    total = 0\n    pass"),
    "joined strings": BODY.replace('f"{order}-{', 'f"{order}" "-" f"{'),
}

OTHER = {
    "another step": BODY.replace("return await charge(order)\n", "return await fetch(order)\n"),
    "another order": BODY.replace("    total = 0\n", "    total = 0\n    await charge('first')\n"),
    "another condition": BODY.replace("total > 1_000", "total > 1_001"),
    "another argument": BODY.replace("charge(order, 2)", "charge(order, 3)"),
    "a helper's structure": BODY.replace(
        "    return await charge(order, 2)", "    if order:\n        return await charge(order, 2)\n    return ''"
    ),
    "another parameter": BODY.replace("count: int = 3", "count: int = 4"),
    "another type": BODY.replace("count: int = 3", "count: float = 3"),
    "True for 1": BODY.replace("charge(order, 2)", "charge(order, True)"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_graphs_fingerprint_does_not_depend_on(tmp_path: Path, text: str) -> None:
    assert text != BODY
    assert graph_of(body(tmp_path, text)).fingerprint == graph_of(body(tmp_path, BODY)).fingerprint


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_the_graphs_fingerprint_depends_on(tmp_path: Path, text: str) -> None:
    assert text != BODY
    assert graph_of(body(tmp_path, text)).fingerprint != graph_of(body(tmp_path, BODY)).fingerprint


def _step(folder: Path, old: str, new: str) -> str:
    text = HEADER + "@workflow\nasync def body() -> None:\n    await charge('a')\n"
    assert old in text
    graph = graph_of(module(folder, text.replace(old, new, 1)).body)
    return f"{graph.steps['charge'].fingerprint} {graph.fingerprint}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("amount: int = 1) -> str: ...", "amount: int = 1) -> str:\n    return order * amount"),
        ("errors=Declined", "timeout='5s', errors=Declined"),
        ("errors=Declined", "errors=(Declined,)"),
        ("async def charge(order: str", "async def charge(order: 'str'"),
        ("async def charge", "\n\nasync def charge"),
        ("amount: int = 1", "amount: int = 2"),
    ],
    ids=["body", "timeout", "a tuple of one", "quotes", "lines", "default"],
)
def test_a_steps_fingerprint_does_not_depend_on(tmp_path: Path, old: str, new: str) -> None:
    assert _step(tmp_path, old, new) == _step(tmp_path, old, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("amount: int", "amounts: int"),
        ("amount: int", "amount: float"),
        ("amount: int = 1) -> str", "amount: int = 1) -> bytes"),
        ("errors=Declined", "errors=(Declined, ValueError)"),
        ('key="charge:{order}"', 'key="pay:{order}"'),
        ("@step(errors", "@step(effect='once', errors"),
    ],
    ids=["parameter", "annotation", "result", "errors", "key", "effect"],
)
def test_a_steps_fingerprint_and_its_workflows_depend_on(tmp_path: Path, old: str, new: str) -> None:
    step, graph = _step(tmp_path, old, new).split()
    same_step, same_graph = _step(tmp_path, old, old).split()
    assert step != same_step
    assert graph != same_graph


def test_literal_annotations_keep_their_strings() -> None:
    assert _normal("def f(a: Literal['x']): ...") != _normal("def f(a: Literal[x]): ...")
    assert _normal("def f(a: 'list[\"Order\"]'): ...") == _normal("def f(a: list[Order]): ...")
    assert _normal("def f(a: Annotated['int', 'x']): ...") == _normal("def f(a: Annotated[int, 'x']): ...")


def test_fingerprints_are_the_same_on_every_python(tmp_path: Path) -> None:
    """The literal was computed on 3.11; every version that runs this test must agree."""
    graph = graph_of(body(tmp_path, BODY))

    assert (graph.fingerprint, graph.steps["charge"].fingerprint) == (GRAPH, CHARGE)


GRAPH, CHARGE = "4611aaf39fb02fcf", "5d5f86ead3b705bd"

names = st.sampled_from(["a", "b", "order"])
constants = st.one_of(st.integers(0, 9), st.text("é'\"\\\n{}x", max_size=3), st.floats(0, 1), st.booleans(), st.none())
expressions = st.recursive(
    st.one_of(names, constants.map(repr)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "and", "if x else", "==", "in"]), inner)
        .map(" ".join)
        .map("({})".format),
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(inner, max_size=3).map(lambda parts: f"f({', '.join(parts)})"),
        inner.map(lambda part: f"(lambda x: {part})"),
        inner.map(lambda part: f"[x for x in {part} if x]"),
    ),
    max_leaves=8,
)


def _normal(text: str) -> str:
    node: Any = ast.parse(text).body[0]
    return normal_text(node)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(names, expressions), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_formatting_never_changes_the_text_that_is_digested(lines: list[tuple[str, str]], random: Any) -> None:
    plain = "async def body(order):\n" + "".join(f"    {name} = {value}\n" for name, value in lines)
    odd = "\n# a comment\nasync  def body (order ,):\n  'words'\n" + "".join(
        f"  {name}  =  (\n {value}{random.choice(['', ' # more', chr(10)])}\n)\n" for name, value in lines
    )

    assert _normal(odd) == _normal(plain) == _normal(ast.unparse(ast.parse(plain)))
