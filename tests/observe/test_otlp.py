"""Sending by OTLP: where to, what goes along, and endpoints that are not well."""

import asyncio
import re
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from awaitly import Ok, Runtime, step, workflow
from awaitly.errors import ConfigurationError, NotSupported
from awaitly.model.facts import Ending, Fact, StepFinished
from awaitly.model.notice import Notice
from awaitly.observe.metrics import Metrics
from awaitly.observe.otlp import providers
from awaitly.observe.sending import dropped
from awaitly.observe.tracing import Tracing
from awaitly.settings import Settings
from awaitly.settings.tables import OtlpSettings
from tests.docs.blocks import ROOT, Block, blocks_of
from tests.observe.receiving import LAST, Receiver, free_port, receiving, values

PATIENCE = 20.0  # seconds until something that does not arrive is given up


class Request(NamedTuple):
    """What a collector got."""

    path: str
    headers: dict[str, str]
    resource: dict[str, Any]
    spans: list[str]
    temporality: str = ""  # of a counter

    @property
    def service(self) -> Any:
        return self.resource["service.name"]


def request(path: str, headers: Any, sent: ExportTraceServiceRequest) -> Request:
    (made,) = sent.resource_spans
    spans = [span.name for span in made.scope_spans[0].spans]
    return Request(path, dict(headers), values(made.resource.attributes), spans)


def measured(path: str, headers: Any, sent: ExportMetricsServiceRequest) -> Request:
    (made,) = sent.resource_metrics
    (metric,) = made.scope_metrics[0].metrics
    temporality = AggregationTemporality.Name(metric.sum.aggregation_temporality)
    return Request(path, dict(headers), values(made.resource.attributes), [], temporality)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS", "PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


