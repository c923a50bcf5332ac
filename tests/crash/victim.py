"""One life of an example, made to be killed: ``python -m tests.crash.victim audit|checkout --store URL ...``.

Every step that affects the world first appends a line to the ledger, outside of the store and on stable storage. When
all is imported, ``ready`` is written to standard error; in the end the result is one line of JSON on standard output.
"""

import argparse
import asyncio
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from awaitly import Ok, Runtime, Step, Workflow, current
from examples import audit, checkout

Ledger = Callable[[str, Any], None]

FLAGS = {"html-receipts": 0.5}  # some orders take the variant, and in every life the same ones


def ledger_file(path: Path) -> Ledger:
    """Return what appends a line for an effect that is about to be executed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(step: str, arguments: Any) -> None:
        digest = hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
        line = {"step": step, "key": current().idempotency_key, "attempt": current().attempt, "arguments": digest}
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)

    return note


def observe(module: ModuleType, note: Ledger, pause: float) -> None:
    """Wrap the functions of a module's steps: effects are noted, and all take a little longer."""
    for step in [value for value in vars(module).values() if isinstance(value, Step)]:
        step.fn = _observed(step, note, pause)


def _observed(step: Step[..., Any, Any], note: Ledger, pause: float) -> Callable[..., Any]:
    fn = step.fn
    noted = note if step.options.effect.guarded else lambda *_: None

    @functools.wraps(fn)
    def blocking(*args: Any, **kwargs: Any) -> Any:
        noted(step.name, (args, kwargs))
        time.sleep(pause / 2)
        value = fn(*args, **kwargs)
        time.sleep(pause / 2)
        return value

    @functools.wraps(fn)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        noted(step.name, (args, kwargs))
        await asyncio.sleep(pause / 2)
        value = await fn(*args, **kwargs)
        await asyncio.sleep(pause / 2)
        return value

    return waiting if asyncio.iscoroutinefunction(fn) else blocking


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.victim")
    parser.add_argument("example", choices=["audit", "checkout"])
    parser.add_argument("--store", required=True, help="URL")
    parser.add_argument("--ledger", required=True, type=Path, help="file that effects are noted in")
    parser.add_argument("--out", required=True, type=Path, help="folder for what the example writes")
    parser.add_argument("--id", required=True, help="id of the run")
    parser.add_argument("--site", type=Path, help="audit: the folder to audit; default: this environment")
    parser.add_argument("--orders", type=Path, default=checkout.ORDERS, help="checkout: the file of orders")
    parser.add_argument("--payments", metavar="URL", help="checkout: the service; default: one in this process")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that every step takes longer")
    return parser.parse_args()


async def life(workflows: list[Workflow[..., Any, Any]], given: argparse.Namespace, arguments: tuple[Any, ...]) -> str:
    """Run the first workflow, or what is left of it, and return its result as JSON."""
    async with Runtime(store=given.store, flags=FLAGS, workflows=workflows) as runtime:
        print("ready", file=sys.stderr, flush=True)
        result = await runtime.run(workflows[0].options(id=given.id), *arguments)
    if isinstance(result, Ok):
        return json.dumps({"ok": result.value.model_dump(mode="json")})
    return json.dumps({"err": str(result.error)})


def main() -> None:
    given = options()
    observe(audit if given.example == "audit" else checkout, ledger_file(given.ledger), given.pause)
    if given.payments:
        os.environ["PAYMENTS_URL"] = given.payments
    if given.example == "audit":
        print(asyncio.run(life([audit.audit], given, (given.out, given.site))))
    else:
        workflows: list[Workflow[..., Any, Any]] = [checkout.checkout_all, checkout.checkout]
        print(asyncio.run(life(workflows, given, (given.orders, given.out))))


if __name__ == "__main__":
    main()
