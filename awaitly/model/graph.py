"""The compiled shape of a workflow: what ``compile`` makes, and what execution, pictures and checks read.

Serialisable, versioned, and free of anything that only lives in this process.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from awaitly.model.effects import Effect

GRAPH_FORMAT = 1


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # built when the first graph is


class Position(_Value):
    """A place in source text; lines from 1, columns in UTF-8 bytes from 0, as CPython counts them."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Severity(StrEnum):
    """How strong a diagnostic is."""

    ERROR = "error"
    WARNING = "warning"


class Diagnostic(_Value):
    """Something that the compiler found: what, where, and what to do instead."""

    code: str
    severity: Severity
    message: str
    hint: str
    position: Position | None = None

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        return f"{where}{self.severity.value}: {self.message} [{self.code}]"


class PolicySpec(_Value):
    """One policy around a step: its kind, which is its option; the name it is shared by; what it is about."""

    kind: str
    name: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options.items() if name != self.kind)
        only = self.options.get(self.kind, "")
        named = f" {self.name!r}" if self.name else ""
        return f"{self.kind}{named}{f' {only}' if only else ''}{f' ({options})' if options else ''}"


class VariantSpec(_Value):
    """A function that takes a step's place in runs for which a feature flag has a value."""

    step: str
    function: str
    flag: str
    default: bool | int | float | str = False
    when: bool | int | float | str = True
    policies: tuple[PolicySpec, ...] = ()


class StepSpec(_Value):
    """One step as this workflow uses it: its policies after settings, and its fingerprint."""

    name: str
    function: str  # module:qualname
    effect: Effect
    key: str | None = None
    timeout: float | None = None
    policies: tuple[PolicySpec, ...] = ()  # from the outside in
    variants: tuple[VariantSpec, ...] = ()
    errors: tuple[str, ...] = ()  # module:qualname of classes, or the text of a plain error type
    parameters: str = ""  # names and annotations as text
    result: str = "Any"  # the annotation as text
    blocking: bool = False  # a plain def: runs in a worker thread
    owner: str | None = None
    tags: tuple[str, ...] = ()
    fingerprint: str


class BudgetSpec(_Value):
    """The longest that a run can take, by the policies of its steps.

    ``seconds`` is the sum of ``terms``; what is ``unlimited`` comes on top, so that with it nobody knows the whole.
    """

    seconds: float = 0.0
    terms: tuple[str, ...] = ()
    unlimited: tuple[str, ...] = ()


class Argument(_Value):
    """Where an argument of a call comes from: ``source`` names call sites, parameters or literals."""

    name: str
    text: str
    sources: tuple[str, ...] = ()


class _Node(_Value):
    position: Position | None = None


class StepNode(_Node):
    """A call of a step. ``site`` is structural: ``function:step#n``, the n-th such call in that function."""

    kind: Literal["step"] = "step"
    site: str
    step: str
    arguments: tuple[Argument, ...] = ()
    awaited: bool = True
    attempt: bool = False  # called through .attempt(): a Result, never raises


class ChildNode(_Node):
    """A call of another workflow."""

    kind: Literal["child"] = "child"
    site: str
    workflow: str
    awaited: bool = True


class WaitNode(_Node):
    """``sleep``, ``timeout`` and what else waits durably, with what happens inside."""

    kind: Literal["wait"] = "wait"
    site: str
    style: str
    text: str = ""
    body: tuple["Node", ...] = ()


class BranchArm(_Value):
    """One way through a branch."""

    label: str
    body: tuple["Node", ...] = ()


class BranchNode(_Node):
    """``if``, ``match`` or a conditional expression."""

    kind: Literal["branch"] = "branch"
    style: Literal["if", "match", "conditional", "short-circuit"]
    text: str
    arms: tuple[BranchArm, ...]


