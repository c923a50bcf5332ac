"""Exporters of scripts and of the command line: they last as long as the process, which no call waits for."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from awaitly import Ok, Runtime, step, workflow
from awaitly.errors import NotSupported
from awaitly.settings import Settings
from awaitly.settings.tables import OtlpSettings
from awaitly.watching import _warn_once
from tests.observe.receiving import LAST, receiving

HERE = "http://127.0.0.1:4318"
LONGEST = 60.0  # seconds that a process may take
SCRIPT = """
import os
from awaitly import step, workflow

@step
async def fetch(number: int) -> int:
    return number

@workflow
async def counting(number: int) -> int:
    return await fetch(number)

if __name__ == "__main__":
    for number in range(3):
        print(counting.run_sync(number), flush=True)
"""
FORKING = """
    if os.fork() == 0:
        counting.run_sync(3)
    else:
        os.wait()
"""
ENDING = """
    from opentelemetry.context import Context
    from awaitly.observe.otlp import lasting
    from awaitly.settings import read_settings
    lasting(read_settings().otlp).traces.get_tracer("tests").start_span("the last one", context=Context()).end()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a script that runs a workflow three times."""
    path = tmp_path / "counting.py"
    path.write_text(SCRIPT)
    return path


def started(*arguments: str | Path, given: Mapping[str, str]) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWAITLY_", "OTEL_"))}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**kept, "AWAITLY_STORE": "memory://", **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_what_several_calls_made_is_sent_when_the_process_ends(script: Path) -> None:
    script.write_text(SCRIPT + ENDING)
    with receiving() as receiver:
        with started(script, given={"AWAITLY_OTLP__ENDPOINT": receiver.endpoint}) as process:
            said, complaints = process.communicate(timeout=LONGEST)
        assert (said.split(), complaints) == (["Ok(0)", "Ok(1)", "Ok(2)"], "")
        spans = receiver.spans()
        (durations,) = receiver.metric("awaitly.run.duration").histogram.data_points

    assert [span.name for span in spans] == ["step fetch", "workflow counting"] * 3
    assert durations.count == 3
    assert LAST not in {span.name for span in spans}


def test_a_process_that_was_forked_sends_what_is_its_own(script: Path) -> None:
    script.write_text(SCRIPT + FORKING + ENDING)
    with receiving() as receiver:
        with started(script, given={"AWAITLY_OTLP__ENDPOINT": receiver.endpoint}) as process:
            process.communicate(timeout=LONGEST)
        spans = [*receiver.spans(), *receiver.spans()]

    assert [span.name for span in spans] == ["step fetch", "workflow counting"] * 4


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_neither_calls_nor_the_command_line_wait_for_an_endpoint_that_hangs(
    script: Path, protocol: str, silent: int
) -> None:
    """What is lost by that is said at the end of the process."""
    given = {
        "AWAITLY_OTLP__ENDPOINT": f"http://127.0.0.1:{silent}", "AWAITLY_OTLP__PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "600000", "AWAITLY_SHUTDOWN_TIMEOUT": "10m",
    }  # fmt: skip
    target = f"{script}:counting"
    for arguments in ([script], ["-m", "awaitly", "run", target, "--input", '{"number": 0}', "--quiet"]):
        with started(*arguments, given=given) as process:
            said, complaints = process.communicate(timeout=LONGEST)
        assert said.split()[0] in ("Ok(0)", "0")
        assert "could not be sent within 2 seconds" in " ".join(complaints.split())
        assert process.returncode == 0


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of somebody who accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# Where nobody asked awaitly to send.


@step
async def fetch(number: int) -> int:
    return number


@workflow
async def counting(number: int) -> int:
    return await fetch(number)


@pytest.fixture
def without_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have awaitly[otlp] not installed."""
    for signal in ("trace", "metric"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.http.{signal}_exporter", None)
    _warn_once.cache_clear()


def ran(settings: Settings | None = None) -> object:
    async def story() -> object:
        async with Runtime(settings or Settings(store="memory://")) as rt:
            return await rt.run(counting, 1)

    return asyncio.run(story())


@pytest.mark.usefixtures("without_exporters")
def test_a_standard_endpoint_without_the_exporter_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", HERE)

    assert [ran(), ran()] == [Ok(1), Ok(1)]

    (warning,) = warnings(caplog)
    assert "[not-supported]" in warning
    assert "install awaitly[otlp]" in warning


def test_a_standard_protocol_that_awaitly_does_not_send_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_once.cache_clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", HERE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")

    assert ran() == Ok(1)

    (warning,) = warnings(caplog)
    assert "'http/json'" in warning
    assert "[invalid-setting]" in warning


@pytest.mark.usefixtures("without_exporters")
@pytest.mark.parametrize("otlp", [OtlpSettings(endpoint=HERE), OtlpSettings(traces="on")], ids=["endpoint", "traces"])
def test_what_settings_of_awaitly_s_own_ask_for_without_the_exporter_is_an_error(otlp: OtlpSettings) -> None:
    with pytest.raises(NotSupported):
        ran(Settings(store="memory://", otlp=otlp))


@pytest.mark.usefixtures("without_exporters")
@pytest.mark.parametrize(
    ("given", "otlp"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, OtlpSettings()),
        ({"OTEL_SDK_DISABLED": "True"}, OtlpSettings(endpoint=HERE)),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, OtlpSettings()),
        ({"OTEL_METRICS_EXPORTER": "none"}, OtlpSettings(traces="off")),
        ({}, OtlpSettings(traces="off", metrics="off")),
    ],
    ids=["disabled", "disabled, an endpoint", "none", "none, off", "off"],
)
def test_what_is_turned_off_needs_no_exporter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, given: Mapping[str, str], otlp: OtlpSettings
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", HERE)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert ran(Settings(store="memory://", otlp=otlp)) == Ok(1)

    assert warnings(caplog) == []


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned of, and worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Who only looks.


def test_who_only_looks_at_runs_neither_sends_nor_logs(tmp_path: Path, script: Path) -> None:
    """Not even a warning of an endpoint that nothing could be sent to, as nobody knows its protocol."""
    given = {"AWAITLY_STORE": f"sqlite:///{tmp_path / 'runs.db'}"}
    target = f"{script}:counting"
    with started("-m", "awaitly", "run", target, "--input", '{"number": 0}', "-q", given=given) as process:
        assert process.communicate(timeout=LONGEST)[0] == "0\n"
    given |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke", "AWAITLY_LOGS__FORMAT": "json",
    }  # fmt: skip
    with started("-m", "awaitly", "runs", "list", "--json", given=given) as process:
        said, complaints = process.communicate(timeout=LONGEST)

    assert ('"workflow": "counting"' in said, complaints) == (True, "")
