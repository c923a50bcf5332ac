"""awaitly's policies, each by itself, and a bundle of them."""

from awaitly import Breaker, Cache, Concurrency, Fallback, Hedge, Policies, RateLimit, Retry
from guards import (
    ATTEMPTS,
    BREAKER,
    CACHE,
    CONCURRENCY,
    FAILURES,
    FALLBACK,
    HEDGE,
    INITIAL,
    LONGEST,
    PLACES,
    RATE,
    RATE_LIMITER,
    RESET,
    RETRY,
    TIME_LIMIT,
    TIMEOUT,
    TOGETHER,
    Wrap,
)


def bundle(name: str) -> Policies:
    """The four together; each bundle has a circuit and a bucket of its own."""
    return Policies(
        retry=Retry(ATTEMPTS, initial=INITIAL, max=LONGEST),
        limiter=RateLimit(name, limit=RATE),
        breaker=Breaker(name, failure_threshold=FAILURES, reset_timeout=RESET),
        timeout=TIMEOUT,
    )


GUARDS: dict[str, Wrap] = {
    RETRY: Retry(ATTEMPTS, initial=INITIAL, max=LONGEST),
    BREAKER: Breaker("alone", failure_threshold=FAILURES, reset_timeout=RESET),
    RATE_LIMITER: RateLimit("alone", limit=RATE),
    CONCURRENCY: Concurrency("places", limit=PLACES),
    TIME_LIMIT: Policies(timeout=TIMEOUT),
    FALLBACK: Fallback(value=-1),
    CACHE: Cache("1h"),
    HEDGE: Hedge(TIMEOUT),
    TOGETHER: bundle("together"),
}
