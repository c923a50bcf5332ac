"""A real Prometheus server scrapes what is exposed, and answers queries and the dashboard's."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from awaitly import Failure, Retry, Runtime, step, workflow
from awaitly.model.facts import BreakerOpened, Ending, RunStarted, StepFinished
from awaitly.model.notice import Notice
from awaitly.observe.bus import Bus
from awaitly.observe.instruments import INSTRUMENTS, Kind
from awaitly.observe.metrics import Gauges, Metrics
from awaitly.observe.prometheus import Exposition
from awaitly.persist.stores.memory import MemoryStore
from awaitly.settings import Settings
from awaitly.testing.clock import VirtualClock
from tests.docs.blocks import blocks_of

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "awaitly.json"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
LONGEST = 20.0  # seconds that a server may take for anything


class Declined(Failure):
    pass


@step(errors=Declined, retry=Retry(3, on=OSError))
async def charge(amount: int) -> int:
    if amount == 13:
        raise Declined
    if amount == 14:
        raise OSError("away")
    return amount


@workflow
async def checkout(amount: int) -> int:
    return await charge(amount)


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    made = Exposition()
    yield made
    made.close()


class Endpoint(ThreadingHTTPServer):
    """Serves the exposition of a test, and counts who comes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Scrape)
        self.exposition: Exposition | None = None
        self.scrapes = threading.Semaphore(0)
        self.types: list[str] = []

    def next_but_one(self) -> None:
        """Return when what is measured now was scraped and stored: the next scrape comes after that."""
        while self.scrapes.acquire(blocking=False):
            pass
        for _ in range(3):
            assert self.scrapes.acquire(timeout=LONGEST), "nobody scrapes"


