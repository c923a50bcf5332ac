"""Stop a shop under load and start it again: ``python -m tests.service.campaign --trials 9 --seed 1``.

A *trial* is a number of orders that customers, a process of their own, send at a steady rate, while the shop is stopped
in the middle and started again. It is told to stop in time (``gently``), with hardly any (``hastily``), or killed.
Whatever happens: every order has one outcome, which is what the store says; every card is charged once; and nothing
that was stored before an end was done again after it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awaitly.model.state import Status
from examples.checkout import PaymentServer
from tests.crash.campaign import Stored, stored_in
from tests.service.customers import CARDS

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
TIMES = {"gently": "20s", "hastily": "400ms", "killed": "20s"}  # to shut down
WAYS = tuple(TIMES)


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(slots=True)
class End:
    """How one process of the shop ended.

    Attributes:
        told: when it was told to.
        ended: when it had.
        requests: the charges that were asked for by then, by idempotency key.
        said: what it printed.
    """

    way: str
    told: float
    ended: float
    requests: Counter[str]
    stored: Stored
    said: str

    @property
    def unfinished(self) -> list[str]:
        """The runs that it left."""
        return [run for run, record in self.stored.records.items() if not record.status.ended]


@dataclass(slots=True)
class Trial:
    """One campaign's trial, as it came out."""

    ends: list[End] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    readiness: list[dict[str, Any]] = field(default_factory=list)
    charges: list[dict[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    stored: Stored = field(default_factory=lambda: Stored({}, {}))

    def finished(self, end: End) -> list[dict[str, Any]]:
        """Return the orders that were under way when the process was told to end, and were answered by it."""
        return [answer for answer in self.answers if end.told < answer["at"] < end.ended]

    @property
    def repeats(self) -> int:
        """How many charges were asked for again, because it was not known what had become of them."""
        return sum(times - 1 for times in self.requests.values())

    @property
    def away(self) -> float:
        """For how long the shop was away at most, as its customers saw it."""
        gone, longest = None, 0.0
        for seen in self.readiness:
            if seen["ready"] == [200] and gone is not None:
                longest, gone = max(longest, seen["at"] - gone), None
            elif seen["ready"] != [200] and gone is None:
                gone = seen["at"]
        return longest


class Payments(PaymentServer):
    """A payment service that counts what reaches it before it looks at it."""

    asked = 0

    def charge(self, key: str, wish: dict[str, str]) -> tuple[int, dict[str, str]]:
        self.asked += 1
        return super().charge(key, wish)


class Shop:
    """The shop in a folder, always at one address."""

    def __init__(self, folder: Path, payments: Payments) -> None:
        self._folder = folder
        self._payments = payments
        self._lives = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def open(self, way: str) -> None:
        """Start a process that will end in some way, and wait until it serves."""
        self._lives += 1
        self._said = self._folder / f"said-{self._lives}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWAITLY_")}
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.service.shop:create"]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port), "--no-access-log"],
                cwd=self._folder, env=kept | self._environment(way), stdout=said, stderr=said,
            )  # fmt: skip
        _until(lambda: "running on" in self._said.read_text() or self._process.poll() is not None, "the shop serves")

    def _environment(self, way: str) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "PAYMENTS_URL": self._payments.url,
            "AWAITLY_STORE": "sqlite:///runs.db",
            "AWAITLY_SHUTDOWN_TIMEOUT": TIMES[way],
            "AWAITLY_MAX_LOOP_LAG": "30s",  # of a machine that has more to do
            "AWAITLY_LIMITERS__PAYMENTS__LIMIT": "1000",
            "AWAITLY_LIMITERS__PAYMENTS__BURST": "1000",
        }

    def end(self, way: str, said: Callable[[], str] = str) -> End:
        """End the process, and take down what it leaves.

        It is told to while it waits for the payment service, which answers when it is dead; where it is stopped gently,
        when customers have said that it is not ready.
        """
        with self._payments.lock if said() and way != "hastily" else nullcontext():
            asked = self._payments.asked
            if said():
                _until(lambda: self._payments.asked > asked, "the shop charges somebody")
            told = time.time()
            self._process.send_signal(signal.SIGKILL if way == "killed" else signal.SIGTERM)
            if said() and way == "gently":
                _until(lambda: '"ready": [503, "shutting-down"]' in said(), "the shop says that it is not ready")
            elif way == "killed":
                self._process.wait(PATIENCE)
        status = self._process.wait(PATIENCE)
        ended = time.time()
        _hold(status == (-9 if way == "killed" else -15), f"exit status {status} after {way}: {self._said.read_text()}")
        with self._payments.lock:
            requests = Counter(self._payments.requests)
        return End(way, told, ended, requests, stored_in(self._folder), self._said.read_text())

    def close(self) -> None:
        """Leave no process behind."""
        self._process.kill()
        self._process.wait()


