"""Spans for which there is no room are counted and said, and harm nobody."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from awaitly.observe.sending import dropped
from awaitly.observe.spans import PlainProvider

PATIENCE = 20.0  # seconds until something that does not happen is given up
BATCH, ROOM = 2, 4


class Blocked(SpanExporter):
    """An exporter that takes nothing before it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.released.wait(PATIENCE)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(BATCH))
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(ROOM))
    blocked = Blocked()
    yield blocked
    blocked.released.set()


def ended(provider: PlainProvider, *names: str) -> None:
    for name in names:
        provider.get_tracer("awaitly").start_span(name, Context()).end()


def test_what_does_not_fit_is_dropped_counted_and_said_once(blocked: Blocked, caplog: pytest.LogCaptureFixture) -> None:
    provider = PlainProvider(blocked)
    ended(provider, "a", "b")
    assert blocked.entered.wait(PATIENCE)  # the first batch is on its way

    ended(provider, "c", "d", "e", "f", "g", "h", "i")

    assert provider.sending.dropped == 3
    assert [record.message.partition(",")[0] for record in caplog.records] == ["4 spans wait to be sent"]
    blocked.released.set()
    provider.force_flush()
    assert blocked.names == ["a", "b", "c", "d", "e", "f"]


def test_when_there_is_room_again_nothing_is_dropped(blocked: Blocked) -> None:
    provider = PlainProvider(blocked)
    ended(provider, *"ab")
    assert blocked.entered.wait(PATIENCE)
    ended(provider, *"cdefg")
    blocked.released.set()
    provider.force_flush()

    for name in "hijklmn":
        ended(provider, name)
        provider.force_flush()

    assert provider.sending.dropped == 1
    assert blocked.names == list("abcdefhijklmn")
    provider.shutdown()


FORKING = """
import os, sys
from tests.observe.test_sending import Blocked, ended
from awaitly.observe.spans import PlainProvider

blocked = Blocked()
provider = PlainProvider(blocked)
ended(provider, "a", "b")
assert blocked.entered.wait(20)
ended(provider, *"cdefgh")
print(provider.sending.dropped, flush=True)
if os.fork() == 0:
    ended(provider, *"ijkl")
    blocked.released.set()
    provider.force_flush()
    print(provider.sending.dropped, "".join(blocked.names), flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""


def test_a_process_that_is_forked_begins_with_all_the_room() -> None:
    given = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": str(BATCH), "OTEL_BSP_MAX_QUEUE_SIZE": str(ROOM)}
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-c", FORKING], env={**os.environ, **given, "PYTHONPATH": str(root)}, cwd=root,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert done.stdout.split("\n")[:2] == ["2", "0 ijkl"]


class Failing(SpanExporter):
    """An exporter whose endpoint is not there."""

    def __init__(self, raised: Exception | None) -> None:
        self.raised = raised

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.raised is not None:
            raise self.raised
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("raised", [None, ConnectionError("nobody there")])
def test_what_the_exporter_could_not_send_is_counted(raised: Exception | None) -> None:
    provider = PlainProvider(Failing(raised))

    ended(provider, *"abc")
    provider.force_flush()

    assert provider.sending.dropped == 3
    provider.shutdown()


def test_of_all_exporters_of_a_process_one_number_is_told_which_never_falls() -> None:
    before = dropped()
    for name in "ab":
        provider = PlainProvider(Failing(None))
        ended(provider, name)
        provider.shutdown()

    assert dropped() == before + 2


def test_what_ends_after_a_shutdown_is_counted_and_not_blamed_on_the_endpoint(
    blocked: Blocked, caplog: pytest.LogCaptureFixture
) -> None:
    blocked.released.set()
    provider = PlainProvider(blocked)
    provider.shutdown()

    ended(provider, *"abcdefghij")

    assert provider.sending.dropped == 10
    assert caplog.text == ""


def test_spans_that_are_not_sampled_take_no_room(blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    provider = PlainProvider(blocked)

    ended(provider, *"abcdefghij")

    assert provider.sending.dropped == 0
