"""The trace that a run began in, as its first fact has it: a W3C ``traceparent``."""

import re
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

_TRACEPARENT: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def traceparent_of(about: SpanContext) -> str:
    """Return what is stored of a span."""
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"


def context_of(traceparent: str) -> Context:
    """Return a context in which the span is current of which this was stored; an empty one if it is of none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is not None:
        trace, span, flags = (int(part, 16) for part in found.groups())
        about = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))
        if about.is_valid:
            return set_span_in_context(NonRecordingSpan(about), Context())
    return Context()
