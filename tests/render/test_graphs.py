"""One graph with every kind of node, drawn in both ways."""

import re

import pytest

from awaitly.model.graph import (
    Argument,
    BranchArm,
    BranchNode,
    BudgetSpec,
    ChildNode,
    Effect,
    Graph,
    HelperNode,
    LoopNode,
    Node,
    OpaqueNode,
    ParallelNode,
    PolicySpec,
    RaceNode,
    RaiseNode,
    ReturnNode,
    StepNode,
    StepSpec,
    TryHandler,
    TryNode,
    VariantSpec,
    WaitNode,
)
from awaitly.render.mermaid import escaped, graph_mermaid
from awaitly.render.tree import graph_tree


def step(name: str) -> StepNode:
    return StepNode(site=f"{name}#0", step=name, arguments=(Argument(name="x", text="x"),))


def graph(*body: Node) -> Graph:
    spec = StepSpec(
        name="charge", function="shop:charge", effect=Effect.ONCE, key="c:{x}", timeout=90.0, errors=("shop:Declined",),
        fingerprint="f",
    )  # fmt: skip
    return Graph(
        workflow="checkout", function="shop:checkout", parameters=(("order", "Order"),), result="Receipt",
        steps={"charge": spec}, body=body, fingerprint="f",
    )  # fmt: skip


EVERYTHING = graph(
    step("charge"),
    BranchNode(style="if", text="x > 1", arms=(BranchArm(label="yes", body=(step("a"),)), BranchArm(label="no"))),
    LoopNode(style="for", text="for y in ys", body=(step("b"),), orelse=(step("c"),)),
    ParallelNode(site="gather#0", style="gather", body=(step("d"), ChildNode(site="pack#0", workflow="pack"))),
    RaceNode(site="race#0", body=(step("e"), WaitNode(site="sleep#0", style="sleep", text="sleep('1h')"))),
    TryNode(
        body=(step("f"),),
        handlers=(TryHandler(catches=("shop:Declined",), body=(RaiseNode(text="Late()"),)), TryHandler(catches=("*",))),
        final=(step("g"),),
    ),
    HelperNode(site="helper#0", function="shop:helper", body=(step("h"), ReturnNode(text="1"))),
    OpaqueNode(site="z#0", text='tools["z"]()', reason="made at run time"),
    ReturnNode(text="Receipt()"),
)

TREE = """\
checkout(order: Order) -> Receipt
├─ charge(x)
├─ if x > 1
│  ├─ yes
│  │  └─ a(x)
│  └─ no
├─ for y in ys
│  ├─ b(x)
│  └─ else
│     └─ c(x)
├─ gather  (at the same time)
│  ├─ d(x)
│  └─ workflow pack
├─ race  (the first to finish wins)
│  ├─ e(x)
│  └─ sleep('1h')
├─ try
│  ├─ f(x)
│  ├─ except Declined
│  │  └─ raise Late()
│  ├─ except anything
│  └─ finally
│     └─ g(x)
├─ helper()
│  ├─ h(x)
│  └─ return 1
├─ ? tools["z"]()  (made at run time)
└─ return Receipt()

charge  once, key c:{x}, fails with Declined
        timeout 1m30s"""


def test_a_graph_is_a_tree_of_text() -> None:
    assert graph_tree(EVERYTHING) == TREE


AROUND = (PolicySpec(kind="retry", options={"attempts": 3}), PolicySpec(kind="breaker", name="payments"))
FEWER = (AROUND[1], PolicySpec(kind="timeout", options={"timeout": "5s"}))
VARIED = StepSpec(
    name="charge", function="shop:charge", effect=Effect.READ, policies=AROUND, fingerprint="f",
    variants=(VariantSpec(step="charge_v2", function="shop:v2", flag="new", when=True, policies=FEWER),),
)  # fmt: skip


def test_a_step_that_is_called_often_is_explained_once() -> None:
    found = graph(step("charge"), step("charge"), step("plain")).model_copy(update={"steps": {"charge": VARIED}})

    assert graph_tree(found).splitlines()[1:] == [
        "├─ charge(x)",
        "├─ charge(x)",
        "└─ plain(x)",
        "",
        "charge  read",
        "        retry (attempts 3)",
        "        breaker 'payments'",
        "        charge_v2 instead, if flag new is True",
        "          timeout 5s",
        "          no retry",
    ]


def test_a_chart_has_a_box_for_what_lies_around_steps() -> None:
    found = graph(step("charge"), step("charge")).model_copy(update={"steps": {"charge": VARIED}})

    (box,) = (line for line in graph_mermaid(found).splitlines() if ":::note" in line)
    assert box.strip() == (
        "s0[\"charge: read<br>retry (attempts 3)<br>breaker 'payments'<br>"
        'charge_v2 instead, if flag new is True<br>timeout 5s<br>no retry"]:::note'
    )