@contextmanager
def customers(folder: Path, url: str, orders: int, rate: float) -> Iterator["subprocess.Popen[str]"]:
    """Let customers order; what they say is in a file."""
    command = [sys.executable, "-m", "tests.service.customers", url, str(orders), str(rate)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "customers").open("w") as said, subprocess.Popen(
        command, cwd=folder, env=environment, stdout=said, text=True
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def trial(folder: Path, ways: tuple[str, ...], orders: int, rate: float, chance: random.Random) -> Trial:
    """Play one trial, in which the shop ends in these ways one after the other, and check it.

    Raises:
        Broken: If a promise was not kept.
    """
    folder.mkdir()
    found = Trial()
    with Payments(trouble=0.0) as payments:
        threading.Thread(target=payments.serve_forever, daemon=True).start()
        shop = Shop(folder, payments)
        try:
            with customers(folder, shop.url, orders, rate) as ordering:  # they need not wait until it is open
                shop.open(ways[0])
                _until(lambda: '"ready": [200]' in (folder / "customers").read_text(), "the customers begin")
                begun = time.monotonic()
                for number, way in enumerate(ways):
                    # In the middle of what is left of the time in which orders come.
                    when = orders / rate * (number + chance.uniform(0.3, 0.7)) / len(ways)
                    time.sleep(max(0.0, begun + when - time.monotonic()))
                    found.ends.append(shop.end(way, (folder / "customers").read_text))
                    shop.open([*ways, "gently"][number + 1])
                _hold(ordering.wait(PATIENCE) == 0, "the customers gave up")
            found.ends.append(shop.end("gently"))
        finally:
            shop.close()
            payments.shutdown()
        found.charges = list(payments.charges.values())
        found.requests = Counter({key: payments.requests[key] for key in payments.charges})
    for line in map(json.loads, (folder / "customers").read_text().splitlines()):
        (found.readiness if "ready" in line else found.answers).append(line)
    found.stored = found.ends[-1].stored
    _check_orders(found, orders)
    for end in found.ends[:-1]:
        _check_end(found, end)
    return found


def _check_orders(found: Trial, orders: int) -> None:
    numbers = Counter(answer["order"] for answer in found.answers)
    _hold(len(numbers) == orders, f"{orders} orders, and {len(numbers)} have an outcome")
    _hold(set(numbers.values()) == {1}, f"answered twice: {numbers.most_common(1)}")
    charged = {row["order"]: row["id"] for row in found.charges}
    _hold(len(charged) == len(found.charges), f"{len(found.charges)} charges of {len(charged)} orders")
    for answer in found.answers:
        stolen = CARDS[int(answer["order"].removeprefix("o-")) % len(CARDS)] == "card-stolen"
        status = found.stored.records[f"order:{answer['order']}"].status
        expected = (409, Status.FAILED, None) if stolen else (200, Status.SUCCEEDED, charged.get(answer["order"]))
        given = (answer["status"], status, (answer["answer"].get("receipt") or {}).get("payment"))
        _hold(given == expected, f"{answer['order']} came to {given}, not {expected}: {answer}")


def _check_end(found: Trial, end: End) -> None:
    repeated = [key for key in end.stored.effects if found.requests[key] > end.requests[key]]
    _hold(not repeated, f"asked for again after {end.way}, though the outcome was stored: {repeated}")
    if end.way == "killed":
        return
    owned = [run for run in end.unfinished if end.stored.records[run].owner is not None]
    _hold(not owned, f"not given back by a shop that was stopped {end.way}: {owned}")
    if end.way == "gently":
        said = [seen["ready"] for seen in found.readiness if seen["at"] > end.told]
        if said[0] == [200]:  # of a shop that had just opened: what it had answered when it was told to end
            del said[0]
        _hold(said[0] == [503, "shutting-down"], f"/ready did not turn 503 before the shop was away: {said}")
        _hold(not end.unfinished and "abandoned" not in end.said, f"left by a gentle end: {end.unfinished}\n{end.said}")


def _hold(condition: object, message: str) -> None:
    if not condition:
        raise Broken(message)


def _until(condition: Any, what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        _hold(time.monotonic() < until, f"{what!r} did not happen")
        time.sleep(0.01)


def told(found: Trial) -> Counter[str]:
    """Return a trial in numbers."""
    counted = Counter(orders=len(found.answers), charges=len(found.charges), repeated=found.repeats)
    counted["asked again"] = sum(answer["asked"] > 1 for answer in found.answers)
    for end in found.ends[:-1]:
        counted[f"stopped {end.way}"] += 1
        counted[f"answered while stopped {end.way}"] += len(found.finished(end))
        counted[f"continued after {end.way}"] += len(end.unfinished)
    return counted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.service.campaign", description=__doc__)
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=200, help="orders a second")
    parser.add_argument("--seconds", type=float, default=4, help="for how long orders come")
    given = parser.parse_args()

    chance = random.Random(given.seed)
    base = Path(tempfile.mkdtemp(prefix="awaitly-service-"))
    counts: Counter[str] = Counter()
    away = 0.0
    for number in range(given.trials):
        ways = (WAYS[number % len(WAYS)],) if number < len(WAYS) else tuple(chance.choices(WAYS, k=2))
        try:
            found = trial(base / str(number), ways, int(given.rate * given.seconds), given.rate, chance)
        except Broken as broken:
            print(f"{broken}\nleft for looking at it: {base}; run again with --seed {given.seed}", file=sys.stderr)
            return 1
        counts += told(found)
        away = max(away, found.away)
        print(f"trial {number}: {', '.join(ways)}: {dict(told(found))}", file=sys.stderr, flush=True)
    shutil.rmtree(base)
    print(f"{', '.join(f'{count} {what}' for what, count in counts.items())}; away for {away:.1f} s at most")
    print("no order lost, none answered twice, each card charged once, nothing that was stored done again")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
