"""Call sites against Python itself: in generated bodies, every call finds the label of its own place."""

import ast
import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from awaitly.declare.host import HOST
from tests.compile.frames import Recorder
from tests.compile.written import HEADER, module


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


# Each @ becomes a number of its own. The value of every expression is a number.
expressions = st.recursive(
    st.sampled_from(["0", "await fetch(@)", "await charge.attempt(\n@,\n)", "await (fetch)(@ , *(1,))"]),
    lambda inner: st.one_of(
        st.builds("await fetch(@, {})".format, inner),
        st.builds("await charge(\n    @,\n    {},\n    b={})".format, inner, inner),
        st.builds("({} +\n {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("len([{} for _ in range(2) if {}])".format, inner, inner),
        st.builds("len({{x: {} for x in range({} % 2 + 1)}})".format, inner, inner),
        st.builds("max([\n{}])".format, inner),
        st.builds("await (lambda é: fetch(@, é))({})".format, inner),
        st.builds('len(f"""é{{{}}} {{{}!r}}""")'.format, inner, inner),
        st.builds("sum(await asyncio.gather(*(fetch(@ , x) for x in range({} % 3))))".format, inner),
        st.builds("(await asyncio.gather(fetch(@), charge(@, {})))[\n0]".format, inner),
        st.builds("'é'.join(str({})).__len__(\n).__add__({})".format, inner, inner),
        st.builds("(n := {})".format, inner),
    ),
    max_leaves=6,
)
statements = st.recursive(
    st.builds("{}".format, expressions),
    lambda inner: st.one_of(
        st.builds("if {}:\n    {}\nelse: {}".format, expressions, inner.map(_indented), expressions),
        st.builds("for x in range({} % 3):\n    {}".format, expressions, inner.map(_indented)),
        st.builds(
            "try:\n    {}\nfinally:\n    {}".format,
            inner.map(_indented),
            inner.map(_indented),
        ),
        st.builds(
            "async def one(a):\n    {}\n    return {}\nawait one({})".format,
            inner.map(_indented),
            expressions,
            expressions,
        ),
        st.builds("x = {}; y = {}".format, expressions, expressions),
    ),
    max_leaves=4,
)


def _expected(text: str) -> dict[int, str]:
    """Return the label of each numbered call: its rank among the calls of its step, by where they end."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.args]
    calls.sort(key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
    labels: dict[int, str] = {}
    counts = {"fetch": 0, "charge": 0}
    for node in calls:
        name = ast.unparse(node.func).removesuffix(".attempt")
        if name in counts and isinstance(node.args[0], ast.Constant):
            labels[node.args[0].value] = f"{name}#{counts[name]}"
            counts[name] += 1
    return labels


def _is_valid(source: str) -> bool:
    try:
        compile(source, "generated", "exec")
    except SyntaxError:  # an assignment expression where none may be; before 3.12, quotes inside quotes
        return False
    return True


class Numbered(Recorder):
    """Notes the label of each numbered call."""

    def __init__(self, workflow: Any) -> None:
        super().__init__(workflow)
        self.found: dict[int, set[str | None]] = {}

    def step(self, step: Any, args: Any, kwargs: Any, frame: Any, *, attempt: bool) -> Any:
        made = super().step(step, (1,), kwargs, frame, attempt=attempt)
        self.found.setdefault(args[0], set()).add(self.labels[-1])
        return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(statements, min_size=1, max_size=4))
def test_every_call_has_the_label_of_its_place(folder: Path, body: list[str]) -> None:
    numbers = count()
    text = "".join(str(next(numbers)) if sign == "@" else sign for sign in "\n".join(body)).replace("\n", "\n    ")
    source = f"{HEADER}@workflow\nasync def body():\n    {text}\n"
    assume(_is_valid(source))
    workflow = module(folder, source).body
    recorder = Numbered(workflow)

    async def main() -> None:
        HOST.set(recorder)  # type: ignore[arg-type]  # what the bodies ask of a host
        await workflow.fn()

    asyncio.run(main())
    expected = _expected(source.rpartition("@workflow")[2])
    assert recorder.found == {number: {expected[number]} for number in recorder.found}
