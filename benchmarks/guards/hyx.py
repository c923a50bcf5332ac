"""hyx, by its decorators."""

from hyx.bulkhead import bulkhead  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.circuitbreaker import consecutive_breaker  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.fallback import fallback  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.ratelimit import tokenbucket  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.retry import retry  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.retry.backoffs import expo  # type: ignore[import-not-found,import-untyped,unused-ignore]
from hyx.timeout import timeout  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import (
    ATTEMPTS,
    BREAKER,
    CONCURRENCY,
    FAILURES,
    FALLBACK,
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
    Work,
    Wrap,
)


def retried(work: Work) -> Work:
    backoff = expo(min_delay_secs=INITIAL, base=2, max_delay_secs=LONGEST)
    return retry(on=Exception, attempts=ATTEMPTS, backoff=backoff)(work)


def broken(work: Work) -> Work:
    return consecutive_breaker(Exception, failure_threshold=FAILURES, recovery_time_secs=RESET, recovery_threshold=1)(
        work
    )


def limited(work: Work) -> Work:
    return tokenbucket(max_executions=RATE, per_time_secs=1)(work)


def placed(work: Work) -> Work:
    return bulkhead(max_concurrency=PLACES, max_capacity=PLACES)(work)


def timed(work: Work) -> Work:
    return timeout(TIMEOUT)(work)


def caught(work: Work) -> Work:
    async def instead(result: object, value: int) -> int:
        return -1

    return fallback(instead, on=Exception)(work)


def together(work: Work) -> Work:
    return retried(limited(broken(timed(work))))


GUARDS: dict[str, Wrap] = {
    RETRY: retried,
    BREAKER: broken,
    RATE_LIMITER: limited,
    CONCURRENCY: placed,
    TIME_LIMIT: timed,
    FALLBACK: caught,
    TOGETHER: together,
}
