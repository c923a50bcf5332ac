"""How the spans of runs, of calls and of their attempts begin, and what is known of them while they last."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, TracerProvider
from opentelemetry.util.types import AttributeValue

from awaitly.model import attributes as names
from awaitly.model.facts import Ending, StepRetrying

if TYPE_CHECKING:  # the SDK is not needed for spans of others
    from awaitly.observe.spans import PlainSpan, Subject

(CURRENT,) = trace.set_span_in_context(INVALID_SPAN, Context())  # the name under which a context has its span

_new = tuple.__new__


class RunSpan:
    """The span of a run, and of its calls that are under way."""

    __slots__ = ("about", "began", "calls", "context", "id", "lost", "recording", "span", "workflow")

    def __init__(self, run: str, workflow: str, span: Span, around: Context, began: float) -> None:
        self.id = run
        self.workflow = workflow
        self.span = span
        self.about = span.get_span_context()
        self.context = trace.set_span_in_context(span, around)
        self.recording = span.is_recording()
        self.calls: dict[str, CallSpan] = {}
        self.lost: CallSpan | None = None  # stands for all calls whose spans would not be sent
        self.began = began


class _Called(NamedTuple):
    """A call, as its span tells of it."""

    run: str
    workflow: str
    step: str
    call: str

    def name(self) -> str:
        return f"step {self.step}"

    def first(self) -> dict[str, AttributeValue]:
        return {
            names.RUN_ID: self.run, names.WORKFLOW: self.workflow, names.STEP: self.step, names.CALL: self.call
        }  # fmt: skip

    def last(self) -> dict[str, AttributeValue]:
        """Return what is known of a call that has taken one attempt to a value."""
        return {names.OUTCOME: Ending.VALUE.value}


class CallSpan:
    """The span of a call, and of its attempts."""

    __slots__ = ("attempts", "began", "context", "failed", "first", "is_lost", "open", "plain", "span")

    def __init__(self, span: Span, plain: "PlainSpan | None", around: Context) -> None:
        self.span = span
        self.plain = plain  # the same, if it is one
        self.is_lost = False  # it would not be sent, and stands for nothing but what is around it
        self.context = Context({**around, CURRENT: span})
        self.attempts = 0  # that have begun here
        self.first = 0  # the number of the first of them
        self.began = 0  # when it began
        self.failed: StepRetrying | None = None  # how it ended
        self.open: tuple[Span, ...] = ()  # of attempts under way


class Sender(Protocol):
    """What spans are handed to."""

    is_stuck: bool  # spans that begin now would not be sent

    def drop(self, spans: int) -> None:
        """Count spans that are lost."""


@runtime_checkable
class Brief(Protocol):
    """A tracer that can begin plain spans."""

    @property
    def sending(self) -> Sender:
        """Who sends them."""

    def begin(self, subject: "Subject", around: Context, parent: SpanContext, at: int) -> "PlainSpan | None":
        """Begin a plain span, if it may be one."""

    def lost(self, around: SpanContext) -> Span:
        """Return what takes the place of spans in another one that would not be sent."""


class Beginnings:
    """Begins spans.

    Args:
        provider: Makes them; default: the one that OpenTelemetry's API knows, also if it is set later.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._tracer = trace.get_tracer("awaitly", _version(), tracer_provider=provider)
        self._brief = self._tracer if isinstance(self._tracer, Brief) else None

    def run(self, run_id: str, workflow: str, around: Context, at: float, links: list[Link] | None = None) -> RunSpan:
        """Begin the span of a run."""
        about = {names.RUN_ID: run_id, names.WORKFLOW: workflow}
        span = self._tracer.start_span(
            f"workflow {workflow}", around, attributes=about, links=links, start_time=int(at * 1e9)
        )
        return RunSpan(run_id, workflow, span, around, at)

    def call(self, run: RunSpan, fact: Any, around: Context, at: int) -> CallSpan:
        """Begin the span of a call with its first fact."""
        brief = self._brief
        if brief is not None and brief.sending.is_stuck:
            return self._lost(brief, run, fact, around)
        subject = _new(_Called, (run.id, run.workflow, fact.step, fact.call))
        plain: PlainSpan | None = None
        if brief is not None:
            parent = run.about if around is run.context else trace.get_current_span(around).get_span_context()
            plain = brief.begin(subject, around, parent, at)
        span = plain or self._tracer.start_span(subject.name(), around, attributes=subject.first(), start_time=at)
        call = run.calls[fact.call] = CallSpan(span, plain, around)
        return call

    def _lost(self, brief: Brief, run: RunSpan, fact: Any, around: Context) -> CallSpan:
        """Return what stands for a call whose span would not be sent."""
        call = run.lost if around is run.context else None  # the body may have spans of its own around it
        if call is None:
            call = CallSpan(brief.lost(trace.get_current_span(around).get_span_context()), None, around)
            call.is_lost = True
            if around is run.context:
                run.lost = call
        run.calls[fact.call] = call
        return call

    def lose(self) -> None:
        """Count the span of a call as lost."""
        if self._brief is not None:
            self._brief.sending.drop(1)

    def attempt(self, run: RunSpan, call: CallSpan, step: str, attempt: int, at: int) -> Span:
        """Begin the span of one of several attempts of a call."""
        about: dict[str, AttributeValue] = {names.RUN_ID: run.id, names.STEP: step, names.ATTEMPT: attempt}
        span = self._tracer.start_span(f"attempt {step}", call.context, attributes=about, start_time=at)
        call.open += (span,)
        return span


def _version() -> str:
    try:
        return version("awaitly")
    except PackageNotFoundError:  # run from its source
        return ""
