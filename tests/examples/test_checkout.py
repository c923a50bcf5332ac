"""Orders are checked out as the files say, and no card is charged twice."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from awaitly import Err, Ok, Runtime, UnexpectedError
from examples import checkout as example
from examples.checkout import (
    FLAGS,
    PAYMENTS,
    CardDeclined,
    Order,
    OutOfStock,
    PaymentServer,
    Receipt,
    Summary,
    UnknownUser,
    checkout,
    checkout_all,
)
from tests.examples.conftest import Program

Run = Callable[[Any], Any]

REFUSED = {
    "o-1004": "0 of globe left",
    "o-1005": "card declined: stolen_card",
    "o-1007": "there is no user u9",
    "o-1010": "2 of piano left",
    "o-1011": "card declined: insufficient_funds",
    "o-1013": "needs a look: the payment service answered 500",
    "o-1016": "there is no user u8",
    "o-1019": "card declined: expired_card",
}


def orders() -> list[dict[str, Any]]:
    return [json.loads(line) for line in example.ORDERS.read_text().splitlines()]


def one_order(**changes: Any) -> Order:
    plain = {
        "id": "o-1",
        "user_id": "u1",
        "sku": "teapot",
        "quantity": 2,
        "amount": "49.80",
        "card": "card-ada",
        "placed_at": "2026-03-02T08:00:00Z",
    }
    return Order.model_validate(plain | changes)


def reserved(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "warehouse.db")) as warehouse:
        return dict(warehouse.execute("SELECT order_id, quantity FROM reserved"))


async def once(order: Order) -> Any:
    async with Runtime(store="memory://", flags=FLAGS) as runtime:
        return await runtime.run(checkout, order, Path("receipts"))


async def all_orders(times: int = 1, **flags: float) -> Summary:
    for _ in range(times):
        async with Runtime(store="runs.db", flags=FLAGS | flags) as runtime:
            result = await runtime.run(checkout_all)
    assert isinstance(result, Ok)
    return result.value


def test_they_compile_without_a_diagnostic() -> None:
    assert [*checkout.graph.diagnostics, *checkout_all.graph.diagnostics] == []


@pytest.mark.usefixtures("payments")
def test_an_order_is_reserved_charged_and_receipted(run: Run, workplace: Path) -> None:
    result = run(once(one_order()))

    assert isinstance(result, Ok)
    assert isinstance(result.value, Receipt)
    assert result.value.amount == Decimal("49.80")
    assert (workplace / "receipts/o-1.txt").read_text().startswith("Thank you, Ada!\n2 x teapot: 49.80 EUR\n")
    assert reserved(workplace) == {"o-1": 2}


@pytest.mark.usefixtures("payments")
@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"user_id": "u9"}, UnknownUser(user_id="u9")),
        ({"sku": "piano", "quantity": 3}, OutOfStock(sku="piano", left=2)),
        ({"card": "card-old"}, CardDeclined(decline_code="expired_card")),
    ],
)
def test_an_expected_failure_is_the_result_and_leaves_nothing_reserved(
    run: Run, workplace: Path, changes: dict[str, Any], failure: Exception
) -> None:
    result = run(once(one_order(**changes)))

    assert result == Err(failure)
    assert reserved(workplace) == {}


def test_releasing_what_was_never_reserved_is_harmless(run: Run, workplace: Path) -> None:
    """An unknown user may be found out before the reservation has begun."""
    run(example.release(one_order()))

    assert reserved(workplace) == {}


def test_after_an_outage_the_stock_stays_reserved(run: Run, workplace: Path, payments: PaymentServer) -> None:
    """Whether the card was charged is open, so somebody has to look."""
    result = run(once(one_order(card="card-broken")))

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    assert result.error.step == "charge"
    assert reserved(workplace) == {"o-1": 2}
    assert payments.charges == {}


def test_a_lost_answer_does_not_charge_twice(run: Run, workplace: Path, payments: PaymentServer) -> None:
    """With nothing but trouble, the service answers the third request of a key, and has charged it once."""
    payments.trouble = 1.0

    result = run(once(one_order()))

    assert isinstance(result, Ok)
    assert set(payments.requests.values()) == {3}
    assert [row["order"] for row in payments.charges.values()] == ["o-1"]


def test_a_service_that_is_down_is_asked_three_times_and_the_error_says_so(
    run: Run, workplace: Path, payments: PaymentServer
) -> None:
    result = run(once(one_order(card="card-broken")))

    assert set(payments.requests.values()) == {3}
    assert str(result.error.message) == "the payment service answered 500"
    assert any(note.startswith("gave up after 3 attempts") for note in result.error.notes)


def test_a_declined_card_is_not_tried_again(run: Run, workplace: Path, payments: PaymentServer) -> None:
    payments.trouble = 0.0

    run(once(one_order(card="card-old")))

    assert set(payments.requests.values()) == {1}


def test_the_breaker_holds_calls_back_from_a_service_that_fails_and_none_of_their_attempts_is_lost(
    run: Run, workplace: Path, payments: PaymentServer
) -> None:
    """Four orders that are bound to fail open the circuit; one that waits for it is charged all the same."""

    async def story() -> tuple[list[str], Any]:
        states = []
        async with Runtime(store="memory://", flags=FLAGS) as runtime:
            PAYMENTS.breaker.subscribe(lambda old, new: states.append(new))
            for number in range(4):
                await runtime.run(checkout, one_order(id=f"o-{number}", sku="umbrella", card="card-broken"))
            return states, await runtime.run(checkout, one_order(id="o-9"))

    states, result = run(story())

    assert states[:3] == ["open", "half-open", "open"]
    assert isinstance(result, Ok)


def test_a_pending_payment_is_looked_up_until_it_is_settled(run: Run, workplace: Path, payments: PaymentServer) -> None:
    result = run(once(one_order(card="card-pending")))

    assert isinstance(result, Ok)
    assert payments.requests[result.value.payment] == example.LOOKUPS


def test_all_orders_come_out_as_the_file_says(run: Run, workplace: Path, payments: PaymentServer) -> None:
    summary = run(all_orders())

    paid = {order["id"]: Decimal(order["amount"]) for order in orders() if order["id"] not in REFUSED}
    assert [line.order for line in summary.lines] == [order["id"] for order in orders()]
    assert {line.order: line.note for line in summary.lines if line.paid is None} == REFUSED
    assert {line.order: line.paid for line in summary.lines if line.paid is not None} == paid
    assert summary.total == sum(paid.values())
    assert {row["order"]: Decimal(row["amount"]) for row in payments.charges.values()} == paid
    assert {file.stem for file in (workplace / "receipts").glob("*.txt")} == set(paid)
    assert set(reserved(workplace)) == {*paid, "o-1013"}


def test_a_flag_chooses_which_orders_get_a_receipt_in_html(run: Run, workplace: Path, payments: PaymentServer) -> None:
    summary = run(all_orders(**{"html-receipts": 0.5}))

    receipts = {file.stem: file.suffix for file in (workplace / "receipts").glob("o-*")}
    assert set(receipts) == {line.order for line in summary.lines if line.paid is not None}
    assert set(receipts.values()) == {".txt", ".html"}


def test_running_all_again_charges_and_writes_nothing(run: Run, workplace: Path, payments: PaymentServer) -> None:
    first = run(all_orders())
    asked = Counter(payments.requests)
    (workplace / "receipts/o-1001.txt").unlink()

    second = run(all_orders())

    assert second == first
    assert payments.requests == asked
    assert not (workplace / "receipts/o-1001.txt").exists()


def test_an_order_is_checked_out_once_however_it_is_started(run: Run, workplace: Path, payments: PaymentServer) -> None:
    """Its id is its own: in another batch it is the run that exists, not a second charge."""

    async def other_batch() -> Summary:
        await all_orders()
        (workplace / "more.jsonl").write_text(example.ORDERS.read_text())
        async with Runtime(store="runs.db", flags=FLAGS) as runtime:
            result = await runtime.run(checkout_all, Path("more.jsonl"))
        assert isinstance(result, Ok)
        return result.value

    summary = run(other_batch())

    assert summary.total == 0
    assert max(Counter(row["order"] for row in payments.charges.values()).values()) == 1


def test_the_program_prints_what_became_of_each_order(program: Program, workplace: Path) -> None:
    done = program("checkout.py")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*(order["id"] for order in orders()), "total"]
    assert lines[-1].split()[1] == "944.90"
    assert {line.split()[0]: line.split(maxsplit=2)[2] for line in lines if line.split()[1] == "-"} == REFUSED


def test_the_program_run_again_charges_nobody(program: Program, workplace: Path) -> None:
    answers = [program("checkout.py").stdout for _ in range(2)]

    assert answers[0] == answers[1]
    charged = [json.loads(line)["order"] for line in (workplace / "payments.jsonl").read_text().splitlines()]
    assert max(Counter(charged).values()) == 1


def test_the_program_says_which_line_of_the_orders_is_wrong(program: Program, workplace: Path) -> None:
    (workplace / "orders.jsonl").write_text('{"id": "o-1"}\n')

    done = program("checkout.py", "--orders", "orders.jsonl")

    assert done.returncode == 1
    assert "the orders could not be checked out" in done.stdout
    assert "Traceback" not in done.stderr
