"""A graph bound to the functions that it was read from: what ``compile`` hands to ``execute``."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol

from awaitly.model.effects import Effect

if TYPE_CHECKING:
    from awaitly.model.graph import Graph


class ValueCodec(Protocol):
    """Writes the values of one annotation and restores them with the same types."""

    def roundtrip(self, value: Any) -> tuple[bytes, Any]:
        """Return the encoded value and what decoding it gives."""

    def decode(self, data: bytes) -> Any:
        """Return the value that ``data`` was made from."""


class InputCodec(Protocol):
    """Writes the arguments of one signature."""

    def fingerprint(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return a digest that is equal for equal arguments, however they were passed."""

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the arguments as bytes."""

    def own(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for their function alone: what it changes in them, its caller does not see."""

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments that ``data`` was made from."""


class Pipeline(Protocol):
    """The policies around a step's function, bound to their states."""

    def __call__(self, call: Callable[[], Awaitable[Any]], course: Any, /) -> Coroutine[Any, Any, Any]:
        """Return what the call gives, or raise its failure; ``course`` is what policies ask and tell."""


@dataclass(frozen=True, slots=True, eq=False)
class VariantBinding:
    """What takes a step's place in runs for which a feature flag has a value."""

    flag: str
    default: Any
    when: Any
    binding: "StepBinding"


@dataclass(frozen=True, slots=True, eq=False)
class StepBinding:
    """A step of a program: its function, its policies after settings, and how its values are stored."""

    name: str
    fn: Callable[..., Any]
    blocking: bool
    effect: Effect
    timeout: float | None
    errors: tuple[type[BaseException], ...]
    returns_result: bool  # annotated -> Result[T, E]: the body receives the T
    key: Callable[[tuple[Any, ...], dict[str, Any]], str] | None
    arguments: InputCodec
    result: ValueCodec
    failure: ValueCodec
    fingerprint: str
    on_ambiguous: str = "fail"
    verify: Callable[..., Awaitable[bool]] | None = None
    policies: Any = None  # as declared, or as settings changed them: awaitly.policies.pipeline.Policies
    pipeline: Pipeline | None = None  # of these, where there is more than a timeout; made by the runtime
    cache_key: Callable[[tuple[Any, ...], dict[str, Any]], str] | None = None  # where its cache has a template
    variants: tuple[VariantBinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """A call site that the compiler read: ``label`` is structural and unique in the program."""

    label: str
    where: str  # file:line, for messages only


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """The call sites of one function and of all code nested in it.

    ``by_end`` maps the end of a call expression (line, UTF-8 column) to its site; every call has its own closing
    parenthesis, so the end is unique. ``by_span`` goes before it: what calls without being a call (loops, managers,
    awaits, unpacking) has the span of a whole statement (line, column, end line, end column), and so the end of the
    last call in it. ``by_line`` serves a Python that runs without positions.
    """

    by_end: Mapping[tuple[int, int], Site]
    by_line: Mapping[int, tuple[Site, ...]]
    by_span: Mapping[tuple[int, int, int, int], Site] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Everything that execution needs to know about one workflow."""

    graph: "Graph"
    fn: Callable[..., Awaitable[Any]]
    errors: tuple[type[BaseException], ...]  # declared; empty: anything expected may leave
    returns_result: bool
    key: Callable[[tuple[Any, ...], dict[str, Any]], str] | None
    arguments: InputCodec
    result: ValueCodec
    failure: ValueCodec
    steps: Mapping[str, StepBinding]  # by step name
    code: Mapping[int, tuple[CodeType, Sites]]  # by id(code): the code is held so that the id stays its own
