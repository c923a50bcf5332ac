"""What blocks is done in a thread of its own: the executor of the event loop may be full of other people's work."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def aside(name: str, call: Callable[[], T]) -> T:
    """Return what a call gives that blocks; a process that ends does not wait for it.

    Args:
        name: The thread's.
        call: What is called in it.
    """
    outcome: Future[T] = Future()
    Thread(target=_do, args=(call, outcome), name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _do(call: Callable[[], T], outcome: Future[T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return  # who wanted it is gone
    try:
        outcome.set_result(call())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
        outcome.set_exception(error)
