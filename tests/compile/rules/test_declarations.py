"""What decorators were given has to fit, and everything that is stored has to come back."""

import inspect
from threading import Lock
from typing import Any

import pytest
from pydantic import BaseModel

from awaitly.compile.bindings import bind_step
from awaitly.declare.combinators import each, gather
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from awaitly.errors import CompileError, UnstorableType, UsageError
from awaitly.model.graph import Severity
from awaitly.result import Ok, Result


class Order(BaseModel):
    id: str
    lines: list[str] = []


@step(key="charge:{order.id}")
async def charge(order: Order) -> str:
    return order.id


@step(key="pack:{order.id}:{line}")
async def pack(order: Order, line: str = "") -> str:
    return line


@step(key="once")
async def once(order: Order) -> str:
    return order.id


@step(
    name="work",
    key="work:{order.idd}",  # bad-key-template
)
async def misspelt(order: Order) -> str:
    return order.id


@step
async def locked(
    order: Order,
    lock: Lock,  # unstorable-argument
    other: Lock,  # unstorable-argument
) -> str:
    return order.id


@step(unfingerprinted=("lock",))
async def unlocked(order: Order, lock: Lock) -> str:
    return order.id


@step(unfingerprinted=("lok",))  # unknown-parameter
async def misnamed(order: Order, lock: int) -> str:
    return order.id


@step
async def locking(
    order: Order,
) -> Lock:  # unstorable-type
    return Lock()


@step
async def unresolved(
    order: "Ordr",  # type: ignore[name-defined]  # noqa: F821  # unresolved-annotation
) -> str:
    return ""


@step
async def mixed(order: Order) -> Result[str, ValueError] | None:  # mixed-result
    return Ok(order.id)


def other_charge() -> Any:
    @step(name="charge")
    async def named_alike(order: Order) -> str:
        return order.id

    return named_alike


another = other_charge()


@workflow
async def bad_templates_of_steps(order: Order) -> None:
    await misspelt(order)


@workflow(key="order:{ordr.id}")  # bad-key-template
async def bad_templates_of_workflows(order: Order) -> None:
    await charge(order)


@workflow
async def types_that_cannot_be_stored(order: Order, lock: Lock) -> Lock:  # unstorable-argument, unstorable-type
    await locked(order, lock, lock)
    await unlocked(order, lock)
    await locking(order)
    return lock


@workflow(durable=False)
async def types_where_nothing_is_stored(order: Order, lock: Lock) -> Lock:
    await locked(order, lock, lock)
    return await locking(order)


@workflow
async def annotations_that_say_too_little_or_too_much(order: Order) -> None:
    await unresolved(order)
    await mixed(order)
    await misnamed(order, 1)


@workflow
async def keys_that_do_not_vary(order: Order) -> None:
    for _ in range(3):
        await charge(order)  # key-does-not-vary
    for line in order.lines:
        await pack(order, "x")  # key-does-not-vary
        await once(Order(id=line))  # key-does-not-vary
    await gather(*[charge(order) for _ in range(3)])  # key-does-not-vary
    while True:
        await charge(order=order)  # key-does-not-vary


@workflow
async def keys_that_vary(orders: list[Order]) -> None:
    for order in orders:
        await charge(order)
        for line in order.lines:
            await pack(order, line)
        copy = order.model_copy()
        await charge(order=copy)
    await each(charge, orders)
    for index in range(3):
        await charge(orders[index])
    while orders:
        await charge(orders.pop())


@workflow
async def two_steps_of_one_name(order: Order) -> None:
    await charge(order)
    await another(order)


MARKED = [
    (bad_templates_of_steps, [misspelt]),
    (bad_templates_of_workflows, []),
    (types_that_cannot_be_stored, [locked, locking]),
    (types_where_nothing_is_stored, []),
    (annotations_that_say_too_little_or_too_much, [unresolved, mixed, misnamed]),
    (keys_that_do_not_vary, []),
    (keys_that_vary, []),
]


@pytest.mark.parametrize(("body", "steps"), MARKED, ids=lambda value: getattr(value, "name", ""))
def test_the_marked_lines_and_no_others_are_reported(body: Any, steps: Any, found: Any, marked: Any) -> None:
    assert found(body) == marked(body, *steps)


def test_two_steps_of_one_name_are_reported_with_both_places(diagnosed: Any) -> None:
    (diagnostic,) = diagnosed(two_steps_of_one_name)
    line = inspect.getsourcelines(another.fn)[1]

    assert (diagnostic.code, diagnostic.severity, diagnostic.position.line) == (
        "duplicate-step-name",
        Severity.ERROR,
        line,
    )
    assert "test_declarations.py" in diagnostic.message
    assert '@step(name="charge_2")' in diagnostic.hint


def test_a_bad_template_names_the_nearest_match_and_the_step(diagnosed: Any) -> None:
    (diagnostic,) = diagnosed(bad_templates_of_steps)

    assert diagnostic.message.endswith("(step work)")
    assert diagnostic.hint == "did you mean 'id'? Order has id, lines"


def test_an_argument_that_cannot_be_stored_can_be_left_out_by_name(diagnosed: Any) -> None:
    hints = [d.hint for d in diagnosed(types_that_cannot_be_stored) if d.code == "unstorable-argument"]

    assert any('unfingerprinted=("lock",)' in hint for hint in hints)


def test_a_step_outside_of_workflows_is_bound_or_refused() -> None:
    with pytest.raises(CompileError, match="bad-key-template"):
        bind_step(misspelt)

    assert bind_step(charge) is bind_step(charge)


def test_a_step_whose_types_cannot_be_stored_is_bound_where_nothing_is_stored() -> None:
    binding = bind_step(locked)

    with pytest.raises(UnstorableType, match="cannot be stored"):
        binding.arguments.fingerprint((Order(id="7"), Lock(), Lock()), {})
    with pytest.raises(UnstorableType, match="cannot be stored"):
        bind_step(locking).result.roundtrip(Lock())


def test_a_binding_has_everything_that_a_call_needs() -> None:
    binding = bind_step(charge)
    key = binding.key
    order = Order(id="7")

    assert key is not None
    assert key((order,), {}) == "charge:7"
    assert binding.result.decode(binding.result.roundtrip("x")[0]) == "x"
    assert binding.arguments.fingerprint((order,), {}) == binding.arguments.fingerprint((), {"order": order})
    with pytest.raises(UsageError, match="invalid-key"):
        key((None,), {})


def test_errors_of_a_result_are_declared_errors() -> None:
    @step(errors=KeyError)
    async def checked(order: str) -> Result[int, ValueError | str]:
        return Ok(1)

    binding = bind_step(checked)

    assert binding.errors == (KeyError, ValueError)
    assert binding.returns_result
    assert binding.failure.decode(binding.failure.roundtrip("no")[0]) == "no"


def test_a_verifier_that_is_registered_later_is_bound_too() -> None:
    @step(effect="once", on_ambiguous="verify")
    async def pay(order: str) -> str:
        return order

    assert bind_step(pay).verify is None

    @pay.verify
    async def paid(order: str) -> bool:
        return True

    assert bind_step(pay).verify is paid
