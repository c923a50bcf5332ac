"""Who is compared, and under which policies. Importing this package imports none of them.

All are set alike, and so that they let every call pass: 3 attempts with exponential delays from 100 ms to 30 s; a
circuit that 5 failures open for 30 s; a limit of 10^9 calls in a second; 100 places; 10 s for an attempt.

To add a library: write a module with a dictionary `GUARDS` from rows to functions that wrap the work, and list it here.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Work = Callable[[int], Coroutine[Any, Any, int]]
"""An asynchronous function that adds 1 to a number."""
Wrap = Callable[[Work], Callable[[int], Awaitable[int]]]
"""Puts a policy around it; called in the event loop in which it is measured."""

ATTEMPTS = 3
INITIAL, LONGEST = 0.1, 30.0  # seconds between attempts
FAILURES, RESET = 5, 30.0
RATE, PLACES = 10**9, 100
TIMEOUT = 10.0

ROWS = (
    "retry",
    "breaker",
    "rate limiter",
    "concurrency",
    "timeout",
    "fallback",
    "cache, a hit",
    "hedge",
    "retry, limiter, breaker and timeout",
)
RETRY, BREAKER, RATE_LIMITER, CONCURRENCY, TIME_LIMIT, FALLBACK, CACHE, HEDGE, TOGETHER = ROWS

OURS = "awaitly"
LIBRARIES = {  # by title: the module, and the packages whose versions are named
    OURS: ("guards.ours", ("awaitly",)),
    "hyx": ("guards.hyx", ("hyx",)),
    "tenacity": ("guards.tenacity", ("tenacity",)),
    "stamina": ("guards.stamina", ("stamina",)),
    "purgatory": ("guards.purgatory", ("purgatory",)),
    "aiobreaker": ("guards.aiobreaker", ("aiobreaker",)),
    "aiolimiter": ("guards.aiolimiter", ("aiolimiter",)),
    "pyrate-limiter": ("guards.pyrate", ("pyrate-limiter",)),
    "asyncio": ("guards.standard", ()),
    "stacked": ("guards.stacked", ()),
}
