"""Runs whose process, disk or terminal goes away: nothing that was stored is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.calling import FLOWS, Awaitly, environment

PATIENCE = 30.0
Start = Callable[..., "subprocess.Popen[str]"]


def until(met: Callable[[], bool]) -> None:
    """Look until something is so."""
    limit = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < limit, "it did not happen"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.txt"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def given(ledger: Path, gate: Path) -> str:
    return json.dumps({"ledger": str(ledger), "gate": str(gate)})


def test_a_killed_run_is_continued_by_its_id_and_repeats_no_stored_step(
    process: Start, awaitly: Awaitly, ledger: Path, gate: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    started.kill()
    started.wait()
    gate.touch()

    answer = awaitly("run", f"{FLOWS}:gated", "--id", "g")

    assert (answer.status, answer.out) == (0, '"through"\n')
    assert [line for line in lines(ledger) if "waiting" not in line] == ["first", "passed", "last"]
    assert "1 outcome stored before" in answer.err


def test_a_run_whose_process_is_gone_is_shown_as_interrupted(
    process: Start, awaitly: Awaitly, ledger: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    alive = awaitly("runs", "list").out.splitlines()[1].split()
    watched = awaitly("runs", "show", "g").out.splitlines()[-1]
    started.kill()
    started.wait()

    assert alive[:3] == ["g", "gated", "running"]
    assert watched == "not ended; watch it with: awaitly runs watch g"
    assert awaitly("runs", "list").out.splitlines()[1].split()[:3] == ["g", "gated", "interrupted"]
    (listed,) = json.loads(awaitly("runs", "list", "--status", "running", "--json").out)
    assert (listed["status"], listed["interrupted"]) == ("running", True)
    shown = awaitly("runs", "show", "g").out.splitlines()
    assert shown[0] == "g  gated  interrupted"
    assert shown[-1] == "not ended; continue with: awaitly runs resume g --target TARGET"
    assert "when it is continued: nobody executes it now" in awaitly("runs", "cancel", "g").out
    assert awaitly("runs", "list").out.splitlines()[1].split()[2:6] == ["interrupted,", "to", "be", "cancelled"]


CROWDED = """
import asyncio, sys
from pathlib import Path
from awaitly import Runtime
from awaitly.settings import Settings
from tests.cli.flows.orders import gated

async def main():
    async with Runtime(Settings(max_active_runs=1), workflows=[gated]) as rt:
        for id in ("first", "second"):
            await rt.start(gated.options(id=id), Path(sys.argv[1]), Path(sys.argv[2]))
        await rt.until_signal()

asyncio.run(main())
"""


@pytest.fixture
def crowded(ledger: Path, gate: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Return a process that executes one run, while a second one waits for room."""
    started = subprocess.Popen([sys.executable, "-c", CROWDED, str(ledger), str(gate)], env=environment())
    until(lambda: len(lines(ledger)) == 2)
    yield started
    started.kill()
    started.wait()


def listed(awaitly: Awaitly, *words: str) -> list[list[str]]:
    """Return ids and statuses of what is listed."""
    rows = (line.split() for line in awaitly("runs", "list", *words).out.splitlines()[1:])
    return [[row[0], row[2]] for row in rows]


@pytest.mark.usefixtures("crowded")
def test_a_run_that_waits_for_room_is_shown_as_queued(awaitly: Awaitly) -> None:
    until(lambda: len(listed(awaitly)) == 2)

    assert listed(awaitly) == [["second", "queued"], ["first", "running"]]
    assert listed(awaitly, "--status", "queued") == [["second", "queued"]]
    assert listed(awaitly, "--status", "running") == [["first", "running"]]
    shown = awaitly("runs", "show", "second").out.splitlines()
    assert shown[0] == "second  gated  queued"
    assert shown[-1] == ("not ended: it is queued until its process has room; watch it with: awaitly runs watch second")


def test_who_watches_it_hears_that_it_is_queued_and_then_what_it_does(
    process: Start, crowded: "subprocess.Popen[bytes]", gate: Path
) -> None:
    until(lambda: Path("awaitly.db").exists())
    watching = process("runs", "watch", "second")
    assert watching.stderr is not None
    watching.stderr.readline()
    told = watching.stderr.readline()
    gate.touch()
    out, err = watching.communicate(timeout=PATIENCE)

    assert told == (
        "second is queued: its process executes as many runs as it may, and comes to this one when there is room\n"
    )
    assert (watching.returncode, out) == (0, "second has succeeded\n")
    assert [line.split()[1] for line in err.splitlines()] == ["record", "wait_for_file", "record"]


