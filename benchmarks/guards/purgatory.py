"""purgatory, by its decorator."""

from purgatory import AsyncCircuitBreakerFactory  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import BREAKER, FAILURES, RESET, Work, Wrap


def broken(work: Work) -> Work:
    wrapped: Work = AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=RESET)("alone")(work)
    return wrapped


GUARDS: dict[str, Wrap] = {BREAKER: broken}
