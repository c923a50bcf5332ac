"""A shop over HTTP: orders are accepted, checked out as durable runs, and can be asked about and watched.

    uvicorn --factory examples.service.app:create
    curl -d '{"id": "o-1", "user_id": "u1", "sku": "teapot", "quantity": 2, "amount": "49.80", "card": "card-ada",
              "placed_at": "2026-03-02T08:00:00Z"}' -H 'Content-Type: application/json' 'localhost:8000/orders?wait=10'

An order's id is its run's id: sent again, after a timeout, a restart or a lost answer, it is the same order. The steps
are those of examples/checkout.py. Everything is configured by the environment: AWAITLY_* (see docs/settings.md), and
PAYMENTS_URL, without which a payment service that fails on purpose is started here.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from awaitly import Err, Ok, Result, RunHandle, Runtime, UnexpectedError
from awaitly.errors import AwaitlyError, Overloaded, RunConflict, RunNotFound, ShuttingDown
from awaitly.model.facts import Fact
from awaitly.serve import app as health
from examples.checkout import (
    FLAGS,
    CardDeclined,
    Order,
    OutOfStock,
    Receipt,
    UnknownUser,
    call_payments,
    checkout,
    explained,
)

RETRY_AFTER = "1"  # seconds

STATUSES = {"accepted": 202, "paid": 200, "refused": 409, "failed": 500}

Failed = UnknownUser | OutOfStock | CardDeclined
Outcome = Result[Receipt, Failed | UnexpectedError]


class Answer(BaseModel):
    """What is known of an order."""

    order: str
    status: Literal["accepted", "paid", "refused", "failed"]
    receipt: Receipt | None = None
    problem: str | None = None


router = APIRouter(prefix="/orders")


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Running = Annotated[Runtime, Depends(runtime_of)]


@router.post("")
async def place(
    order: Order, response: Response, runtime: Running, wait: Annotated[float, Query(ge=0, le=60)] = 0
) -> Answer:
    """Accept an order: when this answers, it is stored, and will be checked out whatever happens to this process.

    With `wait` the answer may take so many seconds, and is the outcome if that is known by then.
    """
    handle = await runtime.start(checkout, order)
    answer = answer_of(order.id, await outcome_within(wait, handle))
    response.headers["Location"] = f"/orders/{order.id}"
    response.status_code = STATUSES[answer.status]
    return answer


@router.get("/{order_id}")
async def look(order_id: str, runtime: Running) -> Answer:
    """Tell what became of an order."""
    handle = await runtime.handle(f"order:{order_id}")
    ended = (await handle.status()).ended
    return answer_of(order_id, await handle.result() if ended else None)


@router.get("/{order_id}/events")
async def watch(
    order_id: str, runtime: Running, last_event_id: Annotated[int, Header(ge=-1)] = -1
) -> StreamingResponse:
    """Stream what happens to an order, as server-sent events; browsers reconnect by themselves where it broke off."""
    handle = await runtime.handle(f"order:{order_id}")
    return StreamingResponse(told(handle, last_event_id), media_type="text/event-stream")


async def outcome_within(seconds: float, handle: RunHandle[Receipt, Failed]) -> Outcome | None:
    """Return a run's result; None if it takes longer, or goes on in another process."""
    if not seconds:
        return None
    try:
        async with asyncio.timeout(seconds):
            return await handle.result()
    except (TimeoutError, ShuttingDown):
        return None


def answer_of(order_id: str, outcome: Outcome | None) -> Answer:
    match outcome:
        case None:
            return Answer(order=order_id, status="accepted")
        case Ok(receipt):
            return Answer(order=order_id, status="paid", receipt=receipt)
        case Err(UnexpectedError()):
            # It may have happened, so somebody has to look. The details are in the log, and in: awaitly runs show
            return Answer(order=order_id, status="failed", problem="we are looking into it")
        case Err(refusal):
            return Answer(order=order_id, status="refused", problem=explained(refusal))


async def told(handle: RunHandle[Any, Any], last: int) -> AsyncIterator[str]:
    number = 0
    try:
        async for fact in handle.events():
            if number > last:
                yield f"id: {number}\nevent: {type(fact).__name__}\ndata: {json.dumps(shown(fact))}\n\n"
            number += 1
    except ShuttingDown:
        yield f"retry: {RETRY_AFTER}000\n\n"


def shown(fact: Fact) -> dict[str, Any]:
    """Return what everybody may see of a fact: no arguments and no results, which have cards in them."""
    seen = {name: getattr(fact, name, None) for name in ("at", "step", "attempts", "ending", "due")}
    return {name: value for name, value in seen.items() if value is not None}


# What goes wrong before there is an outcome.


def refused(status: int, headers: dict[str, str] | None = None) -> Any:
    async def handler(request: Request, error: AwaitlyError) -> JSONResponse:
        return JSONResponse({"error": error.code}, status, headers)

    return handler


REFUSALS = {
    RunNotFound: refused(404),
    RunConflict: refused(409),  # an id that another order has
    ShuttingDown: refused(503, {"Retry-After": RETRY_AFTER}),
    Overloaded: refused(503, {"Retry-After": RETRY_AFTER}),
}


def payments() -> None:
    """Check that the payment service answers, whatever it says."""
    call_payments("/charges/none")


def create() -> FastAPI:
    """Make the application."""
    runtime = Runtime(flags=FLAGS, workflows=[checkout])

    @asynccontextmanager
    async def lifespan(shop: FastAPI) -> AsyncIterator[None]:
        async with runtime:
            runtime.install_signals()
            yield

    shop = FastAPI(title="Shop", lifespan=lifespan)
    shop.state.runtime = runtime
    for kind, handler in REFUSALS.items():
        shop.add_exception_handler(kind, handler)
    shop.include_router(router)
    shop.mount("/", health(runtime, checks={"payments": payments}))
    return shop
