"""awaitly serve: a worker that says over HTTP how it is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from awaitly.serve.server import listening
from tests.cli.calling import FLOWS, Awaitly, environment
from tests.cli.test_interrupted import PATIENCE, Start, lines, until


def served(started: "subprocess.Popen[str]") -> str:
    """Return where a server listens."""
    assert started.stderr is not None
    return next(line.split()[0] for line in started.stderr if line.startswith("http://"))


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.txt"


@pytest.fixture
def killed(process: Start, ledger: Path, gate: Path) -> Path:
    """A run whose process was killed while it waited for the gate; returns its ledger."""
    given = json.dumps({"ledger": str(ledger), "gate": str(gate)})
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    started.kill()
    started.wait()
    return ledger


def test_it_continues_what_others_left_and_tells_how_that_ended(
    process: Start, awaitly: Awaitly, killed: Path, gate: Path
) -> None:
    started = process("serve", f"{FLOWS}:gated", "--port", "0")
    url = served(started)
    gate.touch()
    until(lambda: "last" in lines(killed))

    def report() -> dict[str, object]:
        (found,) = get(f"{url}/health/workflows").json()["workflows"]
        return dict(found)

    until(lambda: report()["succeeded"] == 1)
    until(lambda: get(f"{url}/ready").status_code == 200)
    assert {path: get(url + path).status_code for path in ("/", "/live", "/health/circuits", "/metrics")} == {
        "/": 200, "/live": 200, "/health/circuits": 200, "/metrics": 200,
    }  # fmt: skip
    assert 'awaitly_runs_resumed_total{workflow="gated"} 1.0' in get(f"{url}/metrics").text
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=PATIENCE)

    assert (started.returncode, "Traceback" in err) == (0, False)
    assert awaitly("runs", "list").out.splitlines()[1].split()[:3] == ["g", "gated", "succeeded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_is_not_ready_while_it_finishes_what_is_under_way(
    process: Start, awaitly: Awaitly, killed: Path, gate: Path, number: signal.Signals
) -> None:
    started = process("serve", f"{FLOWS}:gated", "--port", "0")
    url = served(started)
    until(lambda: len(lines(killed)) == 3)
    until(lambda: get(f"{url}/ready").status_code == 200)
    started.send_signal(number)
    assert started.stderr is not None
    assert any(line.startswith("stopping: ") for line in started.stderr)

    answer = get(f"{url}/ready")
    alive = get(f"{url}/live")
    gate.touch()
    started.communicate(timeout=PATIENCE)

    assert (answer.status_code, answer.json()["reasons"][0]["code"]) == (503, "shutting-down")
    assert (alive.status_code, started.returncode) == (200, 0)
    assert "passed" in lines(killed)
    assert awaitly("run", f"{FLOWS}:gated", "--id", "g").out == '"through"\n'
    assert lines(killed).count("passed") == 1


def test_effects_that_do_not_finish_in_time_make_its_exit_status_75(process: Start, killed: Path) -> None:
    started = process("serve", f"{FLOWS}:gated", "--port", "0", AWAITLY_SHUTDOWN_TIMEOUT="200ms")
    served(started)
    until(lambda: len(lines(killed)) == 3)
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=PATIENCE)

    assert (started.returncode, "are abandoned: g" in err) == (75, True)


def test_a_second_signal_stops_it_at_once(process: Start, killed: Path) -> None:
    started = process("serve", f"{FLOWS}:gated", "--port", "0")
    served(started)
    until(lambda: len(lines(killed)) == 3)
    assert started.stderr is not None
    started.send_signal(signal.SIGTERM)
    assert any(line.startswith("stopping: ") for line in started.stderr)
    started.send_signal(signal.SIGTERM)

    assert started.wait(PATIENCE) == 143


def test_details_are_for_those_who_send_the_token_of_the_settings(process: Start) -> None:
    started = process("serve", FLOWS.as_posix(), "--port", "0", AWAITLY_SERVE__TOKEN="sesame")
    url = served(started)

    until(lambda: get(f"{url}/health").json() == {"status": "healthy"})
    assert get(f"{url}/health/workflows").status_code == 401
    shown = get(f"{url}/health/workflows", authorization="Bearer sesame").json()["workflows"]
    assert {"checkout", "gated"} <= {workflow["name"] for workflow in shown}


def test_without_a_target_it_executes_nothing(process: Start) -> None:
    started = process("serve", "--port", "0", "--store", "memory://", AWAITLY_PROMETHEUS="false")
    url = served(started)
    assert started.stderr is not None

    assert started.stderr.readline() == "executes nothing: no TARGET was given\n"
    assert get(f"{url}/health/workflows").json() == {"workflows": []}
    assert get(f"{url}/metrics").status_code == 501


def test_others_are_not_let_in_without_a_token(awaitly: Awaitly) -> None:
    answer = awaitly("serve", "--host", "0.0.0.0", "--port", "0")

    assert answer.status == 2
    assert "error [invalid-setting]: serve.host is '0.0.0.0', where others can reach it, and there is" in answer.err
    assert "hint: set AWAITLY_SERVE__TOKEN to a long random word" in answer.err


def test_a_port_that_is_taken_is_said_before_anything_is_opened(awaitly: Awaitly, tmp_path: Path) -> None:
    with listening("127.0.0.1", 0, alone=True) as other:
        port = other.getsockname()[1]
        answer = awaitly("serve", "--port", str(port))

    assert answer.status == 2
    assert f"cannot listen on 127.0.0.1:{port}" in answer.err
    assert list(tmp_path.glob("*.db")) == []


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    code = """
import sys
sys.modules.update(uvicorn=None, starlette=None)
from awaitly.cli import main
main(["serve"])
"""

    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert answer.returncode == 1
    assert "error [not-supported]: health over HTTP needs the package starlette" in answer.stderr
    assert "hint: install awaitly[serve]" in answer.stderr


def test_it_logs_as_settings_ask_for(process: Start) -> None:
    started = process("serve", "--port", "0", AWAITLY_LOGS__FORMAT="json")
    served(started)
    started.send_signal(signal.SIGTERM)
    _, err = started.communicate(timeout=PATIENCE)

    events = [json.loads(line)["event"] for line in err.splitlines() if line.startswith("{")]
    assert events[-1].startswith("shut down: ")