@pytest.mark.parametrize(
    ("deadline", "budget", "lines"),
    [
        (30.0, BudgetSpec(seconds=50, terms=("a: 20s", "b: 30s")), ["at most 50s: a: 20s; b: 30s"]),
        (None, BudgetSpec(seconds=50, terms=("a: 50s",)), ["at most 50s: a: 50s"]),
        (None, BudgetSpec(seconds=5, terms=("a: 5s",), unlimited=("step b has no timeout",)), []),
        (
            30.0,
            BudgetSpec(seconds=5, terms=("a: 5s",), unlimited=("step b has no timeout",)),
            ["no limit but its deadline of 30s: step b has no timeout", "apart from that at most 5s: a: 5s"],
        ),
        (30.0, BudgetSpec(), []),
    ],
)
def test_the_time_of_a_run_is_said_where_it_has_a_deadline_or_is_known(
    deadline: float | None, budget: BudgetSpec, lines: list[str]
) -> None:
    found = graph(step("a")).model_copy(update={"steps": {}, "budget": budget, "deadline": deadline})

    assert graph_tree(found).splitlines()[2:] == (["", *lines] if lines else [])


LINE = re.compile(
    r"""flowchart\ TD
    | \s+ n\d+ (\(\["[^"]*"\]\) | \[\["[^"]*"\]\] | \["[^"]*"\] | \{\{"[^"]*"\}\} | \{"[^"]*"\}
              | \[/"[^"]*"\\\] | \[\\"[^"]*"/\] | \(\("[^"]*"\)\)) (:::\w+)?
    | \s+ s\d+\["[^"]*"\]:::note
    | \s+ n\d+\ (-->|-\.->)(\|"[^"]*"\|)?\ n\d+
    | \s+ subgraph\ (f\d+|steps)\["[^"]*"\]
    | \s+ end
    | \s+ classDef\ \w+\ [\w:\#,\ -]+""",
    re.VERBOSE,
)


def test_every_line_of_a_mermaid_chart_is_in_its_language() -> None:
    assert [line for line in graph_mermaid(EVERYTHING).splitlines() if not LINE.fullmatch(line)] == []


def test_every_arrow_of_a_mermaid_chart_joins_nodes_that_are_drawn() -> None:
    chart = graph_mermaid(EVERYTHING)
    nodes = set(re.findall(r"^\s+(n\d+)[(\[{]", chart, re.MULTILINE))
    ends = {end for pair in re.findall(r"(n\d+) -.*?-?> ?(?:\|.*\|)? ?(n\d+)", chart) for end in pair}

    assert ends <= nodes
    assert nodes <= ends


def arrows(chart: str) -> list[str]:
    """Return the arrows with the labels of the nodes."""
    names = dict(re.findall(r'^\s+(n\d+)[(\[{][^"\s]*"(.*?)"', chart, re.MULTILINE))
    found = re.findall(r'^\s+(n\d+) (-\S+>)(?:\|"(.*?)"\|)? (n\d+)$', chart, re.MULTILINE)
    return [f"{names[a]} {arrow}{f' {label}' if label else ''} {names[b]}" for a, arrow, label, b in found]


def test_both_arms_of_a_branch_meet_again() -> None:
    assert arrows(graph_mermaid(graph(EVERYTHING.body[1], step("z")))) == [
        "checkout --> x #62; 1",
        "x #62; 1 --> yes a",
        "a --> z",
        "x #62; 1 --> no z",
        "z --> end",
    ]


def test_a_loop_comes_back_to_its_head() -> None:
    assert arrows(graph_mermaid(graph(EVERYTHING.body[2]))) == [
        "checkout --> for y in ys",
        "for y in ys --> next b",
        "b -.-> for y in ys",
        "for y in ys --> done c",
        "c --> end",
    ]


def test_a_while_says_so() -> None:
    loop = graph(LoopNode(style="while", text="left > 0", body=(step("b"),)))

    assert graph_tree(loop).splitlines()[1] == "└─ while left > 0"
    assert 'n1{"while left #62; 0"}' in graph_mermaid(loop)


def test_branches_at_the_same_time_part_and_join() -> None:
    assert arrows(graph_mermaid(graph(EVERYTHING.body[3]))) == [
        "checkout --> gather", "gather --> d", "gather --> pack", "d --> all", "pack --> all", "all --> end",
    ]  # fmt: skip


def test_what_is_caught_goes_on_after_the_handler_and_what_is_raised_does_not() -> None:
    assert arrows(graph_mermaid(graph(EVERYTHING.body[5]))) == [
        "checkout --> try", "try --> f", "try --> except Declined raise Late()", "f --> g",
        "try --> except anything g", "g --> end",
    ]  # fmt: skip


def test_the_return_of_a_helper_leads_back_to_its_caller() -> None:
    assert "return 1 --> z" in arrows(graph_mermaid(graph(EVERYTHING.body[6], step("z"))))


def test_nothing_follows_a_return() -> None:
    assert arrows(graph_mermaid(graph(ReturnNode(text="1"), step("z")))) == ["checkout --> return 1"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('say "hi"', "say #34;hi#34;"),
        ("a < b & c > d", "a #60; b #38; c #62; d"),
        ("`tick` #1", "#96;tick#96; #35;1"),
        ("several\n   lines", "several lines"),
        ("", " "),
        ("x" * 80, "x" * 59 + "…"),
    ],
)
def test_labels_are_escaped(text: str, label: str) -> None:
    assert escaped(text) == label
