"""Kill the examples at random instants and start them again: ``python -m tests.crash.campaign --kills 200 --seed 1``.

A *trial* is one run of an example in a folder of its own, through several *lives* of its process, of which all but
the last end by SIGKILL. After every life the journals must only have grown, and no effect whose outcome was stored
before the life may have been executed in it. In the end the trial must be what an undisturbed one is.

An attempt that follows a failed one is no repetition: what is counted are executions of one attempt of one piece of
work. After a crash attempts are counted anew, as delays this short are not stored.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect
from typing import Any

from awaitly.model.facts import Fact, StepFinished
from awaitly.model.identity import idempotency_key
from awaitly.model.state import RunRecord
from awaitly.persist.urls import store_from_url
from examples.checkout import PaymentServer
from tests.examples.environments import damaged_environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ("audit", "checkout")
EFFECTS = {"write_report", "reserve", "release", "charge", "write_receipt", "write_summary"}
ATTEMPTS = 3  # that a charge may need
PAUSE = 0.02  # seconds that every step takes longer, so that there is something to hit
LONGEST_LIFE = 60.0
MOST_KILLS = 6  # of one trial
FRUITLESS = 3  # lives without a new fact, after which a life is spared: after five, a run is stuck by design
EARLY = 0.15  # the share of kills while the process is still importing


class Broken(AssertionError):
    """A guarantee did not hold."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds."""

    records: dict[str, RunRecord]
    facts: dict[str, Sequence[Fact]]

    @property
    def effects(self) -> set[str]:
        """The idempotency keys of the effects whose outcome is stored."""
        return {
            idempotency_key(run, fact.call)
            for run, facts in self.facts.items()
            for fact in facts
            if isinstance(fact, StepFinished) and fact.step in EFFECTS
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: so many seconds after the process was started, or after it was ready."""

    ready: bool
    after: float


@dataclass(frozen=True, slots=True)
class Life:
    """How one process ended."""

    killed: bool
    answer: str
    ready_after: float
    worked: float  # since it was ready


@dataclass(slots=True)
class Trial:
    """One run of an example, in a folder of its own."""

    example: str
    folder: Path
    payments: PaymentServer
    kills: int = 0
    lives: int = 0
    stored: Stored = field(default_factory=lambda: Stored({}, {}))
    executed: Counter[tuple[str, int]] = field(default_factory=Counter)  # by idempotency key and number of the attempt

    @property
    def label(self) -> str:
        return f"{self.example} in {self.folder}, life {self.lives}"

    def live(self, moment: Moment | None) -> Life:
        """Live once, and check what every life must keep to."""
        self.lives += 1
        life = _live(self._command(), self.folder, moment, self.label)
        self.kills += life.killed
        self.check_life()
        return life

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "tests.crash.victim", self.example, "--store", "runs.db", "--id", "trial"]
        command += ["--ledger", "ledger", "--out", "out", "--pause", str(PAUSE)]
        return command + (["--site", "../site"] if self.example == "audit" else ["--payments", self.payments.url])

    def check_life(self) -> None:
        before, self.stored = self.stored, stored_in(self.folder)
        for run, facts in before.facts.items():
            now = self.stored.facts.get(run, ())
            _hold(list(now[: len(facts)]) == list(facts), f"{self.label}: stored facts of run {run} have changed")

        seen = self.executed
        self.executed = Counter((line["key"], line["attempt"]) for line in ledger_in(self.folder))
        for (key, attempt), times in (self.executed - seen).items():
            _hold(times == 1, f"{self.label}: {key} was executed {times} times in one life, attempt {attempt}")
            _hold(key not in before.effects, f"{self.label}: {key} was executed again, though its outcome was stored")

    def check_end(self) -> None:
        """Check what must be true when the run has ended."""
        for run, record in self.stored.records.items():
            _hold(record.status.ended, f"{self.label}: run {run} is left {record.status}")
        for key in self.stored.effects:
            _hold(self.executed[key, 1] >= 1, f"{self.label}: {key} is stored, and was never executed")
        for (key, attempt), times in self.executed.items():
            _hold(attempt <= ATTEMPTS, f"{self.label}: there was an attempt {attempt} of {key}")
            _hold(times <= 1 + self.kills, f"{self.label}: {key} was executed {times} times, attempt {attempt}")

    def outcome(self, answer: str) -> dict[str, Any]:
        """Return everything that may not depend on when the process was killed."""
        charges = Counter(row["order"] for row in self.payments.charges.values())
        return {
            "result": json.loads(answer),
            "files": {file.name: file.read_bytes() for file in sorted((self.folder / "out").glob("[!.]*"))},
            "runs": {run: record.status for run, record in sorted(self.stored.records.items())},
            "charges": dict(sorted(charges.items())),
            "reserved": _reserved(self.folder / "warehouse.db"),
        }

    @property
    def repeats(self) -> int:
        """How many executions were in vain, because their outcome was not stored."""
        return sum(times - 1 for times in self.executed.values())


def stored_in(folder: Path) -> Stored:
    """Read a copy of the store: its recovery after the crash is left to the next life."""
    if not (folder / "runs.db").exists():
        return Stored({}, {})
    with tempfile.TemporaryDirectory(dir=folder) as copies:
        for name in ("runs.db", "runs.db-wal"):
            if (folder / name).exists():
                shutil.copy(folder / name, copies)
        return asyncio.run(_read(f"sqlite:///{copies}/runs.db"))


async def _read(url: str) -> Stored:
    store = store_from_url(url)
    await store.open()
    try:
        records = {record.id: record for record in await store.list(limit=1000)}
        return Stored(records, {run: await store.read(run) for run in records})
    finally:
        await store.close()


def ledger_in(folder: Path) -> list[dict[str, Any]]:
    """Return the attempts of effects that were executed, in order."""
    ledger = folder / "ledger"
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def _reserved(warehouse: Path) -> list[tuple[Any, ...]]:
    if not warehouse.exists():
        return []
    with closing(connect(warehouse)) as database:
        return database.execute("SELECT * FROM reserved ORDER BY order_id").fetchall()


def _live(command: list[str], folder: Path, moment: Moment | None, label: str) -> Life:
    """Start a process, kill it at the moment, and wait for its end."""
    begun = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = folder / "errors"
    with (
        said.open("w") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            ready = begun if moment and not moment.ready else _ready(process, said)
            killed = moment is not None and _kill(process, ready + moment.after)
            answer, _ = process.communicate(timeout=LONGEST_LIFE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Broken(f"{label}: still running after {LONGEST_LIFE} s; see {said}") from None
    _hold(killed or process.returncode == 0, f"{label}: exit status {process.returncode}:\n{said.read_text()}")
    worked = time.monotonic() - ready if moment is None or moment.ready else 0.0
    return Life(killed, answer, ready - begun, worked)


def _ready(process: "subprocess.Popen[str]", said: Path) -> float:
    while process.poll() is None and "ready" not in said.read_text():
        time.sleep(0.002)
    return time.monotonic()


def _kill(process: "subprocess.Popen[str]", at: float) -> bool:
    """Kill the process at a time; False if it has ended before."""
    try:
        process.wait(max(0.0, at - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -signal.SIGKILL


def _hold(condition: object, message: str) -> None:
    if not condition:
        raise Broken(message)


@contextmanager
def trial(example: str, folder: Path) -> Iterator[Trial]:
    """Prepare a trial with a payment service that outlives the lives."""
    folder.mkdir()
    with PaymentServer() as payments:
        threading.Thread(target=payments.serve_forever, daemon=True).start()
        try:
            yield Trial(example, folder, payments)
        finally:
            payments.shutdown()


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a trial without kills came to, and how long its parts took."""

    outcome: dict[str, Any]
    importing: float
    working: float

    def moment(self, chance: random.Random, worked: float) -> Moment:
        """Choose an instant of the next life, mostly while the workflow is at work on what is left."""
        if chance.random() < EARLY:
            return Moment(ready=False, after=chance.uniform(0, self.importing))
        return Moment(ready=True, after=chance.uniform(0, max(self.working - worked, self.working / 10)))


def undisturbed(example: str, base: Path) -> Undisturbed:
    """Run an example without harm."""
    with trial(example, base / f"{example}-undisturbed") as calm:
        life = calm.live(None)
        calm.check_end()
        _hold(calm.repeats == 0, f"{calm.label}: effects were executed twice")
        return Undisturbed(calm.outcome(life.answer), life.ready_after, life.worked)


def disturbed(example: str, folder: Path, expected: Undisturbed, chance: random.Random, kills: int) -> Trial:
    """Run an example, killing it up to so many times, until it ends; then check what came of it."""
    with trial(example, folder) as harmed:
        left = min(kills, chance.randint(3, MOST_KILLS))
        worked = 0.0
        while True:
            stale = any(record.claims >= FRUITLESS for record in harmed.stored.records.values())
            spared = not left or stale
            life = harmed.live(None if spared else expected.moment(chance, worked))
            if not life.killed:
                break
            left -= 1
            worked += life.worked
        harmed.check_end()
        found = harmed.outcome(life.answer)
        for part, value in expected.outcome.items():
            _hold(found[part] == value, f"{harmed.label}: {part}: found {found[part]!r}, expected {value!r}")
        return harmed


def campaign(examples: Sequence[str], kills: int, seed: int, base: Path) -> Iterator[Trial]:
    """Yield trials of the examples in turn, until there were so many kills.

    Raises:
        Broken: If a guarantee did not hold; the trial's folder is left for looking at it.
    """
    chance = random.Random(seed)
    damaged_environment(base / "site")
    expected = {example: undisturbed(example, base) for example in examples}
    number = 0
    while kills > 0:
        number += 1
        example = examples[number % len(examples)]
        done = disturbed(example, base / f"{example}-{number}", expected[example], chance, kills)
        kills -= done.kills
        yield done
        shutil.rmtree(done.folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--example", choices=[*EXAMPLES, "both"], default="both")
    given = parser.parse_args()

    counts: Counter[str] = Counter()
    base = Path(tempfile.mkdtemp(prefix="awaitly-crash-"))
    chosen = EXAMPLES if given.example == "both" else (given.example,)
    try:
        for done in campaign(chosen, given.kills, given.seed, base):
            counts.update(
                runs=1, lives=done.lives, kills=done.kills, effects=len(done.stored.effects), repeats=done.repeats
            )
            print(f"\r{counts['kills']} kills", end="", file=sys.stderr, flush=True)
    except Broken as broken:
        print(f"\n{broken}\nleft for looking at it: {base}; run again with --seed {given.seed}", file=sys.stderr)
        return 1
    shutil.rmtree(base)
    print(f"\r{', '.join(f'{number} {what}' for what, number in counts.items())}; nothing lost, nothing done twice")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