def test_a_run_that_waited_for_room_is_cancelled_by_another_process_while_it_waits(
    awaitly: Awaitly, crowded: "subprocess.Popen[bytes]", ledger: Path
) -> None:
    until(lambda: len(listed(awaitly)) == 2)

    assert awaitly("runs", "cancel", "second").out == "second will be cancelled\n"
    until(lambda: listed(awaitly, "--status", "cancelled") == [["second", "cancelled"]])
    assert len(lines(ledger)) == 2
    assert listed(awaitly, "--status", "running") == [["first", "running"]]


def test_interrupted_runs_can_be_asked_for_those_that_were_queued_too(
    awaitly: Awaitly, crowded: "subprocess.Popen[bytes]"
) -> None:
    until(lambda: len(listed(awaitly)) == 2)
    assert awaitly("runs", "list", "--status", "interrupted").out == "no runs\n"
    crowded.kill()
    crowded.wait()

    both = [["second", "interrupted"], ["first", "interrupted"]]
    assert listed(awaitly, "--status", "interrupted") == both
    assert listed(awaitly, "--status", "interrupted", "--limit", "1") == both[:1]
    assert listed(awaitly, "--status", "interrupted", "--workflow", "other") == []
    assert listed(awaitly, "--status", "queued") == both[:1]


def test_ctrl_c_lets_the_step_finish_and_says_how_to_continue(
    process: Start, awaitly: Awaitly, ledger: Path, gate: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    started.send_signal(signal.SIGINT)
    gate.touch()
    out, err = started.communicate(timeout=PATIENCE)

    assert (started.returncode, out) == (130, "")
    assert f"g is suspended; continue with: awaitly run {FLOWS}:gated --id g" in err
    assert "Traceback" not in err
    assert lines(ledger)[2:] == ["passed"]
    assert awaitly("run", f"{FLOWS}:gated", "--id", "g").out == '"through"\n'
    assert lines(ledger)[2:] == ["passed", "last"]


def test_a_second_ctrl_c_stops_at_once(process: Start, awaitly: Awaitly, ledger: Path, gate: Path, given: str) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    assert started.stderr is not None
    started.send_signal(signal.SIGINT)
    assert any("Ctrl-C again" in line for line in started.stderr)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=PATIENCE)

    assert (started.returncode, gate.exists()) == (130, False)
    assert "stopped at once; continue with: awaitly run" in err
    gate.touch()
    assert awaitly("run", f"{FLOWS}:gated", "--id", "g").out == '"through"\n'


def test_watch_follows_a_run_of_another_process_to_its_end(
    process: Start, ledger: Path, gate: Path, given: str
) -> None:
    process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)

    watching = process("runs", "watch", "g")
    assert watching.stderr is not None
    assert watching.stderr.readline().startswith("g  run of gated in sqlite:///awaitly.db, 1 outcome stored before")
    gate.touch()
    out, err = watching.communicate(timeout=PATIENCE)

    assert (watching.returncode, out) == (0, "g has succeeded\n")
    assert [line.split()[1] for line in err.splitlines()] == ["wait_for_file", "record"]


