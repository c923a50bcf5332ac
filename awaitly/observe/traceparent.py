"""The trace that a run began in, as its first fact has it: a W3C ``traceparent``."""

from contextlib import suppress

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context


def traceparent_of(about: SpanContext) -> str:
    """Return what is stored of a span."""
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"


def context_of(traceparent: str) -> Context:
    """Return a context in which the span is current of which this was stored; an empty one if there was none."""
    parts = traceparent.split("-")
    with suppress(ValueError, IndexError):
        flags = TraceFlags(int(parts[3], 16))
        about = SpanContext(int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(about), Context())
    return Context()