class LoopNode(_Node):
    """``for``, ``async for``, ``while`` or a comprehension."""

    kind: Literal["loop"] = "loop"
    style: Literal["for", "async for", "while", "comprehension"]
    text: str
    body: tuple["Node", ...]
    orelse: tuple["Node", ...] = ()


class ParallelNode(_Node):
    """Branches at the same time. ``body`` holds one entry a branch that can be told apart in the source."""

    kind: Literal["parallel"] = "parallel"
    site: str
    style: str  # gather, settle, each, asyncio.gather, TaskGroup, create_task
    body: tuple["Node", ...]


class RaceNode(_Node):
    """The first branch to finish decides."""

    kind: Literal["race"] = "race"
    site: str
    body: tuple["Node", ...]


class TryHandler(_Value):
    """An ``except`` clause: the classes as ``module:qualname`` (``*`` for a bare one)."""

    catches: tuple[str, ...]
    body: tuple["Node", ...] = ()


class TryNode(_Node):
    """``try`` with its handlers."""

    kind: Literal["try"] = "try"
    body: tuple["Node", ...]
    handlers: tuple[TryHandler, ...] = ()
    orelse: tuple["Node", ...] = ()
    final: tuple["Node", ...] = ()


class HelperNode(_Node):
    """A call of a function of the same package that contains steps; ``body`` is empty where it recurses."""

    kind: Literal["helper"] = "helper"
    site: str
    function: str
    body: tuple["Node", ...] = ()
    recursive: bool = False


class ReturnNode(_Node):
    """The function ends here; ``text`` is the returned expression."""

    kind: Literal["return"] = "return"
    text: str = ""


class RaiseNode(_Node):
    """The function fails here."""

    kind: Literal["raise"] = "raise"
    text: str = ""


class OpaqueNode(_Node):
    """Something that the compiler could not see through, and why."""

    kind: Literal["opaque"] = "opaque"
    site: str
    text: str
    reason: str


Node: TypeAlias = Annotated[
    StepNode
    | ChildNode
    | WaitNode
    | BranchNode
    | LoopNode
    | ParallelNode
    | RaceNode
    | TryNode
    | HelperNode
    | ReturnNode
    | RaiseNode
    | OpaqueNode,
    Field(discriminator="kind"),
]


class Graph(_Value):
    """A workflow as compiled."""

    format: int = GRAPH_FORMAT
    workflow: str
    function: str  # module:qualname
    version: str | None = None
    key: str | None = None
    deadline: float | None = None
    retention: float | None = None  # seconds that ended runs are kept; None: for ever
    durable: bool = True
    parameters: tuple[tuple[str, str], ...] = ()  # name, annotation as text
    result: str = "Any"
    errors: tuple[str, ...] = ()  # what can leave the workflow as an expected failure
    steps: dict[str, StepSpec] = Field(default_factory=dict)
    children: tuple[str, ...] = ()
    body: tuple[Node, ...] = ()
    budget: BudgetSpec = BudgetSpec()
    sites: dict[str, str] = Field(
        default_factory=dict
    )  # every call site that can own an identity -> step, or other callee
    diagnostics: tuple[Diagnostic, ...] = ()
    fingerprint: str

    def walk(self) -> Iterator["Node"]:
        """Yield every node, parents first, in source order."""
        pending = list(reversed(self.body))
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(children_of(node)))


def children_of(node: "Node") -> tuple["Node", ...]:
    """Return the nodes directly inside ``node``, in source order."""
    match node:
        case BranchNode(arms=arms):
            return tuple(inner for arm in arms for inner in arm.body)
        case LoopNode(body=body, orelse=orelse):
            return body + orelse
        case TryNode(body=body, handlers=handlers, orelse=orelse, final=final):
            return body + tuple(inner for handler in handlers for inner in handler.body) + orelse + final
        case WaitNode(body=body) | ParallelNode(body=body) | RaceNode(body=body) | HelperNode(body=body):
            return body
        case _:
            return ()