def test_a_command_that_joins_a_run_says_that_another_process_executes_it(
    process: Start, ledger: Path, gate: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    joining = process("run", f"{FLOWS}:gated", "--id", "g")
    assert joining.stderr is not None
    first = joining.stderr.readline()
    gate.touch()

    assert [each.communicate(timeout=PATIENCE)[0] for each in (started, joining)] == ['"through"\n'] * 2
    assert first.endswith(
        ", which another process executes: waiting for its result (its steps: awaitly runs watch g)\n"
    )


def test_watch_says_once_that_nobody_executes_the_run_and_watches_on(
    process: Start, awaitly: Awaitly, ledger: Path, gate: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    watching = process("runs", "watch", "g")
    assert watching.stderr is not None
    watching.stderr.readline()
    started.kill()
    started.wait()

    assert watching.stderr.readline() == (
        "nobody executes g now; continue with: awaitly runs resume g --target TARGET\n"
    )
    gate.touch()
    awaitly("runs", "resume", "g", "--target", f"{FLOWS}:gated")
    out, err = watching.communicate(timeout=PATIENCE)

    assert (watching.returncode, out) == (0, "g has succeeded\n")
    assert [line.split()[1] for line in err.splitlines()] == ["wait_for_file", "record"]


def test_who_stops_watching_an_interrupted_run_hears_how_to_continue_it(
    process: Start, ledger: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)
    started.kill()
    started.wait()
    watching = process("runs", "watch", "g", "--store", "awaitly.db")
    assert watching.stderr is not None
    watching.stderr.readline()
    first = watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=PATIENCE)

    told = "nobody executes g now; continue with: awaitly runs resume g --target TARGET --store awaitly.db\n"
    assert (first, err, watching.returncode) == (told, told, 130)


def test_a_run_of_another_process_is_cancelled(
    process: Start, awaitly: Awaitly, ledger: Path, gate: Path, given: str
) -> None:
    started = process("run", f"{FLOWS}:gated", "--id", "g", "--input", given)
    until(lambda: len(lines(ledger)) == 2)

    answer = awaitly("runs", "cancel", "g", "--reason", "not needed")
    gate.touch()
    _, err = started.communicate(timeout=PATIENCE)

    assert (answer.status, answer.out) == (0, "g will be cancelled\n")
    assert "passed" in lines(ledger)
    if "failed" in err:  # the request may have come too late: the run had only one more step
        assert "failed [run-cancelled]: not needed" in err
        assert started.returncode == 1


CRAMPED = """
import sqlite3
from awaitly.persist.stores.sqlite import SqliteStore

def store(url):
    def connect(path):
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        connection.execute("PRAGMA max_page_count = 30")
        return connection
    return SqliteStore("awaitly.db", connect=connect)
"""


@pytest.fixture
def cramped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a store that is full at 30 pages, registered as other packages register theirs."""
    site = tmp_path / "site"
    (site / "cramped-1.dist-info").mkdir(parents=True)
    (site / "cramped_store.py").write_text(CRAMPED)
    (site / "cramped-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: cramped\nVersion: 1\n")
    (site / "cramped-1.dist-info" / "entry_points.txt").write_text("[awaitly.stores]\ncramped = cramped_store:store\n")
    monkeypatch.syspath_prepend(str(site))
    return "cramped://here"


def test_a_full_disk_stops_the_run_which_continues_when_there_is_space(
    awaitly: Awaitly, cramped: str, ledger: Path
) -> None:
    given = json.dumps({"ledger": str(ledger)})

    full = awaitly("run", f"{FLOWS}:large", "--id", "l", "--input", given, "--store", cramped)
    written = lines(ledger)
    answer = awaitly("run", f"{FLOWS}:large", "--id", "l")

    assert full.status == 1
    assert "error [store-full]: " in full.err
    assert "the run has not ended; continue with: awaitly run" in full.err
    assert "Traceback" not in full.err
    assert 0 < len(written) < 40
    assert (answer.status, answer.out) == (0, "40\n")
    repeated = [line for line in set(lines(ledger)) if lines(ledger).count(line) > 1]
    assert repeated in ([], [written[-1]])  # the effect whose outcome could not be stored
    assert sorted(set(map(int, lines(ledger)))) == list(range(40))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="awaitly-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody() -> None:
    """Give up what root may do: root may write everything."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_a_read_only_database_is_refused_and_left_as_it_is(awaitly: Awaitly, open_folder: Path) -> None:
    path = open_folder / "runs.db"
    awaitly("run", f"{FLOWS}:greet", "--id", "g", "--store", str(path))
    path.chmod(0o444)
    open_folder.chmod(0o555)
    before = path.read_bytes()
    code = (
        "import os, sys; from awaitly.cli import main; from tests.cli import test_interrupted as t;"
        "t.as_nobody(); os.chdir('/'); main(sys.argv[1:])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code, "runs", "list", "--store", f"sqlite:///{path}"],
        capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    open_folder.chmod(0o755)

    assert answer.returncode == 1
    assert answer.stderr.startswith("error [store-read-only]: "), answer.stderr
    assert path.read_bytes() == before


EXITING = """
import sys
from awaitly import step, workflow

@step
def leave() -> None:
    sys.exit(3)

@workflow
async def leaving() -> None:
    await leave()
"""


def test_a_step_that_exits_ends_the_command_with_its_status_and_leaves_a_run_to_be_resumed(awaitly: Awaitly) -> None:
    Path("leaving.py").write_text(EXITING)

    answer = awaitly("run", "leaving.py:leaving", "--id", "x")

    assert answer.status == 3
    assert "warning: step leave of run x ends the process, with SystemExit(3); the run can be resumed" in answer.err
    assert awaitly("runs", "list").out.splitlines()[1].split()[:3] == ["x", "leaving", "pending"]


def test_watch_says_that_nobody_executes_a_run_that_was_given_back(process: Start, awaitly: Awaitly) -> None:
    Path("leaving.py").write_text(EXITING)
    awaitly("run", "leaving.py:leaving", "--id", "x")

    watching = process("runs", "watch", "x")

    assert watching.stderr is not None
    watching.stderr.readline()
    assert watching.stderr.readline().startswith("nobody executes x now; continue with: awaitly runs resume x")


def test_the_demo_kills_its_process_and_counts_every_step_once(awaitly: Awaitly) -> None:
    answer = awaitly("demo")

    assert answer.status == 0
    assert "kill -9" in answer.out
    assert "Each of the 6 steps took effect exactly once: 3 before the kill, 3 after." in answer.out
    assert list(Path.cwd().iterdir()) == []
