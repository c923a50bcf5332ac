"""Customers who order at a steady rate and do not give up: ``python -m tests.service.customers URL ORDERS RATE``.

Who is refused because the shop shuts down, cannot connect, or gets no answer, asks again with the same order. Each
answer that is final is a line of standard output, and so is each change of what ``/ready`` says, with its time.
"""

import asyncio
import json
import sys
import time
from typing import Any

import httpx

AGAIN = 0.1  # seconds until somebody who was refused asks again
LOOK = 0.01  # seconds between two looks at /ready
WAIT = 20  # seconds that a request waits for its outcome
CARDS = ("card-ada", "card-ada", "card-ada", "card-pending", "card-slow", "card-stolen")


def order(number: int) -> dict[str, Any]:
    return {
        "id": f"o-{number}", "user_id": f"u{1 + number % 5}", "sku": "teapot", "quantity": 1, "amount": "24.90",
        "card": CARDS[number % len(CARDS)], "placed_at": "2026-03-02T08:00:00Z",
    }  # fmt: skip


def tell(**what: Any) -> None:
    print(json.dumps({"at": time.time()} | what), flush=True)


class Customers:
    """All customers of one shop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._ready: Any = None
        self._open = asyncio.Event()

    async def buy(self, number: int) -> None:
        """Ask for an order until it has its outcome."""
        wanted, asked = order(number), 0
        while True:
            asked += 1
            answer = await self._asked(wanted)
            if answer is not None and answer.status_code not in (202, 503):
                tell(order=wanted["id"], status=answer.status_code, answer=answer.json(), asked=asked)
                return
            await asyncio.sleep(AGAIN)

    async def _asked(self, wanted: dict[str, Any]) -> httpx.Response | None:
        try:
            return await self._client.post("/orders", json=wanted, params={"wait": WAIT})
        except httpx.TransportError:
            return None

    async def opened(self) -> None:
        """Wait until the shop is open."""
        await self._open.wait()

    async def look(self) -> None:
        """Tell what ``/ready`` says, whenever that is something else."""
        while True:
            said = await self._readiness()
            if said != self._ready:
                self._ready = said
                tell(ready=said)
            if said == [200]:
                self._open.set()
            await asyncio.sleep(LOOK)

    async def _readiness(self) -> Any:
        try:
            answer = await self._client.get("/ready")
        except httpx.TransportError:
            return "refused"
        return [answer.status_code, *(reason["code"] for reason in answer.json()["reasons"])]


async def main(url: str, orders: int, rate: float) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=5)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=WAIT + 40, trust_env=False) as client:
        customers = Customers(client)
        looking = asyncio.create_task(customers.look())
        await customers.opened()
        begun = time.monotonic()
        async with asyncio.TaskGroup() as all_of_them:
            for number in range(orders):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                all_of_them.create_task(customers.buy(number))
        looking.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
