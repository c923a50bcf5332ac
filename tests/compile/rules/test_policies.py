"""Policies are a step's: a durable body that uses one by hand could not be replayed."""

from collections.abc import Callable
from typing import Any

import pytest

from awaitly import Breaker, CircuitOpen, Concurrency, Policies, RateLimit, Retry, gather, step, workflow
from awaitly.model.graph import Diagnostic

payments = Breaker("payments", failure_threshold=1)
ten_a_second = RateLimit("ten", limit=10)
places = Concurrency("places", limit=2)
patient = Policies(retry=3)


@step(breaker=payments, limiter=[ten_a_second.costing(2), places], retry=Retry(3), errors=CircuitOpen)
async def charge(card: str) -> str:
    async with places:
        return await Retry(2).call(look, card)


@step
async def later(card: str) -> str:
    return f"{payments.state()} {card}"


async def look(card: str) -> str:
    return card


@Retry(3)
async def again(card: str) -> str:
    return card


@Retry(3)
async def again_with_steps(card: str) -> str:
    return await charge(card)


def is_open() -> bool:
    return payments.state() == "open"


@workflow
async def states_are_not_read(card: str) -> str:
    if payments.state() == "open":  # policy-in-body
        return await later(card)
    if is_open():  # policy-in-body
        return await later(card)
    print(ten_a_second.snapshot())  # policy-in-body
    payments.force_open()  # policy-in-body
    return await charge(card)


@workflow
async def blocks_are_not_guarded(card: str) -> str:
    async with payments:  # policy-in-body
        await charge(card)
    async with ten_a_second.costing(3), places:  # policy-in-body, policy-in-body
        await charge(card)
    await ten_a_second.acquire()  # policy-in-body
    return await charge(card)


@workflow
async def calls_are_not_retried(card: str) -> str:
    await Retry(3).call(charge, card)  # policy-in-body
    await patient.call(charge, card)  # policy-in-body
    return await Policies(breaker=payments, retry=2).call(charge, card)  # policy-in-body


@workflow
async def what_is_decorated_with_a_policy_is_not_called(card: str) -> None:
    await again(card)  # policy-in-body
    await again_with_steps(card)  # policy-in-body


@workflow
async def steps_have_their_policies(card: str) -> str:
    try:
        first, _ = await gather(charge(card), later(card))
    except CircuitOpen:
        return await later(card)
    return first


@workflow(durable=False)
async def what_stores_nothing_may_use_them(card: str) -> str:
    async with payments, ten_a_second:
        if payments.state() == "open":
            return await later(card)
        return await charge(card)


@pytest.mark.parametrize(
    "body",
    [
        states_are_not_read,
        blocks_are_not_guarded,
        calls_are_not_retried,
        what_is_decorated_with_a_policy_is_not_called,
        steps_have_their_policies,
        what_stores_nothing_may_use_them,
    ],
    ids=lambda body: body.name,
)
def test_a_policy_that_is_used_by_hand_is_found_where_it_is_used(body: Any, found: Any, marked: Any) -> None:
    assert [each for each in found(body) if each[1] != "opaque-call"] == marked(body)


@pytest.mark.parametrize(
    ("body", "text", "hint"),
    [
        (states_are_not_read, "payments.state() in a durable body uses a Breaker by hand", "give the step breaker=..."),
        (states_are_not_read, "may go another way (in is_open, ", "declare errors=CircuitOpen and catch that"),
        (blocks_are_not_guarded, "async with places in a durable body uses a Limiter", "give the step limiter=..."),
        (calls_are_not_retried, "Retry().call() in a durable body uses a Retry", "put the retry on the step"),
        (calls_are_not_retried, "patient.call() in a durable body uses a Policies", "give the step policies=..."),
    ],
)
def test_what_to_write_instead_is_said(
    body: Any, text: str, hint: str, diagnosed: Callable[[Any], tuple[Diagnostic, ...]]
) -> None:
    said = [one for one in diagnosed(body) if one.code == "policy-in-body" and text in one.message]

    assert said, diagnosed(body)
    assert all(hint in one.hint for one in said)
