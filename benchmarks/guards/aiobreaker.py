"""aiobreaker, by its decorator."""

from datetime import timedelta

from aiobreaker import CircuitBreaker  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import BREAKER, FAILURES, RESET, Work, Wrap


def broken(work: Work) -> Work:
    wrapped: Work = CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=RESET))(work)
    return wrapped


GUARDS: dict[str, Wrap] = {BREAKER: broken}
