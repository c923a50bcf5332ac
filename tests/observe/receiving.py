"""A real OTLP receiver in the test process, and what it received in the words of the tests."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

LAST = "the last one"
PATIENCE = 20.0  # seconds until something that does not arrive is given up


@dataclass(frozen=True)
class Received:
    """A span as it arrived."""

    name: str
    id: str
    trace: str
    parent: str
    links: tuple[str, ...]
    starts: int
    ends: int
    status: str
    message: str
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...]
    kind: int


class Receiver:
    """Receives over HTTP on a free port of this machine, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._spans: list[Received] = []
        self._metrics: list[Metric] = []
        self._news = threading.Condition()

    def spans(self) -> list[Received]:
        """Return what was received since the last time, up to the span that is sent last."""
        with self._news:
            arrived = self._news.wait_for(lambda: any(span.name == LAST for span in self._spans), PATIENCE)
            assert arrived, f"only {[span.name for span in self._spans]} arrived"
            last = next(at for at, span in enumerate(self._spans) if span.name == LAST)
            found = self._spans[:last]
            del self._spans[: last + 1]
            return found

    def metric(self, name: str) -> Metric:
        """Return a metric of this name, once there is one."""
        with self._news:
            assert self._news.wait_for(lambda: any(metric.name == name for metric in self._metrics), PATIENCE)
            return next(metric for metric in self._metrics if metric.name == name)

    async def receive(self, ready: threading.Event, over: asyncio.Event) -> None:
        """Receive until it is over."""
        async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(self.port)) as tap:
            takers = [
                asyncio.create_task(self._take(tap.stream_traces(), self._spans, read)),
                asyncio.create_task(self._take(tap.stream_metrics(), self._metrics, lambda metric: metric)),
            ]
            await asyncio.sleep(0)  # they listen
            ready.set()
            await over.wait()
        await asyncio.gather(*takers)

    async def _take(self, stream: Any, into: list[Any], reading: Any) -> None:
        async for sent in stream:
            with self._news:
                into.append(reading(sent))
                self._news.notify_all()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Start a receiver, and stop it."""
    receiver, ready, loop = Receiver(), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(receiver.receive(ready, over),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield receiver
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def read(sent: Sent) -> Received:
    """Return a span in the words of the tests."""
    return Received(
        name=sent.name,
        id=sent.span_id.hex(),
        trace=sent.trace_id.hex(),
        parent=sent.parent_span_id.hex(),
        links=tuple(link.trace_id.hex() for link in sent.links),
        starts=sent.start_time_unix_nano,
        ends=sent.end_time_unix_nano,
        status={0: "", 1: "OK", 2: "ERROR"}[sent.status.code],
        message=sent.status.message,
        attributes=values(sent.attributes),
        events=tuple((event.name, values(event.attributes)) for event in sent.events),
        kind=sent.kind,
    )


def values(pairs: Sequence[Any]) -> dict[str, Any]:
    """Return attributes as a mapping."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def tree(spans: Sequence[Received]) -> list[str]:
    """Return the names of spans in the order of their beginnings, each below its parent by two blanks more.

    In virtual time several begin at once: these are in the order of their ends, and then of their names, as they arrive
    in any.
    """
    known = {span.id for span in spans}

    def below(parent: str, depth: int) -> Iterator[str]:
        for span in sorted(spans, key=lambda span: (span.starts, span.ends, span.name)):
            if (span.parent if span.parent in known else "") == parent:
                yield "  " * depth + span.name
                yield from below(span.id, depth + 1)

    return list(below("", 0))