@pytest.fixture
def over_http() -> Iterator[tuple[str, "Queue[Request]"]]:
    """A collector that keeps what it gets with its headers: its URL, and what it got."""
    got: Queue[Request] = Queue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.endswith("/v1/traces"):
                got.put(request(self.path, self.headers, ExportTraceServiceRequest.FromString(body)))
            else:
                got.put(measured(self.path, self.headers, ExportMetricsServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


@pytest.fixture
def over_grpc() -> Iterator[tuple[str, "Queue[Request]"]]:
    """The same over gRPC."""
    got: Queue[Request] = Queue()

    class Collector(TraceServiceServicer):
        def Export(self, sent: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 - gRPC's
            got.put(request("", context.invocation_metadata(), sent))
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", got
    server.stop(None).wait()


def send(to: OtlpSettings) -> None:
    """Send one span."""
    exporting = providers(to)
    assert exporting.traces is not None
    exporting.traces.get_tracer("tests").start_span("hello").end()
    assert exporting.shutdown(PATIENCE)


def test_spans_go_to_the_endpoint_with_headers_and_the_name_of_the_service(over_http: Any) -> None:
    url, got = over_http

    send(OtlpSettings(endpoint=f"{url}/otlp/", headers="X-Api-Key=s%3Dcret, tenant=basel", service_name="checkout"))

    sent = got.get(timeout=PATIENCE)
    assert (sent.path, sent.service, sent.spans) == ("/otlp/v1/traces", "checkout", ["hello"])
    assert (sent.headers["x-api-key"], sent.headers["tenant"]) == ("s=cret", "basel")


def test_the_same_over_grpc(over_grpc: Any) -> None:
    url, got = over_grpc

    send(OtlpSettings(endpoint=url, protocol="grpc", headers="X-Api-Key=s%3Dcret", service_name="checkout"))

    sent = got.get(timeout=PATIENCE)
    assert (sent.service, sent.spans, sent.headers["x-api-key"]) == ("checkout", ["hello"], "s=cret")


def test_what_is_not_given_is_taken_from_the_standard_variables(
    over_http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = over_http
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "tenant=basel")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "billing")

    send(OtlpSettings())

    sent = got.get(timeout=PATIENCE)
    assert (sent.path, sent.service, sent.headers["tenant"]) == ("/v1/traces", "billing", "basel")


def test_the_standard_variable_of_the_protocol_counts_too(over_grpc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, got = over_grpc
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")

    send(OtlpSettings(endpoint=url))

    assert got.get(timeout=PATIENCE).spans == ["hello"]


def test_metrics_go_there_as_well(receiver: Receiver) -> None:
    exporting = providers(OtlpSettings(endpoint=receiver.endpoint))
    assert exporting.metrics is not None
    exporting.metrics.get_meter("tests").create_counter("greetings").add(3)
    assert exporting.shutdown(PATIENCE)

    (point,) = receiver.metric("greetings").sum.data_points
    assert point.as_int == 3


def test_what_is_asked_of_a_runtime_is_sent_at_its_end_too() -> None:
    async def story(settings: Settings) -> None:
        async with Runtime(settings):
            pass

    with receiving() as receiver:
        asyncio.run(story(Settings(store="memory://", otlp=OtlpSettings(endpoint=receiver.endpoint))))
        (point,) = receiver.metric("awaitly.runs.queued").gauge.data_points

    assert point.as_int == 0


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_tracing_of_ones_own_makes_spans_where_awaitly_would_unless_it_has_a_provider(elsewhere: bool) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def enrich(span: Span, fact: Fact) -> None:
        span.set_attribute("team", "orders")

    async def story(settings: Settings) -> None:
        tracing = Tracing(provider if elsewhere else None, enrich=enrich)
        async with Runtime(settings, watchers=[tracing]) as rt:
            (await rt.run(greeting, "you")).unwrap()
            assert rt.watching is not None
            assert rt.watching.exporting is not None
            assert rt.watching.exporting.traces is not None
            rt.watching.exporting.traces.get_tracer("tests").start_span(LAST).end()

    with receiving() as receiver:
        asyncio.run(story(Settings(store="memory://", otlp=OtlpSettings(endpoint=receiver.endpoint))))
        sent = {span.name: span.attributes.get("team") for span in receiver.spans()}

    mine = {span.name: (span.attributes or {}).get("team") for span in exporter.get_finished_spans()}
    whole = {"step greet": "orders", "workflow greeting": "orders"}
    assert (sent, mine) == (({}, whole) if elsewhere else (whole, {}))


def test_a_signal_whose_exporter_is_none_is_not_made(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    exporting = providers(OtlpSettings(endpoint=receiver.endpoint))

    assert (exporting.metrics, exporting.traces is None) == (None, False)
    assert exporting.shutdown(PATIENCE)


# What the page of observability says for others.

CUMULATIVE, DELTA = "AGGREGATION_TEMPORALITY_CUMULATIVE", "AGGREGATION_TEMPORALITY_DELTA"
SHOWN = [
    block for block in blocks_of(ROOT / "docs" / "observability.md") if block.not_run == "variables of a service"
]  # fmt: skip


def arrived(block: Block, over_http: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Request]:
    """What a collector gets, by its path, from a service with these variables."""
    url, got = over_http
    for line in block.text.splitlines():
        name, _, value = line.partition("=")
        value = re.sub(r"^https?://[^/]+", url, value) if name == "OTEL_EXPORTER_OTLP_ENDPOINT" else value
        monkeypatch.setenv(name, value.replace("BASE64", "MTIzNDU2OmdsY190b2tlbg=="))
    exporting = providers(OtlpSettings())
    assert exporting.traces is not None
    exporting.traces.get_tracer("tests").start_span("hello").end()
    if exporting.metrics is not None:
        exporting.metrics.get_meter("tests").create_counter("greetings").add(3)
    assert exporting.shutdown(PATIENCE)
    return {request.path: request for request in [got.get(timeout=PATIENCE) for _ in range(got.qsize())]}


def test_each_has_its_variables() -> None:
    assert ["otlp-gateway" in block.text for block in SHOWN] == [False, False, True, False]
    assert ["delta" in block.text for block in SHOWN] == [False, False, False, True]


@pytest.mark.parametrize(
    ("block", "paths", "temporalities"),
    [
        (SHOWN[0], ["/v1/traces"], [""]),
        (SHOWN[1], ["/v1/metrics", "/v1/traces"], [CUMULATIVE, ""]),
        (SHOWN[2], ["/otlp/v1/metrics", "/otlp/v1/traces"], [CUMULATIVE, ""]),
        (SHOWN[3], ["/v1/metrics", "/v1/traces"], [DELTA, ""]),
    ],
    ids=["jaeger", "otel-lgtm", "grafana-cloud", "datadog"],
)
def test_what_is_sent_with_them_arrives_where_and_as_it_is_wanted(
    block: Block, paths: list[str], temporalities: list[str], over_http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arrived(block, over_http, monkeypatch)

    assert sorted(found) == paths
    assert [found[path].temporality for path in paths] == temporalities
    assert {request.service for request in found.values()} == {"checkout"}


def test_the_key_of_grafana_cloud_arrives_as_a_header_of_basic_authentication(
    over_http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arrived(SHOWN[2], over_http, monkeypatch)

    sent = [{name.lower(): value for name, value in request.headers.items()} for request in found.values()]
    assert {headers["authorization"] for headers in sent} == {"Basic MTIzNDU2OmdsY190b2tlbg=="}


def test_the_environment_of_datadog_is_said_of_all_that_arrives(
    over_http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arrived(SHOWN[3], over_http, monkeypatch)

    assert {request.resource["deployment.environment.name"] for request in found.values()} == {"prod"}


# What does not fit.


def test_without_the_exporter_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(NotSupported) as caught:
        providers(OtlpSettings(endpoint="http://localhost:4318"))

    assert str(caught.value).splitlines()[0] == (
        "sending traces by OTLP over http/protobuf needs the package opentelemetry-exporter-otlp-proto-http, which is"
        " not installed. install awaitly[otlp]. [not-supported]"
    )


def test_a_protocol_that_is_not_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")

    with pytest.raises(ConfigurationError, match="the OTLP protocol is 'http/json', which awaitly does not send"):
        providers(OtlpSettings())


def test_headers_that_are_no_pairs_are_refused_without_showing_them() -> None:
    with pytest.raises(ConfigurationError) as caught:
        providers(OtlpSettings(headers="hush"))

    assert "hush" not in str(caught.value)
    assert caught.value.code == "invalid-setting"


@pytest.mark.parametrize("apart", [False, True])
def test_with_a_provider_of_the_program_s_own_traces_go_there_if_awaitly_is_to_send_none(
    monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """While metrics are still sent. Otherwise awaitly sends its own spans by itself, apart from the program's."""
    spans, own = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    own.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", own)
    if not apart:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")

    async def story(to: OtlpSettings) -> None:
        async with Runtime(Settings(store="memory://", otlp=to)) as rt:
            assert await rt.run(greeting, "ada") == Ok("hello ada")

    with receiving() as receiver:
        asyncio.run(story(OtlpSettings(endpoint=receiver.endpoint)))
        assert receiver.metric("awaitly.step.duration").histogram.data_points

    assert [span.name for span in spans.get_finished_spans()] == ([] if apart else ["step greet", "workflow greeting"])


# Endpoints that are not well.


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def greeting(name: str) -> str:
    return await greet(name)


@pytest.fixture
def hanging() -> Iterator[str]:
    """The URL of something that takes what it is sent, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def run_with(exporting: Any) -> Any:
    async def story() -> Any:
        watchers = [Tracing(exporting.traces)]
        async with Runtime(Settings(store="memory://"), watchers=watchers) as rt:
            return [await rt.run(greeting, "ada") for _ in range(600)][-1]  # more than a batch: it is being sent

    return asyncio.run(story())


def test_an_endpoint_that_hangs_delays_no_run_and_no_shutdown(hanging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint never answers, so whatever waited for it would not come back."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    exporting = providers(OtlpSettings(endpoint=hanging))

    assert run_with(exporting) == Ok("hello ada")

    assert exporting.shutdown(0.1) is False


def test_spans_that_an_endpoint_does_not_take_are_counted_and_what_is_left_at_the_end_is_said_to_be_lost(
    hanging: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")

    before = dropped()

    async def story() -> str:
        settings = Settings(
            store="memory://", prometheus=True, otlp=OtlpSettings(endpoint=hanging, metrics="off"), shutdown_timeout=0.1
        )
        async with Runtime(settings) as rt:
            for _ in range(10):
                assert await rt.run(greeting, "ada") == Ok("hello ada")
            assert rt.watching is not None
            assert rt.watching.exposition is not None
            return rt.watching.exposition.render()[0].decode()

    found = re.search(r"^awaitly_spans_dropped_total\S* (\S+)$", asyncio.run(story()), re.MULTILINE)

    assert found is not None
    assert "not all that was left of traces and metrics could be sent within" in caplog.text
    assert 20 - 6 <= float(found[1]) - before <= 20 - 4  # two may be on their way


def test_an_endpoint_that_is_not_there_is_in_the_log_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    exporting = providers(OtlpSettings(endpoint=f"http://127.0.0.1:{free_port()}"))

    assert run_with(exporting) == Ok("hello ada")

    assert exporting.shutdown(PATIENCE)
    assert "Failed to export" in caplog.text


def test_a_shutdown_sends_what_is_left(receiver: Receiver) -> None:
    exporting = providers(OtlpSettings(endpoint=receiver.endpoint))
    assert exporting.traces is not None

    run_with(exporting)
    exporting.traces.get_tracer("tests").start_span(LAST).end()

    assert exporting.shutdown(PATIENCE)
    assert len(receiver.spans()) == 1200


# Histograms, which are added up before they are sent.

PREFERENCE = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
HISTOGRAMS = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"


def durations() -> Metric:
    """Return what arrives when two steps have ended, as the last thing before a shutdown."""
    with receiving() as receiver:
        return _durations(receiver)


def _durations(receiver: Receiver) -> Metric:
    exporting = providers(OtlpSettings(endpoint=receiver.endpoint))
    watch = Metrics(exporting.metrics)
    for seconds in (0.3, 20.0):
        fact = StepFinished(
            at=1.0, call="a#0", step="a", arguments="", ending=Ending.VALUE, payload=b"", seconds=seconds
        )
        watch(Notice("run", "checkout", fact))
    assert exporting.shutdown(PATIENCE)
    return receiver.metric("awaitly.step.duration")


@pytest.mark.parametrize(
    ("preference", "temporality"),
    [
        ("", AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE),
        ("cumulative", AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE),
        ("delta", AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA),
        ("LowMemory", AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA),
    ],
)
def test_what_steps_took_arrives_as_a_histogram_of_the_kind_that_is_preferred(
    monkeypatch: pytest.MonkeyPatch, preference: str, temporality: int
) -> None:
    if preference:
        monkeypatch.setenv(PREFERENCE, preference)

    metric = durations()

    (point,) = metric.histogram.data_points
    assert (metric.histogram.aggregation_temporality, metric.unit) == (temporality, "s")
    assert values(point.attributes) == {"workflow": "checkout", "step": "a", "outcome": "value"}
    assert (point.count, point.sum, point.min, point.max) == (2, 20.3, 0.3, 20.0)
    assert sum(point.bucket_counts) == 2
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


def test_it_is_exponential_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HISTOGRAMS, "base2_exponential_bucket_histogram")

    (point,) = durations().exponential_histogram.data_points

    assert (point.count, point.sum) == (2, 20.3)
