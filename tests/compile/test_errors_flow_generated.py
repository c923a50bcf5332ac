"""Error flow against Python itself: whatever escapes from a generated body was announced."""

import asyncio
import linecache
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awaitly.compile.errors_flow import ErrorFlow
from awaitly.compile.escapes import is_expected
from awaitly.compile.following import read
from awaitly.declare.combinators import gather, settle  # noqa: F401 - the generated text names them
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import Failure


class A(Failure):
    pass


class A1(A):
    pass


class B(Failure):
    pass


class C(Failure):
    pass


@step(errors=A)
async def one() -> None: ...


@step(errors=(A1, B))
async def two() -> None: ...


@step(errors=C)
async def three() -> None: ...


RAISES: dict[str, tuple[type[Failure] | None, ...]] = {
    "one": (None, A, A1),
    "two": (None, A1, B),
    "three": (None, C),
}
CLASSES = ["A", "A1", "B", "C", "Failure", "(A1, B)", "(A, C)"]

Lines = list[str]
calls = st.sampled_from(
    [
        "await one()",
        "await two()",
        "await three()",
        "await gather(one(), two())",
        "await settle(one(), two())",
        "tasks = [one(), three()]; await settle(*tasks)",
        "task = two(); await task",
    ]
).map(lambda line: [line])
helping = st.just(["await helper()"])
raising = st.sampled_from(["raise A1", "raise B()", "raise C() from None"]).map(lambda line: [line])


def indented(lines: Lines) -> Lines:
    return [f"    {line}" for line in lines]


def joined(parts: list[Lines]) -> Lines:
    return [line for part in parts for line in part]


@st.composite
def handlers(draw: Any, block: Any, star: bool = False) -> Lines:
    lines: Lines = []
    for caught in draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2, unique=True)):
        again = [["raise"], ["raise error"], ["raise C() from error"], ["if decide(): raise"]]
        body = draw(st.one_of(st.sampled_from(again), block))
        lines += [f"except {caught} as error:", *indented(body)]
    return lines


@st.composite
def tries(draw: Any, block: Any) -> Lines:
    lines = ["try:", *indented(draw(block)), *draw(handlers(block))]
    if draw(st.booleans()):
        lines += ["else:", *indented(draw(block))]
    if draw(st.integers(0, 3)) == 0:
        lines += ["finally:", *indented(draw(st.one_of(block, st.just(["return"]))))]
    return lines


def compound(block: Any) -> Any:
    return st.one_of(
        tries(block),
        st.tuples(st.sampled_from(CLASSES), block).map(
            lambda pair: [f"with suppress({pair[0].strip('()')}):", *indented(pair[1])]
        ),
        block.map(lambda body: ["if decide():", *indented(body)]),
        block.map(lambda body: ["for _ in range(2):", *indented(body)]),
        st.lists(block, min_size=2, max_size=3).map(joined),
    )


blocks = st.recursive(st.one_of(calls, calls, helping, raising), compound, max_leaves=12)
numbers = count()


def made(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run source text that stays readable under a file name of its own."""
    file = f"<generated {next(numbers)}>.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names


def program(body: Lines, helper: Lines) -> str:
    return "\n".join(
        [
            "from contextlib import suppress",
            "async def helper():",
            *indented(helper),
            "async def main():",
            *indented(body),
            "",
        ]
    )


def announced(source: str) -> tuple[type[BaseException], ...]:
    names = made(source, {**globals(), "decide": lambda: True, "__name__": "generated"})
    flow = ErrorFlow(read(workflow(names["main"])))
    return tuple(escape.cls for escape in flow.leaving() if is_expected(escape))


def escaped(source: str, decide: Callable[[int], int]) -> BaseException | None:
    def fake(name: str) -> Callable[[], Any]:
        async def call() -> None:
            choices = RAISES[name]
            if error := choices[decide(len(choices))]:
                raise error

        return call

    async def in_turn(*awaitables: Any) -> None:
        results = await all_settled(*awaitables)
        for error in filter(None, results):
            raise error

    async def all_settled(*awaitables: Any) -> list[Any]:
        return list(await asyncio.gather(*awaitables, return_exceptions=True))

    fakes = {name: fake(name) for name in RAISES}
    names = {**globals(), **fakes, "gather": in_turn, "settle": all_settled, "decide": lambda: bool(decide(2))}
    main = made(source, names)["main"]
    try:
        asyncio.run(main())
    except Failure as error:
        return error
    return None


def decisions(numbers: list[int]) -> Callable[[int], int]:
    stream: Iterator[int] = iter(numbers)
    return lambda limit: next(stream, 0) % limit


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks, st.one_of(calls, raising, tries(calls)), st.lists(st.lists(st.integers(0, 5)), min_size=8, max_size=8))
def test_whatever_escapes_was_announced(body: Lines, helper: Lines, trials: list[list[int]]) -> None:
    source = program(body, helper)
    classes = announced(source)

    for trial in trials:
        error = escaped(source, decisions(trial))
        assert error is None or isinstance(error, classes), source
