"""Check out orders: reserve the stock, charge the card, write the receipt; every order a durable run of its own.

    python examples/checkout.py --out receipts
    awaitly run examples/checkout.py:checkout_all
    AWAITLY_FLAGS__HTML_RECEIPTS=0.5 python examples/checkout.py --out receipts

Kill it at any time and start it again: no card is charged twice, no order is lost. The payment service is a real HTTP
server on loopback that fails on purpose. It starts with the first charge, unless PAYMENTS_URL names another one, and
keeps its own books in payments.jsonl, as the warehouse keeps its stock in warehouse.db.
"""

import argparse
import asyncio
import hashlib
import html
import json
import os
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pydantic import BaseModel

from awaitly import (
    Breaker,
    Err,
    Failure,
    Ok,
    Policies,
    RateLimit,
    Result,
    Retry,
    Runtime,
    UnexpectedError,
    current,
    each,
    gather,
    sleep,
    step,
    workflow,
)

ORDERS = Path(__file__).parent / "orders.jsonl"


class Order(BaseModel):
    id: str
    user_id: str
    sku: str
    quantity: int
    amount: Decimal
    card: str
    placed_at: datetime


class User(BaseModel):
    id: str
    name: str


class Payment(BaseModel):
    id: str
    amount: Decimal
    status: Literal["pending", "settled"]


class Receipt(BaseModel):
    order: str
    payment: str
    amount: Decimal
    file: Path


class Line(BaseModel):
    """What became of one order."""

    order: str
    paid: Decimal | None = None
    note: str


class Summary(BaseModel):
    lines: list[Line]
    total: Decimal
    file: Path


# Failures are expected: a workflow's caller handles them. Everything else that a step raises is an UnexpectedError.


class UnknownUser(Failure):
    user_id: str


class OutOfStock(Failure):
    sku: str
    left: int


class CardDeclined(Failure):
    decline_code: str


# What lies around every call to the payment service. All calls, whichever step makes them, share the breaker and the
# limiter. A call that the breaker stops waits for the service to recover, and none of its attempts is used up by that.
PAYMENTS = Policies(
    retry=Retry(3, initial="20ms", max="1s"),
    limiter=RateLimit("payments", limit=50, per="1s", burst=10),
    breaker=Breaker("payments", failure_ratio=0.8, window="5s", reset_timeout="200ms", when_open="wait"),
    timeout="20s",
)

# Flags that nobody has set in the settings are what this says.
FLAGS = {"html-receipts": False}