class Scrape(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        exposition = self.server.exposition
        body, content_type = exposition.render(self.headers.get("Accept")) if exposition else (b"", PLAIN)
        self.server.types.append(content_type)
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.scrapes.release()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def endpoint(served: Endpoint, exposition: Exposition) -> Iterator[Endpoint]:
    """What Prometheus scrapes during a test."""
    served.exposition = exposition
    yield served
    served.exposition = None


class Prometheus:
    """A server's HTTP interface."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer."""
        address = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=LONGEST) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Return the values of an expression now, by their labels."""
        return {
            " ".join(f"{key}={value}" for key, value in sorted(found["metric"].items()) if key not in GIVEN): float(
                found["value"][1]
            )
            for found in self.ask("query", query=expression)["result"]
        }


GIVEN = {"__name__", "instance", "job"}  # labels that say where a value was scraped

CONFIG = """\
global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}
scrape_configs:
  - job_name: awaitly
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture(scope="module")
def prometheus(served: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server that scrapes the endpoint: one for all tests, as it takes five seconds to look for its targets."""
    tmp_path = tmp_path_factory.mktemp("prometheus")
    program = needed("prometheus")
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(port=served.server_address[1]))
    port = free_port()
    command = [
        program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=error",
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            assert served.scrapes.acquire(timeout=LONGEST), (tmp_path / "log").read_text()
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(LONGEST)


def needed(program: str) -> str:
    """Return where a program of the Debian package ``prometheus`` is; no Python package brings it."""
    found = shutil.which(program)
    missing = f"{program} is not installed: apt-get install --no-install-recommends prometheus"
    if found is None and "CI" not in os.environ:
        pytest.skip(missing)  # on a machine with only Python and pip the other tests still say something
    assert found is not None, missing
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def busy(exposition: Exposition) -> Metrics:
    """Let some runs happen, and everything be known that is asked for."""
    clock = VirtualClock(auto=True)
    watch = Metrics(exposition.provider, KNOWN)

    async def story() -> None:
        store = MemoryStore(monotonic=clock.monotonic)
        async with Runtime(Settings(store="memory://"), store=store, clock=clock, watchers=[watch]) as rt:
            for amount in (1, 2, 13, 14):
                await rt.run(checkout, amount)

    clock.run(story())
    return watch


KNOWN = Gauges(
    active=lambda: {"checkout": 1}, queued=lambda: 2, queue_age=lambda: 0.5, waiting=lambda: {"seats": 3},
    breakers=lambda: {"payments": "closed"}, dropped=lambda: {"archive": 4},
    sink_failures=lambda: {"archive": 2}, spans_dropped=lambda: 6,
    delivered=lambda: {"billing": 5}, delivery_failures=lambda: {"billing": 3},
    given_up=lambda: {"billing": 1}, delivery_age=lambda: {"billing": 1.5}, lag=lambda: 0.01,
)  # fmt: skip


def test_prometheus_answers_what_runs_did(exposition: Exposition, endpoint: Endpoint, prometheus: Prometheus) -> None:
    watch = busy(exposition)
    endpoint.next_but_one()

    assert prometheus.query("awaitly_step_duration_seconds_count") == {
        "outcome=value step=charge workflow=checkout": 2,
        "outcome=failure step=charge workflow=checkout": 1,
        "outcome=unexpected step=charge workflow=checkout": 1,
    }
    assert prometheus.query("awaitly_step_retries_total") == {"step=charge workflow=checkout": 2}
    assert prometheus.query("sum by (outcome) (awaitly_run_duration_seconds_count)")["outcome=value"] == 2
    assert prometheus.query("awaitly_runs_active") == {"workflow=checkout": 1}
    assert prometheus.query("awaitly_sink_dropped_total") == {"sink=archive": 4}

    Bus(watchers=[watch]).publish("", "", BreakerOpened(at=1.0, breaker="payments", seconds=30))
    endpoint.next_but_one()
    assert prometheus.query("awaitly_breaker_state") == {"breaker=payments": 2}


def test_prometheus_keeps_the_trace_of_an_example(
    exposition: Exposition, endpoint: Endpoint, prometheus: Prometheus
) -> None:
    traced(exposition)
    endpoint.next_but_one()

    (series,) = prometheus.ask("query_exemplars", query="awaitly_step_duration_seconds_bucket", start=0, end=1e10)

    assert {example["labels"]["trace_id"] for example in series["exemplars"]} == {TRACE_ID}
    assert endpoint.types[-1].startswith("application/openmetrics-text")


def test_the_dashboard_s_expressions_are_understood_and_none_is_empty(
    exposition: Exposition, endpoint: Endpoint, prometheus: Prometheus
) -> None:
    watch = busy(exposition)
    endpoint.next_but_one()
    watch(Notice("run", "checkout", finished()))
    endpoint.next_but_one()

    asked = {expression: prometheus.query(filled(expression)) for expression in expressions()}

    assert [expression for expression, found in asked.items() if found == {} and not RARE.search(expression)] == []


# What does not happen in these runs.
RARE = re.compile("timeouts|hedges|cache|fallbacks|transitions|rejections|rejected|_wait_|lapses|lost|resumed|replay")


def test_every_metric_of_the_dashboard_exists(exposition: Exposition) -> None:
    known = exposed_names()
    text = DASHBOARD.read_text(encoding="utf-8")
    asked = set(re.findall(r"\bawaitly_\w+", text))

    assert asked - known == set()


def test_the_dashboard_shows_every_metric() -> None:
    asked = " ".join(expressions())

    assert [row.name for row in INSTRUMENTS if row.name.replace(".", "_") not in asked] == []


def test_promtool_has_nothing_to_say_against_the_metrics(exposition: Exposition) -> None:
    busy(exposition)
    body, _ = exposition.render()

    done = subprocess.run([needed("promtool"), "check", "metrics"], input=body, capture_output=True, timeout=LONGEST)

    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, PLAIN),
        ("*/*", PLAIN),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
    ],
)
def test_the_format_is_the_one_that_was_asked_for(
    exposition: Exposition, accept: str | None, content_type: str
) -> None:
    assert exposition.render(accept)[1] == content_type


def test_examples_are_shown_in_openmetrics_alone(exposition: Exposition) -> None:
    traced(exposition)
    plain, _ = exposition.render()
    traced(exposition)
    open_, _ = exposition.render(OPENMETRICS)

    assert TRACE_ID not in plain.decode()
    (line,) = [line for line in open_.decode().splitlines() if TRACE_ID in line]
    assert line.startswith('awaitly_step_duration_seconds_bucket{le="0.1",outcome="value",')


def test_a_provider_that_others_read_can_be_read_too() -> None:
    other = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[other])
    exposition = Exposition(provider)
    Metrics(provider)(Notice("run", "checkout", finished()))

    body, _ = exposition.render()
    exposition.close()

    assert b"awaitly_step_duration_seconds_count" in body
    assert other.get_metrics_data() is not None
    assert exposition.render() == (b"", PLAIN)
    provider.shutdown()


def test_two_expositions_know_nothing_of_each_other(exposition: Exposition) -> None:
    other = Exposition()
    busy(exposition)

    body, _ = other.render()

    assert b"awaitly_" not in body
    other.close()


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from awaitly.errors import NotSupported
try:
    import awaitly.observe.prometheus
except NotSupported as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("prometheus_client", "prometheus_client"),
        ("opentelemetry.exporter.prometheus", "opentelemetry-exporter-prometheus"),
        ("opentelemetry.exporter", "opentelemetry-exporter-prometheus"),
    ],
)
def test_without_a_package_it_is_said_what_to_install(module: str, package: str) -> None:
    command = [sys.executable, "-c", WITHOUT, module]

    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout == (
        f"metrics for Prometheus need the package {package}, which is not installed."
        " install awaitly[prometheus]. [not-supported]\n"
    )


def traced(exposition: Exposition) -> None:
    """Let a step finish in a run whose trace is kept."""
    started = RunStarted(
        at=1.0, workflow="checkout", version=None, fingerprint="", arguments=b"", arguments_digest="", seed=1,
        trace=f"00-{TRACE_ID}-b7ad6b7169203331-01",
    )  # fmt: skip
    bus = Bus(watchers=[Metrics(exposition.provider)])
    bus.publish("run", "checkout", started)
    bus.publish("run", "checkout", finished())


def finished() -> StepFinished:
    return StepFinished(at=1.0, call="a#0", step="charge", arguments="", ending=Ending.VALUE, payload=b"", seconds=0.1)


def expressions() -> list[str]:
    """Return what the panels of the dashboard ask."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def filled(expression: str) -> str:
    """Return an expression as Grafana sends it."""
    return expression.replace("$__rate_interval", "1m").replace("$workflow", ".*")


def exposed_names() -> set[str]:
    """Return the names of everything that can be exposed, from the table."""
    ends = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum"), Kind.COUNTER: ("_total",), Kind.ASKED_COUNTER: ("_total",)}
    return {
        row.name.replace(".", "_") + ("_seconds" if row.unit == "s" else "") + end
        for row in INSTRUMENTS
        for end in ends.get(row.kind, ("",))
    }


def test_the_configuration_that_the_page_shows_is_one(tmp_path: Path) -> None:
    (shown,) = [block for block in blocks_of(DASHBOARD.parents[1] / "metrics.md") if block.title == "prometheus.yml"]
    (tmp_path / "prometheus.yml").write_text(shown.text)
    (tmp_path / "token").write_text("a-secret")

    found = subprocess.run(
        [needed("promtool"), "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, text=True
    )

    assert found.returncode == 0, found.stdout + found.stderr