@step(effect="read")
def read_orders(file: Path) -> list[Order]:
    return [Order.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


@step(key="user:{user_id}", effect="read", errors=UnknownUser)
async def fetch_user(user_id: str) -> User:
    """Raise what went wrong: the class is declared in `errors=`."""
    if user_id not in USERS:
        raise UnknownUser(user_id=user_id)
    return User(id=user_id, name=USERS[user_id])


@step(key="reserve:{order.id}")
def reserve(order: Order) -> Result[int, OutOfStock]:
    """Or return it: the annotation declares it, and the workflow receives the number left."""
    with warehouse() as database:
        counted = "SELECT coalesce(sum(quantity), 0) FROM reserved WHERE sku = ? AND order_id != ?"
        (taken,) = database.execute(counted, (order.sku, order.id)).fetchone()
        left = STOCK[order.sku] - taken
        if order.quantity > left:
            return Err(OutOfStock(sku=order.sku, left=left))
        # A step that was interrupted is executed again: written like this, twice is the same as once.
        row = (order.id, order.sku, order.quantity)
        database.execute("INSERT OR REPLACE INTO reserved VALUES (?, ?, ?)", row)
        return Ok(left - order.quantity)


@step(key="release:{order.id}")
def release(order: Order) -> None:
    """Harmless where nothing was reserved."""
    with warehouse() as database:
        database.execute("DELETE FROM reserved WHERE order_id = ?", (order.id,))


@step(key="charge:{order.id}", errors=CardDeclined, policies=PAYMENTS)
def charge(order: Order) -> Payment:
    """Charge the card. A plain function may block: it runs in a worker thread.

    An HTTP 500 leaves open whether the card was charged. So it is asked again with the same idempotency key, which is
    also the same when a crash has interrupted this step and it is executed once more. A card that was declined is an
    answer: it is not retried, and the breaker does not count it.
    """
    body = {"order": order.id, "card": order.card, "amount": str(order.amount)}
    status, answer = call_payments("/charges", body, key=current().idempotency_key)
    if status == 402:
        raise CardDeclined(decline_code=answer["decline_code"])
    return Payment.model_validate(accepted(status, answer))


@step(effect="read", policies=PAYMENTS)
def look_up(payment_id: str) -> Payment:
    return Payment.model_validate(accepted(*call_payments(f"/charges/{payment_id}")))


def accepted(status: int, answer: Any) -> Any:
    """Return an answer, unless it says that the service is in trouble: that is worth another attempt."""
    if status >= 400:
        raise ConnectionError(f"the payment service answered {status}")
    return answer


@step(key="receipt:{order.id}")
def write_receipt(order: Order, user: User, payment: Payment, out: Path) -> Receipt:
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{order.id}.txt"
    text = f"Thank you, {user.name}!\n{order.quantity} x {order.sku}: {payment.amount} EUR\nPayment {payment.id}\n"
    replace_file(file, text)
    return Receipt(order=order.id, payment=payment.id, amount=payment.amount, file=file)


@write_receipt.variant(flag="html-receipts")
def write_html_receipt(order: Order, user: User, payment: Payment, out: Path) -> Receipt:
    """Take the place of `write_receipt` in the runs that the flag is on for: it is decided once for each order."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{order.id}.html"
    text = f"<h1>Thank you, {html.escape(user.name)}!</h1>\n<p>{order.quantity} x {html.escape(order.sku)}\n"
    replace_file(file, f"{text}<p>{payment.amount} EUR\n<p>Payment {payment.id}\n")
    return Receipt(order=order.id, payment=payment.id, amount=payment.amount, file=file)


@step
def write_summary(lines: list[Line], out: Path) -> Summary:
    out.mkdir(parents=True, exist_ok=True)
    total = sum((line.paid for line in lines if line.paid), Decimal())
    summary = Summary(lines=lines, total=total, file=out / "orders.json")
    replace_file(summary.file, summary.model_dump_json(indent=2) + "\n")
    return summary


@workflow(key="order:{order.id}", errors=(UnknownUser, OutOfStock, CardDeclined))
async def checkout(order: Order, out: Path = Path("receipts")) -> Receipt:
    """Check out one order. Its id is the order's, so an order is checked out once however often this is called."""
    try:
        user, _ = await gather(fetch_user(order.user_id), reserve(order))
        payment = await charge(order)
    except (UnknownUser, CardDeclined):
        # Not after an UnexpectedError: then the card may have been charged, and somebody has to look.
        await release(order)
        raise

    while payment.status == "pending":
        await sleep("50ms")  # due at a stored time: a run that was interrupted waits only for what is left
        payment = await look_up(payment.id)
    return await write_receipt(order, user, payment, out)


@workflow(key="orders:{orders}")
async def checkout_all(orders: Path = ORDERS, out: Path = Path("receipts")) -> Summary:
    """Check out all orders of a file, four at a time, and say what became of each."""

    async def settled(order: Order) -> Line:
        match await checkout.run(order, out):  # a child run: Ok or Err, and an Err ends nothing else
            case Ok(receipt):
                return Line(order=order.id, paid=receipt.amount, note=f"payment {receipt.payment}")
            case Err(error):
                return Line(order=order.id, note=explained(error))

    lines = await each(settled, await read_orders(orders), concurrency=4)
    return await write_summary(lines, out)


def explained(error: UnknownUser | OutOfStock | CardDeclined | UnexpectedError) -> str:
    match error:
        case UnknownUser(user_id=user):
            return f"there is no user {user}"
        case OutOfStock(sku=sku, left=left):
            return f"{left} of {sku} left"
        case CardDeclined(decline_code=code):
            return f"card declined: {code}"
        case UnexpectedError():
            return f"needs a look: {error.message}"


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


# The world outside: users, stock, and a payment service that misbehaves.

USERS = {"u1": "Ada", "u2": "Grace", "u3": "Edsger", "u4": "Barbara", "u5": "Tony"}
STOCK = {"teapot": 40, "umbrella": 25, "lamp": 30, "globe": 0, "piano": 2}
DECLINED = {"card-stolen": "stolen_card", "card-empty": "insufficient_funds", "card-old": "expired_card"}
LOOKUPS = 2  # until a pending charge is settled


@contextmanager
def warehouse() -> Iterator[sqlite3.Connection]:
    """Open the warehouse's database for one transaction."""
    with closing(sqlite3.connect("warehouse.db", timeout=30)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS reserved (order_id PRIMARY KEY, sku, quantity)")
        database.execute("BEGIN IMMEDIATE")
        yield database


# Not an argument of the workflow: arguments are stored with a run, and the service may have moved when it is resumed.
@cache
def payments_url() -> str:
    """Return where the payment service listens: PAYMENTS_URL, or one that is started here."""
    if url := os.environ.get("PAYMENTS_URL"):
        return url
    server = PaymentServer(Path("payments.jsonl"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.url


def call_payments(path: str, body: dict[str, str] | None = None, key: str = "") -> tuple[int, Any]:
    """Return the status and the content of an answer of the payment service."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(payments_url() + path, data, headers={"Idempotency-Key": key})
    try:
        with urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


class PaymentServer(ThreadingHTTPServer):
    """A payment service that fails by chance, yet never charges twice for one idempotency key.

    Args:
        books: a file of the charges it has made, one JSON object a line; None: it forgets them when it ends.
        trouble: the share of requests that get a 500 instead, at most two in a row for one key; half of them after
            the card was charged.
    """

    daemon_threads = True

    def __init__(self, books: Path | None = None, *, trouble: float = 0.3) -> None:
        super().__init__(("127.0.0.1", 0), PaymentHandler)
        self.books = books
        self.trouble = trouble
        self.charges: dict[str, dict[str, str]] = {}  # by idempotency key
        self.requests: Counter[str] = Counter()
        self.lock = threading.Lock()
        if books is not None and books.exists():
            rows = [json.loads(line) for line in books.read_text(encoding="utf-8").splitlines()]
            self.charges = {row["key"]: row for row in rows}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def charge(self, key: str, wish: dict[str, str]) -> tuple[int, dict[str, str]]:
        with self.lock:
            self.requests[key] += 1
            chance = hashlib.sha256(f"{key} {self.requests[key]}".encode()).digest()
            failing = wish["card"] == "card-broken" or (self.requests[key] % 3 and chance[0] < 256 * self.trouble)
            if failing and (chance[1] % 2 or wish["card"] == "card-broken"):
                return 500, {"error": "out of order"}
            if wish["card"] in DECLINED:
                return 402, {"decline_code": DECLINED[wish["card"]]}
            if key not in self.charges:
                self.note(key, wish)
            return (500, {"error": "answer lost"}) if failing else (201, self.charges[key])

    def note(self, key: str, wish: dict[str, str]) -> None:
        status = "pending" if wish["card"] == "card-pending" else "settled"
        payment = "pay-" + hashlib.sha256(key.encode()).hexdigest()[:8]
        row = {"id": payment, "amount": wish["amount"], "status": status, "order": wish["order"], "key": key}
        self.charges[key] = row
        if self.books is not None:
            with self.books.open("a", encoding="utf-8") as books:
                books.write(json.dumps(row) + "\n")

    def look_up(self, payment: str) -> tuple[int, dict[str, str]]:
        with self.lock:
            self.requests[payment] += 1
            for row in self.charges.values():
                if row["id"] == payment:
                    return 200, row | ({"status": "settled"} if self.requests[payment] >= LOOKUPS else {})
        return 404, {"error": "no such charge"}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing if the caller has gone: it was killed, or has given up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class PaymentHandler(BaseHTTPRequestHandler):
    server: PaymentServer

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if wish["card"] == "card-slow":
            time.sleep(0.2)
        self.answer(*self.server.charge(self.headers["Idempotency-Key"], wish))

    def do_GET(self) -> None:
        self.answer(*self.server.look_up(self.path.rpartition("/")[2]))

    def answer(self, status: int, content: dict[str, str]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard error belongs to the example."""


async def checked_out(orders: Path, out: Path, run_id: str | None) -> Result[Summary, Exception]:
    async with Runtime(flags=FLAGS, workflows=[checkout_all, checkout]) as runtime:
        return await runtime.run(checkout_all.options(id=run_id), orders, out)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check out the orders of a JSON-lines file.")
    parser.add_argument("--orders", type=Path, default=ORDERS, help="file of orders, one JSON object a line")
    parser.add_argument("--out", type=Path, default=Path("receipts"), help="folder for the receipts")
    parser.add_argument("--id", help="id of the run; default: made from --orders")
    arguments = parser.parse_args()

    match asyncio.run(checked_out(arguments.orders, arguments.out, arguments.id)):
        case Ok(summary):
            for line in summary.lines:
                print(f"{line.order:<8}{line.paid or '-':>10}  {line.note}")
            print(f"{'total':<8}{summary.total:>10}  see {summary.file}")
            return 0
        case Err(error):
            print(f"the orders could not be checked out: {error}")
            return 1


if __name__ == "__main__":
    raise SystemExit(main())
